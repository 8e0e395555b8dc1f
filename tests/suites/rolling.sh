#!/usr/bin/env bash
# What rolling restarts of ZITADEL cost its clients behind Ravelin: three
# stand-ins as processes, restarted one after the other under open-loop load of
# gRPC, gRPC-Web, REST, Connect, files, writes and long streams. And what
# reloads and upgrades of Ravelin, one replica's faults, or all being gone cost.
#
#   tests/suites/rolling.sh [ROUNDS] [ARGUMENT…]     (default: 10 rounds)
#   tests/suites/rolling.sh 1000 --signal term
#   tests/suites/rolling.sh 20 --drain
#   tests/suites/rolling.sh --reloads 100 | --upgrades 100 | --gone 60s
#   tests/suites/rolling.sh --fault slow|held|blackholed|resets|503
#   tests/suites/rolling.sh short                    (some of everything)
#
# Arguments are those of examples/rolling, which also says when it fails:
# --signal term|kill|both, --drain, --replicas N, --rate CALLS_A_SECOND,
# --pause 1500ms. The blackholed replica needs root: it is in a network namespace.
#
# Builds nothing: cargo build --release --bin ravelin --example rolling
# RAVELIN and ROLLING name other binaries.
set -euo pipefail
# shellcheck source=tests/suites/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ravelin_binary
ROLLING="${ROLLING:-$(dirname "$RAVELIN")/examples/rolling}"
[[ -x "$ROLLING" ]] || die "no binary at $ROLLING: run 'cargo build --release --example rolling'"

# run ARGUMENT…: one run; what failed is told at the end.
failed=()
run() {
  say "--- $*"
  "$ROLLING" --ravelin "$RAVELIN" "$@" || failed+=("$*")
}

case "${1:-10}" in
  short)
    run --restarts 2
    run --restarts 1 --drain
    run --reloads 5
    run --upgrades 5
    run --fault resets
    run --gone 10s
    ;;
  --*) run "$@" ;;
  *)
    rounds="${1:-10}"
    run --restarts "$rounds" "${@:2}"
    ;;
esac
[[ ${#failed[@]} -eq 0 ]] || die "failed: ${failed[*]}"
