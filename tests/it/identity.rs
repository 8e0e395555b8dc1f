//! What a client may not say to ZITADEL: no field changes the issuer, the instance or the client's
//! address that upstream sees.

use bytes::Bytes;
use http::Request;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use ravelin::standin::{Seen, Standin};

use crate::support::{Ravelin, config_before, h2::Client, raw, standin};

/// A host that the stand-in knows as well: whoever gets it into a field changes the issuer.
const EVIL: &str = "127.0.0.1:666";
const ISSUER: &str = "https://localhost:8443";
pub const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Through the gateway, which believes other fields than discovery does.
pub const REST: &str = "/auth/v1/users/me";

/// The table of `zitadel.md` §4.4 and its like: a name as a client writes it, and the value that would work.
pub const TABLE: &[(&str, &str)] = &[
    ("Forwarded", "host=127.0.0.1:666;for=198.51.100.1;proto=http"),
    ("forwarded", "for=198.51.100.1"),
    ("X-Forwarded-For", "host=127.0.0.1:666"),
    ("X-Forwarded-For", "198.51.100.1"),
    ("X_Forwarded_For", "198.51.100.1"),
    ("X-Forwarded-Host", EVIL),
    ("x_forwarded_host", EVIL),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Port", "666"),
    ("X-Original-Host", EVIL),
    ("X-Real-IP", "198.51.100.1"),
    ("True-Client-IP", "198.51.100.1"),
    ("CF-Connecting-IP", "198.51.100.1"),
    ("X-Zitadel-Forwarded", "host=127.0.0.1:666"),
    ("X-Zitadel-Instance-Host", EVIL),
    ("X_ZITADEL_Instance-Host", EVIL),
    ("x-zitadel-public-host", EVIL),
    ("x-zitadel-forward-host", EVIL),
    ("x-zitadel-http1-host", EVIL),
    ("x-zitadel-i18n-organization", "1"),
    ("x-zitadel-login-client", "1"),
    ("x-zitadel-unheard-of", "1"),
    ("Grpc-Metadata-X-Zitadel-Instance-Host", "nobody.test"),
    ("Grpc-Metadata-Forwarded", "host=nobody.test"),
    ("grpc-metadata-x-zitadel-public-host", "nobody.test"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "evil=1"),
    ("baggage", "evil=1"),
];

/// Before the stand-in, with these keys on the only route.
fn with(standin: &Standin, keys: &str) -> Ravelin {
    let before = config_before(&format!("h2c://{}", standin.address()));
    Ravelin::start(&before.replace("to: up", &format!("to: up, {keys}")))
}

pub fn lines(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

async fn over_h1(ravelin: &Ravelin, path: &str, fields: &[(&str, &str)]) -> String {
    let fields = format!("authorization: Bearer demo\r\n{}", lines(fields));
    let request = raw::request("GET", "localhost:8443", path, &fields);
    raw::send(ravelin.plain(), b"", &request).await.body
}

async fn over_h2(client: &Client, path: &str, fields: &[(&str, &str)]) -> String {
    let mut request = Request::get(format!("https://localhost:8443{path}"));
    request = request.header("authorization", "Bearer demo");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    answer.text().to_owned()
}

/// Nothing of what upstream saw is the client's word.
pub fn unspoofed(seen: &Seen, (authority, proto, port): (&str, &str, &str), why: &str) {
    assert_eq!(seen.authority, authority, "{why}");
    for (name, expected) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", authority),
        ("x-forwarded-proto", proto),
        ("x-forwarded-port", port),
    ] {
        let values: Vec<_> = seen.headers.get_all(name).iter().collect();
        assert_eq!(values, [expected], "{why}: {name}");
    }
    for name in seen.headers.keys() {
        let name = name.as_str().replace('_', "-");
        let own = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port"];
        let spoofed = TABLE.iter().any(|(known, _)| known.replace('_', "-").to_lowercase() == name);
        assert!(!spoofed || own.contains(&name.as_str()), "{why}: {name}");
        let prefixed = name.starts_with("x-zitadel-") || name.starts_with("grpc-metadata-");
        assert!(!prefixed || name == "x-zitadel-orgid", "{why}: {name}");
    }
}

async fn check(standin: &Standin, ravelin: &Ravelin, client: &Client, fields: &[(&str, &str)]) {
    let why = format!("{fields:?}");
    for proto in ["http", "https"] {
        for path in [DISCOVERY, REST] {
            let body = match proto {
                "http" => over_h1(ravelin, path, fields).await,
                _ => over_h2(client, path, fields).await,
            };
            if path == DISCOVERY {
                let discovery: serde_json::Value = serde_json::from_str(&body).expect(&why);
                assert_eq!(discovery["issuer"], ISSUER, "{why}");
                assert!(!body.contains("666"), "{why}");
            } else {
                assert!(body.contains("\"username\""), "{why}: {body}");
            }
            let seen = standin.requests().pop().unwrap();
            unspoofed(&seen, ("localhost:8443", proto, "8443"), &why);
        }
    }
}

#[tokio::test]
async fn without_the_key_the_stand_in_believes_every_one_of_them() {
    // What the other tests stand on: these headers do something to a server that gets them.
    let standin = standin().await;
    let ravelin = with(&standin, "identity: none");
    for (name, value) in [
        ("X-Zitadel-Instance-Host", EVIL),
        ("x-zitadel-public-host", EVIL),
        ("X-Zitadel-Forwarded", "host=127.0.0.1:666"),
    ] {
        let body = over_h1(&ravelin, DISCOVERY, &[(name, value)]).await;
        assert!(body.contains("https://127.0.0.1:666"), "{name}: {body}");
    }
    let body = over_h1(&ravelin, REST, &[("Grpc-Metadata-X-Zitadel-Instance-Host", "nobody.test")]);
    assert!(body.await.contains("nobody.test"));
}

#[tokio::test]
async fn no_field_changes_issuer_instance_or_client_alone_repeated_or_all_at_once() {
    let standin = standin().await;
    let ravelin = with(&standin, "identity: zitadel");
    let client = Client::tls(ravelin.https()).await;
    for field in TABLE {
        check(&standin, &ravelin, &client, &[*field, *field]).await;
    }
    check(&standin, &ravelin, &client, TABLE).await;
}

#[tokio::test]
async fn an_upstream_of_http_1_is_told_no_more_than_one_of_http_2() {
    let standin = standin().await;
    let before = config_before(&format!("http://{}", standin.address()));
    let ravelin = Ravelin::start(&before.replace("to: up", "to: up, identity: zitadel"));
    let client = Client::tls(ravelin.https()).await;
    for field in TABLE {
        check(&standin, &ravelin, &client, &[*field]).await;
    }
    check(&standin, &ravelin, &client, TABLE).await;
    assert!(standin.requests().iter().all(|seen| seen.version == http::Version::HTTP_11));
}

#[tokio::test]
async fn no_metadata_of_a_grpc_call_chooses_the_instance() {
    let standin = standin().await;
    let spoofed = ["x-zitadel-instance-host", "grpc-metadata-x-zitadel-instance-host"]
        .map(|name| (name, "nobody.test"));
    for (keys, status) in [("identity: zitadel", "0"), ("identity: none", "5")] {
        let ravelin = with(&standin, keys);
        let client = Client::tls(ravelin.https()).await;
        let path = "/zitadel.management.v1.ManagementService/Healthz";
        let answer = client.grpc(path, &spoofed, b"").await.unwrap();
        assert_eq!(answer.trailer("grpc-status"), status, "{keys}: {answer:?}");
    }
}

#[tokio::test]
async fn a_nomination_takes_nothing_away_that_ravelin_says() {
    let standin = standin().await;
    let ravelin = with(&standin, "identity: login, instance_host: \"localhost:8443\"");
    let named = TABLE.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let fields = [&[("Connection", named.as_str()), ("x-zitadel-orgid", "7")], TABLE].concat();
    over_h1(&ravelin, DISCOVERY, &fields).await;
    let seen = standin.requests().pop().unwrap().headers;
    for (name, expected) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "localhost:8443"),
        ("x-zitadel-instance-host", "localhost:8443"),
        ("x-zitadel-public-host", "localhost:8443"),
        ("x-zitadel-orgid", "7"),
    ] {
        assert_eq!(seen.get_all(name).iter().collect::<Vec<_>>(), [expected], "{name}");
    }
}

#[tokio::test]
async fn what_sdks_and_browsers_need_goes_through() {
    let standin = standin().await;
    let ravelin = with(&standin, "identity: zitadel");
    let fields = [
        ("x-zitadel-orgid", "200000000000000000"),
        ("accept-language", "de"),
        ("x-grpc-web", "1"),
        ("x-user-agent", "grpc-web-javascript/0.1"),
        ("connect-protocol-version", "1"),
        ("cookie", "a=1"),
        ("x-request-id", "abc-123"),
    ];
    over_h1(&ravelin, "/headers", &fields).await;
    let seen = standin.requests().pop().unwrap().headers;
    for (name, value) in fields {
        assert_eq!(seen[name], value, "{name}");
    }
    assert_eq!(seen["authorization"], "Bearer demo");
}

#[tokio::test]
async fn the_instance_is_forced_and_the_login_learns_both_hosts() {
    let standin = standin().await;
    let spoofed = [("x-zitadel-instance-host", EVIL), ("x-zitadel-public-host", EVIL)];
    for (keys, instance, public) in [
        ("identity: zitadel, instance_host: \"127.0.0.1:8443\"", vec!["127.0.0.1:8443"], vec![]),
        ("identity: login", vec!["localhost:8443"], vec!["localhost:8443"]),
        (
            "identity: login, instance_host: 127.0.0.1, public_hosts: \"LOCALHOST:8443\"",
            vec!["127.0.0.1"],
            vec!["localhost:8443"],
        ),
    ] {
        let ravelin = with(&standin, keys);
        let body = over_h1(&ravelin, DISCOVERY, &spoofed).await;
        let issuer = public.first().or_else(|| instance.first()).unwrap();
        assert!(body.contains(&format!("\"https://{issuer}\"")), "{keys}: {body}");
        let seen = standin.requests().pop().unwrap().headers;
        let told = |name: &str| seen.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(told("x-zitadel-instance-host"), instance, "{keys}");
        assert_eq!(told("x-zitadel-public-host"), public, "{keys}");
    }
}

#[test]
fn no_generated_set_of_fields_changes_issuer_instance_or_client() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (standin, ravelin, client) = runtime.block_on(async {
        let standin = standin().await;
        let ravelin = with(&standin, "identity: zitadel");
        let client = Client::tls(ravelin.https()).await;
        (standin, ravelin, client)
    });
    let names: Vec<_> = TABLE.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = TABLE.iter().map(|(_, value)| (*value).to_owned()).collect();
    let spelled = (
        proptest::sample::select(names),
        proptest::collection::vec((any::<bool>(), any::<bool>()), 48),
        prop_oneof![Just(""), Just("Grpc-Metadata-"), Just("x-zitadel-"), Just("X-Forwarded-")],
    )
        .prop_map(|(name, letters, prefix)| {
            let spelled = name.chars().zip(letters).map(|(letter, (upper, low))| match letter {
                '-' if low => '_',
                letter if upper => letter.to_ascii_uppercase(),
                letter => letter,
            });
            format!("{prefix}{}", spelled.collect::<String>())
        });
    let value = prop_oneof![proptest::sample::select(values), "[!-~]{1,20}"];
    let fields = proptest::collection::vec((spelled, value), 1..12);
    let mut runner =
        TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    runner
        .run(&fields, |fields| {
            let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            runtime.block_on(check(&standin, &ravelin, &client, &fields));
            Ok(())
        })
        .unwrap();
}
