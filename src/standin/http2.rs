//! One HTTP/2 connection, with ZITADEL's settings (seen on the wire).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::SystemTime;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response};
use http_body::{Body as _, Frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

use super::dispatch;
use super::message::{Body, Cut, Hints, Reply, Source, go_error, set};
use super::server::Link;
use super::wire::{Command, Tap};

const MIB: u32 = 1 << 20;
/// DATA is handed to the connection in pieces of at most so much.
const PIECE: usize = 64 * 1024;

pub(super) async fn serve<T>(io: Tap<T>, link: Link, mut orders: UnboundedReceiver<Command>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(link.shared.options.max_streams)
        .max_frame_size(MIB)
        .initial_window_size(MIB)
        .initial_connection_window_size(MIB)
        .max_header_list_size(MIB)
        .max_send_buffer_size(MIB as usize)
        // Go bears what h2 would answer with ENHANCE_YOUR_CALM: a burst of cancelled streams (its
        // own bound is four times the stream limit) and small DATA frames that nobody reads yet.
        .max_pending_accept_reset_streams(4 * link.shared.options.max_streams as usize)
        .data_frame_budget(64 * MIB as usize);
    let mut connection = tokio::select! {
        connection = builder.handshake::<_, Bytes>(io) => match connection {
            Ok(connection) => connection,
            Err(_) => return,
        },
        _ = orders.recv() => return,
    };
    // Dropped with the connection, and every exchange with it.
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            // Orders first: an exchange that cuts the connection has dropped its stream already,
            // and h2 must not get to send the RST_STREAM that goes with it.
            biased;
            order = orders.recv() => match order {
                Some(Command::GoAway) => connection.graceful_shutdown(),
                Some(Command::Cut) | None => return,
            },
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    streams.spawn(stream(request, respond, link.clone()));
                }
                Some(Err(_)) | None => return,
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

async fn stream(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, link: Link) {
    let (head, body) = request.into_parts();
    let is_head = head.method == Method::HEAD;
    let (hint, mut hints) = unbounded_channel();
    let (call, mut ticket) = link.call(head, Source::H2(body), Hints::H2(hint));
    let handler = async {
        match call {
            Ok(call) => dispatch::answer(call).await,
            Err(()) => Ok(go_error(400, "400 Bad Request")),
        }
    };
    let mut handler = Box::pin(handler);
    let answer = loop {
        tokio::select! {
            biased;
            Some(hint) = hints.recv() => {
                // Too late or too early is the handler's fault, and the client's to see.
                let _ = respond.send_informational(hint);
            }
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
            answer = &mut handler => break answer,
        }
    };
    while let Ok(hint) = hints.try_recv() {
        let _ = respond.send_informational(hint);
    }
    let ended = match answer {
        Ok(reply) => send(reply, &mut respond, is_head).await,
        Err(Cut::Reset(reason)) => {
            respond.send_reset(reason);
            Ok(())
        }
        Err(cut) => Err(cut),
    };
    match ended {
        Ok(()) => ticket.finish(),
        Err(Cut::Die) => {
            ticket.finish();
            link.control.cut();
        }
        Err(Cut::Gone | Cut::Reset(_)) => {}
    }
}

async fn send(reply: Reply, respond: &mut SendResponse<Bytes>, is_head: bool) -> Result<(), Cut> {
    let (mut head, body) = reply.into_parts();
    if !head.headers.contains_key(http::header::DATE) {
        set(&mut head.headers, "date", &httpdate::fmt_http_date(SystemTime::now()));
    }
    // Connection-specific fields have no place here (RFC 9113 §8.2.2); Go drops them as well.
    head.headers.remove(http::header::CONNECTION);
    head.headers.remove(http::header::TRANSFER_ENCODING);
    let empty = is_head || body.is_end_stream();
    let mut stream =
        respond.send_response(Response::from_parts(head, ()), empty).map_err(|_| Cut::Gone)?;
    if empty {
        return Ok(());
    }
    match pump(body, &mut stream).await {
        Err(Cut::Reset(reason)) => {
            stream.send_reset(reason);
            Ok(())
        }
        other => other,
    }
}

async fn pump(mut body: Body, stream: &mut SendStream<Bytes>) -> Result<(), Cut> {
    while let Some(frame) = next(&mut body, stream).await {
        let frame = match frame?.into_data() {
            Ok(data) => {
                let last = body.is_end_stream();
                write(data, last, stream).await?;
                if last {
                    return Ok(());
                }
                continue;
            }
            Err(frame) => frame,
        };
        if let Ok(trailers) = frame.into_trailers() {
            return stream.send_trailers(trailers).map_err(|_| Cut::Gone);
        }
    }
    stream.send_data(Bytes::new(), true).map_err(|_| Cut::Gone)
}

/// The body's next frame, or the client's reset if that comes first.
async fn next(
    body: &mut Body,
    stream: &mut SendStream<Bytes>,
) -> Option<Result<Frame<Bytes>, Cut>> {
    poll_fn(|cx| {
        if stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Some(Err(Cut::Gone)));
        }
        Pin::new(&mut *body).poll_frame(cx)
    })
    .await
}

async fn write(mut data: Bytes, last: bool, stream: &mut SendStream<Bytes>) -> Result<(), Cut> {
    if data.is_empty() && last {
        return stream.send_data(data, true).map_err(|_| Cut::Gone);
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len().min(PIECE));
        let Some(Ok(capacity)) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Err(Cut::Gone);
        };
        let piece = data.split_to(capacity.min(data.len()));
        stream.send_data(piece, last && data.is_empty()).map_err(|_| Cut::Gone)?;
    }
    Ok(())
}

/// What an order to reset means when none is named.
pub(super) const RESET: Reason = Reason::INTERNAL_ERROR;
