//! Decides what an answer of ZITADEL's says of its instance (`zitadel.md` §6).
//!
//! - gRPC, gRPC-Web, Connect and REST: RESOURCE_EXHAUSTED (8; HTTP 429) with an id that begins with
//!   `QUOTA-` or `LIMITS-`. The code alone tells nothing: a message that is too large has it too, and
//!   REST sets the cookie below on each such answer.
//! - Everything else: the cookie `zitadel.quota.exhausted=true`.

use std::io::Read;

use http::StatusCode;

use crate::body::base64::Group;
use crate::exchange::Class;
use crate::message::Fields;
use crate::message::name::{CONTENT_ENCODING, CONTENT_TYPE, GRPC_MESSAGE, GRPC_STATUS, SET_COOKIE};

/// How much of a body is looked at: a refusal is a line or two.
pub const SAMPLE: usize = 4 * 1024;

/// Why an instance may ask no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its quota is used up.
    Quota,
    /// It was blocked.
    Blocked,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing, either way.
    Nothing,
    /// The instance is served.
    Served,
    /// It may ask no more; `None`: not said why.
    Refused(Option<Why>),
}

/// Where an answer says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// In its head.
    Now(Said),
    /// In its body or its trailers.
    Within(Place),
}

/// What part of a body tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// gRPC's trailers.
    Trailers,
    /// The first frame of gRPC-Web.
    Web,
    /// The same in base64.
    WebText,
    /// JSON.
    Json,
    /// JSON, coded with gzip, as Connect does.
    Gzip,
}

/// What the head of an answer tells.
pub fn head(class: Class, status: StatusCode, headers: &Fields) -> Told {
    match class {
        Class::Grpc | Class::GrpcWeb | Class::GrpcWebText => {
            match (headers.contains_key(&GRPC_STATUS), class) {
                (true, _) => Told::Now(trailers(headers)),
                (false, Class::Grpc) => Told::Within(Place::Trailers),
                (false, Class::GrpcWeb) => Told::Within(Place::Web),
                (false, _) => Told::Within(Place::WebText),
            }
        }
        Class::WebSocket => Told::Now(Said::Nothing),
        Class::Connect | Class::ConnectStream | Class::Rest | Class::Asset | Class::Page => {
            plain(status, headers)
        }
    }
}

fn plain(status: StatusCode, headers: &Fields) -> Told {
    let starts = |name, with: &[u8]| {
        headers.get_all(name).iter().any(|value| value.as_bytes().starts_with(with))
    };
    if status == StatusCode::TOO_MANY_REQUESTS && starts(CONTENT_TYPE, b"application/json") {
        return match headers.get(CONTENT_ENCODING).map(|coding| coding.as_bytes()) {
            None => Told::Within(Place::Json),
            Some(b"gzip") => Told::Within(Place::Gzip),
            Some(_) => Told::Now(Said::Nothing),
        };
    }
    Told::Now(if starts(SET_COOKIE, b"zitadel.quota.exhausted=true") {
        Said::Refused(None)
    } else if status.is_success() || status.is_redirection() {
        Said::Served
    } else {
        Said::Nothing
    })
}

/// What gRPC's trailers, or a head that has them, tell.
pub fn trailers(headers: &Fields) -> Said {
    let value = |name| headers.get(name).map_or(&b""[..], |value| value.as_bytes());
    status(value(&GRPC_STATUS), value(&GRPC_MESSAGE))
}

fn status(code: &[u8], message: &[u8]) -> Said {
    match code {
        b"0" => Said::Served,
        b"8" => refusal(message),
        _ => Said::Nothing,
    }
}

/// What the beginning of a body tells.
pub fn body(place: Place, sample: &[u8]) -> Said {
    match place {
        // A body without its trailers was cut short.
        Place::Trailers => Said::Nothing,
        Place::Web => web(sample),
        Place::WebText => web(&decoded(sample)),
        Place::Json => refusal(sample),
        Place::Gzip => {
            let mut plain = Vec::new();
            let unpacked = flate2::read::GzDecoder::new(sample).take(SAMPLE as u64);
            // What was read before an end that is missing is enough.
            let _ = { unpacked }.read_to_end(&mut plain);
            refusal(&plain)
        }
    }
}

/// A refusal has no message: its trailer frame comes first.
fn web(sample: &[u8]) -> Said {
    match sample {
        [0 | 1, ..] => Said::Served,
        [0x80, _, _, _, _, trailer @ ..] => {
            let value = |name: &[u8]| {
                let lines = trailer.split(|byte| *byte == b'\n');
                let fields = lines.filter_map(|line| {
                    let colon = line.iter().position(|byte| *byte == b':')?;
                    let (known, value) = line.split_at_checked(colon)?;
                    known.trim_ascii().eq_ignore_ascii_case(name).then_some(value)
                });
                fields.map(|value| value.get(1..).unwrap_or_default().trim_ascii()).next()
            };
            let message = value(b"grpc-message").unwrap_or_default();
            status(value(b"grpc-status").unwrap_or_default(), message)
        }
        _ => Said::Nothing,
    }
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut group = Group::new();
    let mut bytes = Vec::with_capacity(text.len());
    for byte in text {
        match group.push(*byte) {
            Ok(Some((three, length))) => bytes.extend(three.into_iter().take(length)),
            Ok(None) => {}
            Err(()) => break,
        }
    }
    bytes
}

fn refusal(text: &[u8]) -> Said {
    let has = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
    if has(b"LIMITS-") {
        Said::Refused(Some(Why::Blocked))
    } else if has(b"QUOTA-") {
        Said::Refused(Some(Why::Quota))
    } else {
        Said::Nothing
    }
}

#[cfg(test)]
mod tests;
