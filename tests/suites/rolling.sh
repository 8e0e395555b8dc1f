#!/usr/bin/env bash
# What rolling restarts of ZITADEL cost its clients behind Ravelin: three
# stand-ins as processes, restarted one after the other under open-loop load of
# gRPC, gRPC-Web, REST, Connect, files, writes and long streams.
#
#   tests/suites/rolling.sh [ROUNDS] [ARGUMENT…]     (default: 10 rounds)
#   tests/suites/rolling.sh 1000 --signal term
#
# Arguments are those of examples/rolling: --signal term|kill|both, --drain,
# --replicas N, --rate CALLS_A_SECOND, --pause 1500ms. Fails when a read failed,
# when a write was done twice or failed though it was not processed, or when a
# stream ended without a status; with --drain when any call failed.
#
# Builds nothing: cargo build --release --bin ravelin --example rolling
# RAVELIN and ROLLING name other binaries.
set -euo pipefail
# shellcheck source=tests/suites/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rounds="${1:-10}"
[[ $# -eq 0 ]] || shift
ravelin_binary
ROLLING="${ROLLING:-$(dirname "$RAVELIN")/examples/rolling}"
[[ -x "$ROLLING" ]] || die "no binary at $ROLLING: run 'cargo build --release --example rolling'"
"$ROLLING" --ravelin "$RAVELIN" --restarts "$rounds" "$@"
