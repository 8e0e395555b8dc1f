//! The stable words for what an exchange is and what became of it.

/// What an exchange is, decided once; it alone decides how Ravelin's own errors look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// `application/grpc*` over HTTP/2.
    Grpc,
    /// `application/grpc-web*`, binary.
    GrpcWeb,
    /// `application/grpc-web-text*`, base64.
    GrpcWebText,
    /// Connect unary: JSON or protobuf without envelopes.
    Connect,
    /// `application/connect+*`.
    ConnectStream,
    /// JSON over HTTP, and whatever else is no other class.
    #[default]
    Rest,
    /// A file of a page: script, style, font, image.
    Asset,
    /// A page that a browser navigates to.
    Page,
    /// WebSocket, by upgrade or extended CONNECT.
    WebSocket,
}

impl Class {
    /// Every class, for tables and tests.
    pub const ALL: &'static [Self] = &[
        Self::Grpc,
        Self::GrpcWeb,
        Self::GrpcWebText,
        Self::Connect,
        Self::ConnectStream,
        Self::Rest,
        Self::Asset,
        Self::Page,
        Self::WebSocket,
    ];

    /// The stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::GrpcWeb => "grpc-web",
            Self::GrpcWebText => "grpc-web-text",
            Self::Connect => "connect",
            Self::ConnectStream => "connect-stream",
            Self::Rest => "rest",
            Self::Asset => "asset",
            Self::Page => "page",
            Self::WebSocket => "websocket",
        }
    }
}

/// The HTTP version of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    H1,
    /// HTTP/2, over TLS or not.
    H2,
}

impl Protocol {
    /// The stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
        }
    }
}

/// What the cache did for an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheUse {
    /// Answered from it, fresh.
    Hit,
    /// Answered from it, stale, since the request allows that.
    Stale,
    /// Answered from it, stale, while it is asked for anew.
    Revalidating,
    /// Answered from it, stale, since upstream failed.
    Error,
    /// Answered from it, once upstream had confirmed it.
    Revalidated,
    /// Answered with what upstream told another who asked at the same time.
    Collapsed,
    /// Nothing was kept.
    Miss,
    /// What was kept is for other request fields.
    VaryMiss,
    /// What was kept is too old.
    Expired,
    /// The request wanted it new.
    Wanted,
    /// Nothing was kept, and the request wanted nothing else.
    Only,
    /// The method is not one that is answered from it.
    Method,
    /// The request carries credentials.
    Authorization,
    /// The request carries cookies.
    Cookie,
    /// The path is one that is never kept.
    Never,
}

impl CacheUse {
    /// Every one, for tables and tests.
    pub const ALL: &'static [Self] = &[
        Self::Hit,
        Self::Stale,
        Self::Revalidating,
        Self::Error,
        Self::Revalidated,
        Self::Collapsed,
        Self::Miss,
        Self::VaryMiss,
        Self::Expired,
        Self::Wanted,
        Self::Only,
        Self::Method,
        Self::Authorization,
        Self::Cookie,
        Self::Never,
    ];

    /// The stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale | Self::Revalidating | Self::Error => "stale",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Miss | Self::VaryMiss | Self::Expired | Self::Wanted | Self::Only => "miss",
            Self::Method | Self::Authorization | Self::Cookie | Self::Never => "bypass",
        }
    }

    /// Why, as a stable word.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidating => "stale-while-revalidate",
            Self::Error => "stale-if-error",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Miss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Expired => "expired",
            Self::Wanted => "request",
            Self::Only => "only-if-cached",
            Self::Method => "method",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::Never => "never",
        }
    }
}
