//! One connection from accept to its HTTP implementation: PROXY header, handshake or a look at the
//! first bytes, each under the listener's head clock, in the connection's own task.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ipnet::IpNet;
use tokio::time::{Instant, timeout_at};

use super::accept::gate::{Permit, Refused};
use super::certificates::Store;
use super::exchange::Service;
use super::plan::{Limits, ListenerPlan};
use super::stream::{Replay, Stream};
use super::{handshake, http1, http2, proxy_protocol};
use crate::exchange::{Connection, Ending, Identity, Protocol, Tls};
use crate::io::Io;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::{ListenerId, Refusal};

/// Read at once to tell what is spoken: a preface, or most request lines.
const LOOK: usize = 2048;
/// What every HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection that carries nothing may take to its next byte once it is to end: one that
/// is used is told with its next answer, rather than closed under a request that is on its way.
pub(super) const LAST_GREETING: Duration = Duration::from_millis(500);

/// One worker's end of a listener.
pub struct Listening<S> {
    /// What it is told.
    pub plan: Arc<ListenerPlan>,
    /// Its number in the metrics.
    pub id: ListenerId,
    /// Everything that TLS needs.
    pub tls: Option<Secured>,
    /// What answers.
    pub service: Rc<S>,
    /// Turns true when the worker is to leave.
    pub drain: Ending,
    /// Where exchanges are told of.
    pub telemetry: Rc<Telemetry>,
}

impl<S> Listening<S> {
    /// A connection that found no place.
    pub fn refused(&self, refused: Refused) {
        let cap = match refused {
            Refused::Total => Refusal::Listener,
            Refused::Client => Refusal::Client,
        };
        self.telemetry.connection_refused(self.id, cap);
    }
}

/// A listener's TLS, shared by all workers.
#[derive(Clone)]
pub struct Secured {
    /// How the handshake is made; another takes its place when the CA of client certificates changes.
    pub config: Arc<ArcSwap<rustls::ServerConfig>>,
    /// The certificates.
    pub store: Arc<Store>,
}

/// What the HTTP implementations know of a connection.
pub struct Peer<S> {
    /// The connection.
    pub connection: Rc<Connection>,
    /// What it may cost.
    pub limits: Limits,
    /// What answers.
    pub service: Rc<S>,
    /// Turns true when the worker is to leave.
    pub drain: Ending,
    /// Where exchanges are told of.
    pub telemetry: Rc<Telemetry>,
}

/// Serves one connection to its end.
pub async fn serve<S: Service>(
    listening: Rc<Listening<S>>,
    stream: Stream,
    peer: Option<SocketAddr>,
    mut permit: Permit,
) {
    let _open = listening.telemetry.connection(listening.id);
    let drain = listening.drain.clone();
    let leaving = async {
        drain.told().await;
        tokio::time::sleep(LAST_GREETING).await;
    };
    let established = tokio::select! {
        biased;
        established = establish(&listening, stream, peer, &mut permit) => established,
        // Who has asked for nothing yet is not waited for.
        () = leaving => None,
    };
    let Some((io, peer)) = established else { return };
    let protocol = peer.connection.protocol;
    let peer = Rc::new(peer);
    // The larger state of the two is boxed, so that the other does not pay for it.
    match protocol {
        Protocol::H2 => Box::pin(http2::serve(io, peer)).await,
        Protocol::H1 => Box::pin(http1::serve(io, peer)).await,
    }
    drop(permit);
}

/// Everything before the first HTTP byte; `None` when it comes to nothing.
async fn establish<S: Service>(
    listening: &Listening<S>,
    stream: Stream,
    peer: Option<SocketAddr>,
    permit: &mut Permit,
) -> Option<(Io, Peer<S>)> {
    let plan = &listening.plan;
    let deadline = Instant::now() + plan.limits.head_time;
    let mut stream = Replay::new(stream);
    let client = proxy_protocol::client(&mut stream, &plan.proxy_protocol, peer, deadline).await;
    let client = match client {
        Ok(client) => client,
        Err(failure) => {
            listening.telemetry.handshake_failed(listening.id, failure.label());
            tracing::debug!(listener = %plan.name, %failure, "connection refused");
            return None;
        }
    };
    // Behind a balancer the peer's address says nothing: the cap is the client's own.
    if let (false, Some(client)) = (plan.proxy_protocol.is_empty(), client) {
        permit.attribute(client.ip()).map_err(|refused| listening.refused(refused)).ok()?;
    }
    let (io, tls, protocol) = match &listening.tls {
        Some(secured) => secure(listening, secured, stream, deadline).await?,
        None => {
            let protocol = timeout_at(deadline, sniff(&mut stream)).await.ok()?.ok()?;
            (Io::new(Box::new(stream), None, Bytes::new(), true), None, protocol)
        }
    };
    let connection = Connection {
        listener: Arc::clone(&plan.name),
        client,
        protocol,
        identity: Identity::new(client.map(|client| client.ip()), tls.is_some()),
        trusted: trusted(&plan.trusted_proxies, client.map(|client| client.ip())),
        redirect_to_https: plan.redirect_to_https,
        tls,
        ending: listening.drain.clone(),
    };
    let peer = Peer {
        connection: Rc::new(connection),
        limits: plan.limits.clone(),
        service: Rc::clone(&listening.service),
        drain: listening.drain.clone(),
        telemetry: Rc::clone(&listening.telemetry),
    };
    Some((io, peer))
}

/// The proxies that are believed, where `peer` is one of them. A Unix socket's peer has no address:
/// its folder's permissions say who may connect.
fn trusted(proxies: &Arc<[IpNet]>, peer: Option<IpAddr>) -> Option<Arc<[IpNet]>> {
    let known = match peer {
        Some(peer) => {
            let peer = peer.to_canonical();
            proxies.iter().any(|network| network.contains(&peer))
        }
        None => !proxies.is_empty(),
    };
    known.then(|| Arc::clone(proxies))
}

async fn secure<S>(
    listening: &Listening<S>,
    secured: &Secured,
    stream: Replay<Stream>,
    deadline: Instant,
) -> Option<(Io, Option<Tls>, Protocol)> {
    let config = secured.config.load_full();
    match handshake::handshake(stream, config, &secured.store, deadline).await {
        Ok(established) => {
            listening.telemetry.handshaken(listening.id, &established.tls);
            let (stream, session) = established.stream.into_inner();
            let io = Io::new(Box::new(stream), Some(session.into()), Bytes::new(), true);
            Some((io, Some(established.tls), established.protocol))
        }
        Err(failure) => {
            listening.telemetry.handshake_failed(listening.id, failure.reason.label());
            tracing::debug!(listener = %listening.plan.name, %failure, "handshake failed");
            None
        }
    }
}

/// Whether a first line, if it is there whole, has a target or a version, as request lines have
/// (RFC 9112 §3). What has neither is no HTTP, an invalid HTTP/2 preface for example, and would not
/// understand an answer in HTTP.
fn may_be_http1(seen: &[u8]) -> bool {
    let line = seen.iter().position(|byte| *byte == b'\n').and_then(|end| seen.get(..end));
    line.is_none_or(|line| {
        line.trim_ascii().is_empty()
            || line.windows(2).any(|part| part == b" /")
            || line.windows(6).any(|part| part == b" HTTP/")
    })
}

/// What a client without TLS speaks, told by its first bytes, which stay to be read.
async fn sniff(stream: &mut Replay<Stream>) -> std::io::Result<Protocol> {
    loop {
        let seen = stream.seen();
        let known = seen.get(..PREFACE.len()).unwrap_or(seen);
        if !PREFACE.starts_with(known) {
            return if may_be_http1(seen) {
                Ok(Protocol::H1)
            } else {
                Err(ErrorKind::InvalidData.into())
            };
        }
        if seen.len() >= PREFACE.len() {
            return Ok(Protocol::H2);
        }
        if stream.look(LOOK).await? == 0 {
            return Ok(Protocol::H1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_without_target_and_version_is_no_http() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "GET /\r\n",
            "get / http/1.1\n",
            "GET x HTTP/1.1\n",
            "\r\nGET",
            "GET /long",
        ] {
            assert!(may_be_http1(line.as_bytes()), "{line}");
        }
        for line in ["INVALID CONNECTION PREFACE\r\n\r\n", "EHLO mail\r\n", "\u{16}\u{3}\n"] {
            assert!(!may_be_http1(line.as_bytes()), "{line}");
        }
    }
}
