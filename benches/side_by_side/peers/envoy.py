from . import Peer


class Envoy(Peer):
    name = program = "envoy"
    version_flag = "--version"
    note = "no access log (its default)"
    cannot = {"cached-350k": "its cache ends the process where an answer has Vary (1.40, allowed_vary_headers)"}

    def version(self):
        import re
        import subprocess
        out = subprocess.run([self.path, "--version"], capture_output=True, text=True).stdout
        found = re.search(r"/(\d+\.\d+\.\d+)/", out)
        return found.group(1) if found else "?"

    def start(self, run, front, back, workers, cached):
        store = """
          - name: envoy.filters.http.cache
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.cache.v3.CacheConfig
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.http.cache.simple_http_cache.v3.SimpleHttpCacheConfig""" if cached else ""
        config = self.write(run, "envoy.yaml", f"""
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: 127.0.0.1, port_value: {front}}}}}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_params: {{tls_minimum_protocol_version: TLSv1_3, ecdh_curves: [X25519MLKEM768, X25519, P-256]}}
            tls_certificates:
            - {{certificate_chain: {{filename: "{run.folder}/crt"}}, private_key: {{filename: "{run.folder}/key"}}}}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          codec_type: AUTO
          http2_protocol_options: {{max_concurrent_streams: 250}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: back, timeout: 300s}}}}]
          http_filters:{store}
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: back
    type: STATIC
    connect_timeout: 5s
    circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: back
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {back}}}}}}}}}]}}]
""")
        return [self.path, "-c", config, "--concurrency", workers, "--disable-hot-restart", "--log-level", "error"], {}
