from . import NO_CACHE, Peer


class Nghttpx(Peer):
    name = program = "nghttpx"
    version_flag = "--version"
    cannot = NO_CACHE
    note = "no access log (its default)"

    def start(self, run, front, back, workers, cached):
        return [self.path, "--conf=/dev/null", f"--frontend=127.0.0.1,{front}", f"--backend=127.0.0.1,{back};;proto=h2",
                f"--workers={workers}", "--tls-min-proto-version=TLSv1.3", "--tls13-ciphers=TLS_AES_128_GCM_SHA256",
                "--frontend-http2-max-concurrent-streams=250", "--backend-http2-max-concurrent-streams=250",
                "--no-ocsp", "--rlimit-nofile=20000", f"{run.folder}/key", f"{run.folder}/crt"], {}
