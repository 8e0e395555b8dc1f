#!/usr/bin/env bash
# The npm clients (connect-node, connect-web, grpc-web, grpc-js) through Ravelin.
#
#   tests/suites/clients.sh [--repeat N] [--through nghttpx] [BINARY]
#
# --through nghttpx puts another proxy in Ravelin's place: tells a fault of the
# suite from one of Ravelin's.
set -euo pipefail
# shellcheck source=tests/suites/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

repeat=1
through=ravelin
while [[ $# -gt 0 ]]; do
  case "$1" in
    --repeat) repeat="$2"; shift 2 ;;
    --through) through="$2"; shift 2 ;;
    *) RAVELIN="$1"; shift ;;
  esac
done

need node "Node.js 20 or newer (apt-get install nodejs)"
need npm "comes with Node.js (apt-get install npm)"
CLIENTS="$ROOT/tests/suites/clients"
# Packages are put there when the lock file is newer than what is installed.
if [[ ! "$CLIENTS/node_modules/.package-lock.json" -nt "$CLIENTS/package-lock.json" ]]; then
  (cd "$CLIENTS" && npm ci --ignore-scripts --no-fund --no-audit >"$SCRATCH/npm.out" 2>&1) ||
    { cat "$SCRATCH/npm.out"; die "npm ci failed"; }
fi

start upstream node "$CLIENTS/upstream.js"
await "$LAST" 20 "the upstream's address" first_line "$SCRATCH/upstream.out"
UPSTREAM="$(first_line "$SCRATCH/upstream.out")"

# nghttpx cannot choose its ports: two that were free a moment ago.
start_nghttpx() {
  need nghttpx "apt-get install nghttp2-proxy"
  make_certificate
  local ports
  read -r -a ports <<<"$(node -e '
    const net = require("node:net"), s = [net.createServer(), net.createServer()];
    Promise.all(s.map((x) => new Promise((r) => x.listen(0, "127.0.0.1", r))))
      .then(() => { console.log(s.map((x) => x.address().port).join(" ")); s.forEach((x) => x.close()); });')"
  TLS_ADDRESS="127.0.0.1:${ports[0]}"
  PLAIN_ADDRESS="127.0.0.1:${ports[1]}"
  start nghttpx nghttpx --no-location-rewrite -b "${UPSTREAM/:/,};;proto=h2" \
    -f "${TLS_ADDRESS/:/,}" -f "${PLAIN_ADDRESS/:/,};no-tls" "$SCRATCH/key.pem" "$SCRATCH/cert.pem"
  await "$LAST" 10 nghttpx bash -c ": </dev/tcp/127.0.0.1/${ports[1]}"
}

case "$through" in
  ravelin) start_ravelin "$UPSTREAM" ;;
  nghttpx) start_nghttpx ;;
  *) die "--through takes ravelin or nghttpx" ;;
esac

export NODE_EXTRA_CA_CERTS="$SCRATCH/cert.pem"
export CLIENTS_TLS_URL="https://localhost:${TLS_ADDRESS##*:}"
export CLIENTS_PLAIN_URL="http://127.0.0.1:${PLAIN_ADDRESS##*:}"
failed=0
for ((round = 1; round <= repeat; round++)); do
  log="$SCRATCH/round-$round.txt"
  if timeout 600 node --test --test-reporter=spec "$CLIENTS/tests/" >"$log" 2>&1; then status=passed; else status=FAILED; failed=1; fi
  say "clients through $through, round $round of $repeat: $status"
  grep -E '^ℹ (tests|pass|fail|skipped|duration_ms) ' "$log" || true
  if [[ "$status" == FAILED ]]; then
    if grep -q '✖ failing tests:' "$log"; then sed -n '/✖ failing tests:/,$p' "$log" | head -n 300; else tail -n 60 "$log"; fi
  fi
done
exit "$failed"
