//! The answer to a CORS preflight, in ZITADEL's place and as ZITADEL gives it (rs/cors 1.11 with the
//! settings of `internal/api/http/middleware/cors_interceptor.go`), but with a time for which a
//! browser may remember it, so that it need not ask before every call.
//!
//! A guard's preflight is answered so too: else the browser tells its script of a broken network, where
//! it could tell of the refusal. It gives nothing away: ZITADEL answers a preflight for any path, known
//! or not, and the call itself is still refused.
//!
//! What is allowed follows the letter: a list of headers that no browser would write (unsorted, with
//! spaces, with capitals) gets the 204 without leave.

use http::{HeaderValue, Method, StatusCode};

use super::plan::PreflightPlan;
use crate::body::Body;
use crate::message::name::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use crate::message::{Request, Response};

/// Case-sensitive, as methods are.
const METHODS: [&str; 7] = ["OPTIONS", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// In the order in which a browser must write them.
const HEADERS: [&str; 12] = [
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
];

/// The answer, where the request is a preflight: `OPTIONS` with an origin and the method that the
/// script wants to use. Without a plan it says nothing of how long it may be remembered.
pub fn answer(plan: Option<&PreflightPlan>, request: &Request<Body>) -> Option<Response<Body>> {
    if *request.method() != Method::OPTIONS {
        return None;
    }
    let request = request.headers();
    let origin = request.get(ORIGIN).filter(|origin| !origin.is_empty())?;
    let wanted = request.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|wanted| !wanted.is_empty())?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        VARY,
        HeaderValue::from_static(
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ),
    );
    let mut lists = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let (list, more) = (lists.next(), lists.next());
    let known = METHODS.iter().any(|method| wanted.as_bytes() == method.as_bytes());
    if !known || more.is_some() || !list.is_none_or(|list| accepts(list.as_bytes())) {
        return Some(response);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, wanted.clone());
    if let Some(list) = list.filter(|list| !list.is_empty()) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, list.clone());
    }
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    if let Some(plan) = plan {
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(plan.max_age.as_secs()));
    }
    Some(response)
}

/// Whether every name is known and the list in order, each name once, byte for byte.
fn accepts(list: &[u8]) -> bool {
    if list.is_empty() {
        return true;
    }
    let mut known = HEADERS.iter();
    // Both are sorted: each name is sought behind the one before.
    list.split(|byte| *byte == b',').all(|name| known.any(|known| known.as_bytes() == name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PLAN: PreflightPlan = PreflightPlan { max_age: Duration::from_secs(7200) };

    fn request(method: Method, fields: &[(&'static str, &'static str)]) -> Request<Body> {
        let mut request = Request::new(Body::Empty);
        *request.method_mut() = method;
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    fn asked(fields: &[(&'static str, &'static str)]) -> Option<Response<Body>> {
        answer(Some(&PLAN), &request(Method::OPTIONS, fields))
    }

    fn leave(list: &'static str, method: &'static str) -> bool {
        let response = asked(&[
            ("origin", "https://app.example"),
            ("access-control-request-method", method),
            ("access-control-request-headers", list),
        ]);
        let response = response.unwrap();
        assert_eq!(response.status(), 204);
        assert!(response.headers()["vary"].to_str().unwrap().starts_with("Origin, "));
        let names = response.headers().names().filter(|name| name.as_str().starts_with("access-"));
        let count = names.count();
        assert!(count == 0 || response.headers()["access-control-max-age"] == "7200");
        count > 0
    }

    #[test]
    fn a_list_is_taken_only_as_a_browser_writes_it() {
        for list in ["", "authorization", "authorization,content-type,x-grpc-web,x-user-agent"] {
            assert!(leave(list, "POST"), "{list}");
        }
        for list in [
            "content-type,authorization",
            "authorization, content-type",
            "Authorization",
            "authorization,authorization",
            "authorization,x-other",
            "authorization,",
            ",authorization",
            " ",
        ] {
            assert!(!leave(list, "POST"), "{list}");
        }
    }

    #[test]
    fn a_method_is_taken_by_its_exact_name() {
        for (method, known) in
            [("DELETE", true), ("PATCH", true), ("post", false), ("TRACE", false)]
        {
            assert_eq!(leave("authorization", method), known, "{method}");
        }
    }

    #[test]
    fn only_a_preflight_is_answered() {
        let origin = ("origin", "https://app.example");
        let wanted = ("access-control-request-method", "POST");
        assert!(asked(&[origin]).is_none());
        assert!(asked(&[wanted]).is_none());
        let both = asked(&[origin, wanted]).unwrap();
        assert_eq!(both.headers()["access-control-allow-origin"], origin.1);
        assert!(!both.headers().contains_key("access-control-allow-headers"));
        assert!(answer(Some(&PLAN), &request(Method::GET, &[origin, wanted])).is_none());
        let once = answer(None, &request(Method::OPTIONS, &[origin, wanted])).unwrap();
        assert_eq!(once.headers()["access-control-allow-methods"], "POST");
        assert!(!once.headers().contains_key("access-control-max-age"));
    }

    #[test]
    fn the_known_headers_are_in_order() {
        assert!(HEADERS.is_sorted());
    }
}
