"""`grpc_pass` for everything, as ZITADEL's own manual has it: HTTP/2 upstream, but one request at a
time on each connection, so `keepalive` is as wide as what runs at once."""

import os

from . import Peer


class Nginx(Peer):
    name, program = "nginx", "nginx"
    note = "access log to a file (its default)"

    def start(self, run, front, back, workers, cached):
        user = "user root;" if os.geteuid() == 0 else ""
        module = "/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so"
        load = f"load_module {module};" if cached and os.path.exists(module) else ""
        store = f"""
    proxy_cache_path {run.folder}/nginx-cache keys_zone=store:10m max_size=512m;
    sendfile on;
    tcp_nopush on;
    {"brotli on; brotli_types text/javascript;" if load else ""}
    gzip on;
    gzip_types text/javascript;
""" if cached else ""
        way = """proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
            proxy_cache store;""" if cached else "grpc_pass grpc://back; grpc_set_header Host $http_host; grpc_read_timeout 300s;"
        config = self.write(run, "nginx.conf", f"""
{load}
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
{store}
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
        location / {{ {way} }}
    }}
}}
""")
        return [self.path, "-c", config, "-e", run.folder / "log" / "nginx-error.log", "-p", run.folder], {}
