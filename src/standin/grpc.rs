//! Native gRPC of the v1 services, in the shape of grpc-go's `ServeHTTP`: HEADERS, then trailers,
//! also for errors; and what all gRPC of the stand-in shares.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body::Frame;

use super::hosts::Instance;
use super::message::{Answer, Call, Cut, Reply, Token, frames, reply, set, streamed};
use super::{Limited, gzip, protobuf, quota, security};

/// grpc-go's default for a received message.
const LIMIT: usize = 4 << 20;

const SERVICES: [&str; 7] = [
    "zitadel.admin.v1.AdminService",
    "zitadel.management.v1.ManagementService",
    "zitadel.auth.v1.AuthService",
    "zitadel.system.v1.SystemService",
    "zitadel.resources.user.v3alpha.ZITADELUsers",
    "zitadel.resources.userschema.v3alpha.ZITADELUserSchemas",
    "zitadel.resources.debug_events.v3alpha.ZITADELDebugEvents",
];

/// A gRPC status that is not OK.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Status {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What it adds to a header block.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        set(headers, "grpc-status", &self.code.to_string());
        if !self.message.is_empty() {
            set(headers, "grpc-message", &escape(&self.message));
        }
    }
}

/// Percent-encoding of `grpc-message`.
fn escape(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => out.push_str(&format!("%{byte:02X}")),
            byte => out.push(char::from(byte)),
        }
    }
    out
}

/// Whether grpc-go takes it: HTTP/2, POST and exactly these types, without parameters.
pub(super) fn is_native(call: &Call) -> bool {
    call.is_http2()
        && call.head.method == Method::POST
        && matches!(
            call.content_type(),
            "application/grpc" | "application/grpc+proto" | "application/grpc+json"
        )
}

/// Answers by the decoded path, as net/http hands it to grpc-go.
pub(super) async fn answer(call: Call) -> Answer {
    let content_type = call.content_type().to_owned();
    let path = call.decoded.clone();
    serve(call, &path, &content_type).await
}

/// The same for callers that carry another content type outside (gRPC-Web).
pub(super) async fn serve(mut call: Call, path: &str, content_type: &str) -> Answer {
    if path == "/grpc.health.v1.Health/Watch" {
        return Ok(watch(content_type));
    }
    let message = match read(&mut call).await? {
        Ok((true, _)) => {
            Err(Status::new(12, "grpc: Decompressor is not installed for grpc-encoding \"gzip\""))
        }
        Ok((false, message)) => Ok(message),
        Err(status) => Err(status),
    };
    let outcome = match message {
        Ok(_) if content_type.ends_with("+json") => Err(Status::new(
            13,
            "grpc: error unmarshalling request: no codec for content-subtype json",
        )),
        Ok(_) => decide(&call, path),
        // An unknown method is found out before the message is read.
        Err(status) => match known(path) {
            Some(unknown) => Err(unknown),
            None => Err(status),
        },
    };
    Ok(unary(content_type, outcome))
}

/// Reads the one message of a unary call: whether it is compressed, and its bytes.
pub(super) async fn read(call: &mut Call) -> Result<Result<(bool, Bytes), Status>, Cut> {
    let (body, _) = call.body.read(LIMIT + 5).await?;
    let Some((prefix, _)) = body.split_first_chunk::<5>() else {
        return Ok(Err(Status::new(13, "grpc: received no message for a unary call")));
    };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if length > LIMIT {
        return Ok(Err(Status::new(
            8,
            format!("grpc: received message larger than max ({length} vs. {LIMIT})"),
        )));
    }
    if body.len() < length + 5 {
        return Ok(Err(Status::new(13, "unexpected EOF")));
    }
    Ok(Ok((prefix[0] == 1, body.slice(5..length + 5))))
}

/// `None` if service and method exist.
fn known(path: &str) -> Option<Status> {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.rsplit_once('/'))
    else {
        return Some(Status::new(12, format!("malformed method name: \"{path}\"")));
    };
    if service == "grpc.health.v1.Health" {
        return (method != "Check").then(|| unknown_method(service, method));
    }
    if !SERVICES.contains(&service) {
        return Some(Status::new(12, format!("unknown service {service}")));
    }
    (!is_method(method)).then(|| unknown_method(service, method))
}

fn unknown_method(service: &str, method: &str) -> Status {
    Status::new(12, format!("unknown method {method} for service {service}"))
}

/// The stand-in has no list of ZITADEL's 600 methods: it knows them by their verb.
pub(super) fn is_method(name: &str) -> bool {
    const VERBS: [&str; 22] = [
        "Get",
        "List",
        "Search",
        "Healthz",
        "Create",
        "Add",
        "Update",
        "Set",
        "Remove",
        "Delete",
        "Is",
        "Import",
        "Export",
        "Activate",
        "Deactivate",
        "Lock",
        "Unlock",
        "Register",
        "Verify",
        "Start",
        "Retrieve",
        "Password",
    ];
    VERBS.iter().any(|verb| name.starts_with(verb))
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn decide(call: &Call, path: &str) -> Result<Vec<u8>, Status> {
    if let Some(unknown) = known(path) {
        return Err(unknown);
    }
    if path == "/grpc.health.v1.Health/Check" {
        return Ok(protobuf::number(1, 1));
    }
    let is_system = path.starts_with("/zitadel.system.v1.");
    if !is_system {
        Instance::resolve(call).map_err(|unknown| Status::new(5, unknown.message))?;
    }
    if path.ends_with("/Healthz") {
        return Ok(Vec::new());
    }
    if is_system {
        authorize(call)?;
    } else {
        limits(call)?;
    }
    Ok(result(path))
}

/// Who calls, and whether the instance may be asked: a block is found before, a quota afterwards.
pub(super) fn limits(call: &Call) -> Result<(), Status> {
    match call.shared.limited().filter(|_| call.token() != Token::System) {
        Some(Limited::Blocked) => Err(quota::status(Limited::Blocked)),
        limited => {
            authorize(call)?;
            limited.map_or(Ok(()), |limited| Err(quota::status(limited)))
        }
    }
}

/// The credential, in ZITADEL's words.
pub(super) fn authorize(call: &Call) -> Result<(), Status> {
    match call.token() {
        Token::Good | Token::System => Ok(()),
        Token::Missing => Err(Status::new(16, "auth header missing")),
        Token::Bad => Err(Status::new(16, "Errors.Token.Invalid (AUTH-7fs1e)")),
    }
}

/// A plausible message: lists and writes begin with `details`, reads may be empty.
pub(super) fn result(path: &str) -> Vec<u8> {
    match path.rsplit('/').next().unwrap_or_default() {
        "GetMyUser" | "GetUserByID" => {
            protobuf::bytes(1, &protobuf::bytes(1, b"200000000000000001"))
        }
        method if method.starts_with("Get") || method.starts_with("Is") => Vec::new(),
        _ => protobuf::bytes(1, &protobuf::number(1, 1)),
    }
}

/// A message with its five-byte prefix, compressed or not.
pub(super) fn prefixed(message: &[u8], compressed: bool) -> Bytes {
    let message = if compressed { gzip::encode(message) } else { message.to_vec() };
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(u8::from(compressed));
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message);
    frame.freeze()
}

/// Trailers that say OK or not.
pub(super) fn trailers(outcome: Result<(), &Status>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    match outcome {
        // grpc-go leaves an empty message out, announced or not.
        Ok(()) => set(&mut trailers, "grpc-status", "0"),
        Err(status) => status.write(&mut trailers),
    }
    trailers
}

/// A head without content length, with trailers announced.
pub(super) fn head(content_type: &str) -> Reply {
    let mut reply = reply(200, "", "");
    let headers = reply.headers_mut();
    headers.remove("content-length");
    set(headers, "content-type", content_type);
    for name in ["Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"] {
        super::message::add(headers, "trailer", name);
    }
    reply
}

/// grpc-go's unary shape: the no-cache interceptor sends the head before the handler runs, so an
/// error too comes as HEADERS and trailers.
fn unary(content_type: &str, outcome: Result<Vec<u8>, Status>) -> Reply {
    let mut reply = head(content_type);
    security::no_store(reply.headers_mut());
    let list = match &outcome {
        Ok(message) => {
            vec![Frame::data(prefixed(message, false)), Frame::trailers(trailers(Ok(())))]
        }
        Err(status) => vec![Frame::trailers(trailers(Err(status)))],
    };
    reply.map(|_| frames(list))
}

/// SERVING, then silence until the client leaves.
fn watch(content_type: &str) -> Reply {
    use futures_util::{StreamExt, stream};
    let first = stream::iter([Ok(Frame::data(prefixed(&protobuf::number(1, 1), false)))]);
    head(content_type).map(|_| streamed(first.chain(stream::pending())))
}
