//! Decides which answers carry secrets. Coded with what somebody else can put into them, their size
//! tells the secret letter by letter (BREACH: breachattack.com), so these are never coded.

use http::Method;

use super::eligible::has_directive;
use crate::message::Fields;
use crate::message::name::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use crate::pipeline::path::decode::{Sight, sight};

/// Segments of paths below which ZITADEL answers with tokens, sessions, keys and codes, or with the
/// pages of its logins (zitadel.md §1, §3.5, §3.6).
const SECRET: [&str; 22] = [
    "authorize",
    "device",
    "device_authorization",
    "idps",
    "introspect",
    "keys",
    "login",
    "logout",
    "oauth",
    "oidc",
    "otp",
    "otp_email",
    "otp_sms",
    "passkeys",
    "password_reset",
    "pats",
    "saml",
    "secret",
    "sessions",
    "token",
    "totp",
    "u2f",
];

/// What of a request makes its answer a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambient {
    /// Nothing: whoever can ask for it knows it.
    No,
    /// It goes with a browser's cookies, so that any page can make a browser ask for it; or it is
    /// about tokens, sessions or logins.
    Yes,
}

impl Ambient {
    /// Judges a request:
    ///
    /// - what answers a form is a token, or a page for one user;
    /// - what lies below a path of `SECRET` is meant for one client;
    /// - what is asked for with cookies alone is asked for by whoever drives the browser. With a
    ///   bearer token it is not: other sites' pages cannot send that.
    pub fn of(method: &Method, path: &str, headers: &Fields) -> Self {
        let ambient = (*method == Method::POST && is_form(headers))
            || (headers.contains_key(COOKIE) && !has_bearer(headers))
            || is_secret(path);
        if ambient { Self::Yes } else { Self::No }
    }

    /// Whether the answer with this head is a secret: one that gives out a cookie always, one that is
    /// `public` never (RFC 9111 §5.2.2.9), any other as its request says.
    pub fn makes_secret(self, answer: &Fields) -> bool {
        sets_cookie(answer) || (self == Self::Yes && !has_directive(answer, "public"))
    }
}

fn is_form(headers: &Fields) -> bool {
    let media = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    ["application/x-www-form-urlencoded", "multipart/form-data"].iter().any(|form| {
        media.get(..form.len()).is_some_and(|start| start.eq_ignore_ascii_case(form.as_bytes()))
    })
}

/// Whether the client says who it is with something that a browser never sends by itself.
fn has_bearer(headers: &Fields) -> bool {
    headers.get(AUTHORIZATION).is_some_and(|value| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"dpop")
    })
}

/// A path that cannot be seen clearly is taken for a secret one.
fn is_secret(path: &str) -> bool {
    match sight(path) {
        Ok(Sight::Clear(path)) => path
            .split('/')
            .any(|segment| SECRET.iter().any(|secret| segment.eq_ignore_ascii_case(secret))),
        Ok(Sight::Detour(_)) | Err(_) => true,
    }
}

/// Whether a cookie is given out. ZITADEL deletes one with every REST answer (zitadel.md §3.7), and
/// what is deleted is no secret.
fn sets_cookie(headers: &Fields) -> bool {
    headers.get_all(SET_COOKIE).iter().any(|value| {
        let pair = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let value = pair.splitn(2, |byte| *byte == b'=').nth(1).unwrap_or(pair);
        !matches!(value.trim_ascii(), b"" | b"\"\"")
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::message::FieldName;

    type Lines = &'static [(&'static str, &'static str)];

    fn headers(fields: Lines) -> Fields {
        let field = |(name, value): &(&'static str, &'static str)| {
            (FieldName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    const BEARER: (&str, &str) = ("authorization", "Bearer x");
    const COOKIES: (&str, &str) = ("cookie", "__Host-zitadel.useragent=x");
    const QUOTA: (&str, &str) = ("set-cookie", "zitadel.quota.exhausted=; Path=/; Max-Age=0");
    const AGENT: (&str, &str) = ("set-cookie", "__Host-zitadel.useragent=MTcy; Path=/; Secure");

    #[test]
    fn secrets_are_told_from_what_everybody_or_one_api_client_may_see() {
        for (method, path, asked, answered, expected) in [
            // One API client with its token; ZITADEL deletes its quota cookie with each answer.
            ("GET", "/v2/users", &[BEARER][..], &[QUOTA][..], false),
            ("POST", "/management/v1/users/_search", &[BEARER, COOKIES], &[QUOTA], false),
            ("GET", "/v2/users", &[("authorization", "dpop x"), COOKIES], &[], false),
            ("GET", "/.well-known/openid-configuration", &[], &[], false),
            // The Console's files, with a browser's cookies.
            ("GET", "/ui/console/", &[COOKIES], &[("cache-control", "public, max-age=0")], false),
            ("GET", "/ui/login/resources/a.css", &[COOKIES], &[("cache-control", "public")], false),
            // What a page of another site can make a browser ask for.
            ("GET", "/v2/users", &[COOKIES], &[], true),
            ("GET", "/v2/users", &[COOKIES, ("authorization", "Basic x")], &[], true),
            ("GET", "/ui/console/assets/environment.json", &[COOKIES], &[], true),
            // Cookies that are given out: discovery does so as well (§13.2).
            ("GET", "/.well-known/openid-configuration", &[], &[AGENT], true),
            ("GET", "/ui/console/", &[], &[("cache-control", "public"), AGENT], true),
            ("GET", "/v2/users", &[BEARER], &[QUOTA, AGENT], true),
            // Tokens, sessions, logins, however they are spelled.
            ("POST", "/oauth/v2/token", &[], &[], true),
            ("POST", "/%6Fauth/v2/introspect", &[BEARER], &[], true),
            ("GET", "/oidc/v1/userinfo", &[BEARER], &[], true),
            ("POST", "/v2/sessions", &[BEARER], &[], true),
            ("PATCH", "/v2beta/sessions/1", &[BEARER], &[], true),
            ("POST", "/management/v1/users/1/pats", &[BEARER], &[], true),
            ("POST", "/management/v1/users/1/keys", &[BEARER], &[], true),
            ("GET", "/ui/login/loginname", &[], &[], true),
            ("GET", "/ui/v2/login/loginname", &[], &[], true),
            ("GET", "/ui/V2/LOGIN/loginname", &[], &[], true),
            ("GET", "/saml/v2/SSO", &[], &[], true),
            ("GET", "/x//oauth", &[], &[], true),
            ("GET", "/%zz", &[], &[], true),
            // Forms, whatever the path.
            ("POST", "/t", &[("content-type", "application/x-www-form-urlencoded")], &[], true),
            ("POST", "/t", &[("content-type", "multipart/form-data; boundary=x")], &[], true),
            ("POST", "/t", &[("content-type", "application/json")], &[], false),
            // A segment, not a part of one.
            ("GET", "/v2/tokens-of-love", &[], &[], false),
        ] {
            let method: Method = method.parse().unwrap();
            let ambient = Ambient::of(&method, path, &headers(asked));
            let secret = ambient.makes_secret(&headers(answered));
            assert_eq!(secret, expected, "{method} {path} {asked:?} {answered:?}");
        }
    }

    #[test]
    fn a_cookie_is_given_out_if_it_has_a_value() {
        for (value, expected) in [
            ("a=b", true),
            ("a=b; Max-Age=0", true),
            ("a=; Max-Age=0", false),
            ("a=\"\"", false),
            ("a= ;x", false),
            ("flag", true),
            ("", false),
        ] {
            let mut headers = Fields::new();
            headers.insert(SET_COOKIE, HeaderValue::from_static(value));
            assert_eq!(sets_cookie(&headers), expected, "{value:?}");
        }
    }
}
