#!/bin/sh
# CPU of one gRPC unary call: Ravelin against HAProxy, one core each in turn. TLS 1.3 and h2 in
# front, h2c behind, the same certificate, 100 calls in flight on one connection.
#
#   RAVELIN=target/dist/ravelin benches/haproxy_ratio.sh
#
# Counts what the scheduler says the process ran (/proc/PID/task/*/schedstat), not the time that
# passed: neither the load's nor the upstream's speed is in it. The proxy has core 0 to itself, load
# and upstream share core 1. ROUNDS interleaved rounds of CALLS calls; the medians are compared.
# STANDIN: the upstream (default: examples/standin beside RAVELIN).
# Needs haproxy, h2load (Debian: nghttp2-client), taskset, curl and openssl. Builds nothing.
set -eu

RAVELIN=${RAVELIN:-target/dist/ravelin}
STANDIN=${STANDIN:-$(dirname "$RAVELIN")/examples/standin}
CALLS=${CALLS:-100000}
ROUNDS=${ROUNDS:-3}
BACK=${BACK:-18080}
RAVELIN_PORT=${RAVELIN_PORT:-18443}
HAPROXY_PORT=${HAPROXY_PORT:-18444}
PATH=$PATH:/usr/sbin

for tool in haproxy h2load taskset curl openssl; do
    command -v "$tool" >/dev/null || { echo "haproxy_ratio: $tool is missing" >&2; exit 2; }
done
for file in "$RAVELIN" "$STANDIN"; do
    [ -x "$file" ] || { echo "haproxy_ratio: $file is not there; build it first" >&2; exit 2; }
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
cat "$folder/crt" "$folder/key" >"$folder/pem"
printf '\0\0\0\0\013hello world' >"$folder/frame"

cat >"$folder/ravelin.yaml" <<YAML
workers: 1
listeners:
  - {name: https, address: "127.0.0.1:$RAVELIN_PORT", tls: {certificates: [{cert: "$folder/crt", key: "$folder/key"}]}}
routes: [{name: all, to: up}]
clusters: {up: {endpoints: ["h2c://127.0.0.1:$BACK"]}}
admin: {address: "off"}
access_log: {format: "off"}
YAML
cat >"$folder/haproxy.cfg" <<CFG
global
    nbthread 1
    tune.h2.max-concurrent-streams 250
    # What rustls chooses, so that both encrypt alike.
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:$HAPROXY_PORT ssl crt $folder/pem alpn h2 ssl-min-ver TLSv1.3
    default_backend back
backend back
    http-reuse always
    server up 127.0.0.1:$BACK proto h2
CFG

taskset -c 1 "$STANDIN" "127.0.0.1:$BACK" >"$folder/standin.log" 2>&1 &
pids="$pids $!"
taskset -c 0 "$RAVELIN" run --config "$folder/ravelin.yaml" >"$folder/ravelin.log" 2>&1 &
ravelin=$!
taskset -c 0 haproxy -f "$folder/haproxy.cfg" -db >"$folder/haproxy.log" 2>&1 &
haproxy=$!
pids="$pids $ravelin $haproxy"

# The answer must be right before its price is of interest: the message back, then the status.
check() {
    tries=0
    until curl --silent --cacert "$folder/crt" --http2 --data-binary "@$folder/frame" \
        --header 'content-type: application/grpc' --header 'te: trailers' --tlsv1.3 \
        --dump-header "$folder/head" --output "$folder/body" \
        "https://localhost:$1/ravelin.test.Echo/Unary" &&
        cmp -s "$folder/frame" "$folder/body" && grep -q '^grpc-status: 0' "$folder/head"; do
        tries=$((tries + 1))
        if [ "$tries" -ge 100 ]; then
            echo "haproxy_ratio: no right answer at port $1" >&2
            cat "$folder"/*.log >&2
            exit 1
        fi
        sleep 0.1
    done
}

load() {
    taskset -c 1 h2load -c1 -m100 -n "$2" -t1 -d "$folder/frame" -H 'te: trailers' \
        -H 'content-type: application/grpc' "https://localhost:$1/ravelin.test.Echo/Unary" \
        >"$folder/h2load"
    if ! grep -q " $2 succeeded, 0 failed, 0 errored" "$folder/h2load"; then
        cat "$folder/h2load" >&2
        exit 1
    fi
}

# Nanoseconds that all threads of a process have run.
ran() {
    cat "/proc/$1/task/"*/schedstat | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# Microseconds of one call, appended to a file.
measure() {
    before=$(ran "$3")
    load "$2" "$CALLS"
    after=$(ran "$3")
    awk -v ns=$((after - before)) -v calls="$CALLS" 'BEGIN { printf "%.2f\n", ns / 1000 / calls }' |
        tee -a "$folder/$1.us" | sed "s/^/$1: /; s/\$/ µs/"
    grep -E '^(TLS Protocol|Cipher)' "$folder/h2load" | tr '\n' ' ' >"$folder/$1.tls"
}

median() {
    sort -n "$folder/$1.us" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'
}

check "$RAVELIN_PORT"
check "$HAPROXY_PORT"
load "$RAVELIN_PORT" 10000
load "$HAPROXY_PORT" 10000
round=0
while [ "$round" -lt "$ROUNDS" ]; do
    round=$((round + 1))
    measure ravelin "$RAVELIN_PORT" "$ravelin"
    measure haproxy "$HAPROXY_PORT" "$haproxy"
done
if ! cmp -s "$folder/ravelin.tls" "$folder/haproxy.tls"; then
    echo "haproxy_ratio: not the same TLS: $(cat "$folder/ravelin.tls" "$folder/haproxy.tls")" >&2
    exit 1
fi
echo "both: $(cat "$folder/ravelin.tls")"
awk -v ours="$(median ravelin)" -v theirs="$(median haproxy)" 'BEGIN {
    printf "CPU of a gRPC unary call: ravelin %.2f µs, haproxy %.2f µs, ratio %.2f\n", ours, theirs, ours / theirs
}'
