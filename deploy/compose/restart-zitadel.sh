#!/bin/sh
# Restarts ZITADEL, or puts another image in its place, without a failed call: Ravelin gives it nothing new,
# and answers when nothing is in flight; then ZITADEL may end as abruptly as it does. Meanwhile requests
# are held or answered in their own protocol. When ZITADEL is back it is taken back by itself.
#
#   ./restart-zitadel.sh                  # the image that .env names
set -eu
cd "$(dirname "$0")"
docker compose pull zitadel || true
docker compose exec ravelin ravelin drain --cluster zitadel --timeout 60s ||
  echo "something is still in flight after 60 seconds: going on" >&2
docker compose up --detach --no-deps --force-recreate zitadel
