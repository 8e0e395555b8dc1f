//! What a request's body may cost: its bytes, the length of one message, the client's silence
//! within it. A body that no limit is about passes without a wrapper.

pub mod messages;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::SizeHint;
use tokio::time::{Instant, Sleep};

use self::messages::Messages;
use crate::body::{Body, Frames};
use crate::error::{Error, Kind};
use crate::exchange::Class;
use crate::message::name::CONTENT_LENGTH;
use crate::message::{Fields, Frame};
use crate::pipeline::plan::LimitsPlan;

/// The limits that hold for one body.
#[derive(Debug)]
struct Limits {
    /// Bytes that may still come.
    bytes: Option<u64>,
    messages: Option<Messages>,
    silence: Option<Duration>,
}

impl Limits {
    /// What of a route's limits is about this class.
    fn of(plan: &LimitsPlan, class: Class) -> Self {
        let message = plan.grpc_message;
        let (bytes, messages, silence) = match class {
            // Bytes both ways; neither has messages that are known here.
            Class::WebSocket => (None, None, None),
            Class::Grpc | Class::ConnectStream => (plan.body, message.map(Messages::new), None),
            Class::GrpcWeb => (plan.body, message.map(Messages::new), plan.body_idle),
            Class::GrpcWebText => (plan.body, message.map(Messages::text), plan.body_idle),
            // The body is the message.
            Class::Connect => {
                let most = plan.body.into_iter().chain(message.map(u64::from)).min();
                (most, None, plan.body_idle)
            }
            Class::Rest | Class::Asset | Class::Page => (plan.body, None, plan.body_idle),
        };
        Self { bytes, messages, silence }
    }

    const fn is_none(&self) -> bool {
        self.bytes.is_none() && self.messages.is_none() && self.silence.is_none()
    }

    /// Refuses a body whose announced length is too large; what is no number is judged elsewhere.
    fn announced(&self, headers: &Fields) -> Result<(), Error> {
        let Some(most) = self.bytes else { return Ok(()) };
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        match length.and_then(|length| length.parse::<u64>().ok()) {
            Some(length) if length > most => {
                let why = format!("{length} bytes are announced, at most {most}");
                Err(Error::with(Kind::BodyTooLarge, why))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn pass(&mut self, data: &[u8]) -> Result<(), Error> {
        if let Some(left) = &mut self.bytes {
            *left = left.checked_sub(data.len() as u64).ok_or(Kind::BodyTooLarge)?;
        }
        match &mut self.messages {
            Some(messages) => messages.watch(data),
            None => Ok(()),
        }
    }
}

/// What the limits of a body tell the rest of its exchange, and are told.
#[derive(Debug, Default)]
pub struct Watch {
    /// The body ended with this.
    broken: Cell<Option<Kind>>,
    /// It is the client's turn, and its clock runs.
    waits: Cell<bool>,
    answered: Cell<bool>,
}

impl Watch {
    /// Whether the exchange waits for the client: then upstream is not late.
    pub fn waits(&self) -> bool {
        self.waits.get()
    }

    /// Upstream has answered: a client that is silent from now on waits for the rest of the answer.
    pub fn answered(&self) {
        self.answered.set(true);
    }

    /// What an error of the answer means: where the request's body was cut, that is what failed,
    /// whatever the way upstream makes of it.
    pub fn meaning(&self, error: Error) -> Error {
        match self.broken.get() {
            Some(kind) if kind != error.kind() => Error::with(kind, error),
            _ => error,
        }
    }
}

/// Puts `body` under the limits that hold for it; without any it is given back as it is.
///
/// # Errors
/// [`Kind::BodyTooLarge`] where its announced length already is.
pub fn limit(
    plan: &LimitsPlan,
    class: Class,
    headers: &Fields,
    body: Body,
) -> Result<(Body, Option<Rc<Watch>>), Error> {
    let limits = Limits::of(plan, class);
    limits.announced(headers)?;
    if limits.is_none() || Frames::is_end_stream(&body) {
        return Ok((body, None));
    }
    let watch = Rc::new(Watch::default());
    let limited =
        Limited { body, limits, watch: Rc::clone(&watch), silent_since: None, timer: None };
    Ok((Body::boxed(limited), Some(watch)))
}

/// A body under limits.
struct Limited {
    body: Body,
    limits: Limits,
    watch: Rc<Watch>,
    /// Since when the client owes more; `None` while nobody asks it for any.
    silent_since: Option<Instant>,
    /// Set once and asked again when it fires, so that a body that is quick sets no second one.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Limited {
    /// Ready when the client was silent for too long.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(silence) = self.limits.silence else { return Poll::Pending };
        if self.watch.answered.get() {
            self.watch.waits.set(false);
            return Poll::Pending;
        }
        let now = Instant::now();
        let Some(due) = self.silent_since.get_or_insert(now).checked_add(silence) else {
            return Poll::Pending;
        };
        self.watch.waits.set(true);
        loop {
            if due <= now {
                return Poll::Ready(());
            }
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset(due);
        }
    }

    fn broken(&mut self, error: Error) -> Poll<Option<Result<Frame, Error>>> {
        self.watch.broken.set(Some(error.kind()));
        self.body = Body::Empty;
        Poll::Ready(Some(Err(error)))
    }
}

impl Frames for Limited {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            return match this.poll_clock(cx) {
                Poll::Ready(()) => this.broken(Error::new(Kind::RequestTimeout)),
                Poll::Pending => Poll::Pending,
            };
        };
        this.silent_since = None;
        this.watch.waits.set(false);
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        match data.map_or(Ok(()), |data| this.limits.pass(data)) {
            Ok(()) => Poll::Ready(frame),
            Err(error) => this.broken(error),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
