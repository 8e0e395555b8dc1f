//! Which query values never reach a log.
//!
//! The table is what ZITADEL's OIDC, SAML and login URLs carry (`/oauth/v2/*`, `/oidc/v1/*`,
//! `/saml/v2/*`, `/ui/login/*`, `/ui/v2/login/*`, `/idps/callback`): codes, tokens, hints, payloads
//! and the ids of running logins, each enough to take part in somebody's login. A name is compared
//! after one percent-decoding, in lower case and without `_-.[]`, as servers read it.

use std::borrow::Cow;

/// What stands in the place of a value.
pub const MARK: &str = "redacted";

/// How often a value may hold another URL before it is simply hidden.
const NESTING: u8 = 3;

/// Names, lower case and without separators.
const SECRET: &[&str] = &[
    "assertion",
    "authorization",
    "authrequest",
    "authrequestid",
    "challenge",
    "clientassertion",
    "clientsecret",
    "code",
    "codechallenge",
    "codeverifier",
    "credential",
    "credentials",
    "devicecode",
    "email",
    "loginhint",
    "loginname",
    "logouthint",
    "message",
    "nonce",
    "otp",
    "passwd",
    "password",
    "pin",
    "relaystate",
    "request",
    "requestid",
    "requesturi",
    "samlart",
    "samlrequest",
    "samlrequestid",
    "samlresponse",
    "secret",
    "sessionid",
    "sessionstate",
    "sid",
    "signature",
    "state",
    "totp",
    "usercode",
    "username",
];

/// Every name that ends so is secret: `id_token`, `subject_token`, `client_secret`, `newPassword`,
/// `id_token_hint`, `gorilla.csrf.Token`.
const SECRET_ENDS: &[&str] = &["token", "tokenhint", "secret", "password", "passwordconfirm"];

/// `target` (a path with its query, or a whole URL as in `Referer`) with secret values replaced by
/// [`MARK`]. Without a secret nothing is copied.
pub fn redact(target: &str) -> Cow<'_, str> {
    let mark = target.bytes().position(|byte| matches!(byte, b'?' | b'#'));
    let Some(start) = mark.map(|mark| mark + 1) else {
        return user_info(target);
    };
    let (path, query) = target.split_at(start);
    let mut out: Option<String> = None;
    let mut done = 0;
    for (offset, pair) in pairs(query) {
        let Some((name, value)) = pair.split_once('=') else { continue };
        if value.is_empty() || !(secret(name) || nested(value, NESTING)) {
            continue;
        }
        let out = out.get_or_insert_with(|| user_info(path).into_owned());
        let value_at = offset + name.len() + 1;
        out.push_str(query.get(done..value_at).unwrap_or_default());
        out.push_str(MARK);
        done = offset + pair.len();
    }
    match out {
        Some(mut out) => {
            out.push_str(query.get(done..).unwrap_or_default());
            Cow::Owned(out)
        }
        None => match user_info(path) {
            Cow::Borrowed(_) => Cow::Borrowed(target),
            Cow::Owned(path) => Cow::Owned(path + query),
        },
    }
}

/// The pairs of a query with their offsets. `;`, `?` and `#` separate too: some servers read them
/// so, and a name hidden behind one must be seen.
fn pairs(query: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    query.split(['&', ';', '?', '#']).map(move |pair| {
        let offset = at;
        at += pair.len() + 1;
        (offset, pair)
    })
}

/// Whether a value is itself a URL or query that holds a secret
/// (`post_logout_redirect=https%3A%2F%2Fapp%2F%3Fstate%3D…`).
fn nested(value: &str, depth: u8) -> bool {
    let plain = value.contains('=');
    if !plain && !value.contains('%') {
        return false;
    }
    if depth == 0 {
        return true;
    }
    let holds = |text: &str| {
        pairs(text)
            .filter_map(|(_, pair)| pair.split_once('='))
            .any(|(name, value)| secret(name) || nested(value, depth - 1))
    };
    (plain && holds(value))
        || decoded(value).is_some_and(|text| holds(&text) || again(&text, depth))
}

/// A value encoded twice has no `=` after one decoding: look once deeper.
fn again(text: &str, depth: u8) -> bool {
    !text.contains('=') && text.contains('%') && nested(text, depth - 1)
}

/// `text` percent-decoded once; `None` where there is nothing to decode.
fn decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some((byte, width)) = next(bytes, at) {
        out.push(byte);
        at += width;
    }
    (out.len() < bytes.len()).then(|| String::from_utf8_lossy(&out).into_owned())
}

/// The byte at `at`, decoded, and how many bytes it took.
fn next(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let byte = *bytes.get(at)?;
    let digit = |offset: usize| bytes.get(at + offset).and_then(|b| (*b as char).to_digit(16));
    match (byte, digit(1), digit(2)) {
        (b'%', Some(high), Some(low)) => Some(((high * 16 + low) as u8, 3)),
        _ => Some((byte, 1)),
    }
}

/// Whether a parameter of this name is secret.
fn secret(name: &str) -> bool {
    // Longer than any name of the table and its endings: nothing ordinary, so hidden.
    let mut plain = [0_u8; 64];
    let mut length = 0;
    let (bytes, mut at) = (name.as_bytes(), 0);
    while let Some((byte, width)) = next(bytes, at) {
        at += width;
        if matches!(byte, b'_' | b'-' | b'.' | b'[' | b']' | b' ' | b'+') {
            continue;
        }
        let Some(slot) = plain.get_mut(length) else { return true };
        *slot = byte.to_ascii_lowercase();
        length += 1;
    }
    let name = plain.get(..length).unwrap_or_default();
    SECRET.iter().any(|word| word.as_bytes() == name)
        || SECRET_ENDS.iter().any(|end| name.ends_with(end.as_bytes()))
}

/// A URL's `user:password@` is hidden.
fn user_info(url: &str) -> Cow<'_, str> {
    // A path, as nearly always, has no scheme of its own.
    if url.starts_with('/') {
        return Cow::Borrowed(url);
    }
    let Some((scheme, rest)) = url.split_once("://") else { return Cow::Borrowed(url) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@') {
        // Only a URL's own scheme stands before `://`, never a path.
        Some(at) if !scheme.contains('/') => {
            Cow::Owned(format!("{scheme}://{MARK}{}", rest.get(at..).unwrap_or_default()))
        }
        _ => Cow::Borrowed(url),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secret_values_are_replaced_and_the_rest_is_kept() {
        let table = [
            ("/cb?code=abc&x=1&state=def", "/cb?code=redacted&x=1&state=redacted"),
            ("/cb?CODE=abc", "/cb?CODE=redacted"),
            ("/cb?%63o%64e=abc", "/cb?%63o%64e=redacted"),
            ("/cb?%43ode=abc", "/cb?%43ode=redacted"),
            ("/cb?id_token_hint=e.y.J", "/cb?id_token_hint=redacted"),
            (
                "/saml/v2/SSO?SAMLRequest=fZ&RelayState=x&SigAlg=rsa&Signature=s",
                "/saml/v2/SSO?SAMLRequest=redacted&RelayState=redacted&SigAlg=rsa&Signature=redacted",
            ),
            ("/ui/v2/login/login?authRequest=V2_1", "/ui/v2/login/login?authRequest=redacted"),
            (
                "/ui/v2/login/loginname?requestId=oidc_V2_1&loginName=a%40b",
                "/ui/v2/login/loginname?requestId=redacted&loginName=redacted",
            ),
            ("/ui/login/login?authRequestID=1", "/ui/login/login?authRequestID=redacted"),
            ("/device?user_code=ABCD-EFGH", "/device?user_code=redacted"),
            ("/x?a=1;access_token=t;b=2", "/x?a=1;access_token=redacted;b=2"),
            ("/x?a=1?token=t", "/x?a=1?token=redacted"),
            ("/x#access_token=t&a=b", "/x#access_token=redacted&a=b"),
            (
                "/x?subject_token=t&subject_token_type=urn",
                "/x?subject_token=redacted&subject_token_type=urn",
            ),
            (
                "/l?post_logout_redirect=https%3A%2F%2Fapp%2F%3Fstate%3Ds&a=1",
                "/l?post_logout_redirect=redacted&a=1",
            ),
            ("/l?to=%252Fcb%253Fcode%253Dabc", "/l?to=redacted"),
            ("/l?to=/cb?code=abc", "/l?to=/cb?code=redacted"),
            ("https://u:p@host/x?a=1", "https://redacted@host/x?a=1"),
            ("https://u:p@host/x?code=1", "https://redacted@host/x?code=redacted"),
            ("https://host/cb?code=1", "https://host/cb?code=redacted"),
            ("/x?code[]=1&code", "/x?code[]=redacted&code"),
        ];
        for (raw, shown) in table {
            assert_eq!(redact(raw), shown);
        }
        for word in [
            "nonce",
            "refresh_token",
            "client_secret",
            "client_assertion",
            "assertion",
            "password",
            "code_verifier",
            "code_challenge",
            "login_hint",
            "logout_hint",
            "SAMLResponse",
            "device_code",
            "sessionToken",
            "id_token",
            "userCode",
            "request_uri",
        ] {
            assert_eq!(redact(&format!("/?{word}=v")), format!("/?{word}=redacted"));
        }
    }

    #[test]
    fn what_holds_no_secret_is_not_copied() {
        for plain in [
            "/",
            "",
            "/a/b",
            "/x?",
            "/x?a=1&b=%20c",
            "/x?code=",
            "/x?response_type=code",
            "/oauth/v2/authorize?client_id=1&redirect_uri=https%3A%2F%2Fapp%2Fcb&scope=openid",
            "/x?codec=1&statement=2",
            "https://host/x?a=b",
            "/x?%zz=%",
            "/a://b@c",
        ] {
            assert!(matches!(redact(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
    }

    proptest! {
        #[test]
        fn a_secret_never_comes_through(
            before in "[a-z=&%0-9?;#]{0,12}", encode in proptest::collection::vec(any::<bool>(), 12),
            word in proptest::sample::select(vec!["code", "id_token", "SAMLResponse", "authRequest"]),
        ) {
            let name: String = word.bytes().zip(&encode)
                .map(|(byte, encode)| if *encode { format!("%{byte:02X}") } else { (byte as char).to_string() })
                .collect();
            let raw = format!("/p?{before}&{name}=SENTINEL");
            prop_assert!(!redact(&raw).contains("SENTINEL"), "{}", raw);
        }

        #[test]
        fn what_is_redacted_stays_as_it_is(text in "[a-z%=&?#/:@;3dD]{0,40}|\\PC{0,60}") {
            let once = redact(&text).into_owned();
            prop_assert_eq!(&*redact(&once), &once);
        }
    }
}
