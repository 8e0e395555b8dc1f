//! The calls: what ZITADEL's clients ask, in each protocol, and how their answers are judged.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, Request};

/// What a call is to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Read,
    Write,
    Stream,
}

/// How an answer says whether it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    Grpc,
    Web,
    Http,
}

/// One kind of call.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    pub effect: Effect,
    words: Words,
    method: Method,
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
}

const fn kind(
    name: &'static str,
    effect: Effect,
    words: Words,
    method: Method,
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
) -> Kind {
    Kind { name, effect, words, method, path, content_type, body }
}

const GRPC: &str = "application/grpc";
const WEB: &str = "application/grpc-web+proto";
const JSON: &str = "application/json";
/// An empty message.
const EMPTY: &[u8] = &[0, 0, 0, 0, 0];
const SECONDS: &[u8] = b"count=60,size=64,interval_ms=50";

/// Every kind, in the order in which they are asked.
pub static KINDS: [Kind; 13] = [
    kind(
        "gRPC v1 read",
        Effect::Read,
        Words::Grpc,
        Method::POST,
        "/zitadel.auth.v1.AuthService/GetMyUser",
        GRPC,
        EMPTY,
    ),
    kind(
        "gRPC v1 write",
        Effect::Write,
        Words::Grpc,
        Method::POST,
        "/zitadel.management.v1.ManagementService/AddProject",
        GRPC,
        EMPTY,
    ),
    kind(
        "gRPC v2 read",
        Effect::Read,
        Words::Grpc,
        Method::POST,
        "/zitadel.user.v2.UserService/ListUsers",
        GRPC,
        EMPTY,
    ),
    kind(
        "gRPC-Web read",
        Effect::Read,
        Words::Web,
        Method::POST,
        "/zitadel.management.v1.ManagementService/ListUsers",
        WEB,
        EMPTY,
    ),
    kind("REST read", Effect::Read, Words::Http, Method::GET, "/auth/v1/users/me", "", b""),
    kind("REST write", Effect::Write, Words::Http, Method::POST, "/v2/users/human", JSON, b"{}"),
    kind("REST search", Effect::Read, Words::Http, Method::POST, "/v2/users", JSON, b"{}"),
    kind(
        "gRPC v1 read",
        Effect::Read,
        Words::Grpc,
        Method::POST,
        "/zitadel.management.v1.ManagementService/ListProjects",
        GRPC,
        EMPTY,
    ),
    kind(
        "Connect read",
        Effect::Read,
        Words::Http,
        Method::POST,
        "/zitadel.user.v2.UserService/ListUsers",
        JSON,
        b"{}",
    ),
    kind(
        "Connect write",
        Effect::Write,
        Words::Http,
        Method::POST,
        "/zitadel.user.v2.UserService/CreateUser",
        JSON,
        b"{}",
    ),
    kind(
        "gRPC-Web write",
        Effect::Write,
        Words::Web,
        Method::POST,
        "/zitadel.management.v1.ManagementService/AddProject",
        WEB,
        EMPTY,
    ),
    kind("file", Effect::Read, Words::Http, Method::GET, "/ui/console/", "", b""),
    kind(
        "gRPC stream",
        Effect::Stream,
        Words::Grpc,
        Method::POST,
        "/ravelin.test.Echo/ServerStream",
        GRPC,
        SECONDS,
    ),
];

impl Kind {
    /// The request with this id. Every third takes the server a while: some are always under way
    /// when it goes.
    pub fn request(&self, id: u64) -> (Request<()>, Bytes) {
        let mut request = Request::builder()
            .method(&self.method)
            .uri(format!("http://localhost{}", self.path))
            .header("authorization", "Bearer demo");
        if !self.content_type.is_empty() {
            request = request.header("content-type", self.content_type);
        }
        if self.words == Words::Grpc {
            request = request.header("te", "trailers");
        }
        if self.effect == Effect::Write {
            request = request.header("x-standin-write", format!("w{id}"));
        }
        if self.is_delayed(id) {
            request = request.header("x-standin-order", format!("slow-head={}", 5 + id % 40));
        }
        let body = if self.effect == Effect::Stream { framed(self.body) } else { self.body.into() };
        // The parts are constants.
        (request.body(()).unwrap_or_default(), body)
    }

    /// Whether its answer's status says all.
    pub fn is_http(&self) -> bool {
        self.words == Words::Http
    }

    /// Whether ZITADEL's REST gateway answers it.
    pub fn is_rest(&self) -> bool {
        self.name.starts_with("REST")
    }

    /// Whether the server takes a while for the request with this id: then its time says nothing of
    /// Ravelin.
    pub fn is_delayed(&self, id: u64) -> bool {
        id.is_multiple_of(3) && self.effect != Effect::Stream
    }

    /// `Ok` for what the client wanted, else what it was told.
    pub fn judge(&self, answer: &Answer) -> Result<(), String> {
        let trailer = |name: &str| {
            let value = answer.trailers.get(name).or_else(|| answer.headers.get(name));
            value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let body = String::from_utf8_lossy(&answer.body);
        let told = match self.words {
            Words::Grpc => (answer.status == 200 && trailer("grpc-status") == "0")
                .then_some(())
                .ok_or_else(|| format!("{} {}", trailer("grpc-status"), trailer("grpc-message"))),
            Words::Web => body
                .contains("grpc-status: 0\r\n")
                .then_some(())
                .ok_or_else(|| body.chars().filter(|c| !c.is_control()).collect()),
            Words::Http => (answer.status == 200).then_some(()).ok_or_else(|| format!("{body}")),
        };
        // Without what is another in every answer.
        let told = told.map_err(|told: String| match told.split_once(",\"request_id\"") {
            Some((same, _)) => format!("{same}}}"),
            None => told,
        });
        told.map_err(|told| format!("{}: {}", answer.status, told.trim()))
    }

    /// Whether a stream's end has a status.
    pub fn has_status(answer: &Answer) -> bool {
        answer.trailers.contains_key("grpc-status") || answer.headers.contains_key("grpc-status")
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}
