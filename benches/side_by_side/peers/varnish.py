"""Varnish, with hitch before it for TLS: only for what it is there for. It does not encode with brotli,
and stores what upstream has encoded. hitch follows the client's order of ciphers."""

import os
import shlex

from .. import install
from ..process import free_port
from . import Peer


class Varnish(Peer):
    name, program = "varnish", "varnishd"
    version_flag = "-V"
    only = "cached-"
    note = "behind hitch, no log (its default)"

    def __init__(self):
        super().__init__()
        self.hitch = install.find("hitch")
        if not self.hitch:
            self.path = None

    def start(self, run, front, back, workers, cached):
        middle = free_port()
        rules = self.write(run, "varnish.vcl", f"""
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{back}"; }}
sub vcl_recv {{ unset req.http.cookie; }}
""")
        user = ["--user=root"] if os.geteuid() == 0 else []
        hitch = [self.hitch, f"--backend=[127.0.0.1]:{middle}", f"--frontend=[127.0.0.1]:{front}", "--write-proxy-v2", "--alpn-protos=h2,http/1.1",
                 "--tls-protos=TLSv1.3", f"--workers={workers}", *user, str(run.folder / "pem")]
        varnish = [self.path, "-F", "-f", str(rules), "-a", f"127.0.0.1:{middle},PROXY", "-n", str(run.folder / "varnish"),
                   "-s", "malloc,256m", "-p", "feature=+http2", "-p", "http_gzip_support=off", "-p", "thread_pools=1", "-T", "none"]
        return ["sh", "-c", f"{shlex.join(map(str, varnish))} & exec {shlex.join(map(str, hitch))}"], {}
