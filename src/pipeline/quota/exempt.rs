//! Decides whose requests ZITADEL answers though an instance may ask no more (`zitadel.md` §6).

use http::Method;

use crate::pipeline::path::rest_after;

/// Whether ZITADEL answers all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exempt {
    /// No.
    Never,
    /// While a quota is used up, not while the instance is blocked: signing in elsewhere with it goes on.
    OfQuota,
    /// Always: what is no instance's, and what tells people what is the matter.
    Always,
}

/// Never counted: the system API, health, the Console's files, and what asks for no instance.
const ALWAYS: [&str; 8] = [
    "/system/v1",
    "/zitadel.system.v1.SystemService",
    "/grpc.health.v1.Health",
    "/ui/console",
    "/debug",
    "/openapi",
    "/healthz",
    "/robots.txt",
];

/// ZITADEL's public paths of signing in (`publicAuthPathPrefixes`), where they are not configured
/// elsewhere.
const OF_QUOTA: [&str; 6] = [
    "/.well-known/openid-configuration",
    "/oauth/v2/authorize",
    "/oauth/v2/keys",
    "/saml/v2/metadata",
    "/saml/v2/certificate",
    "/saml/v2/SSO",
];

/// Whether this request is answered all the same.
pub fn of(method: &Method, path: &str) -> Exempt {
    let below = |list: &[&str]| list.iter().any(|prefix| rest_after(prefix, path).is_some());
    let health = || path.ends_with("/Healthz") || path.ends_with("/v1/healthz");
    // A preflight is answered before ZITADEL looks for the instance.
    if *method == Method::OPTIONS || below(&ALWAYS) || health() {
        Exempt::Always
    } else if below(&OF_QUOTA) {
        Exempt::OfQuota
    } else {
        Exempt::Never
    }
}

/// Whether it is the login's, which ZITADEL leads to the Console.
pub fn is_login(path: &str) -> bool {
    rest_after("/ui/login", path).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_answered_all_the_same() {
        for (method, path, expected) in [
            ("POST", "/zitadel.system.v1.SystemService/ListInstances", Exempt::Always),
            ("POST", "/system/v1/instances/_search", Exempt::Always),
            ("POST", "/zitadel.admin.v1.AdminService/Healthz", Exempt::Always),
            ("GET", "/admin/v1/healthz", Exempt::Always),
            ("GET", "/healthz", Exempt::Always),
            ("POST", "/grpc.health.v1.Health/Check", Exempt::Always),
            ("GET", "/debug/ready", Exempt::Always),
            ("GET", "/ui/console/", Exempt::Always),
            ("GET", "/ui/console/main.js", Exempt::Always),
            ("GET", "/ui/console/assets/environment.json", Exempt::Always),
            ("OPTIONS", "/v2/users", Exempt::Always),
            ("GET", "/.well-known/openid-configuration", Exempt::OfQuota),
            ("GET", "/oauth/v2/authorize", Exempt::OfQuota),
            ("GET", "/oauth/v2/keys", Exempt::OfQuota),
            ("GET", "/saml/v2/metadata", Exempt::OfQuota),
            ("GET", "/saml/v2/certificate", Exempt::OfQuota),
            ("POST", "/saml/v2/SSO", Exempt::OfQuota),
            ("POST", "/oauth/v2/token", Exempt::Never),
            ("POST", "/saml/v2/SLO", Exempt::Never),
            ("GET", "/ui/consoles", Exempt::Never),
            ("GET", "/ui/login/loginname", Exempt::Never),
            ("POST", "/zitadel.session.v2.SessionService/ListSessions", Exempt::Never),
            ("GET", "/oauth/v2/keysx", Exempt::Never),
        ] {
            assert_eq!(of(&method.parse().unwrap(), path), expected, "{method} {path}");
        }
        assert!(is_login("/ui/login") && is_login("/ui/login/x") && !is_login("/ui/v2/login"));
    }
}
