//! Orders to misbehave, for tests: the header `x-standin-order` or the query `?order=`, several
//! separated by commas; or standing ones, which come with every request (`Standin::obey`).
//!
//! Before the head: `slow-head=MS`, `stall-head`, `stall-at=PORT` (only the stand-in that listens
//! there), `reset`, `reset-once=KEY`, `refuse`, `refuse-once=KEY`, `die`, `die-once=KEY`.
//! On the head: `status=NNN`, `set-header=Name:Value`, `goaway`.
//! In the body: `stall` (the head, then nothing ever), `reset-mid-body`, `die-mid-body`,
//! `no-trailers` (gRPC ends without a status).

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use h2::Reason;
use http::header::{CONNECTION, HeaderName};
use http::{HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;

use super::http2::RESET;
use super::message::{Answer, Body, Call, Cut, Reply, streamed};

/// What was sent first must leave the machine before the reset may overtake it.
const LEAVE: Duration = Duration::from_millis(50);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    SlowHead(Duration),
    StallHead,
    StallAt(u16),
    Reset,
    ResetOnce(String),
    Refuse,
    RefuseOnce(String),
    Die,
    DieOnce(String),
    Status(StatusCode),
    SetHeader(HeaderName, HeaderValue),
    GoAway,
    Stall,
    ResetMidBody,
    DieMidBody,
    NoTrailers,
}

/// One order; `None` for what is not understood.
pub(super) fn parse(word: &str) -> Option<Order> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    Some(match name.trim() {
        "slow-head" => Order::SlowHead(Duration::from_millis(value.parse().ok()?)),
        "stall-head" => Order::StallHead,
        "stall-at" => Order::StallAt(value.parse().ok()?),
        "reset" => Order::Reset,
        "reset-once" => Order::ResetOnce(value.to_owned()),
        "refuse" => Order::Refuse,
        "refuse-once" => Order::RefuseOnce(value.to_owned()),
        "die" => Order::Die,
        "die-once" => Order::DieOnce(value.to_owned()),
        "status" => Order::Status(value.parse().ok()?),
        "set-header" => {
            let (name, value) = value.split_once(':')?;
            Order::SetHeader(name.parse().ok()?, value.trim_start().parse().ok()?)
        }
        "goaway" => Order::GoAway,
        "stall" => Order::Stall,
        "reset-mid-body" => Order::ResetMidBody,
        "die-mid-body" => Order::DieMidBody,
        "no-trailers" => Order::NoTrailers,
        _ => return None,
    })
}

/// The orders of a request. `Err` is the word that is not understood: a test's typing error must
/// not pass for a server that behaves.
pub(super) fn of(call: &Call) -> Result<Vec<Order>, String> {
    let in_header =
        call.head.headers.get_all("x-standin-order").iter().filter_map(|value| value.to_str().ok());
    let in_query = call.query("order");
    let standing = call.shared.standing();
    in_header
        .chain(in_query.as_deref())
        .chain([&*standing])
        .flat_map(|list| list.split(','))
        .filter(|word| !word.trim().is_empty())
        .map(|word| parse(word).ok_or_else(|| word.to_owned()))
        .collect()
}

/// Obeys what comes before the head.
pub(super) async fn before(orders: &[Order], call: &Call) -> Result<(), Cut> {
    for order in orders {
        match order {
            Order::SlowHead(delay) => tokio::time::sleep(*delay).await,
            Order::StallHead => pending::<()>().await,
            Order::StallAt(port) if call.shared.address.port() == *port => pending::<()>().await,
            Order::Reset => return Err(Cut::Reset(RESET)),
            Order::ResetOnce(key) if call.shared.first_time(key) => {
                return Err(Cut::Reset(RESET));
            }
            Order::Refuse => return Err(Cut::Reset(Reason::REFUSED_STREAM)),
            Order::RefuseOnce(key) if call.shared.first_time(key) => {
                return Err(Cut::Reset(Reason::REFUSED_STREAM));
            }
            Order::Die => return Err(Cut::Die),
            Order::DieOnce(key) if call.shared.first_time(key) => return Err(Cut::Die),
            Order::GoAway => call.control.go_away(),
            _ => {}
        }
    }
    Ok(())
}

/// Obeys what concerns the answer.
pub(super) fn after(orders: Vec<Order>, mut reply: Reply, is_http2: bool) -> Answer {
    for order in orders {
        reply = match order {
            Order::Status(status) => {
                *reply.status_mut() = status;
                reply
            }
            Order::SetHeader(name, value) => {
                reply.headers_mut().append(name, value);
                reply
            }
            Order::GoAway if !is_http2 => {
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                reply
            }
            Order::Stall => reply.map(|_| streamed(stream::pending())),
            Order::ResetMidBody => reply.map(|body| cut_short(body, Cut::Reset(RESET))),
            Order::DieMidBody => reply.map(|body| cut_short(body, Cut::Die)),
            Order::NoTrailers => without_trailers(reply),
            _ => reply,
        };
    }
    Ok(reply)
}

/// Half of the first frame, then the cut.
fn cut_short(body: Body, cut: Cut) -> Body {
    let half = stream::once(async move {
        let mut body = body;
        let data = match body.frame().await {
            Some(frame) => frame?.into_data().unwrap_or_default(),
            None => Bytes::new(),
        };
        Ok(Frame::data(data.slice(..data.len().div_ceil(2))))
    });
    let end = stream::once(async move {
        tokio::time::sleep(LEAVE).await;
        Err(cut)
    });
    streamed(half.chain(end))
}

fn without_trailers(mut reply: Reply) -> Reply {
    let is_web = reply
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc-web"));
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        reply.headers_mut().remove(name);
    }
    reply.map(|body| {
        let kept = body.into_data_stream().filter_map(move |data| async move {
            match data {
                // gRPC-Web's trailers are a frame of their own: flag 0x80, or its base64.
                Ok(data) if is_web && (data.starts_with(b"\x80") || data.starts_with(b"gAAA")) => {
                    None
                }
                Ok(data) => Some(Ok(Frame::data(data))),
                Err(cut) => Some(Err(cut)),
            }
        });
        streamed(kept)
    })
}
