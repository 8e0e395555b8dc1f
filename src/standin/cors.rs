//! CORS as rs/cors 1.11 does it: any origin echoed, credentials allowed, no Max-Age but gRPC-Web's.

use http::{HeaderMap, Method};

use super::message::{Call, Reply, add, reply, set};

/// What one wrapper allows.
pub(super) struct Policy {
    methods: &'static [&'static str],
    /// Lower case; `None` allows all.
    headers: Option<&'static [&'static str]>,
    exposed: &'static str,
    max_age: Option<&'static str>,
}

/// Connect services, REST and `/assets/v1`.
pub(super) const API: Policy = Policy {
    methods: &["OPTIONS", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    headers: Some(&[
        "accept",
        "accept-language",
        "authorization",
        "connect-protocol-version",
        "connect-timeout-ms",
        "content-type",
        "grpc-timeout",
        "origin",
        "x-grpc-web",
        "x-requested-with",
        "x-user-agent",
        "x-zitadel-orgid",
    ]),
    exposed: "Location, Content-Length, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin",
    max_age: None,
};

/// The OIDC library's own.
pub(super) const OIDC: Policy = Policy {
    methods: &["GET", "HEAD", "POST"],
    headers: Some(&[
        "accept",
        "accept-language",
        "authorization",
        "content-type",
        "origin",
        "x-requested-with",
    ]),
    exposed: "Location, Content-Length",
    max_age: None,
};

/// The gRPC-Web wrapper of the v1 services.
pub(super) const GRPC_WEB: Policy =
    Policy { methods: &["POST"], headers: None, exposed: "", max_age: Some("600") };

/// Whether a browser asks for leave.
pub(super) fn is_preflight(call: &Call) -> bool {
    call.head.method == Method::OPTIONS
        && call.head.headers.contains_key("access-control-request-method")
}

/// The answer to a preflight: 204 with the Allow headers, or without any if something does not suit.
pub(super) fn preflight(call: &Call, policy: &Policy) -> Reply {
    let mut reply = reply(204, "", "");
    let headers = reply.headers_mut();
    add(headers, "vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    let Some(origin) = call.header("origin") else { return reply };
    let method = call.header("access-control-request-method").unwrap_or_default();
    let asked = call.header("access-control-request-headers").unwrap_or_default();
    if !policy.methods.contains(&method) || !accepts(policy.headers, asked) {
        return reply;
    }
    set(headers, "access-control-allow-origin", origin);
    set(headers, "access-control-allow-methods", method);
    if !asked.is_empty() {
        set(headers, "access-control-allow-headers", asked);
    }
    set(headers, "access-control-allow-credentials", "true");
    if let Some(seconds) = policy.max_age {
        set(headers, "access-control-max-age", seconds);
    }
    reply
}

/// Only a browser's list passes: lower case, sorted, commas without spaces.
fn accepts(allowed: Option<&[&str]>, asked: &str) -> bool {
    let Some(allowed) = allowed else { return true };
    let names: Vec<&str> = asked.split(',').collect();
    asked.is_empty() || (names.is_sorted() && names.iter().all(|name| allowed.contains(name)))
}

/// Adds to an actual answer what lets a browser read it.
pub(super) fn actual(
    method: &Method,
    origin: Option<&str>,
    policy: &Policy,
    headers: &mut HeaderMap,
) {
    add(headers, "vary", "Origin");
    let Some(origin) = origin else { return };
    if !policy.methods.contains(&method.as_str()) {
        return;
    }
    set(headers, "access-control-allow-origin", origin);
    if !policy.exposed.is_empty() {
        set(headers, "access-control-expose-headers", policy.exposed);
    }
    set(headers, "access-control-allow-credentials", "true");
}
