//! Ravelin: the HTTP/2 front-end made for ZITADEL. One binary that takes requests over TLS or
//! plaintext (HTTP/1.1, HTTP/2) and carries them, as streams, to servers behind it.
//!
//! # The way of a request
//!
//! ```text
//! client ⇄ downstream          ⇄ pipeline               ⇄ upstream            ⇄ server
//!          bind, accept          admit: class, host,      cluster, endpoint
//!          PROXY header          route                    HTTP/2, HTTP/1.1
//!          handshake             cache                    TLS
//!          http1, http2          forward: headers,
//!          exchange, rescue      clocks, retries
//! ```
//!
//! - [`downstream`] owns the client's connection. Each request becomes an `exchange::Exchange` and
//!   a `Request<Body>`, and goes through the trait `downstream::exchange::Service`.
//! - [`worker`] composes: its `Service` is the [`pipeline`] of the plan in force.
//! - `pipeline::admit` decides on the head alone (class, host, route); `pipeline::cache` answers from
//!   memory what may be, and asks once for what many want; `pipeline::forward` makes the
//!   head for the other leg, keeps the clocks, and asks again what was provably not processed.
//! - [`upstream`] holds the connections: HTTP/2 shared by many streams, HTTP/1.1 one by one.
//! - The answer comes back as a body that is read as the client takes it. An [`error`] on the way
//!   becomes an answer in the caller's own protocol in `downstream::rescue`, and nowhere else.
//!   [`telemetry`] writes one record when the body has ended or was dropped.
//!
//! # Which room may name which
//!
//! ```text
//! main → command → server → worker → config → {admin, downstream, pipeline} → upstream
//!      → telemetry → exchange → body → http2 → io → watch → error → message
//! ```
//!
//! A room names only rooms to its right; those in braces never name each other, and neither do the
//! stages of the pipeline. [`standin`] (the ZITADEL of the demo and the tests) names none, and only
//! commands and tests name it. `tests/architecture.rs` reads this line and holds `src/` to it.
//!
//! [`config`] fills the `plan` of each room (`downstream::plan`, `pipeline::plan`, …): immutable,
//! nothing left to parse, no default left to apply. That is why it stands left of them.
//!
//! # Threads
//!
//! - **Workers**, one for each processor ([`worker`]): a thread with a `current_thread` runtime, a
//!   listening socket of its own for each listener (`SO_REUSEPORT`), its own upstream connections
//!   and counters. A request never changes threads, so nothing on its path is `Send` or locked, but for
//!   the places of an endpoint with `max_in_flight` (`upstream::places`).
//! - **Control** ([`server`], the main thread): start, signals, drain, the [`admin`] listener, and what
//!   looks for endpoints and checks them (`upstream::discovery`, `upstream::health`).
//! - Beside them: one thread writes access records, a few of low priority code what the cache keeps, one
//!   for each TLS listener, for the configuration and for each file of endpoints watches it
//!   ([`watch`]). All share, read-only, the plan and TLS configuration.
//!
//! Writes are collected: [`io`] holds small ones back until the connection's task has been polled
//! to its end, so that many streams share one system call.
//!
//! # Where to look
//!
//! | For | See |
//! |---|---|
//! | a flag, a variable, an exit code | `command::args`, [`command`] |
//! | a key of the file, its default and its faults | `config::schema`, `config::compile` |
//! | what `zitadel` brings; asking ZITADEL whether it agrees | `config::zitadel`; `command::live` |
//! | why a connection was refused | `downstream::accept::gate`, `proxy_protocol`, `handshake` |
//! | which certificate is shown, and reloading it | `downstream::certificates` |
//! | why this route | `pipeline::admit::route`; the class of a request: `admit::classify` |
//! | what upstream sees of the client | `pipeline::forward::headers` |
//! | why an instance may ask no more | `pipeline::quota` |
//! | why it came from the cache or not | the files that `pipeline::cache` names |
//! | what is sent again, and why not | `pipeline::forward::retry`; doing it: `forward::attempts` |
//! | clocks, WebSocket | `pipeline::forward` and its `deadline`, `relay`, `websocket` |
//! | which endpoint, and why not another | `upstream::cluster`, `balance`, `eject`, `health`; whose turn: `queue`, `places` |
//! | that a cluster has no endpoint left | `upstream::availability` |
//! | heads, their fields and what has a number | [`message`] |
//! | what HTTP/2 allows, and what a frame does | [`http2`] |
//! | a status or a gRPC code of Ravelin's own | the table in [`error`]; its looks: `downstream::rescue` |
//! | a field of the record, a metric | `telemetry::access::record`, `telemetry::metrics::families` |
//! | what is redacted | `telemetry::redact` |
//! | drain and signals | `server::life`, [`worker`] |

pub mod command;
pub mod server;
pub mod worker;
pub mod config;
pub mod admin;
pub mod downstream;
pub mod pipeline;
pub mod upstream;
pub mod telemetry;
pub mod exchange;
pub mod body;
pub mod http2;
pub mod io;
pub mod watch;
pub mod error;
pub mod message;
pub mod standin;
