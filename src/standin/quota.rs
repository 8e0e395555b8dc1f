//! What ZITADEL answers for an instance that may ask no more: gRPC, Connect and REST say
//! RESOURCE_EXHAUSTED, pages 429 in plain text; the login leads to the Console, whose files are served.

use http::HeaderMap;

use super::grpc::Status;
use super::message::{Call, Reply, add, go_error, redirect};
use super::{Limited, assets, cors, oidc};

/// `publicAuthPathPrefixes`: a quota does not concern them, a block does.
const PUBLIC: [&str; 6] = [
    "/.well-known/openid-configuration",
    "/oauth/v2/authorize",
    "/oauth/v2/keys",
    "/saml/v2/metadata",
    "/saml/v2/certificate",
    "/saml/v2/SSO",
];

/// In the words of its interceptors.
pub(super) fn status(limited: Limited) -> Status {
    Status::new(
        8,
        match limited {
            Limited::Quota => "Quota.Access.Exhausted (QUOTA-vjAy8)",
            Limited::Blocked => "Errors.Limits.Instance.Blocked (LIMITS-molsj)",
        },
    )
}

/// What is answered in the place of a page, or of OIDC and its like.
pub(super) fn page(call: &Call, path: &str) -> Option<Reply> {
    let limited = call.shared.limited()?;
    let public = limited == Limited::Quota && PUBLIC.iter().any(|prefix| path.starts_with(prefix));
    let mut reply = if path.starts_with("/ui/login") {
        redirect(302, "/ui/console/")
    } else if (oidc::matches(path) || assets::matches(path)) && !public && !cors::is_preflight(call)
    {
        go_error(429, "Your ZITADEL instance is blocked.")
    } else {
        return None;
    };
    cookie(reply.headers_mut());
    Some(reply)
}

/// The cookie that says so to whoever stands in front.
pub(super) fn cookie(headers: &mut HeaderMap) {
    add(headers, "set-cookie", "zitadel.quota.exhausted=true; Path=/; Max-Age=300; SameSite=Lax");
    add(headers, "vary", "Cookie");
}
