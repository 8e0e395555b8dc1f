"""`grpc_pass` for everything, as ZITADEL's own manual has it: HTTP/2 upstream, but one request at a
time on each connection, so `keepalive` is as wide as what runs at once."""

import os

from . import Peer


class Nginx(Peer):
    name, program = "nginx", "nginx"
    note = "access log to a file (its default)"

    def start(self, run, front, back, workers):
        user = "user root;" if os.geteuid() == 0 else ""
        config = self.write(run, "nginx.conf", f"""
{user}
daemon off;
worker_processes {workers};
worker_rlimit_nofile 20000;
pid {run.folder}/nginx.pid;
error_log {run.folder}/nginx-error.log;
events {{ worker_connections 16000; }}
http {{
    access_log {run.folder}/nginx-access.log;
    client_body_temp_path {run.folder}/nginx-body;
    proxy_temp_path {run.folder}/nginx-proxy;
    fastcgi_temp_path {run.folder}/nginx-fastcgi;
    uwsgi_temp_path {run.folder}/nginx-uwsgi;
    scgi_temp_path {run.folder}/nginx-scgi;
    keepalive_timeout 300s;
    keepalive_requests 100000000;
    client_max_body_size 0;
    http2_max_concurrent_streams 250;
    upstream back {{ server 127.0.0.1:{back}; keepalive 1000; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{front} ssl http2 reuseport;
        ssl_certificate {run.folder}/crt;
        ssl_certificate_key {run.folder}/key;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        ssl_session_cache shared:tls:10m;
        location / {{ grpc_pass grpc://back; grpc_set_header Host $http_host; grpc_read_timeout 300s; }}
    }}
}}
""")
        return [self.path, "-c", config, "-e", run.folder / "nginx-error.log", "-p", run.folder], {}
