"""`h2c://` upstream, as ZITADEL's own manual has it. GOMAXPROCS stands for the worker."""

from . import NO_CACHE, Peer


class Caddy(Peer):
    name = program = "caddy"
    version_flag = "version"
    cannot = NO_CACHE
    note = "no access log (its default)"

    def start(self, run, front, back, workers, cached):
        config = self.write(run, "Caddyfile", f"""
{{
    admin off
    auto_https off
    persist_config off
    servers {{
        protocols h1 h2
    }}
}}
https://localhost:{front} {{
    bind 127.0.0.1
    tls {run.folder}/crt {run.folder}/key {{
        protocols tls1.3
    }}
    reverse_proxy h2c://127.0.0.1:{back}
}}
""")
        home = {"HOME": str(run.folder), "XDG_DATA_HOME": str(run.folder), "XDG_CONFIG_HOME": str(run.folder),
                "GOMAXPROCS": str(workers)}
        return [self.path, "run", "--config", config, "--adapter", "caddyfile"], home
