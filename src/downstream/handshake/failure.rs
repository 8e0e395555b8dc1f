//! Why a handshake failed, in words that stay the same.

use std::{error, fmt, io};

use rustls::Error as Tls;

/// A handshake that failed.
#[derive(Debug)]
pub struct Failure {
    /// Why, in one of few words.
    pub reason: Reason,
    source: Option<io::Error>,
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It took too long.
    Timeout,
    /// The client went away.
    Eof,
    /// Versions, cipher suites, groups or signatures: none in common.
    NoSharedCipher,
    /// Neither h2 nor http/1.1 is what the client wants to speak (RFC 7301 §3.2).
    NoSharedProtocol,
    /// No certificate is held for the name asked for.
    UnknownName,
    /// The client's certificate is missing or not to be trusted.
    ClientCertificate,
    /// The client refused, most often because it does not trust the certificate.
    ClientAlert,
    /// The client does not speak TLS.
    NotTls,
    /// Anything else.
    Other,
}

impl Reason {
    /// Every reason, for tables of metrics.
    pub const ALL: &'static [Self] = &[
        Self::Timeout,
        Self::Eof,
        Self::NoSharedCipher,
        Self::NoSharedProtocol,
        Self::UnknownName,
        Self::ClientCertificate,
        Self::ClientAlert,
        Self::NotTls,
        Self::Other,
    ];

    /// The stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Eof => "eof",
            Self::NoSharedCipher => "no_shared_cipher",
            Self::NoSharedProtocol => "no_shared_protocol",
            Self::UnknownName => "unknown_name",
            Self::ClientCertificate => "client_certificate",
            Self::ClientAlert => "client_alert",
            Self::NotTls => "not_tls",
            Self::Other => "other",
        }
    }
}

impl Failure {
    pub(super) const fn new(reason: Reason) -> Self {
        Self { reason, source: None }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>());
        let reason = match tls {
            Some(tls) => of_tls(tls),
            None => of_io(error.kind()),
        };
        Self { reason, source: Some(error) }
    }
}

const fn of_tls(error: &Tls) -> Reason {
    match error {
        Tls::PeerIncompatible(_) => Reason::NoSharedCipher,
        Tls::NoApplicationProtocol => Reason::NoSharedProtocol,
        Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented => Reason::ClientCertificate,
        Tls::AlertReceived(_) => Reason::ClientAlert,
        _ => Reason::Other,
    }
}

const fn of_io(kind: io::ErrorKind) -> Reason {
    match kind {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Reason::Eof,
        io::ErrorKind::TimedOut => Reason::Timeout,
        _ => Reason::Other,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the TLS handshake failed: {}", self.reason.label())
    }
}

impl error::Error for Failure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
