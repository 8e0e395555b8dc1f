# shellcheck shell=bash
# shellcheck disable=SC2034  # the suites read what is set here
# What the suites share: where things are, scratch space, starting and stopping.
# Sourced, not run.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
SCRATCH="$(mktemp -d "${TMPDIR:-/tmp}/ravelin-suite.XXXXXX")"
STARTED=()

# The exit trap: ends what `start` began (only that) and removes the scratch.
# KEEP=1 leaves the logs behind.
finish() {
  local pid
  for pid in "${STARTED[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${STARTED[@]}"; do wait "$pid" 2>/dev/null || true; done
  if [[ -n "${KEEP:-}" ]]; then echo "logs kept in $SCRATCH"; else rm -rf "$SCRATCH"; fi
}
trap finish EXIT

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# need TOOL HOW: exit 2 with the way to get a tool that is missing.
need() {
  command -v "$1" >/dev/null 2>&1 || { printf 'missing: %s. To get it: %s\n' "$1" "$2" >&2; exit 2; }
}

# The binary under test: RAVELIN, else what `cargo build --release` made.
ravelin_binary() {
  RAVELIN="${RAVELIN:-$ROOT/target/release/ravelin}"
  [[ -x "$RAVELIN" ]] || die "no binary at $RAVELIN: run 'cargo build --release' or set RAVELIN"
}

# start NAME COMMAND…: in the background, output to $SCRATCH/NAME.{out,err}.
# Its process id is in $LAST.
start() {
  local name="$1"
  shift
  "$@" >"$SCRATCH/$name.out" 2>"$SCRATCH/$name.err" &
  LAST=$!
  STARTED+=("$LAST")
}

# await PID SECONDS WHAT COMMAND…: until COMMAND succeeds; fails when the
# process ends or the time does, and shows what it wrote last.
await() {
  local pid="$1" end=$((SECONDS + $2)) what="$3"
  shift 3
  until "$@" >/dev/null 2>&1; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= end)); then
      tail -n 20 "$SCRATCH"/*.err >&2 || true
      die "$what: not there"
    fi
    sleep 0.1
  done
}

# stop PID: asks a process of ours to end and waits for it.
stop() {
  kill "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# first_line FILE: what a helper printed, once it is there.
first_line() { head -n 1 "$1" | grep .; }

# A port that was free a moment ago, for programs that cannot let the system
# choose.
free_port() {
  node -e 'const s = require("node:net").createServer(); s.listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); });'
}

# The npm packages of tests/suites/clients, put there when the lock file is
# newer than what is installed.
node_packages() {
  local clients="$ROOT/tests/suites/clients"
  need node "Node.js 20 or newer (apt-get install nodejs)"
  need npm "comes with Node.js (apt-get install npm)"
  [[ ! "$clients/node_modules/.package-lock.json" -nt "$clients/package-lock.json" ]] || return 0
  (cd "$clients" && npm ci --ignore-scripts --no-fund --no-audit >"$SCRATCH/npm.out" 2>&1) ||
    { cat "$SCRATCH/npm.out"; die "npm ci failed"; }
}

# A certificate for localhost and 127.0.0.1, signed by itself:
# $SCRATCH/cert.pem and $SCRATCH/key.pem.
make_certificate() {
  need openssl "apt-get install openssl"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
    -subj /CN=localhost -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" \
    -keyout "$SCRATCH/key.pem" -out "$SCRATCH/cert.pem" 2>/dev/null
}

# start_ravelin UPSTREAM [KEYS]: a TLS and a plaintext listener on ports of the
# system's choice before one h2c upstream; KEYS are more of its route (", a: b").
# Sets TLS_ADDRESS, PLAIN_ADDRESS.
start_ravelin() {
  ravelin_binary
  make_certificate
  cat >"$SCRATCH/ravelin.yaml" <<YAML
listeners:
  - {name: https, address: "127.0.0.1:0", tls: {certificates: [{cert: $SCRATCH/cert.pem, key: $SCRATCH/key.pem}]}}
  - {name: plain, address: "127.0.0.1:0"}
routes:
  - {name: all, to: up${2:-}}
clusters:
  up: {endpoints: ["h2c://$1"]}
admin: {address: "127.0.0.1:0"}
access_log: {format: off}
YAML
  start ravelin "$RAVELIN" run --config "$SCRATCH/ravelin.yaml"
  RAVELIN_PID=$LAST
  await "$RAVELIN_PID" 20 "Ravelin's listeners" listener_address plain
  await "$RAVELIN_PID" 20 "Ravelin's listeners" listener_address https
  TLS_ADDRESS="$(listener_address https)"
  PLAIN_ADDRESS="$(listener_address plain)"
}

# listener_address NAME: as Ravelin logged it ("listening name=https address=…").
listener_address() {
  sed 's/\x1b\[[0-9;]*m//g' "$SCRATCH/ravelin.err" |
    grep -oE "listening .*name=\"?$1\"? .*address=\"?[^ \"]+" |
    head -n 1 | sed -E 's/.*address="?//' | grep .
}
