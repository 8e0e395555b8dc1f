//! Decides whose requests ZITADEL answers though an instance may ask no more (`zitadel.md` §6).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde::Deserialize;

use crate::message::Fields;
use crate::message::name::AUTHORIZATION;
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

/// A token's claims are shorter than this; what is longer is not looked at.
const CLAIMS: usize = 4 * 1024;

/// Whether a request is answered all the same, whoever sends it; `more` are prefixes beyond
/// ZITADEL's usual public ones.
pub fn of(method: &Method, path: &str, more: &[Box<str>]) -> Exempt {
    let below = |list: &[&str]| list.iter().any(|prefix| rest_after(prefix, path).is_some());
    let health = || path.ends_with("/Healthz") || path.ends_with("/v1/healthz");
    // A preflight is answered before ZITADEL looks for the instance.
    if *method == Method::OPTIONS || below(&ALWAYS) || health() {
        Exempt::Always
    } else if below(&OF_QUOTA) || more.iter().any(|prefix| rest_after(prefix, path).is_some()) {
        Exempt::OfQuota
    } else {
        Exempt::Never
    }
}

/// Whether a system user sends it: a JWT that its own subject has issued, where ZITADEL's tokens are
/// issued by the instance. Nothing is verified here, since ZITADEL does; who forges one only asks
/// ZITADEL, as anybody may by a path that is exempt.
pub fn has_system_token(headers: &Fields) -> bool {
    let claims = || {
        let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        let mut parts = token.trim().split('.');
        let (_head, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        let sound = scheme.eq_ignore_ascii_case("bearer") && parts.next().is_none();
        let text = Some(claims).filter(|claims| sound && claims.len() <= CLAIMS)?;
        URL_SAFE_NO_PAD.decode(text).ok()
    };
    let issued_by_itself = |claims: Vec<u8>| {
        serde_json::from_slice::<Claims<'_>>(&claims)
            .is_ok_and(|claims| !claims.iss.is_empty() && claims.iss == claims.sub)
    };
    claims().is_some_and(issued_by_itself)
}

/// Those of a JWT that matter here.
#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    sub: Cow<'a, str>,
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
            ("GET", "/custom/authorize", Exempt::OfQuota),
            ("GET", "/custom/authorize/callback", Exempt::OfQuota),
            ("GET", "/custom/authorized", Exempt::Never),
        ] {
            let more = ["/custom/authorize".into()];
            assert_eq!(of(&method.parse().unwrap(), path, &more), expected, "{method} {path}");
        }
        assert_eq!(of(&Method::GET, "/custom/authorize", &[]), Exempt::Never);
        assert!(is_login("/ui/login") && is_login("/ui/login/x") && !is_login("/ui/v2/login"));
    }

    #[test]
    fn a_system_user_s_token_is_one_that_its_subject_has_issued() {
        let token = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        let own = r#"{"iss":"robot","sub":"robot","aud":["https://id.example.com"],"exp":1}"#;
        for (value, expected) in [
            (format!("Bearer {}", token(own)), true),
            (format!("bearer {}", token(own)), true),
            (format!("Basic {}", token(own)), false),
            (format!("Bearer {}.more", token(own)), false),
            (format!("Bearer {}", token(r#"{"iss":"https://id.example.com","sub":"1"}"#)), false),
            (format!("Bearer {}", token(r#"{"iss":"","sub":""}"#)), false),
            (format!("Bearer {}", token(r#"{"sub":"robot"}"#)), false),
            (format!("Bearer {}", token(&own.replace("1}", &" ".repeat(CLAIMS)))), false),
            ("Bearer an-opaque-token".to_owned(), false),
            ("Bearer a.b.c".to_owned(), false),
            (String::new(), false),
        ] {
            let headers = Fields::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(has_system_token(&headers), expected, "{value}");
        }
        assert!(!has_system_token(&Fields::new()));
    }
}
