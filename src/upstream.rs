//! The server's side: clusters of endpoints, their connections, and the two ways to speak.
//!
//! Every worker has connections of its own; no request changes threads. What is known of an
//! endpoint is shared ([`state`]), and so is which endpoints there are ([`roster`]).

pub mod plan;
pub mod state;
pub mod availability;
pub mod roster;
pub mod cluster;
pub mod attempt;
pub mod balance;
pub mod eject;
pub mod health;
pub mod discovery;
pub mod places;
pub mod queue;
pub mod endpoint;
pub mod alive;
pub mod http2;
pub mod http1;
pub mod transport;
pub mod tls;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use self::attempt::Carried;
use crate::body::pump::{Pump, Stopped};
use crate::body::{Body, Frames};
use crate::error::Error;
use crate::http2::error::Reason;
use crate::io::Io;
use crate::message::Frame;

/// What comes back from upstream behind the head: the body, the rest of the request that is still
/// being sent, and the place on the connection, which becomes free when this is dropped.
///
/// Boxed: between the connection and the client's body it goes from hand to hand some twenty times.
#[derive(Default)]
pub struct Answer(Box<Behind>);

#[derive(Default)]
struct Behind {
    body: Body,
    pump: Option<Box<Pump>>,
    lease: Option<Lease>,
    tunnel: Option<Io>,
    carried: Option<Carried>,
}

/// A place on a connection.
enum Lease {
    #[expect(dead_code, reason = "held for its Drop")]
    Http2(http2::Lease),
    #[expect(dead_code, reason = "held for its Drop")]
    Http1(http1::Lease),
}

impl Answer {
    /// The stream of a connection that answered 101, and what counts it as in flight.
    pub fn take_tunnel(&mut self) -> Option<(Io, Option<Carried>)> {
        let tunnel = self.0.tunnel.take();
        tunnel.map(|io| (io, self.0.carried.take()))
    }

    /// The same, in flight at its endpoint until its end.
    fn carried(mut self, carried: Option<Carried>) -> Self {
        self.0.carried = carried;
        self
    }
}

impl Frames for Answer {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        let behind = &mut *self.0;
        if let Some(pump) = &mut behind.pump
            && let Poll::Ready(done) = pump.poll(cx)
        {
            if let Err(Stopped::Body(error)) = done {
                pump.stream().send_reset(Reason::CANCEL);
                behind.pump = None;
                return Poll::Ready(Some(Err(error)));
            }
            behind.pump = None;
        }
        let frame = ready!(Pin::new(&mut behind.body).poll_frame(cx));
        if frame.is_none() {
            behind.lease = None;
            behind.carried = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.body.size_hint()
    }
}
