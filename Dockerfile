# syntax=docker/dockerfile:1
# Ravelin's image: the binary, the C library it is linked to and the public CA
# certificates; nothing else, so nothing else has to be patched.
#
#   docker build -t ravelin .
#   docker run -p 8443:8443 -v ./ravelin.yaml:/etc/ravelin/ravelin.yaml:ro ravelin
#
# An image with the Console's coded variants in it (see `ravelin warm --help`, and
# `cache: {directory: /var/lib/ravelin/variants}`) is two lines more:
#
#   FROM ravelin
#   COPY variants /var/lib/ravelin/variants
#
# deploy/build-image.sh builds and starts it where no container engine runs.

FROM rust:1.95-bookworm AS build
# `release` compiles in a third of the time, `dist` (fat LTO) runs faster.
ARG PROFILE=dist
WORKDIR /src

# The dependencies, in a layer that stays as long as the lock file does: the
# crate's own sources are empty files here.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs benches/request.rs \
 && cargo build --locked --profile "$PROFILE" --bin ravelin \
 && rm -r src

COPY src src
# Cargo compares times: the real sources must be younger than what was built of
# the empty ones.
RUN find src -name '*.rs' -exec touch {} + \
 && cargo build --locked --profile "$PROFILE" --bin ravelin

# The root of the final image. glibc resolves names by itself since 2.34
# (files, dns), so the libraries that the binary names are all that it loads.
RUN mkdir -p /root-fs/etc/ssl/certs /root-fs/etc/ravelin /root-fs/usr/bin /root-fs/tmp \
 && chmod 1777 /root-fs/tmp \
 && cp "target/$PROFILE/ravelin" /root-fs/usr/bin/ravelin \
 && ldd /root-fs/usr/bin/ravelin | grep -oE '/[^ ]+' | grep -v '^/root-fs' | sort -u \
  | while read -r library; do cp --parents -L "$library" /root-fs; done \
 && cp -L /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/ \
 && echo 'ravelin:x:65532:65532:ravelin:/:/usr/sbin/nologin' > /root-fs/etc/passwd \
 && echo 'ravelin:x:65532:' > /root-fs/etc/group \
 && echo 'hosts: files dns' > /root-fs/etc/nsswitch.conf

FROM scratch
COPY --from=build /root-fs /
USER 65532:65532
# TLS and plaintext, the defaults. The admin listener (9901) is on
# loopback: the health check asks it from inside.
EXPOSE 8443 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["/usr/bin/ravelin", "health"]
# SIGTERM drains: give the engine's stop timeout more than the configured grace.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/ravelin"]
CMD ["run", "--config", "/etc/ravelin/ravelin.yaml"]
