#!/usr/bin/env bash
# The npm clients (connect-node, connect-web, grpc-web, grpc-js) through Ravelin;
# those of gRPC-Web also through a route that translates, to a gRPC-only server.
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

node_packages
CLIENTS="$ROOT/tests/suites/clients"
start upstream node "$CLIENTS/upstream.js"
await "$LAST" 20 "the upstream's address" first_line "$SCRATCH/upstream.out"
UPSTREAM="$(first_line "$SCRATCH/upstream.out")"

start_nghttpx() {
  need nghttpx "apt-get install nghttp2-proxy"
  make_certificate
  TLS_ADDRESS="127.0.0.1:$(free_port)"
  PLAIN_ADDRESS="127.0.0.1:$(free_port)"
  start nghttpx nghttpx --conf=/dev/null --no-location-rewrite -b "${UPSTREAM/:/,};;proto=h2" \
    -f "${TLS_ADDRESS/:/,}" -f "${PLAIN_ADDRESS/:/,};no-tls" "$SCRATCH/key.pem" "$SCRATCH/cert.pem"
  await "$LAST" 10 nghttpx bash -c ": </dev/tcp/127.0.0.1/${PLAIN_ADDRESS##*:}"
}

case "$through" in
  ravelin) start_ravelin "$UPSTREAM" ;;
  nghttpx) start_nghttpx ;;
  *) die "--through takes ravelin or nghttpx" ;;
esac

failed=0

# rounds WHAT FILE…: these tests against whatever listens, as often as asked.
rounds() {
  local what="$1" round status log
  shift
  export NODE_EXTRA_CA_CERTS="$SCRATCH/cert.pem"
  export CLIENTS_TLS_URL="https://localhost:${TLS_ADDRESS##*:}"
  export CLIENTS_PLAIN_URL="http://127.0.0.1:${PLAIN_ADDRESS##*:}"
  for ((round = 1; round <= repeat; round++)); do
    log="$SCRATCH/round-$round.txt"
    if timeout 600 node --test --test-reporter=spec "$@" >"$log" 2>&1; then status=passed; else status=FAILED; failed=1; fi
    say "$what, round $round of $repeat: $status"
    grep -E '^ℹ (tests|pass|fail|skipped|duration_ms) ' "$log" || true
    if [[ "$status" == FAILED ]]; then
      if grep -q '✖ failing tests:' "$log"; then sed -n '/✖ failing tests:/,$p' "$log" | head -n 300; else tail -n 60 "$log"; fi
    fi
  done
}

rounds "clients through $through" "$CLIENTS/tests/"

# The gRPC-Web clients once more, before a server that speaks gRPC alone.
if [[ "$through" == ravelin ]]; then
  stop "$RAVELIN_PID"
  start upstream-grpc node "$CLIENTS/upstream.js" --grpc-only
  await "$LAST" 20 "the upstream's address" first_line "$SCRATCH/upstream-grpc.out"
  start_ravelin "$(first_line "$SCRATCH/upstream-grpc.out")" ", grpc_web: translate"
  export CLIENTS_TRANSLATED=1
  rounds "gRPC-Web clients through $through, translated" "$CLIENTS"/tests/{connect-web,grpc-web}.test.js
fi
exit "$failed"
