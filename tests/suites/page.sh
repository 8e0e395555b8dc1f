#!/usr/bin/env bash
# Chromium opens the demo's Console page through Ravelin.
#
#   tests/suites/page.sh [--screenshot FILE] [BINARY]
set -euo pipefail
# shellcheck source=tests/suites/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

picture=""
while [[ $# -gt 0 ]]; do
  case "$1" in
    --screenshot) picture="$(realpath "$2")"; shift 2 ;;
    *) RAVELIN="$1"; shift ;;
  esac
done
ravelin_binary
node_packages
[[ -n "${CHROMIUM:-}" ]] || for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then CHROMIUM="$(command -v "$name")"; break; fi
done
need "${CHROMIUM:-chromium}" "apt-get install chromium, or set CHROMIUM"
need curl "apt-get install curl"
export CHROMIUM

port="$(free_port)"
start demo "$RAVELIN" demo --port "$port"
await "$LAST" 20 "the demo on port $port" curl --insecure --silent --max-time 5 --output /dev/null "https://localhost:$port/debug/healthz"
timeout 120 node "$ROOT/tests/suites/clients/page.js" "https://localhost:$port/ui/console/" ${picture:+"$picture"}
