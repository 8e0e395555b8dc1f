#!/usr/bin/env bash
# `ravelin dev --trust` in a home of its own: Chromium opens the stand-in's
# Console through it and believes the certificate, curl believes the CA, and
# `--untrust` leaves nothing behind.
#
#   tests/suites/dev.sh [--screenshot FILE] [BINARY]
set -euo pipefail
# shellcheck source=tests/suites/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

picture=""
while [[ $# -gt 0 ]]; do
  case "$1" in
    --screenshot) picture="$(realpath "$2")"; shift 2 ;;
    *) RAVELIN="$(realpath "$1")"; shift ;;
  esac
done
ravelin_binary
node_packages
[[ -n "${CHROMIUM:-}" ]] || for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then CHROMIUM="$(command -v "$name")"; break; fi
done
need "${CHROMIUM:-chromium}" "apt-get install chromium, or set CHROMIUM"
need certutil "apt-get install libnss3-tools"
need curl "apt-get install curl"
export CHROMIUM

STANDIN="$(realpath "${STANDIN:-$ROOT/target/release/examples/standin}")"
[[ -x "$STANDIN" ]] || die "no stand-in at $STANDIN: run 'cargo build --release --example standin' or set STANDIN"
RAVELIN="$(realpath "$RAVELIN")"

# The machine's own store is not touched: below an empty root there is none.
mkdir "$SCRATCH/home" "$SCRATCH/root"
export HOME="$SCRATCH/home"
cd "$SCRATCH"
page() { TRUST=1 timeout 120 node "$ROOT/tests/suites/clients/page.js" "https://localhost:$port/ui/console/" "$@"; }

port="$(free_port)"
# Ravelin is there before ZITADEL, and ZITADEL finds itself where Ravelin says.
zitadel="$(free_port)"
start dev "$RAVELIN" dev --root root --port "$port" --upstream "h2c://127.0.0.1:$zitadel"
await "$LAST" 20 "ravelin dev on port $port" grep -q 'Below is one line' dev.out
start standin "$STANDIN" "127.0.0.1:$zitadel" "$port"
await "$LAST" 20 "the stand-in" first_line standin.out

discovery="https://localhost:$port/.well-known/openid-configuration"
curl --silent --show-error --cacert certs/dev-ca.crt --max-time 10 "$discovery" |
  grep -q "\"issuer\":\"https://localhost:$port\"" || die "discovery's issuer is not what the browser sees"
if curl --silent --output /dev/null --max-time 10 "$discovery"; then die "curl believes a CA that it was not given"; fi
say "curl: believes the CA that it is given, and does not without"

stop "${STARTED[0]}"

# refused WHEN: Chromium does not believe it, for that reason.
refused() {
  if page >page.out 2>&1; then die "Chromium believes the certificate $1"; fi
  grep -q ERR_CERT_AUTHORITY_INVALID page.out || { cat page.out >&2; die "Chromium fails for another reason"; }
}

# round HOME WHAT: trusted, then no longer.
round() {
  export HOME="$SCRATCH/$1"
  mkdir -p "$HOME"
  start dev "$RAVELIN" dev --root root --port "$port" --upstream "h2c://127.0.0.1:$zitadel" --trust
  await "$LAST" 20 "ravelin dev on port $port" grep -q 'Below is one line' dev.out
  page ${picture:+"$picture"} || { cat dev.out >&2; die "Chromium does not believe it after --trust"; }
  "$RAVELIN" dev --root root --untrust >untrust.out || true # the unknown system is not done
  refused "after --untrust"
  stop "$LAST"
  say "Chromium: $2: no warning after --trust, a warning again after --untrust"
}

start dev "$RAVELIN" dev --root root --port "$port" --upstream "h2c://127.0.0.1:$zitadel"
await "$LAST" 20 "ravelin dev on port $port" grep -q 'Below is one line' dev.out
refused "before --trust"
stop "$LAST"
say "Chromium: warns before --trust"
round home "has run before"
round fresh "has never run"
