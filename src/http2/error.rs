//! Why a stream or a connection ended before its time.

use std::fmt;
use std::io;
use std::sync::Arc;

/// An error code of RESET_STREAM or GOAWAY (RFC 9113 §7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(u32);

macro_rules! reasons {
    ($($name:ident = $code:literal;)*) => {
        impl Reason {
            $(
                #[doc = stringify!($name)]
                pub const $name: Self = Self($code);
            )*

            const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    NO_ERROR = 0;
    PROTOCOL_ERROR = 1;
    INTERNAL_ERROR = 2;
    FLOW_CONTROL_ERROR = 3;
    SETTINGS_TIMEOUT = 4;
    STREAM_CLOSED = 5;
    FRAME_SIZE_ERROR = 6;
    REFUSED_STREAM = 7;
    CANCEL = 8;
    COMPRESSION_ERROR = 9;
    CONNECT_ERROR = 10;
    ENHANCE_YOUR_CALM = 11;
    INADEQUATE_SECURITY = 12;
    HTTP_1_1_REQUIRED = 13;
}

impl From<u32> for Reason {
    fn from(code: u32) -> Self {
        Self(code)
    }
}

impl From<Reason> for u32 {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {}", self.0),
        }
    }
}

/// Who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The other end.
    Peer,
    /// This one.
    Us,
}

/// What ended a stream. Cheap to clone: all streams of a connection may get the same.
#[derive(Clone, Debug)]
pub enum Error {
    /// The stream alone.
    Reset(Reason, By),
    /// The connection, told by GOAWAY. Of a server's GOAWAY only streams that it has not
    /// processed learn (RFC 9113 §6.8).
    GoAway(Reason, By),
    /// The connection, by its socket.
    Io(Arc<io::Error>),
    /// The connection had ended before.
    Closed,
}

impl Error {
    /// The error code, where there is one.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Reset(reason, _) | Self::GoAway(reason, _) => Some(*reason),
            Self::Io(_) | Self::Closed => None,
        }
    }

    /// Whether the other end said so.
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::Reset(_, By::Peer) | Self::GoAway(_, By::Peer))
    }

    /// Whether it is the connection's end, told by GOAWAY.
    pub const fn is_go_away(&self) -> bool {
        matches!(self, Self::GoAway(..))
    }

    /// Whether the socket failed or was closed.
    pub const fn is_io(&self) -> bool {
        matches!(self, Self::Io(_))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<io::ErrorKind> for Error {
    fn from(kind: io::ErrorKind) -> Self {
        io::Error::from(kind).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset(reason, By::Peer) => write!(f, "the peer reset the stream: {reason}"),
            Self::Reset(reason, By::Us) => write!(f, "the stream was reset: {reason}"),
            Self::GoAway(reason, By::Peer) => write!(f, "the peer said GOAWAY: {reason}"),
            Self::GoAway(reason, By::Us) => write!(f, "the connection was ended: {reason}"),
            Self::Io(error) => write!(f, "the connection broke: {error}"),
            Self::Closed => f.write_str("the connection had ended"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(&**error),
            _ => None,
        }
    }
}
