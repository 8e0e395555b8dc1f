"""Debian's h2o 2.2 speaks only HTTP/1.1 upstream and hands no trailers on: no gRPC. It follows the
client's order of ciphers, which begins with AES-128-GCM."""

import os

from . import NO_CACHE, Peer

NO_GRPC = "no trailers, HTTP/1.1 upstream (2.2)"


class H2O(Peer):
    name, program = "h2o", "h2o"
    version_flag = "--version"
    cannot = {name: NO_GRPC for name in ("grpc-1x100", "grpc-10x32", "grpc-100x10", "grpc-2000", "stream-100", "ping-pong")} | NO_CACHE
    note = "HTTP/1.1 upstream, no access log (its default)"

    def start(self, run, front, back, workers, cached):
        user = "user: root" if os.geteuid() == 0 else ""
        config = self.write(run, "h2o.conf", f"""
{user}
num-threads: {workers}
max-connections: 12000
limit-request-body: 1073741824
http2-idle-timeout: 300
http2-max-concurrent-requests-per-connection: 250
listen:
  host: 127.0.0.1
  port: {front}
  ssl:
    certificate-file: {run.folder}/crt
    key-file: {run.folder}/key
    minimum-version: TLSv1.3
error-log: {run.folder}/h2o-error.log
hosts:
  default:
    paths:
      /:
        proxy.reverse.url: http://127.0.0.1:{back}/
        proxy.preserve-host: ON
        proxy.timeout.keepalive: 300000
""")
        return [self.path, "-c", config], {}
