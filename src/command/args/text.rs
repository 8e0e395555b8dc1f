//! What the help says below its lists.

/// Below the help of all.
pub(super) const EXAMPLES: &str = "\
Examples:
  ravelin demo
      Try it: a stand-in for ZITADEL with Ravelin before it, https://localhost:8443
  ravelin dev --trust
      Trusted https on this machine before a ZITADEL on http://localhost:8080
  ravelin --zitadel h2c://zitadel:8080 --login http://login:3000 --domain id.example.com \
      --cert tls.crt --key tls.key
      In front of ZITADEL and its login, with TLS on [::]:8443
  ravelin --upstream h2c://127.0.0.1:8080
      In front of anything, in plaintext on [::]:8000
  ravelin --config /etc/ravelin/ravelin.yaml
  ravelin check --explain --config config/edge.yaml
      What is in effect, or every fault at once
  ravelin check --live
      Ask ZITADEL and its login whether their settings agree with Ravelin's

Flags stand before variables, variables before the file.
Without --config: ./ravelin.yaml, else /etc/ravelin/ravelin.yaml, else no file.
Signals: SIGTERM or Ctrl-C drains, a second one cuts; SIGHUP reopens the access record and reads the
configuration again; SIGUSR2 starts the next process (--upgrade-socket).
RAVELIN_LOG says how much is told on standard error [default: info].
Exit codes: 0 done, 1 failed, 64 wrong usage or configuration.";

/// What stands before what.
pub(super) const PRECEDENCE: &str = "\
Flags stand before variables, variables before the file.
Without --config: ./ravelin.yaml, else /etc/ravelin/ravelin.yaml, else no file.";

/// Below that of `demo`.
pub(super) const DEMO: &str = "\
Makes a certificate of its own and a stand-in that answers as ZITADEL does, prints what to try
(curl lines, one for each protocol), and serves until Ctrl-C. Nothing is left behind.";

/// Below that of `dev`.
pub(super) const DEV: &str = "\
Makes a CA (kept for 825 days; good for localhost, .test, this machine's addresses and the names
given, for nothing else) and certificates (90 days, renewed by itself), prints the settings that
ZITADEL needs, and serves on 127.0.0.1 and [::1] until Ctrl-C. ZITADEL may come later.
Run it as yourself, not with sudo: where root is needed it says so and asks.";

/// Below that of `warm`.
pub(super) const WARM: &str = "\
Asks ZITADEL for the page, learns from it which scripts, styles and lazy chunks there are, and codes
each with brotli 11, zstd 19 and gzip 9: for a Console of 10 MB about a minute of a processor, and
up to 250 MB of memory for each job. What the folder has already is not made again.
Exit codes: 0 done, 1 failed, 64 wrong usage.";
