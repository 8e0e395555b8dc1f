//! What of a configuration is also a flag and a variable.

/// One value of the configuration that is also a flag and a variable.
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) env: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) help: &'static str,
}

/// All of them.
pub(super) const FLAGS: [Flag; 14] = [
    Flag {
        name: "zitadel",
        env: "RAVELIN_ZITADEL",
        key: "zitadel.upstream",
        value: "URL",
        help: "Where ZITADEL is: h2c://host:port, or h2://host:port with TLS of its own; needs --domain",
    },
    Flag {
        name: "upstream",
        env: "RAVELIN_UPSTREAM",
        key: "upstream",
        value: "URL",
        help: "Where requests go: h2c://host:port, h2://, http://, https:// or h2c+unix:/path",
    },
    Flag {
        name: "domain",
        env: "RAVELIN_DOMAIN",
        key: "domain",
        value: "HOST",
        help: "The public host, with its port unless that is the usual one; with --upstream a host without port [default: every host]",
    },
    Flag {
        name: "login",
        env: "RAVELIN_LOGIN",
        key: "zitadel.login",
        value: "URL",
        help: "Where ZITADEL's login application is: http://host:3000",
    },
    Flag {
        name: "tls-mode",
        env: "RAVELIN_TLS_MODE",
        key: "zitadel.tls_mode",
        value: "MODE",
        help: "ZITADEL's own --tlsMode: disabled, external or enabled [default: what --zitadel and --cert say]",
    },
    Flag {
        name: "listen",
        env: "RAVELIN_LISTEN",
        key: "listen",
        value: "ADDRESS",
        help: "Where to listen: ip:port, :port, port or unix:/path [default: [::]:8443 with --cert, else [::]:8000]",
    },
    Flag {
        name: "cert",
        env: "RAVELIN_CERT",
        key: "certificate.cert",
        value: "FILE",
        help: "Certificate chain (PEM); makes the listener speak TLS",
    },
    Flag {
        name: "key",
        env: "RAVELIN_KEY",
        key: "certificate.key",
        value: "FILE",
        help: "Private key (PEM) of --cert",
    },
    Flag {
        name: "admin",
        env: "RAVELIN_ADMIN",
        key: "admin",
        value: "ADDRESS",
        help: "Where health and metrics are served, or off [default: 127.0.0.1:9901]",
    },
    Flag {
        name: "workers",
        env: "RAVELIN_WORKERS",
        key: "workers",
        value: "N",
        help: "Threads that carry requests [default: one for each processor]",
    },
    Flag {
        name: "access-log",
        env: "RAVELIN_ACCESS_LOG",
        key: "access_log.format",
        value: "FORMAT",
        help: "Access records: json, text or off [default: json]",
    },
    Flag {
        name: "drain-delay",
        env: "RAVELIN_DRAIN_DELAY",
        key: "shutdown.delay",
        value: "DURATION",
        help: "From unready until the listeners close [default: 0s]",
    },
    Flag {
        name: "grace",
        env: "RAVELIN_GRACE",
        key: "shutdown.grace",
        value: "DURATION",
        help: "From then until what still runs is cut [default: 30s]",
    },
    Flag {
        name: "upgrade-socket",
        env: "RAVELIN_UPGRADE_SOCKET",
        key: "upgrade.socket",
        value: "FILE",
        help: "Unix socket through which the next process takes the listening sockets over",
    },
];
