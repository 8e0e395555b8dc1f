"""`http-reuse always` and `proto h2` upstream; `option httplog` is not HAProxy's default and off."""

import resource

from ..process import FILES
from . import Peer


class HAProxy(Peer):
    name, program = "haproxy", "haproxy"
    note = "no log (its default), -db: one process"
    # "HTTP/1.1 200 " and nothing more: allowed, since HTTP/2 upstream has no reason phrase.
    cannot = {"json-h1": "answers without a reason phrase, which h2load 1.52 does not understand"}

    def start(self, run, front, back, workers, cached):
        # It wants two files for each connection, and does not start without.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        store = """
cache store
    total-max-size 64
    max-object-size 4000000
    max-age 600
    process-vary on
""" if cached else ""
        use = """
    http-request cache-use store
    http-response cache-store store
""" if cached else ""
        config = self.write(run, "haproxy.cfg", f"""
global
    nbthread {workers}
    maxconn {min(12000, (min(hard, FILES) - 200) // 2)}
    tune.h2.max-concurrent-streams 250
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-bind-curves X25519
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
frontend front
    bind 127.0.0.1:{front} ssl crt {run.folder}/pem alpn h2,http/1.1 ssl-min-ver TLSv1.3
    default_backend back
{store}
backend back
{use}
    http-reuse always
    server up 127.0.0.1:{back} proto h2
""")
        return [self.path, "-f", config, "-db"], {}
