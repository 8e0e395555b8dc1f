//! What is never kept, whatever an answer says (issue 6; zitadel.md §3, §13.2, §13.6): what is about
//! one person, or about one instance in a way that a cache cannot see.

use http::{HeaderValue, StatusCode};

use super::vary;
use crate::message::name::{AUTHORIZATION, CONTENT_TYPE, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};
use crate::message::{FieldName, Fields};
use crate::pipeline::path::rest_after;
use crate::pipeline::plan::CachePlan;

/// ZITADEL's APIs and its identity providers' endpoints (zitadel.md §1).
const API: [&str; 18] = [
    "/admin/v1",
    "/auth/v1",
    "/management/v1",
    "/system/v1",
    "/v2",
    "/v2alpha",
    "/v2beta",
    "/v3alpha",
    "/oauth/v2",
    "/oidc/v1",
    "/oidc",
    "/saml/v2",
    "/saml",
    "/scim/v2",
    "/idps",
    "/.well-known",
    "/openapi",
    "/debug",
];

/// Why a request passes the cache by: the word in `Cache-Status`.
pub type Why = &'static str;

/// Whether a request may neither be answered from the cache nor fill it. `path` is decoded.
pub fn request(plan: &CachePlan, path: &str, headers: &Fields) -> Option<Why> {
    if headers.contains_key(AUTHORIZATION) || headers.contains_key(PROXY_AUTHORIZATION) {
        return Some("authorization");
    }
    if !plan.with_cookies && headers.contains_key(COOKIE) {
        return Some("cookie");
    }
    // Names the instance, its client and its limits (zitadel.md §3.2).
    if path.ends_with("/environment.json") {
        return Some("environment");
    }
    if !plan.api && (is_rpc(path) || API.iter().any(|prefix| below(path, prefix))) {
        return Some("api");
    }
    None
}

/// `/zitadel.user.v2.UserService/GetUserByID`: gRPC, gRPC-Web and Connect.
fn is_rpc(path: &str) -> bool {
    path.starts_with("/zitadel.") || path.starts_with("/grpc.")
}

/// Whether an answer may not be kept.
pub fn answer(path: &str, status: StatusCode, headers: &Fields) -> Option<Why> {
    if headers.contains_key(SET_COOKIE) {
        return Some("set-cookie");
    }
    if status == StatusCode::PARTIAL_CONTENT {
        return Some("partial");
    }
    let personal = |name: &FieldName| *name == COOKIE || *name == AUTHORIZATION;
    if vary::names(headers).any(|name| personal(&name)) {
        return Some("vary");
    }
    // Its pages carry a nonce, a CSRF token and whom one is about to be (zitadel.md §3.3).
    if (below(path, "/ui/login") || below(path, "/ui/v2/login")) && is_html(headers) {
        return Some("login");
    }
    None
}

fn below(path: &str, prefix: &str) -> bool {
    rest_after(prefix, path).is_some()
}

fn is_html(headers: &Fields) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_none_or(|kind| {
        kind.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> Fields {
        let field = |(name, value): &(&'static str, &'static str)| {
            (FieldName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn requests_about_somebody_pass_by() {
        let plan = CachePlan::default();
        for (path, fields, expected) in [
            ("/ui/console/main.js", &[][..], None),
            ("/ui/console/main.js", &[("authorization", "Bearer x")][..], Some("authorization")),
            ("/ui/console/main.js", &[("proxy-authorization", "x")], Some("authorization")),
            ("/ui/console/main.js", &[("cookie", "a=b")], Some("cookie")),
            ("/ui/console/assets/environment.json", &[], Some("environment")),
            ("/v2/users", &[], Some("api")),
            ("/v2x/users", &[], None),
            ("/oauth/v2/keys", &[], Some("api")),
            ("/.well-known/openid-configuration", &[], Some("api")),
            ("/zitadel.user.v2.UserService/GetUserByID", &[], Some("api")),
        ] {
            assert_eq!(request(&plan, path, &headers(fields)), expected, "{path} {fields:?}");
        }
    }

    #[test]
    fn only_cookies_and_apis_can_be_allowed() {
        let plan = CachePlan { with_cookies: true, api: true, ..CachePlan::default() };
        assert_eq!(request(&plan, "/x", &headers(&[("cookie", "a")])), None);
        assert_eq!(request(&plan, "/oauth/v2/keys", &headers(&[])), None);
        let asked = headers(&[("authorization", "a")]);
        assert_eq!(request(&plan, "/x", &asked), Some("authorization"));
        assert_eq!(request(&plan, "/a/environment.json", &headers(&[])), Some("environment"));
    }

    #[test]
    fn answers_about_somebody_are_not_kept() {
        for (path, status, fields, expected) in [
            ("/x", 200, &[("cache-control", "public")][..], None),
            ("/x", 200, &[("set-cookie", "a=b")][..], Some("set-cookie")),
            ("/x", 206, &[], Some("partial")),
            ("/x", 200, &[("vary", "Origin, COOKIE")], Some("vary")),
            ("/x", 200, &[("vary", "authorization")], Some("vary")),
            ("/ui/login/loginname", 200, &[("content-type", "Text/HTML; x")], Some("login")),
            ("/ui/v2/login/password", 200, &[], Some("login")),
            ("/ui/login/resources/a.css", 200, &[("content-type", "text/css")], None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(answer(path, status, &headers(fields)), expected, "{path} {fields:?}");
        }
    }
}
