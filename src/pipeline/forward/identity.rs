//! Decides what a client may not say to ZITADEL, and what Ravelin says in its place.
//!
//! ZITADEL finds instance, origin and client in fields, and believes the first that says something;
//! its REST gateway turns more fields into the metadata of an inner call; its login builds links and
//! the address of its own calls on others. All of these end here, whoever the client is: a trusted
//! proxy in front is heard before (`admit/client.rs`), and what it said is in what Ravelin says.
//! `X-Forwarded-For`, `-Host`, `-Proto` and `-Port` are set anew with the head.

use http::HeaderValue;

use crate::message::{FieldName, Fields};
use crate::pipeline::plan::IdentityPlan;

static INSTANCE_HOST: FieldName = FieldName::from_static("x-zitadel-instance-host");
static PUBLIC_HOST: FieldName = FieldName::from_static("x-zitadel-public-host");

/// What clients may say of all `x-zitadel-*`, in exactly this spelling.
///
/// - `x-zitadel-orgid`: the organisation that a call is about; every SDK and the Console send it,
///   and ZITADEL checks it against the caller's rights.
const ALLOWED: &[&str] = &["x-zitadel-orgid"];

/// One word of the list below: what goes, and who would believe it.
#[derive(Clone, Copy)]
enum Word {
    /// This name.
    Name(&'static str),
    /// Every name that begins so.
    Start(&'static str),
}

use Word::{Name, Start};

/// Names that begin with `x`.
const X: &[Word] = &[
    // Instance, public origin, the login's upstream, the quota cookie's domain; and the gateway
    // passes every one on as metadata. `ALLOWED` stays.
    Start("x-zitadel-"),
    // ZITADEL: instance host, scheme, client; `X-Forwarded-For` even for a `host=` in it. The login:
    // links. Next.js compares `-Host` with `Origin`. Set anew afterwards.
    Start("x-forwarded-"),
    // The login: the host of e-mailed links.
    Name("x-original-host"),
    Name("x-host"),
    Name("x-http-host-override"),
    // Other words for the path, which guards have not seen.
    Name("x-original-url"),
    Name("x-rewrite-url"),
    // Other words for the client's address: Next.js, Actions, logs behind.
    Name("x-real-ip"),
    Name("x-client-ip"),
    Name("x-cluster-client-ip"),
    Name("x-original-forwarded-for"),
    Name("x-envoy-external-address"),
    // Next.js' own inner words: `-subrequest` skips its middleware (CVE-2025-29927), the others
    // choose routes and answers.
    Name("x-middleware-subrequest"),
    Name("x-middleware-subrequest-id"),
    Name("x-middleware-rewrite"),
    Name("x-middleware-redirect"),
    Name("x-middleware-next"),
    Name("x-middleware-skip"),
    Name("x-middleware-set-cookie"),
    Start("x-middleware-override-headers"),
    Start("x-middleware-request-"),
    Start("x-invoke-"),
    Name("x-matched-path"),
    Name("x-now-route-matches"),
];

/// Names that begin with `f`.
const F: &[Word] =
    &[Name("forwarded"), Name("forwarded-for"), Name("forwarded-host"), Name("fastly-client-ip")];

/// Names that begin with `g`.
const G: &[Word] = &[
    // The REST gateway takes the prefix off and passes the rest on as metadata of the inner call:
    // `Grpc-Metadata-X-Zitadel-Instance-Host` selects the instance.
    Start("grpc-metadata-"),
    // What the gateway itself says on its inner leg.
    Start("grpcgateway-"),
];

/// Names that begin with `c`.
const C: &[Word] = &[Name("client-ip"), Name("cf-connecting-ip"), Name("cf-connecting-ipv6")];

/// W3C trace context. The flag `sampled` makes ZITADEL's parent-based sampler record, and a cleared
/// one would keep it from recording: only without any does it decide by itself. Goes unless a
/// trusted proxy in front vouches for it; the request's id remains to follow a request by.
const T: &[Word] = &[Name("traceparent"), Name("tracestate"), Name("true-client-ip")];

/// Names that begin with `b`.
const B: &[Word] = &[Name("baggage")];

/// Makes a request's fields say about host and client only what `plan` wants said.
///
/// `asked` is the public authority; `trusted` says that a proxy in front that is believed sent the
/// request. What the head of every request says (`X-Forwarded-*`) is not set here.
pub fn settle(headers: &mut Fields, plan: &IdentityPlan, asked: &HeaderValue, trusted: bool) {
    if plan.zitadel || plan.login {
        // What no client may say.
        headers.retain(|name| !is_denied(name.as_str(), trusted));
    }
    if plan.login {
        headers.insert(&PUBLIC_HOST, asked.clone());
        headers.insert(&INSTANCE_HOST, asked.clone());
    }
    if let Some(instance) = &plan.instance_host {
        headers.insert(&INSTANCE_HOST, instance.clone());
    }
}

/// Whether a client may not send a field of this name, which is in lower case. An underscore counts
/// as a dash: CGI and what learnt from it take one for the other.
pub fn is_denied(name: &str, trusted: bool) -> bool {
    let words = match name.as_bytes().first() {
        Some(b'x') => X,
        Some(b'f') => F,
        Some(b'g') => G,
        Some(b'c') => C,
        Some(b't') => T,
        Some(b'b') => B,
        _ => return false,
    };
    // Most names differ from all of a letter's words in their third one, which costs one look each.
    let third = name.as_bytes().get(2);
    let alike = |word: &str| match (third, word.as_bytes().get(2)) {
        (Some(is), Some(wanted)) => same(*is, *wanted),
        _ => false,
    };
    let denied = words.iter().any(|word| match word {
        Name(word) => name.len() == word.len() && alike(word) && starts(name, word),
        Start(word) => alike(word) && starts(name, word),
    });
    denied && !ALLOWED.contains(&name) && !(trusted && is_trace_context(name))
}

fn is_trace_context(name: &str) -> bool {
    matches!(name, "traceparent" | "tracestate" | "baggage")
}

fn starts(name: &str, word: &str) -> bool {
    name.len() >= word.len() && name.bytes().zip(word.bytes()).all(|(is, wanted)| same(is, wanted))
}

const fn same(is: u8, wanted: u8) -> bool {
    is == wanted || (is == b'_' && wanted == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zitadel() -> IdentityPlan {
        IdentityPlan { zitadel: true, ..IdentityPlan::default() }
    }

    fn settled(names: &[&str], plan: &IdentityPlan, trusted: bool) -> Fields {
        let mut headers = Fields::new();
        for name in names {
            // The crate makes lower case of it, as it does of what comes over a connection.
            let name = FieldName::try_from(*name).unwrap();
            headers.append(name.clone(), HeaderValue::from_static("evil.test"));
            headers.append(name, HeaderValue::from_static("evil2.test"));
        }
        settle(&mut headers, plan, &HeaderValue::from_static("id.example.com:8443"), trusted);
        headers
    }

    #[test]
    fn what_zitadel_would_believe_goes_in_every_spelling() {
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "x_forwarded_for",
            "X_Forwarded-Host",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "X-Original-Host",
            "x_original_host",
            "X-Real-IP",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Zitadel-Forwarded",
            "X-ZITADEL-Instance-Host",
            "X_Zitadel_Instance_Host",
            "x-zitadel-public-host",
            "x-zitadel-forward-host",
            "x-zitadel-http1-host",
            "x-zitadel-i18n-organization",
            "x-zitadel-login-client",
            "x-zitadel-what-may-come",
            "x_zitadel_orgid",
            "x-zitadel-orgid2",
            "Grpc-Metadata-X-Zitadel-Instance-Host",
            "grpc_metadata_authorization",
            "Grpc-Metadata-x-zitadel-orgid",
            "grpcgateway-authorization",
            "x-middleware-subrequest",
            "traceparent",
            "tracestate",
            "baggage",
        ] {
            assert!(settled(&[name], &zitadel(), false).is_empty(), "{name}");
            let kept = settled(&[name], &IdentityPlan::default(), false).len();
            assert_eq!(kept, 2, "{name}: only for ZITADEL");
        }
    }

    #[test]
    fn what_clients_need_stays() {
        let names = [
            "x-zitadel-orgid",
            "authorization",
            "cookie",
            "content-type",
            "grpc-timeout",
            "grpc-encoding",
            "grpc-accept-encoding",
            "x-grpc-web",
            "x-user-agent",
            "x-requested-with",
            "x-request-id",
            "x-middleware-prefetch",
            "x-nextjs-data",
            "connect-protocol-version",
            "connect-timeout-ms",
            "next-action",
            "te",
            "tenant",
            "from",
            "cache-control",
        ];
        assert_eq!(settled(&names, &zitadel(), false).len(), 2 * names.len());
    }

    #[test]
    fn a_trusted_proxy_vouches_for_the_trace_alone() {
        let names =
            ["traceparent", "tracestate", "baggage", "true-client-ip", "x-zitadel-forwarded"];
        let headers = settled(&names, &zitadel(), true);
        let mut left: Vec<_> = headers.names().map(FieldName::as_str).collect();
        left.dedup();
        assert_eq!(left, ["traceparent", "tracestate", "baggage"]);
    }

    #[test]
    fn the_instance_and_the_public_host_are_what_the_plan_says() {
        let spoofed = ["x-zitadel-instance-host", "x-zitadel-public-host"];
        let told = |plan: &IdentityPlan| {
            let headers = settled(&spoofed, plan, false);
            spoofed.map(|name| {
                let values = headers.get_all(name).iter();
                values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(",")
            })
        };
        let instance_host = Some(HeaderValue::from_static("zitadel.internal"));
        let forced = IdentityPlan { instance_host: instance_host.clone(), ..zitadel() };
        assert_eq!(told(&forced), ["zitadel.internal", ""]);
        let login = IdentityPlan { login: true, ..IdentityPlan::default() };
        assert_eq!(told(&login), ["id.example.com:8443", "id.example.com:8443"]);
        let both = IdentityPlan { instance_host, ..login };
        assert_eq!(told(&both), ["zitadel.internal", "id.example.com:8443"]);
        assert_eq!(told(&zitadel()), ["", ""]);
    }

    proptest! {
        #[test]
        fn no_spelling_of_a_denied_name_passes(
            word in proptest::sample::select([X, F, G, C, T, B].concat()
                .iter().map(|word| match word { Name(word) | Start(word) => *word }).collect::<Vec<_>>()),
            spelling in proptest::collection::vec((any::<bool>(), any::<bool>()), 40),
        ) {
            let spelled: String = word.chars().zip(spelling).map(|(letter, (upper, low))| match letter {
                '-' if low => '_',
                letter if upper => letter.to_ascii_uppercase(),
                letter => letter,
            }).collect();
            let name = FieldName::try_from(spelled.as_str()).unwrap();
            prop_assert!(is_denied(name.as_str(), false), "{}", spelled);
        }
    }
}
