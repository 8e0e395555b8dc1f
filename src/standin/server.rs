//! Accepts connections and finds out what they speak.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::message::{Call, Hints, Inbound, Source, percent_decode};
use super::state::{Opened, Phase, Seen, Shared, Ticket};
use super::wire::{Command, Control, Tap, Wire};
use super::{http1, http2};

/// ZITADEL's `http.Server.Shutdown` waits so long.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until the stand-in is killed or has drained.
pub(super) async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let mut phases = shared.phases();
    let tls = shared.options.tls.clone().map(with_alpn);
    if let Ok(listener) = TcpListener::from_std(listener) {
        tokio::select! {
            () = accept(&listener, tls, &shared) => {}
            _ = phases.wait_for(|phase| *phase != Phase::Serving) => {}
        }
        drop(listener);
    }
    if !shared.is_killed() {
        for control in shared.controls() {
            control.go_away();
        }
        tokio::select! {
            () = shared.wait_until(|shared| shared.open.load(Ordering::SeqCst) == 0) => {}
            () = tokio::time::sleep(GRACE) => {}
            _ = phases.wait_for(|phase| *phase == Phase::Killed) => {}
        }
    }
    shared.stopped.store(true, Ordering::SeqCst);
    shared.touch();
}

fn with_alpn(config: Arc<rustls::ServerConfig>) -> TlsAcceptor {
    if !config.alpn_protocols.is_empty() {
        return TlsAcceptor::from(config);
    }
    let mut config = (*config).clone();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: &TcpListener, tls: Option<TlsAcceptor>, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, say: let others go first.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (commands, orders) = unbounded_channel();
        let control = Arc::new(Control::new(commands));
        let opened = shared.opened(control.clone());
        tokio::spawn(connection(stream, tls.clone(), shared.clone(), control, orders, opened));
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    control: Arc<Control>,
    orders: UnboundedReceiver<Command>,
    // Held to the end: the connection counts as open until its socket is closed.
    _opened: Opened,
) {
    let Ok(peer) = stream.peer_addr() else { return };
    // Without it small frames wait for an acknowledgement; Go sets it too.
    let _ = stream.set_nodelay(true);
    let link = Link { peer, shared: shared.clone(), control: control.clone() };
    let wire = Wire::new(stream, control, shared);
    let Some(acceptor) = tls else {
        return sniffed(wire, link, orders).await;
    };
    let Ok(stream) = acceptor.accept(wire).await else { return };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => http2::serve(Tap::plain(stream), link, orders).await,
        Some(_) => http1::serve(Tap::plain(stream), link, orders).await,
        None => sniffed(stream, link, orders).await,
    }
}

async fn sniffed<T>(io: T, link: Link, mut orders: UnboundedReceiver<Command>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let sniffed = tokio::select! {
        sniffed = Tap::sniff(io) => sniffed,
        // Whoever has said nothing yet need not be waited for.
        _ = orders.recv() => return,
    };
    match sniffed {
        Ok((io, true)) => http2::serve(io, link, orders).await,
        Ok((io, false)) => http1::serve(io, link, orders).await,
        Err(_) => {}
    }
}

/// What every request of one connection shares.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) peer: std::net::SocketAddr,
    pub(super) shared: Arc<Shared>,
    pub(super) control: Arc<Control>,
}

impl Link {
    /// Notes the request and makes it a call. `Err` is a path that cannot be decoded.
    pub(super) fn call(
        &self,
        head: http::request::Parts,
        source: Source,
        hints: Hints,
    ) -> (Result<Call, ()>, Ticket) {
        let host = head
            .headers
            .get(http::header::HOST)
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        // Like net/http: the authority of the target wins over the Host header.
        let authority = head.uri.authority().map(|authority| authority.as_str().to_owned());
        let authority =
            authority.or_else(|| host.map(|host| host.into_owned())).unwrap_or_default();
        let target =
            head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
        let (ticket, counted) = self.shared.arrive(Seen {
            method: head.method.clone(),
            target,
            version: head.version,
            headers: head.headers.clone(),
            authority: authority.clone(),
            peer: self.peer,
            body: None,
        });
        let path = head.uri.path().to_owned();
        let Some(decoded) = percent_decode(&path) else { return (Err(()), ticket) };
        let waits =
            head.headers.get(http::header::EXPECT).is_some_and(|value| value == "100-continue");
        let expects = (waits && matches!(source, Source::H2(_))).then(|| hints.clone());
        let body = Inbound { source, counted, expects, trailing: false };
        let call = Call {
            head,
            path,
            decoded,
            authority,
            peer: self.peer,
            body,
            shared: self.shared.clone(),
            hints,
            control: self.control.clone(),
        };
        (Ok(call), ticket)
    }
}
