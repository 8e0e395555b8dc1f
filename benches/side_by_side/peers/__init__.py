"""The proxies, one file each: how it is configured for what is measured, as its own manual advises.

All: one worker, TLS 1.3 with AES-128-GCM and the same P-256 certificate, h2 and HTTP/1.1 in front,
connections upstream kept. HTTP/2 upstream where the proxy can.
"""

import re
import subprocess

from .. import install


class Peer:
    name = ""
    program = ""
    # What it cannot do, by scenario's name, and why; told in the place of a figure.
    cannot = {}
    # Scenarios by the beginning of their names, where it is not for all.
    only = ""
    # What the reader of the table must know.
    note = ""
    version_flag = "-v"

    def __init__(self):
        self.path = install.find(self.program)

    def version(self):
        out = subprocess.run([self.path, self.version_flag], capture_output=True, text=True)
        found = re.search(r"\d+\.\d+\.\d+[\w.+-]*", out.stdout + out.stderr)
        return found.group(0) if found else "?"

    def start(self, run, front, back, workers, cached):
        """Writes its configuration into the run's folder; returns (command, environment)."""
        raise NotImplementedError

    def write(self, run, name, text):
        path = run.folder / name
        path.write_text(text)
        return path


NO_CACHE = {name: "has no cache for what it fetches" for name in ("cached-5k", "cached-350k")}


def all_peers():
    from . import caddy, envoy, h2o, haproxy, nghttpx, nginx, varnish
    return {peer.name: peer for peer in (nghttpx.Nghttpx, haproxy.HAProxy, nginx.Nginx, h2o.H2O, envoy.Envoy, caddy.Caddy,
                                         varnish.Varnish)}
