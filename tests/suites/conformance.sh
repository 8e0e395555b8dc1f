#!/usr/bin/env bash
# connectrpc/conformance: its clients against its reference server, through
# Ravelin. On demand, not in CI (some minutes).
#
#   tests/suites/conformance.sh [BINARY] [-- arguments for connectconformance]
#
# For example, to run one group:  -- --run 'gRPC/**'
set -euo pipefail
# shellcheck source=tests/suites/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [[ $# -gt 0 && "$1" != -- ]]; then RAVELIN="$1"; shift; fi
[[ "${1:-}" != -- ]] || shift
PATH="$PATH:$HOME/go/bin"
how="go install connectrpc.com/conformance/cmd/{connectconformance,referenceserver}@latest"
need connectconformance "$how"
need referenceserver "$how"
need python3 "apt-get install python3"
ravelin_binary
export RAVELIN

# Servers in parallel: each is one reference server and one Ravelin.
connectconformance --mode server --conf "$ROOT/tests/suites/conformance.yaml" \
  --max-servers "${MAX_SERVERS:-2}" "$@" -- \
  python3 "$ROOT/tests/suites/conformance_shim.py"
