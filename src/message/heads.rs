//! Requests and answers: a head and what follows it.

use http::{Method, StatusCode, Uri, Version};

use super::Fields;

/// A head and what follows it.
#[derive(Clone, Debug)]
pub struct Message<H, B> {
    head: H,
    body: B,
}

/// A request. Its head is boxed, since it goes from hand to hand some thirty times on its way.
pub type Request<B> = Message<Box<Asking>, B>;

/// An answer.
pub type Response<B> = Message<Answering, B>;

/// A request's head.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// What is to be done.
    pub method: Method,
    /// With what.
    pub uri: Uri,
    /// In which version it came or goes.
    pub version: Version,
    /// Its fields.
    pub headers: Fields,
    /// `:protocol` of an extended CONNECT (RFC 8441 §4).
    pub protocol: Option<Box<str>>,
}

impl<H, B> Message<H, B> {
    /// A head that says nothing yet: GET of `/`, or 200.
    pub fn new(body: B) -> Self
    where
        H: Default,
    {
        Self { head: H::default(), body }
    }

    /// A head and what follows it.
    pub fn from_parts(head: H, body: B) -> Self {
        Self { head, body }
    }

    /// Both apart.
    pub fn into_parts(self) -> (H, B) {
        (self.head, self.body)
    }

    /// Its body.
    pub fn body(&self) -> &B {
        &self.body
    }

    /// The same, to be changed.
    pub fn body_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// Its body alone.
    pub fn into_body(self) -> B {
        self.body
    }

    /// With another body.
    pub fn map<C>(self, with: impl FnOnce(B) -> C) -> Message<H, C> {
        Message { head: self.head, body: with(self.body) }
    }
}

impl<B> Request<B> {
    /// What is to be done.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The same, to be changed.
    pub fn method_mut(&mut self) -> &mut Method {
        &mut self.head.method
    }

    /// With what.
    pub fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// The same, to be changed.
    pub fn uri_mut(&mut self) -> &mut Uri {
        &mut self.head.uri
    }

    /// In which version it came or goes.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The same, to be changed.
    pub fn version_mut(&mut self) -> &mut Version {
        &mut self.head.version
    }

    /// Its fields.
    pub fn headers(&self) -> &Fields {
        &self.head.headers
    }

    /// The same, to be changed.
    pub fn headers_mut(&mut self) -> &mut Fields {
        &mut self.head.headers
    }

    /// `:protocol` of an extended CONNECT.
    pub fn protocol(&self) -> Option<&str> {
        self.head.protocol.as_deref()
    }

    /// The same, to be changed.
    pub fn protocol_mut(&mut self) -> &mut Option<Box<str>> {
        &mut self.head.protocol
    }
}

/// An answer's head.
#[derive(Clone, Debug, Default)]
pub struct Answering {
    /// How it went.
    pub status: StatusCode,
    /// In which version it came or goes.
    pub version: Version,
    /// Its fields.
    pub headers: Fields,
}

impl<B> Response<B> {
    /// How it went.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The same, to be changed.
    pub fn status_mut(&mut self) -> &mut StatusCode {
        &mut self.head.status
    }

    /// In which version it came or goes.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The same, to be changed.
    pub fn version_mut(&mut self) -> &mut Version {
        &mut self.head.version
    }

    /// Its fields.
    pub fn headers(&self) -> &Fields {
        &self.head.headers
    }

    /// The same, to be changed.
    pub fn headers_mut(&mut self) -> &mut Fields {
        &mut self.head.headers
    }
}

impl<B> From<http::Request<B>> for Request<B> {
    fn from(request: http::Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let http::request::Parts { method, uri, version, headers, .. } = parts;
        Self {
            head: Box::new(Asking {
                method,
                uri,
                version,
                headers: headers.into(),
                protocol: None,
            }),
            body,
        }
    }
}

impl<B> From<Request<B>> for http::Request<B> {
    fn from(request: Request<B>) -> Self {
        let Asking { method, uri, version, headers, .. } = *request.head;
        let mut theirs = Self::new(request.body);
        *theirs.method_mut() = method;
        *theirs.uri_mut() = uri;
        *theirs.version_mut() = version;
        *theirs.headers_mut() = headers.into();
        theirs
    }
}

impl<B> From<http::Response<B>> for Response<B> {
    fn from(response: http::Response<B>) -> Self {
        let (parts, body) = response.into_parts();
        let http::response::Parts { status, version, headers, .. } = parts;
        Self { head: Answering { status, version, headers: headers.into() }, body }
    }
}

impl<B> From<Response<B>> for http::Response<B> {
    fn from(response: Response<B>) -> Self {
        let mut theirs = Self::new(response.body);
        *theirs.status_mut() = response.head.status;
        *theirs.version_mut() = response.head.version;
        *theirs.headers_mut() = response.head.headers.into();
        theirs
    }
}
