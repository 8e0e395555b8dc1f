//! The TLS handshake with a client: what is offered, and what came of it.

mod failure;
pub mod trust;

use std::path::Path;
use std::sync::Arc;
use std::{error, fmt};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    Acceptor, NoClientAuth, ServerSessionMemoryCache, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

pub use self::failure::{Failure, Reason};
use super::certificates::{self, LoadError, Store};
use super::plan::{ClientAuth, TlsPlan};
use super::stream::Replay;
use crate::exchange::{Protocol, Tls};

/// Sessions of TLS 1.2 clients that know no tickets; about 200 bytes each.
const SESSIONS: usize = 1024;
/// Tickets after a handshake (RFC 8446 §4.6.1): a browser that opens a second connection beside the
/// first must not use the same one (§C.4).
const TICKETS: usize = 2;
/// The first byte of a TLS connection: a handshake record (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// Read at once: a ClientHello with a post-quantum key share has about 1.8 KB.
const READ: usize = 4096;
/// A fatal alert `unrecognized_name` (RFC 6066 §3), which rustls does not send.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// What a client gets that speaks HTTP where https is spoken.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 23\r\nconnection: close\r\n\r\n\
    This port speaks https\n";
/// How much of such a client's request is read so that its answer is not lost in a reset.
const LINGER: u64 = 64 * 1024;

/// The cryptography of the client's side: aws-lc-rs, X25519MLKEM768 first, so that what is recorded
/// today stays secret (draft-ietf-tls-ecdhe-mlkem).
pub fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    let kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

/// TLS that cannot be offered as planned.
#[derive(Debug)]
pub enum SetupError {
    /// A file of the plan.
    File(LoadError),
    /// The CA file of client certificates is no use.
    ClientCa(std::path::PathBuf, VerifierBuilderError),
    /// The cryptography itself.
    Crypto(rustls::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::ClientCa(file, error) => {
                write!(f, "{}: cannot verify client certificates: {error}", file.display())
            }
            Self::Crypto(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl error::Error for SetupError {}

impl From<LoadError> for SetupError {
    fn from(error: LoadError) -> Self {
        Self::File(error)
    }
}

impl From<rustls::Error> for SetupError {
    fn from(error: rustls::Error) -> Self {
        Self::Crypto(error)
    }
}

/// What a listener offers in its handshakes, showing the certificates of `store`.
///
/// Tickets and sessions belong to this configuration alone: a session made without a client
/// certificate must not be resumed where one is required.
pub fn server_config(plan: &TlsPlan, store: Arc<Store>) -> Result<Arc<ServerConfig>, SetupError> {
    let provider = provider();
    let verifier = verifier(&plan.client_auth, &provider)?;
    let versions: &[_] = if plan.only_tls13 {
        &[&rustls::version::TLS13]
    } else {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(store);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = TICKETS;
    // Early data can be replayed by anybody on the way (RFC 8446 §8).
    config.max_early_data_size = 0;
    // Records as full as TLS allows: 16,384 bytes of plaintext.
    config.max_fragment_size = None;
    Ok(Arc::new(config))
}

fn verifier(
    auth: &ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, SetupError> {
    let (file, required) = match auth {
        ClientAuth::Off => return Ok(Arc::new(NoClientAuth)),
        ClientAuth::Optional(file) => (file, false),
        ClientAuth::Required(file) => (file, true),
    };
    let roots = Arc::new(roots(file)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| SetupError::ClientCa(file.clone(), error))
}

fn roots(file: &Path) -> Result<RootCertStore, LoadError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates::certificates(file)? {
        roots
            .add(certificate)
            .map_err(|_| certificates::fail(file, certificates::Fault::BadCertificate))?;
    }
    Ok(roots)
}

/// A connection whose handshake is over.
#[derive(Debug)]
pub struct Established<S> {
    /// What the client sends and gets from here on.
    pub stream: TlsStream<Replay<S>>,
    /// What was settled.
    pub tls: Tls,
    /// What is spoken: h2 where the client asked for it, else HTTP/1.1.
    pub protocol: Protocol,
}

/// Makes the handshake with a client, which must be over by `deadline`.
///
/// A client that speaks plain HTTP is told so in HTTP. `store` is the one that `config` was made
/// with: rustls does not say which certificate was shown, so that it is chosen here as well.
pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: Replay<S>,
    config: Arc<ServerConfig>,
    store: &Store,
    deadline: Instant,
) -> Result<Established<S>, Failure> {
    // Boxed: it is large and short-lived, and would live in the connection's task to its end.
    match timeout_at(deadline, Box::pin(negotiate(stream, config, store, deadline))).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(Reason::Timeout)),
    }
}

async fn negotiate<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: Replay<S>,
    config: Arc<ServerConfig>,
    store: &Store,
    deadline: Instant,
) -> Result<Established<S>, Failure> {
    if stream.seen().is_empty() && stream.look(READ).await? == 0 {
        return Err(Failure::new(Reason::Eof));
    }
    if stream.seen().first() != Some(&HANDSHAKE_RECORD) {
        return Err(refuse_plain(stream, deadline).await);
    }
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let mut start = (&mut acceptor).await?;
    let hello = start.client_hello();
    let sni = hello.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
    let Some(names) = store.names_for(sni.as_deref(), hello.signature_schemes()) else {
        // Whether the client still listens does not matter: it is refused either way.
        drop(start.io.write_all(&UNRECOGNIZED_NAME).await);
        drop(start.io.shutdown().await);
        return Err(Failure::new(Reason::UnknownName));
    };
    let stream = start.into_stream(config).await?;
    let connection = stream.get_ref().1;
    let tls = settled(connection, sni, names);
    let protocol = match connection.alpn_protocol() {
        Some(b"h2") => Protocol::H2,
        _ => Protocol::H1,
    };
    Ok(Established { stream, tls, protocol })
}

fn settled(connection: &ServerConnection, sni: Option<Box<str>>, names: Arc<[Box<str>]>) -> Tls {
    Tls {
        sni,
        names,
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        client_subject: connection
            .peer_certificates()
            .and_then(|chain| certificates::facts(chain.first()?))
            .map(|facts| facts.subject),
    }
}

/// Tells a client that speaks HTTP, whose methods begin with a capital letter, what is spoken here;
/// others just see the connection end.
async fn refuse_plain<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: Replay<S>,
    deadline: Instant,
) -> Failure {
    if stream.seen().first().is_some_and(u8::is_ascii_uppercase)
        && stream.write_all(PLAIN_HTTP).await.is_ok()
        && stream.shutdown().await.is_ok()
    {
        // Closing with unread bytes would reset the connection and the answer with it.
        let mut rest = stream.take(LINGER);
        drop(timeout_at(deadline, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await);
    }
    Failure::new(Reason::NotTls)
}

#[cfg(test)]
mod tests;
