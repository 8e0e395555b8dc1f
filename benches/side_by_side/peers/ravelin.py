"""Ravelin as it is shipped: ZITADEL's preset (guards, hosts, identity headers, limits), metrics,
and the access record in JSON to a file; once more with the record off."""

from . import Peer


class Ravelin(Peer):
    version_flag = "--version"
    program = "ravelin"

    def __init__(self, name, path, record=True):
        self.name, self.path, self.record = name, path, record
        self.note = "ZITADEL's preset, metrics" + (", JSON record to a file" if record else ", record off")

    def start(self, run, front, back, workers, cached):
        record = f'format: json, output: "{run.folder}/log/access.log"' if self.record else 'format: "off"'
        config = self.write(run, "ravelin.yaml", f"""
workers: {workers}
zitadel: {{upstream: "h2c://127.0.0.1:{back}", domain: "localhost:{front}"}}
listeners:
  - name: https
    address: "127.0.0.1:{front}"
    tls: {{certificates: [{{cert: "{run.folder}/crt", key: "{run.folder}/key"}}]}}
    limits: {{connections_per_client: 20000}}
admin: "127.0.0.1:0"
access_log: {{{record}}}
""")
        return [self.path, "run", "--config", config], {}
