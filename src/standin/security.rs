//! The security headers of console, login and assets, and ZITADEL's cookies.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::message::{Call, add, set};

/// Sets the headers of ZITADEL's `security_headers.go`. The directives of the policy come in a new
/// random order each time, as Go's maps give them.
pub(super) fn headers(headers: &mut HeaderMap, directives: &[(&str, String)]) {
    let mut list: Vec<String> =
        directives.iter().map(|(name, value)| format!("{name} {value}")).collect();
    fastrand::shuffle(&mut list);
    set(headers, "content-security-policy", &list.join(";"));
    set(headers, "x-xss-protection", "1; mode=block");
    set(headers, "strict-transport-security", "max-age=31536000; includeSubDomains");
    set(headers, "x-frame-options", "DENY");
    set(headers, "x-content-type-options", "nosniff");
    set(headers, "referrer-policy", "same-origin");
    set(headers, "feature-policy", "payment 'none'");
    set(headers, "permissions-policy", "payment=()");
}

/// The console's policy: it names the host that was asked for.
pub(super) fn console(host: &str) -> Vec<(&'static str, String)> {
    vec![
        ("default-src", "'none'".to_owned()),
        ("script-src", "'self' 'unsafe-eval'".to_owned()),
        ("style-src", "'self' 'unsafe-inline'".to_owned()),
        ("connect-src", format!("'self' {host}")),
        ("img-src", format!("'self' {host} blob:")),
        ("font-src", "'self'".to_owned()),
        ("manifest-src", "'self'".to_owned()),
        ("object-src", "'none'".to_owned()),
        ("frame-ancestors", "'none'".to_owned()),
    ]
}

/// The login's policy: a nonce per answer.
pub(super) fn login(nonce: &str) -> Vec<(&'static str, String)> {
    vec![
        ("default-src", "'self'".to_owned()),
        ("script-src", format!("'self' 'nonce-{nonce}'")),
        ("style-src", format!("'self' 'nonce-{nonce}'")),
        ("img-src", "'self' blob:".to_owned()),
        ("object-src", "'none'".to_owned()),
        ("frame-ancestors", "'none'".to_owned()),
    ]
}

/// Sets Cache-Control and Expires as the console's and the resources' interceptor does.
pub(super) fn cache(headers: &mut HeaderMap, value: &'static str, expires_in: i64) {
    set(headers, "cache-control", value);
    let by = Duration::from_secs(expires_in.unsigned_abs());
    let now = SystemTime::now();
    let at = if expires_in < 0 { now - by } else { now + by };
    set(headers, "expires", &httpdate::fmt_http_date(at));
}

/// What must not be kept.
pub(super) fn no_store(headers: &mut HeaderMap) {
    cache(headers, "no-store", -3600);
    set(headers, "pragma", "no-cache");
}

/// Sets the browser's identity, as OIDC, SAML and the login do on every answer.
pub(super) fn user_agent_cookie(call: &Call, headers: &mut HeaderMap) {
    cookie(
        call,
        headers,
        "zitadel.useragent",
        &format!("MTc2{:016x}", fastrand::u64(..)),
        "Max-Age=31536000; ",
    );
}

/// Sets a cookie of ZITADEL's, `__Host-` and Secure if the instance is.
pub(super) fn cookie(call: &Call, headers: &mut HeaderMap, name: &str, value: &str, age: &str) {
    let (prefix, secure) =
        if call.shared.options.external_secure { ("__Host-", "; Secure") } else { ("", "") };
    add(
        headers,
        "set-cookie",
        &format!("{prefix}{name}={value}; Path=/; {age}HttpOnly{secure}; SameSite=Lax"),
    );
    add(headers, "vary", "Cookie");
}

/// Deletes the quota cookie, as every good REST answer does.
pub(super) fn quota_cookie(headers: &mut HeaderMap) {
    add(headers, "set-cookie", "zitadel.quota.exhausted=; Path=/; Max-Age=0; SameSite=Lax");
    add(headers, "vary", "Cookie");
}
