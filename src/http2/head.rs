//! From field lines to a message's head, or to the finding that it is malformed
//! (RFC 9113 §8.1.1, §8.3).

use std::borrow::Cow;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, StatusCode, Uri};

use super::hpack::decode::Field;
use crate::message::name::CONTENT_LENGTH;
use crate::message::{FieldName, Fields, Request, Response};

/// What may be held of a head.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes, counted as RFC 9113 §6.5.2 does.
    pub bytes: usize,
    /// Field lines.
    pub fields: usize,
}

/// A head under way.
#[derive(Default)]
pub(super) struct Builder {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    protocol: Option<Box<str>>,
    status: Option<StatusCode>,
    fields: Fields,
    length: Option<u64>,
    size: usize,
    malformed: bool,
    over: bool,
    regular: bool,
}

/// A request's head, and what it says of its body.
pub(super) struct Asked {
    /// The head.
    pub(super) request: Request<()>,
    /// `content-length`.
    pub(super) length: Option<u64>,
    /// It was larger than the bounds: fields are missing from it.
    pub(super) over: bool,
}

/// It breaks the rules: a stream error PROTOCOL_ERROR.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Builder {
    /// With room for so many fields.
    pub(super) fn new(fields: usize) -> Self {
        Self { fields: Fields::with_capacity(fields), ..Self::default() }
    }

    /// Takes the next field line, which counts `size`. What goes beyond `bounds` is let go of, but
    /// still checked.
    #[inline]
    pub(super) fn take(&mut self, field: Cow<'_, Field>, size: usize, bounds: Bounds) {
        self.size = self.size.saturating_add(size);
        match field {
            Cow::Borrowed(Field::Regular(name, value)) => {
                self.regular(name.clone(), value.clone(), bounds);
            }
            Cow::Owned(Field::Regular(name, value)) => self.regular(name, value, bounds),
            field => self.pseudo(field.into_owned(), bounds),
        }
    }

    #[inline]
    fn regular(&mut self, name: FieldName, value: HeaderValue, bounds: Bounds) {
        self.regular = true;
        if name == CONTENT_LENGTH {
            self.take_length(&value);
        }
        if self.size <= bounds.bytes && self.fields.len() < bounds.fields {
            self.fields.append(name, value);
        } else {
            self.over = true;
        }
    }

    fn pseudo(&mut self, field: Field, bounds: Bounds) {
        let twice = match field {
            Field::Method(method) => self.method.replace(method).is_some(),
            Field::Scheme(scheme) => self.scheme.replace(scheme).is_some(),
            Field::Authority(authority) => self.authority.replace(authority).is_some(),
            Field::Path(path) => self.path.replace(path).is_some(),
            Field::Protocol(protocol) => self.protocol.replace(protocol).is_some(),
            Field::Status(status) => self.status.replace(status).is_some(),
            Field::Malformed | Field::Regular(..) => true,
        };
        // Once, and before all fields (RFC 9113 §8.3).
        self.malformed |= twice || self.regular;
        self.over |= self.size > bounds.bytes;
    }

    fn take_length(&mut self, value: &HeaderValue) {
        let digits = value
            .to_str()
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        match digits.and_then(|text| text.parse().ok()) {
            Some(length) if self.length.is_none_or(|known| known == length) => {
                self.length = Some(length);
            }
            _ => self.malformed = true,
        }
    }

    /// How many fields it has.
    pub(super) fn fields(&self) -> usize {
        self.fields.len()
    }

    /// A request (RFC 9113 §8.3.1, RFC 8441 §4).
    pub(super) fn into_request(self) -> Result<Asked, Malformed> {
        let method = self.method.filter(|_| !self.malformed).ok_or(Malformed)?;
        let tunnel = method == Method::CONNECT && self.protocol.is_none();
        let asks = self.scheme.is_some() && self.path.is_some();
        let neither = self.scheme.is_none() && self.path.is_none() && self.authority.is_some();
        let extended = self.protocol.is_none() || method == Method::CONNECT;
        if self.status.is_some() || !extended || !(if tunnel { neither } else { asks }) {
            return Err(Malformed);
        }
        let mut uri = http::uri::Parts::default();
        // A URI cannot have a scheme without an authority.
        uri.scheme = self.scheme.filter(|_| self.authority.is_some());
        uri.authority = self.authority;
        uri.path_and_query = self.path;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Malformed)?;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = self.fields;
        *request.protocol_mut() = self.protocol;
        Ok(Asked { request, length: self.length, over: self.over })
    }

    /// An answer's head (RFC 9113 §8.3.2), and its `content-length`.
    pub(super) fn into_response(self) -> Result<(Response<()>, Option<u64>), Malformed> {
        let asks = self.method.is_some()
            || self.scheme.is_some()
            || self.authority.is_some()
            || self.path.is_some()
            || self.protocol.is_some();
        let status = self.status.filter(|_| !asks && !self.malformed && !self.over);
        let mut response = Response::new(());
        *response.status_mut() = status.ok_or(Malformed)?;
        *response.version_mut() = http::Version::HTTP_2;
        *response.headers_mut() = self.fields;
        Ok((response, self.length))
    }

    /// Trailers, which have no pseudo-headers (RFC 9113 §8.1).
    pub(super) fn into_trailers(self) -> Result<Fields, Malformed> {
        let pseudo = self.method.is_some()
            || self.scheme.is_some()
            || self.authority.is_some()
            || self.path.is_some()
            || self.protocol.is_some()
            || self.status.is_some();
        if pseudo || self.malformed || self.over { Err(Malformed) } else { Ok(self.fields) }
    }
}
