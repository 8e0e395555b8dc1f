#!/usr/bin/env bash
# Builds every fuzz target and runs each for a short while.
#
#   tests/suites/fuzz.sh [SECONDS EACH, default 20] [TARGET…]
#
# Needs no nightly toolchain. Coverage feedback without a sanitizer, since the
# crate forbids unsafe code. A longer search: tests/suites/fuzz.sh 3600 config
set -euo pipefail
# shellcheck source=tests/suites/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds="${1:-20}"
[[ $# -eq 0 ]] || shift
need cargo-fuzz "cargo install --locked cargo-fuzz"
need g++ "apt-get install g++ (libFuzzer is C++)"
export RUSTC_BOOTSTRAP=1 # cargo-fuzz asks for -Z flags that stable rustc otherwise refuses
cd "$ROOT"
cp Cargo.lock fuzz/Cargo.lock

targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || mapfile -t targets < <(cargo fuzz list)
# In target/, so that nothing is kept outside of it.
build=(--dev --sanitizer none --target-dir "$ROOT/target/fuzz")
cargo fuzz build "${build[@]}"
# fuzz TARGET: one search.
fuzz() {
  local target="$1" log="$SCRATCH/$1.log" corpus="$ROOT/target/fuzz/corpus/$1"
  mkdir -p "$corpus"
  if cargo fuzz run "${build[@]}" "$target" "$corpus" -- "-max_total_time=$seconds" -timeout=10 -rss_limit_mb=2048 >"$log" 2>&1; then
    say "fuzz $target: passed, $(grep -oE 'Done [0-9]+ runs' "$log" | tail -n 1)"
  else
    say "fuzz $target: FAILED"
    tail -n 40 "$log"
    return 1
  fi
}

# Each keeps one core busy: as many at once as there are.
failed=0 running=0
for target in "${targets[@]}"; do
  if [[ $running -ge $(nproc) ]]; then
    wait -n || failed=1
    running=$((running - 1))
  fi
  fuzz "$target" &
  running=$((running + 1))
done
while [[ $running -gt 0 ]]; do
  wait -n || failed=1
  running=$((running - 1))
done
exit "$failed"
