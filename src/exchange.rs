//! The facts of one exchange: the only words that the client's side and the pipeline share.
//!
//! Facts decided on the way in (class, route, endpoint) are written here by the room that decides
//! them, and read by the rescue and by the access record when the exchange ends.

mod connection;
mod words;

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use crate::message::Fields;

pub use self::connection::{Client, Connection, Ending, Identity, Tls};
pub use self::words::{CacheUse, Class, Protocol};
use crate::error::Kind;

/// Relays an interim (1xx) answer to the client; does nothing where the client cannot take one.
pub type Interim = Rc<dyn Fn(http::StatusCode, &Fields)>;

/// How many attempts that came to nothing are kept for the record: while a cluster is down, one
/// request may be tried many times.
pub const TRIED: usize = 8;

/// An attempt that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Where.
    pub endpoint: Arc<str>,
    /// Why.
    pub cause: Kind,
}

/// One request and its answer.
pub struct Exchange {
    /// The connection it came on.
    pub connection: Rc<Connection>,
    /// When its head had been read.
    pub started: Instant,
    /// The client's address: the connection's, or what a trusted proxy in front says.
    pub client: Option<IpAddr>,
    /// What a trusted proxy in front says of its client; `None`: what the connection says.
    pub forwarded: Option<Identity>,
    /// The authority that upstream sees, where the route knows its hosts; `None`: the one asked for.
    pub authority: Option<HeaderValue>,
    /// What it is.
    pub class: Class,
    /// The request's id: the client's own where it is well formed, else a new one.
    pub request_id: Option<Box<str>>,
    /// The trace id of a W3C `traceparent` that came with it.
    pub trace_id: Option<Box<str>>,
    /// The route that matched.
    pub route: Option<Arc<str>>,
    /// Its number in the metrics.
    pub route_id: Option<usize>,
    /// The cluster that it went to.
    pub cluster: Option<Arc<str>>,
    /// The endpoint of the last attempt.
    pub endpoint: Option<Arc<str>>,
    /// How many times it was sent, the first included.
    pub attempts: u32,
    /// Attempts that came to nothing, the first [`TRIED`] of them.
    pub tried: Vec<Tried>,
    /// Time from the start until upstream's head was there.
    pub upstream_head: Option<Duration>,
    /// Bytes of the request's body so far; grows while it is carried.
    pub bytes_in: Rc<Cell<u64>>,
    /// For the record: what upstream said where the client was told something else, though nothing failed.
    pub remark: Option<Box<str>>,
    /// What the cache did; `None`: the route has none.
    pub cache: Option<CacheUse>,
    /// A 404 is asked once more of another endpoint before it is believed: during a rollout one
    /// replica may have a file that another has not.
    pub elsewhere: bool,
    /// Bytes that the answer's coding from the cache saved.
    pub cache_saved: u64,
    /// How interim answers reach the client.
    pub interim: Option<Interim>,
    /// When it ends whatever happens, and as what: the caller's deadline, or the route's.
    pub deadline: Option<(Instant, Kind)>,
    /// Why the client's side has cut it, where it has: what dropped the answer cannot tell.
    pub cut: Option<Rc<Cell<Option<Kind>>>>,
    /// What the client's side has against the request. Refused only once the class is known, since
    /// that decides how the refusal looks.
    pub refused: Option<Kind>,
}

impl Exchange {
    /// An exchange that begins now on `connection`.
    pub fn new(connection: Rc<Connection>) -> Self {
        Self {
            client: connection.client_ip(),
            connection,
            started: Instant::now(),
            forwarded: None,
            authority: None,
            class: Class::default(),
            request_id: None,
            trace_id: None,
            route: None,
            route_id: None,
            cluster: None,
            endpoint: None,
            attempts: 0,
            tried: Vec::new(),
            upstream_head: None,
            bytes_in: Rc::default(),
            remark: None,
            cache: None,
            elsewhere: false,
            cache_saved: 0,
            interim: None,
            deadline: None,
            cut: None,
            refused: None,
        }
    }

    /// What upstream is told about the client: the connection's word, or that of a trusted proxy.
    pub fn identity(&self) -> &Identity {
        self.forwarded.as_ref().unwrap_or(&self.connection.identity)
    }
}
