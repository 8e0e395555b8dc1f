#!/usr/bin/env bash
# h2spec, strict, all cases, over TLS and over plaintext (prior knowledge).
#
#   tests/suites/h2spec.sh [BINARY]      (or RAVELIN=BINARY)
#
# Passes when both legs say 146 passed, 0 failed, and at most 1 skipped: h2spec
# leaves out one case by itself and, depending on its version, counts it or not.
set -euo pipefail
# shellcheck source=tests/suites/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $# -eq 0 ]] || RAVELIN="$1"
PATH="$PATH:$HOME/go/bin"
need h2spec "go install github.com/summerwind/h2spec/cmd/h2spec@latest"
STANDIN="${STANDIN:-$ROOT/target/release/examples/standin}"
[[ -x "$STANDIN" ]] || die "no stand-in at $STANDIN: run 'cargo build --release --example standin' or set STANDIN"

start standin "$STANDIN" 127.0.0.1:0
await "$LAST" 20 "the stand-in's address" first_line "$SCRATCH/standin.out"
UPSTREAM="$(first_line "$SCRATCH/standin.out" | grep -oE '127\.0\.0\.1:[0-9]+')"
start_ravelin "$UPSTREAM"

# What most cases ask for. Its answer takes a moment: cases send one frame, then another that is wrong for
# a stream that is still open, and an answer that is whole in between makes it one that is not.
H2SPEC_PATH="${H2SPEC_PATH:-/bytes/32?order=slow-head=100}"

failed=0
# leg NAME ADDRESS FLAGS…
leg() {
  local name="$1" address="$2" log="$SCRATCH/h2spec-$1.txt" line
  shift 2
  timeout 600 h2spec --strict -h localhost -p "${address##*:}" -P "$H2SPEC_PATH" -o 5 "$@" >"$log" 2>&1 || true
  line="$(grep -E '^[0-9]+ tests, ' "$log" | tail -n 1 || true)"
  say "h2spec $name: ${line:-no result}"
  if [[ ! "$line" =~ ,\ 146\ passed,\ [01]\ skipped,\ 0\ failed ]]; then
    failed=1
    # The failures stand after the list of cases; without them, the end tells.
    if grep -q '^Failures:' "$log"; then sed -n '/^Failures:/,$p' "$log"; else tail -n 40 "$log"; fi
  fi
}
leg TLS "$TLS_ADDRESS" -t -k
leg plaintext "$PLAIN_ADDRESS"
kill -0 "$RAVELIN_PID" || { say "Ravelin has ended"; failed=1; }
exit "$failed"
