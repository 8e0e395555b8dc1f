#!/bin/sh
# Instructions that Ravelin executes for one call, by scenario: the count by which a change is
# judged, since it hardly moves when the machine is busy. Access record and metrics are on, as
# shipped; the kernel's share is not in it (tests/suites/syscalls.sh counts the ways there).
#
#   RAVELIN=target/release/ravelin benches/instructions.sh [SCENARIO…]
#
# Callgrind counts one process; each scenario runs with few calls, then with many, and the
# difference of the two is divided by the difference in calls, so that start, handshake and
# connecting are not in it.
#
#   unary   gRPC unary, 1 connection × 100 streams      many    the same, 100 × 10
#   lone    gRPC unary, one at a time                   stream  gRPC server stream of 100 messages
#   web     gRPC-Web unary, 1 × 100                     json    2.5 KB of JSON, 1 × 100
#   h1      2.5 KB of JSON over HTTP/1.1, 10 connections
#   down    10 MB over h2, one at a time                up      the same, sent
#
# PROFILE=folder keeps callgrind's output there, for callgrind_annotate; build with symbols then:
#   CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_STRIP=none \
#       cargo build --release --bin ravelin --example standin
# PRESET=1: through ZITADEL's preset, in the place of one route that takes everything.
# STANDIN: the upstream (default: examples/standin beside RAVELIN). Builds nothing.
# Needs valgrind, h2load (Debian: nghttp2-client), curl and openssl.
set -eu

RAVELIN=${RAVELIN:-target/release/ravelin}
STANDIN=${STANDIN:-$(dirname "$RAVELIN")/examples/standin}
PROFILE=${PROFILE:-}
BACK=${BACK:-18180}
FRONT=${FRONT:-18543}
[ $# -gt 0 ] || set -- unary many lone stream web json h1 down up

for tool in valgrind callgrind_control h2load curl openssl; do
    command -v "$tool" >/dev/null || { echo "instructions: $tool is missing" >&2; exit 2; }
done
for file in "$RAVELIN" "$STANDIN"; do
    [ -x "$file" ] || { echo "instructions: $file is not there; build it first" >&2; exit 2; }
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
printf '\0\0\0\0\013hello world' >"$folder/frame"
printf '\0\0\0\0\021count=100,size=16' >"$folder/order"
head -c 10000000 /dev/zero >"$folder/large"
if [ -n "${PRESET:-}" ]; then
    # Neither asks for anything behind the counted calls' backs.
    way="zitadel: {upstream: \"h2c://127.0.0.1:$BACK\", domain: \"localhost:$FRONT\", health: \"off\", cache: false}"
else
    way="routes: [{name: all, to: up}]
clusters: {up: {endpoints: [\"h2c://127.0.0.1:$BACK\"]}}"
fi
mkdir "$folder/log"
cat >"$folder/ravelin.yaml" <<YAML
workers: 1
listeners:
  - {name: https, address: "127.0.0.1:$FRONT", tls: {certificates: [{cert: "$folder/crt", key: "$folder/key"}]}}
$way
admin: {address: "off"}
access_log: {format: json, output: "$folder/log/access.log"}
YAML

"$STANDIN" "127.0.0.1:$BACK" >"$folder/standin.log" 2>&1 &
pids="$pids $!"
valgrind --tool=callgrind --callgrind-out-file="$folder/count" --log-file="$folder/valgrind.log" \
    "$RAVELIN" run --config "$folder/ravelin.yaml" >"$folder/ravelin.log" 2>&1 &
ravelin=$!
pids="$pids $ravelin"

url=https://localhost:$FRONT
tries=0
until curl --silent --cacert "$folder/crt" --http2 --data-binary "@$folder/frame" \
    --header 'content-type: application/grpc' --header 'te: trailers' --tlsv1.3 \
    --dump-header "$folder/head" --output "$folder/body" "$url/ravelin.test.Echo/Unary" &&
    cmp -s "$folder/frame" "$folder/body" && grep -q '^grpc-status: 0' "$folder/head"; do
    tries=$((tries + 1))
    if [ "$tries" -ge 400 ]; then
        echo "instructions: no right answer" >&2
        cat "$folder"/*.log >&2
        exit 1
    fi
    sleep 0.2
done

# load SCENARIO CALLS
load() {
    case $1 in
    unary) set -- "$2" -c1 -m100 -d "$folder/frame" ;;
    many) set -- "$2" -c100 -m10 -d "$folder/frame" ;;
    lone) set -- "$2" -c1 -m1 -d "$folder/frame" ;;
    stream) set -- "$2" -c1 -m100 -d "$folder/order" ;;
    web) set -- "$2" -c1 -m100 -d "$folder/frame" ;;
    json) set -- "$2" -c1 -m100 ;;
    h1) set -- "$2" -c10 -m1 --h1 ;;
    down) set -- "$2" -c1 -m1 ;;
    up) set -- "$2" -c1 -m1 -d "$folder/large" ;;
    *) echo "instructions: no scenario $1" >&2; exit 2 ;;
    esac
    calls=$1
    shift
    h2load -t1 -n "$calls" "$@" -H "content-type: $media" -H 'te: trailers' "$url$path" \
        >"$folder/h2load"
    if ! grep -q " $calls succeeded, 0 failed, 0 errored" "$folder/h2load"; then
        cat "$folder/h2load" >&2
        exit 1
    fi
}

# Instructions of all threads since the last reading.
dumps=0
read_count() {
    callgrind_control --dump="$1" "$ravelin" >"$folder/control" 2>&1
    awk '/^totals:/ { print $2 }' "$folder/count.$((dumps + 1))"
}

printf '%-8s %10s\n' scenario 'per call'
for scenario in "$@"; do
    media=application/grpc
    path=/ravelin.test.Echo/Unary
    few=500 many=4500
    case $scenario in
    stream) path=/ravelin.test.Echo/ServerStream few=100 many=500 ;;
    web) media=application/grpc-web+proto ;;
    json | h1) media=application/json path=/.well-known/openid-configuration ;;
    down) media=application/json path=/bytes/10000000 few=2 many=12 ;;
    up) media=application/octet-stream path=/sink few=2 many=12 ;;
    esac
    load "$scenario" "$few"
    read_count warm >/dev/null
    dumps=$((dumps + 1))
    load "$scenario" "$few"
    base=$(read_count few)
    dumps=$((dumps + 1))
    load "$scenario" "$many"
    whole=$(read_count "$scenario")
    dumps=$((dumps + 1))
    printf '%-8s %10d\n' "$scenario" $(((whole - base) / (many - few)))
    if [ -n "$PROFILE" ]; then
        mkdir -p "$PROFILE"
        cp "$folder/count.$dumps" "$PROFILE/$scenario.callgrind"
    fi
done
