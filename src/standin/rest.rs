//! REST: grpc-gateway before the gRPC services, and the catch-all. Also SCIM.

use std::time::Instant;

use http::{HeaderMap, Method};
use http_body::Frame;
use serde_json::json;

use super::hosts::Instance;
use super::message::{Answer, Call, Reply, Token, add, frames, reply, set};
use super::{Limited, cors, quota, security};

/// The largest message the gateway's loop-back client takes.
const LIMIT: usize = 4 << 20;

/// A route: method, pattern (`*` is one segment), whether it is open to anybody, and the answer.
type Route = (Method, &'static str, bool, &'static str);

const LIST: &str = "{\"details\":{\"totalResult\":\"1\",\"processedSequence\":\"42\"},\"result\":[{\"id\":\"200000000000000001\"}]}";
const DETAILS: &str = "{\"details\":{\"sequence\":\"43\",\"resourceOwner\":\"200000000000000000\"},\"id\":\"200000000000000002\"}";
const USER: &str = "{\"user\":{\"userId\":\"200000000000000001\",\"state\":\"USER_STATE_ACTIVE\",\"username\":\"demo\"}}";

const ROUTES: &[Route] = &[
    (Method::GET, "/healthz", true, "{\"status\":\"SERVING\"}"),
    (Method::GET, "/admin/v1/healthz", true, "{}"),
    (Method::GET, "/management/v1/healthz", true, "{}"),
    (Method::GET, "/auth/v1/healthz", true, "{}"),
    (Method::GET, "/system/v1/healthz", true, "{}"),
    (Method::POST, "/system/v1/instances/_search", false, LIST),
    (Method::POST, "/system/v1/instances/_create", false, DETAILS),
    (
        Method::GET,
        "/admin/v1/instances/me",
        false,
        "{\"instance\":{\"id\":\"200000000000000000\",\"name\":\"ZITADEL\"}}",
    ),
    (Method::POST, "/admin/v1/export", false, "{\"orgs\":[]}"),
    (Method::POST, "/admin/v1/import", false, "{\"success\":{}}"),
    (Method::POST, "/admin/v1/events/_search", false, "{\"events\":[]}"),
    (
        Method::GET,
        "/management/v1/orgs/me",
        false,
        "{\"org\":{\"id\":\"200000000000000000\",\"name\":\"ZITADEL\"}}",
    ),
    (Method::POST, "/management/v1/users/_search", false, LIST),
    (Method::POST, "/management/v1/projects", false, DETAILS),
    (Method::PUT, "/management/v1/projects/*", false, DETAILS),
    (Method::GET, "/auth/v1/users/me", false, USER),
    (Method::POST, "/v2/users", false, LIST),
    (Method::POST, "/v2/users/human", false, DETAILS),
    (Method::GET, "/v2/users/*", false, USER),
    (Method::DELETE, "/v2/users/*", false, DETAILS),
    (Method::POST, "/v2/sessions/search", false, LIST),
    (Method::POST, "/v2/sessions", false, DETAILS),
    (Method::GET, "/v2/sessions/*", false, "{\"session\":{\"id\":\"1\"}}"),
    (Method::PATCH, "/v2/sessions/*", false, DETAILS),
    (Method::DELETE, "/v2/sessions/*", false, DETAILS),
    (Method::POST, "/v2/organizations/_search", false, LIST),
    (Method::POST, "/v2/organizations", false, DETAILS),
    (Method::GET, "/v2/settings", false, "{\"defaultLanguage\":\"en\"}"),
    (Method::GET, "/v2/settings/login", false, "{\"settings\":{}}"),
    (Method::GET, "/v2/features/instance", false, "{}"),
    (Method::PUT, "/v2/features/instance", false, DETAILS),
];

/// A failure as grpc-gateway words it.
struct Failure {
    status: u16,
    code: u8,
    message: String,
}

impl Failure {
    fn new(status: u16, code: u8, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

/// Whether the path is below one of the v1 gateways, which stand early in the table.
pub(super) fn is_v1(path: &str) -> bool {
    ["/system/v1", "/admin/v1", "/management/v1", "/auth/v1"].iter().any(|prefix| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Answers as the gateway does; what nobody knows is a 404 in JSON.
pub(super) async fn answer(mut call: Call) -> Answer {
    let mut reply = if let Some(mut preflight) = super::dispatch::preflight(&call) {
        security::quota_cookie(preflight.headers_mut());
        return Ok(preflight);
    } else {
        match outcome(&mut call).await? {
            Ok(body) => success(&call.path, body),
            Err(failure) => refusal(&call, &failure),
        }
    };
    cors::actual(&call.head.method, call.header("origin"), &cors::API, reply.headers_mut());
    Ok(reply)
}

async fn outcome(call: &mut Call) -> Result<Result<&'static str, Failure>, super::message::Cut> {
    let (_, over) = call.body.read(LIMIT).await?;
    Ok(decide(call, over))
}

fn decide(call: &Call, over: bool) -> Result<&'static str, Failure> {
    let matching: Vec<&Route> =
        ROUTES.iter().filter(|route| matches(route.1, &call.path)).collect();
    if matching.is_empty() {
        return Err(Failure::new(404, 5, "Not Found"));
    }
    // The exact pattern stands before the one with a wildcard.
    let Some(route) = matching.iter().find(|route| route.0 == call.head.method) else {
        return Err(Failure::new(405, 12, "Method Not Allowed"));
    };
    // From here on the gateway dials its own server.
    if call
        .shared
        .options
        .rest_after
        .is_some_and(|after| Instant::now() < call.shared.started + after)
    {
        let port = call.shared.address.port();
        return Err(Failure::new(
            503,
            14,
            format!(
                "connection error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:{port}: \
                 connect: connection refused\""
            ),
        ));
    }
    if over {
        return Err(Failure::new(
            429,
            8,
            "grpc: received message larger than max (4194305 vs. 4194304)",
        ));
    }
    let is_system = call.path.starts_with("/system/v1") || call.path == "/healthz";
    if !is_system {
        Instance::resolve_rest(call).map_err(|unknown| Failure::new(404, 5, unknown.message))?;
    }
    let exempt = is_system || route.1.ends_with("/healthz") || call.token() == Token::System;
    let limited = call.shared.limited().filter(|_| !exempt);
    let refused = |limited: Limited| Failure::new(429, 8, quota::status(limited).message);
    if limited == Some(Limited::Blocked) {
        return Err(refused(Limited::Blocked));
    }
    if !route.2 {
        match call.token() {
            Token::Missing => return Err(Failure::new(401, 16, "auth header missing")),
            Token::Bad => return Err(Failure::new(401, 16, "Errors.Token.Invalid (AUTH-7fs1e)")),
            Token::Good | Token::System => {}
        }
    }
    limited.map_or(Ok(route.3), |limited| Err(refused(limited)))
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut pattern = pattern.split('/');
    let mut path = path.split('/');
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("*"), Some(segment)) if !segment.is_empty() => {}
            (Some(wanted), Some(segment)) if wanted == segment => {}
            _ => return false,
        }
    }
}

fn success(path: &str, body: &'static str) -> Reply {
    let mut reply = reply(200, "application/json", body);
    let headers = reply.headers_mut();
    let copies = [
        ("grpcgateway-cache-control", "no-store"),
        ("grpcgateway-content-type", "application/grpc"),
    ];
    for (name, value) in copies {
        set(headers, name, value);
    }
    // v2 has no real Cache-Control, only the copy.
    if is_v1(path) {
        security::no_store(headers);
    }
    security::quota_cookie(headers);
    reply
}

fn refusal(call: &Call, failure: &Failure) -> Reply {
    // protojson's own spacing, as seen.
    let body = format!("{{\"code\":{}, \"message\":{}}}", failure.code, json!(failure.message));
    let mut reply = reply(failure.status, "application/json", body.clone());
    if failure.code == 16 {
        // Not a valid challenge (RFC 9110 §11.6.1), but what it says.
        set(reply.headers_mut(), "www-authenticate", &failure.message);
    }
    if failure.status == 429 {
        // Whatever it is about.
        quota::cookie(reply.headers_mut());
    }
    if is_v1(&call.path) && failure.code == 16 {
        security::no_store(reply.headers_mut());
    }
    let asks = call.header("te").is_some_and(|te| te.to_ascii_lowercase().contains("trailers"));
    if !asks {
        return reply;
    }
    // What hung behind other proxies (zitadel#8341): the error becomes chunked, with trailers.
    let headers = reply.headers_mut();
    headers.remove("content-length");
    add(headers, "trailer", "Grpc-Trailer-Content-Type");
    let mut trailers = HeaderMap::new();
    set(&mut trailers, "grpc-trailer-content-type", "application/grpc");
    reply.map(|_| frames(vec![Frame::data(body.into()), Frame::trailers(trailers)]))
}

/// SCIM: its own media type and errors, bodies up to 1,000,000 bytes.
pub(super) async fn scim(mut call: Call) -> Answer {
    let (_, over) = call.body.read(1_000_000).await?;
    let error = |status: u16, detail: &str| {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "detail": detail,
            "status": status.to_string(),
        });
        reply(status, "application/scim+json", body.to_string())
    };
    if let Err(unknown) = Instance::resolve(&call) {
        return Ok(error(404, &unknown.message));
    }
    if !matches!(call.token(), Token::Good | Token::System) {
        return Ok(error(401, "auth header missing"));
    }
    if over {
        return Ok(error(413, "http: request body too large"));
    }
    let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": 0});
    Ok(reply(200, "application/scim+json", body.to_string()))
}
