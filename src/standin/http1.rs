//! One HTTP/1.1 connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedReceiver;

use super::dispatch;
use super::message::{Body, Cut, Hints, Source, go_error};
use super::server::Link;
use super::state::Ticket;
use super::wire::{Ahead, Command, Tap};

/// Go's default for the request's head.
const HEAD_LIMIT: usize = 1 << 20;
const MOST_FIELDS: usize = 1_000;

pub(super) async fn serve<T>(io: Tap<T>, link: Link, mut orders: UnboundedReceiver<Command>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ahead = io.ahead();
    let service = service_fn(move |request| answer(request, link.clone(), ahead.clone()));
    let mut builder = Builder::new();
    // Go writes canonical names and counts no fields.
    builder.max_buf_size(HEAD_LIMIT).max_headers(MOST_FIELDS).title_case_headers(true);
    let connection = builder.serve_connection(TokioIo::new(io), service).with_upgrades();
    let mut connection = Box::pin(connection);
    loop {
        tokio::select! {
            // What went wrong is in the tickets.
            _ = &mut connection => return,
            order = orders.recv() => match order {
                Some(Command::GoAway) => connection.as_mut().graceful_shutdown(),
                Some(Command::Cut) | None => return,
            },
        }
    }
}

async fn answer(
    mut request: Request<Incoming>,
    link: Link,
    ahead: Ahead,
) -> Result<http::Response<Guarded>, Cut> {
    let upgrade = request
        .headers()
        .contains_key(http::header::UPGRADE)
        .then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    if let Some(upgrade) = upgrade {
        head.extensions.insert(upgrade);
    }
    let is_head = head.method == Method::HEAD;
    let (call, mut ticket) = link.call(head, Source::H1(body), Hints::H1(ahead));
    let answer = match call {
        Ok(call) => dispatch::answer(call).await,
        Err(()) => Ok(go_error(400, "400 Bad Request")),
    };
    match answer {
        Ok(reply) => {
            let (head, body) = reply.into_parts();
            let bodiless = is_head
                || head.status.is_informational()
                || matches!(head.status.as_u16(), 204 | 304);
            if bodiless || body.is_end_stream() {
                ticket.finish();
            }
            Ok(http::Response::from_parts(
                head,
                Guarded { body, ticket, control: link.control.clone() },
            ))
        }
        Err(cut) => {
            if !matches!(cut, Cut::Gone) {
                ticket.finish();
            }
            if matches!(cut, Cut::Die) {
                link.control.cut();
            }
            Err(cut)
        }
    }
}

/// A body that finishes its ticket with its last frame.
pub(super) struct Guarded {
    body: Body,
    ticket: Ticket,
    control: std::sync::Arc<super::wire::Control>,
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) if frame.is_data() && !self.body.is_end_stream() => {}
            Some(Err(Cut::Gone)) => {}
            Some(Err(Cut::Die)) => {
                self.ticket.finish();
                self.control.cut();
            }
            _ => self.ticket.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
