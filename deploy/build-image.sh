#!/usr/bin/env bash
# Builds the Dockerfile where no container engine and no image registry is at
# hand, starts the result and asks `ravelin health`. Needs root, buildah and
# debootstrap; leaves nothing behind.
#
#   deploy/build-image.sh [--profile release|dist] [--no-start]
#
# The base image is made from Debian's packages and this machine's Rust
# toolchain and gets the name that the Dockerfile asks for. Cargo inside uses
# this machine's registry settings, trusted CAs and crate cache; they are
# mounted while it builds and are not part of the image.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
profile=dist
start=1
while [[ $# -gt 0 ]]; do
  case "$1" in
    --profile) profile="$2"; shift 2 ;;
    --no-start) start=0; shift ;;
    *) echo "unknown argument: $1" >&2; exit 64 ;;
  esac
done

need() { command -v "$1" >/dev/null || { echo "missing: $1. To get it: $2" >&2; exit 2; }; }
[[ $EUID -eq 0 ]] || { echo "must run as root (debootstrap, chroot)" >&2; exit 2; }
need buildah "apt-get install buildah"
need debootstrap "apt-get install debootstrap"
need rustc "rustup"

# Under target/: big, and ignored by git.
mkdir -p "$ROOT/target"
WORK="$(mktemp -d "$ROOT/target/image.XXXXXX")"
PID=""
clean() {
  if [[ -n "$PID" ]]; then
    kill "$PID" 2>/dev/null || true
    wait "$PID" 2>/dev/null || true
  fi
  [[ -z "${image_mount:-}" ]] || b umount "$image_container" >/dev/null 2>&1 || true
  rm -rf "$WORK"
}
trap clean EXIT
b() { buildah --root "$WORK/storage" --runroot "$WORK/run" --storage-driver vfs "$@"; }
step() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

# The Dockerfile's first FROM; the other stage starts from nothing.
base="$(awk '$1 == "FROM" { print $2; exit }' "$ROOT/Dockerfile")"
wanted="${base##*:}"
wanted="${wanted%%-*}"
have="$(rustc --version | cut -d' ' -f2)"
[[ "$have" == "$wanted" || "$have" == "$wanted".* ]] ||
  echo "note: the Dockerfile wants Rust $wanted, this machine has $have"

step "base image $base: Debian with a C compiler"
debootstrap --variant=minbase --include=ca-certificates,gcc,g++,libc6-dev,make \
  "${base##*-}" "$WORK/base" >"$WORK/debootstrap.log" 2>&1 || { tail "$WORK/debootstrap.log"; exit 1; }
rm -rf "$WORK"/base/var/cache/apt/archives/*.deb "$WORK"/base/usr/share/{doc,man,locale}

step "base image $base: Rust $have"
sysroot="$(rustc --print sysroot)"
mkdir -p "$WORK/base/usr/local/cargo"
cp -a "$sysroot/bin/cargo" "$sysroot/bin/rustc" "$WORK/base/usr/local/bin/"
cp -a "$sysroot/lib/." "$WORK/base/usr/local/lib/"
container="$(b from scratch)"
mount="$(b mount "$container")"
# Moved, not copied: vfs would hold it twice.
find "$WORK/base" -mindepth 1 -maxdepth 1 -exec mv -t "$mount" {} +
b umount "$container" >/dev/null
b config --env CARGO_HOME=/usr/local/cargo \
  --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
b commit --quiet --rm "$container" "$base" >/dev/null

# Cargo inside sees what cargo outside sees.
cargo_home="${CARGO_HOME:-$HOME/.cargo}"
volumes=()
mkdir -p "$cargo_home/registry"
volumes+=(--volume "$cargo_home/registry:/usr/local/cargo/registry:rw")
config="$WORK/cargo-config.toml"
: >"$config"
for file in "$cargo_home/config.toml" "$cargo_home/config"; do
  if [[ -f "$file" ]]; then cat "$file" >"$config"; break; fi
done
authorities="${CARGO_HTTP_CAINFO:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}"
if [[ -f "$authorities" ]] && ! grep -q '^\[http\]' "$config"; then
  # A copy, not the original: it may be a link into places that are not mounted.
  cp -L "$authorities" "$WORK/authorities.crt"
  volumes+=(--volume "$WORK/authorities.crt:/run/authorities.crt:ro")
  printf '\n[http]\ncainfo = "/run/authorities.crt"\n' >>"$config"
fi
volumes+=(--volume "$config:/usr/local/cargo/config.toml:ro")

step "build, profile $profile"
b bud --isolation chroot --format docker --pull-never --layers=false \
  --build-arg "PROFILE=$profile" "${volumes[@]}" \
  --tag ravelin:local --file "$ROOT/Dockerfile" "$ROOT" >"$WORK/bud.log" 2>&1 || { tail -n 60 "$WORK/bud.log"; exit 1; }

step "inspect"
b inspect --type image --format \
  'user={{.Docker.Config.User}} entrypoint={{.Docker.Config.Entrypoint}} command={{.Docker.Config.Cmd}} health={{.Docker.Config.Healthcheck.Test}}{{"\\n"}}' \
  ravelin:local
image_container="$(b from --pull-never ravelin:local)"
image_mount="$(b mount "$image_container")"
step "image: $(du -sh "$image_mount" | cut -f1), $(find "$image_mount" -type f | wc -l) files"
[[ "$start" == 1 ]] || exit 0

# Runs as the image would: its root, its user, its entry point. Only /dev is
# not there (no engine makes it) and nothing of Ravelin may need it.
cat >"$image_mount/etc/ravelin/ravelin.yaml" <<'YAML'
listeners:
  - {name: plain, address: "127.0.0.1:0"}
routes:
  - {name: all, to: up}
clusters:
  up: {endpoints: ["h2c://127.0.0.1:1"]}
admin: {address: "127.0.0.1:9901"}
access_log: {format: off}
YAML
inside=(chroot --userspec=65532:65532 "$image_mount" /usr/bin/ravelin)
step "start"
"${inside[@]}" run --config /etc/ravelin/ravelin.yaml >"$WORK/ravelin.log" 2>&1 &
PID=$!
end=$((SECONDS + 20))
until "${inside[@]}" health; do
  if ! kill -0 "$PID" 2>/dev/null || ((SECONDS >= end)); then
    cat "$WORK/ravelin.log"
    echo "ravelin health never said yes" >&2
    exit 1
  fi
  sleep 0.2
done
kill -0 "$PID" 2>/dev/null || { cat "$WORK/ravelin.log"; echo "health says yes although Ravelin has ended" >&2; exit 1; }
step "healthy"
kill -TERM "$PID"
wait "$PID" && status=0 || status=$?
PID=""
[[ "$status" == 0 ]] || { cat "$WORK/ravelin.log"; echo "SIGTERM ended it with $status, not 0" >&2; exit 1; }
if "${inside[@]}" health 2>/dev/null; then echo "health says yes although nothing runs" >&2; exit 1; fi
step "SIGTERM: exit 0; health then says no"
