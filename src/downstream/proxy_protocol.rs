//! The PROXY protocol, versions 1 and 2: who is believed about a client's address, and reading the
//! header in front of a connection's bytes.
//!
//! The header's end is found here and its contents are parsed by `proxy-header`: that crate cannot
//! tell every malformed header from an incomplete one, refuses `LOCAL` with an address block, which
//! must be accepted, and knows no bound of the size.

use std::net::{IpAddr, SocketAddr};
use std::{error, fmt, io};

use ipnet::IpNet;
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncRead;
use tokio::time::{Instant, timeout_at};

use super::accept::canonical;
use super::stream::Replay;

/// The longest line of version 1, its end included (PROXY protocol §2.1).
const V1_LIMIT: usize = 107;
/// The longest header of version 2 that is accepted: 64 KiB are possible, nobody needs them.
const V2_LIMIT: usize = 4096;
const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;
/// Read in one go: a header, and with luck the ClientHello behind it.
const READ: usize = 2048;

/// What a listener does with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The protocol is not spoken here: the peer is the client.
    Direct,
    /// A header must come first, and is believed.
    Header,
    /// Nobody but trusted peers may connect here.
    Refused,
}

/// What to do with `peer` on a listener that believes `trusted`.
///
/// A peer on a Unix socket has no address; the file's mode has decided who may connect, so that it
/// counts as trusted.
pub fn trust(trusted: &[IpNet], peer: Option<IpAddr>) -> Trust {
    if trusted.is_empty() {
        return Trust::Direct;
    }
    let Some(peer) = peer.map(|peer| peer.to_canonical()) else { return Trust::Header };
    if trusted.iter().any(|network| network.contains(&peer)) {
        Trust::Header
    } else {
        Trust::Refused
    }
}

/// Why a connection has no believable client.
#[derive(Debug)]
pub enum Failure {
    /// The peer is not one that may speak the protocol here.
    Untrusted,
    /// The header did not come in time.
    Timeout,
    /// The connection ended within the header.
    Eof,
    /// What came is no header.
    Invalid,
    /// The connection failed.
    Io(io::Error),
}

impl Failure {
    /// The stable word for logs and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Timeout => "timeout",
            Self::Eof => "eof",
            Self::Invalid => "invalid",
            Self::Io(_) => "io",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => "the peer may not speak the PROXY protocol here",
            Self::Timeout => "no PROXY protocol header came in time",
            Self::Eof => "the connection ended within its PROXY protocol header",
            Self::Invalid => "the connection does not begin with a PROXY protocol header",
            Self::Io(_) => "the connection failed within its PROXY protocol header",
        })
    }
}

impl error::Error for Failure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Who the client of a connection is: `peer`, or what a trusted peer's header says of it.
///
/// Takes the header away from `stream` and nothing behind it. A header without an address (`LOCAL`,
/// `UNKNOWN`) is about a connection of the peer itself, such as its health check.
pub async fn client<S: AsyncRead + Unpin>(
    stream: &mut Replay<S>,
    trusted: &[IpNet],
    peer: Option<SocketAddr>,
    deadline: Instant,
) -> Result<Option<SocketAddr>, Failure> {
    match trust(trusted, peer.map(|peer| peer.ip())) {
        Trust::Direct => Ok(peer),
        Trust::Refused => Err(Failure::Untrusted),
        Trust::Header => match timeout_at(deadline, read(stream)).await {
            Ok(Ok(source)) => Ok(source.or(peer)),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Timeout),
        },
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut Replay<S>) -> Result<Option<SocketAddr>, Failure> {
    loop {
        match decode(stream.seen()) {
            Decoded::Whole { source, length } => {
                stream.consume(length);
                return Ok(source);
            }
            Decoded::Incomplete => {}
            Decoded::Invalid => return Err(Failure::Invalid),
        }
        match stream.look(READ).await {
            Ok(0) => return Err(Failure::Eof),
            Ok(_) => {}
            Err(error) => return Err(Failure::Io(error)),
        }
    }
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A header of `length` bytes; `source` is the client where it names one.
    Whole {
        /// The client.
        source: Option<SocketAddr>,
        /// How many bytes the header has.
        length: usize,
    },
    /// The beginning of a header.
    Incomplete,
    /// No header, or one that is too long.
    Invalid,
}

/// Decides what the first bytes of a connection are, as soon as they allow it.
pub fn decode(bytes: &[u8]) -> Decoded {
    if bytes.starts_with(V1_START) {
        decode_v1(bytes)
    } else if bytes.starts_with(V2_START) {
        decode_v2(bytes)
    } else if V1_START.starts_with(bytes) || V2_START.starts_with(bytes) {
        Decoded::Incomplete
    } else {
        Decoded::Invalid
    }
}

fn decode_v1(bytes: &[u8]) -> Decoded {
    let line = bytes.get(..V1_LIMIT).unwrap_or(bytes);
    match line.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => parse(bytes, end + 2),
        None if line.len() < V1_LIMIT => Decoded::Incomplete,
        None => Decoded::Invalid,
    }
}

fn decode_v2(bytes: &[u8]) -> Decoded {
    let Some(&[command, _family, high, low]) =
        bytes.get(V2_START.len()..V2_FIXED).and_then(<[u8]>::first_chunk)
    else {
        return Decoded::Incomplete;
    };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, 0x20 | 0x21) || length > V2_LIMIT {
        Decoded::Invalid
    } else if bytes.len() < length {
        Decoded::Incomplete
    } else if command == 0x20 {
        // LOCAL: the address block is to be passed over whatever its family (§2.2).
        Decoded::Whole { source: None, length }
    } else {
        parse(bytes, length)
    }
}

/// Parses a header whose end is known, so that whatever the crate misses in it is invalid.
fn parse(bytes: &[u8], length: usize) -> Decoded {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let Some(frame) = bytes.get(..length) else { return Decoded::Incomplete };
    match ProxyHeader::parse(frame, config) {
        Ok((header, parsed)) if parsed == length => {
            // Datagrams and Unix sockets are no clients of ours: the peer's own address stands.
            let source = header
                .proxied_address()
                .filter(|address| address.protocol == Protocol::Stream)
                .map(|address| canonical(address.source));
            Decoded::Whole { source, length }
        }
        _ => Decoded::Invalid,
    }
}

#[cfg(test)]
mod tests;
