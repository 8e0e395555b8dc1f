#!/usr/bin/env bash
# A real single-page application (Angular, built twice as ZITADEL's Console is) served by the
# stand-in, opened in Chromium through Ravelin: bytes on the wire cold, warm and at a reload, and an
# upgrade to the second build while a tab of the first is open.
#
#   tests/suites/console.sh [BINARY]     JSON=FILE: the figures as JSON too
set -euo pipefail
# shellcheck source=tests/suites/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $# -eq 0 ]] || RAVELIN="$1"
ravelin_binary
node_packages
STANDIN="${STANDIN:-$(dirname "$RAVELIN")/examples/standin}"
[[ -x "$STANDIN" ]] || die "no stand-in at $STANDIN: run 'cargo build --release --example standin' or set STANDIN"
[[ -n "${CHROMIUM:-}" ]] || for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then CHROMIUM="$(command -v "$name")"; break; fi
done
need "${CHROMIUM:-chromium}" "apt-get install chromium, or set CHROMIUM"
export CHROMIUM

# The two builds, made when their sources are newer.
app="$ROOT/tests/suites/console"
if [[ ! -f "$app/dist/b/index.html" || -n "$(find "$app/src/app" "$app/angular.json" "$app/package-lock.json" -newer "$app/dist/b/index.html" -print -quit)" ]]; then
  say "building the application twice"
  (
    cd "$app"
    npm ci --ignore-scripts --no-fund --no-audit --loglevel=error
    node prepare.mjs
    npx ng build
    npx ng build --configuration b
  ) >"$SCRATCH/build.out" 2>&1 || { tail -n 30 "$SCRATCH/build.out"; die "the application cannot be built"; }
fi

make_certificate
port="$(free_port)"
back="$(free_port)"
cat >"$SCRATCH/ravelin.yaml" <<YAML
zitadel: {upstream: "h2c://127.0.0.1:$back", domain: "localhost:$port"}
listeners:
  - {name: https, address: "127.0.0.1:$port", tls: {certificates: [{cert: $SCRATCH/cert.pem, key: $SCRATCH/key.pem}]}}
admin: {address: "127.0.0.1:0"}
access_log: {output: $SCRATCH/access.log}
YAML
start ravelin "$RAVELIN" run --config "$SCRATCH/ravelin.yaml"
await "$LAST" 20 "Ravelin's admin listener" listener_address admin
ADMIN="$(listener_address admin)" timeout 300 node "$ROOT/tests/suites/clients/console.js" \
  "https://localhost:$port/ui/console/" "$STANDIN" "127.0.0.1:$back" "$app/dist/a" "$app/dist/b" ||
  { tail -n 30 "$SCRATCH"/ravelin.err; die "the console does not work as it should"; }
