#!/bin/sh
# How many system calls a worker makes for one gRPC call, with 100 in flight on one TLS connection.
# What would make them many: a write for every frame, a read for every record, a wake for every
# stream. Fails above LIMIT (default 0.3).
#
#   RAVELIN=target/release/ravelin tests/suites/syscalls.sh
#
# STANDIN is the stand-in's example (default: examples/standin beside RAVELIN). Builds nothing:
#   cargo build --release --bin ravelin --example standin
# Needs strace, h2load (Debian: nghttp2-client), curl and openssl, and the right to trace.
set -eu

RAVELIN=${RAVELIN:-target/release/ravelin}
STANDIN=${STANDIN:-$(dirname "$RAVELIN")/examples/standin}
LIMIT=${LIMIT:-0.3}
REQUESTS=${REQUESTS:-50000}
FRONT=${FRONT:-18443}
BACK=${BACK:-18080}

for tool in strace h2load curl openssl; do
    command -v "$tool" >/dev/null || { echo "syscalls: $tool is missing" >&2; exit 2; }
done
for file in "$RAVELIN" "$STANDIN"; do
    [ -x "$file" ] || { echo "syscalls: $file is not there; build it first" >&2; exit 2; }
done

folder=$(mktemp -d)
pids=
finish() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout "$folder/key" -out "$folder/crt" 2>/dev/null
# One gRPC message of eleven bytes.
printf '\0\0\0\0\013hello world' >"$folder/frame"
cat >"$folder/ravelin.yaml" <<YAML
workers: 1
listeners:
  - {name: https, address: "127.0.0.1:$FRONT", tls: {certificates: [{cert: "$folder/crt", key: "$folder/key"}]}}
routes: [{name: all, to: up}]
clusters: {up: {endpoints: ["h2c://127.0.0.1:$BACK"]}}
admin: {address: "off"}
access_log: {format: "off"}
YAML

"$STANDIN" "127.0.0.1:$BACK" >"$folder/standin.log" 2>&1 &
pids="$pids $!"
"$RAVELIN" run --config "$folder/ravelin.yaml" >"$folder/ravelin.log" 2>&1 &
ravelin=$!
pids="$pids $ravelin"

url=https://localhost:$FRONT/ravelin.test.Echo/Unary
tries=0
until curl --silent --cacert "$folder/crt" --http2 --data-binary "@$folder/frame" --dump-header - \
    --output /dev/null --header 'content-type: application/grpc' --header 'te: trailers' "$url" |
    grep -q '^grpc-status: 0'; do
    tries=$((tries + 1))
    if [ "$tries" -ge 100 ]; then
        echo "syscalls: no gRPC answer at $url" >&2
        cat "$folder/ravelin.log" "$folder/standin.log" >&2
        exit 1
    fi
    sleep 0.1
done

worker=$(grep -lx worker-0 "/proc/$ravelin/task/"*/comm | head -n 1 | cut -d/ -f5)
strace -c -o "$folder/strace" -p "$worker" 2>"$folder/strace.log" &
strace=$!
pids="$pids $strace"
tries=0
until grep -qs attached "$folder/strace.log"; do
    tries=$((tries + 1))
    if [ "$tries" -ge 100 ] || ! kill -0 "$strace" 2>/dev/null; then
        echo "syscalls: cannot trace: $(cat "$folder/strace.log")" >&2
        exit 2
    fi
    sleep 0.1
done
h2load -c1 -m100 -n "$REQUESTS" -t1 -d "$folder/frame" -H 'content-type: application/grpc' \
    -H 'te: trailers' "$url" >"$folder/h2load"
kill -INT "$strace"
wait "$strace" || true

if ! grep -q " $REQUESTS succeeded, 0 failed, 0 errored" "$folder/h2load"; then
    cat "$folder/h2load" >&2
    exit 1
fi
cat "$folder/strace"
# The last line: percent, seconds, microseconds a call, calls, errors if any, "total".
awk -v requests="$REQUESTS" -v limit="$LIMIT" '
    $NF == "total" {
        seen = 1
        ratio = $4 / requests
        printf "%d system calls for %d gRPC calls: %.3f each (at most %s)\n", $4, requests, ratio, limit
    }
    END { exit !(seen && ratio <= limit) }' "$folder/strace"
