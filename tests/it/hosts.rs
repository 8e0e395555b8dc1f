//! The hosts that upstream knows: every other one ends here, and a known one has one spelling.

use bytes::Bytes;
use http::Request;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use ravelin::standin::Standin;

use crate::support::{Ravelin, config_before, h2::Client, raw, standin};

/// `localhost` as clients reach it through TLS, and others in plaintext.
const HOSTS: &str = "[localhost, \"localhost:8443\", id.example.com, \"*.apps.example.com:9000\"]";
const SPELLINGS: [&str; 3] = ["localhost", "localhost:8443", "id.example.com"];

fn before(standin: &Standin) -> Ravelin {
    let before = config_before(&format!("h2c://{}", standin.address()));
    Ravelin::start(&before.replace("to: up", &format!("to: up, public_hosts: {HOSTS}")))
}

/// The authority that upstream saw, which both its fields agree on.
fn seen(standin: &Standin) -> String {
    let seen = standin.requests().pop().unwrap();
    let told: Vec<_> = seen.headers.get_all("x-forwarded-host").iter().collect();
    assert_eq!(told, [seen.authority.as_str()]);
    seen.authority
}

async fn over_h2(client: &Client, authority: &str) -> u16 {
    let request = Request::get(format!("https://{authority}/headers")).body(Bytes::new()).unwrap();
    client.send(request).await.unwrap().status()
}

#[tokio::test]
async fn a_known_host_reaches_upstream_in_its_configured_spelling() {
    let standin = standin().await;
    let ravelin = before(&standin);
    for (asked, expected) in [
        ("localhost", "localhost"),
        ("LOCALHOST", "localhost"),
        ("LocalHost:8443", "localhost:8443"),
        ("localhost:80", "localhost"),
        ("localhost:443", "localhost"),
        ("ID.example.COM", "id.example.com"),
        ("A.b.Apps.example.com:9000", "a.b.apps.example.com:9000"),
    ] {
        let answer = raw::get(ravelin.plain(), asked, "/headers").await;
        assert_eq!((answer.status(), seen(&standin).as_str()), (200, expected), "{asked}");
    }
    let client = Client::tls(ravelin.https()).await;
    for (asked, expected) in [
        ("localhost", "localhost"),
        ("localhost:443", "localhost"),
        ("LOCALHOST:8443", "localhost:8443"),
    ] {
        assert_eq!(over_h2(&client, asked).await, 200);
        assert_eq!(seen(&standin), expected, "{asked}");
    }
}

#[tokio::test]
async fn an_unknown_host_or_port_ends_here_counted_by_cause() {
    let standin = standin().await;
    let ravelin = before(&standin);
    for asked in [
        "evil.test",
        "localhost:9",
        "localhost.",
        "id.example.com:8443",
        "apps.example.com:9000",
        "a.apps.example.com",
        "127.0.0.1",
    ] {
        assert_eq!(raw::get(ravelin.plain(), asked, "/headers").await.status(), 404, "{asked}");
    }
    let client = Client::tls(ravelin.https()).await;
    for asked in ["localhost:9", "localhost:80", "localhost:65535"] {
        assert_eq!(over_h2(&client, asked).await, 421, "{asked}");
    }
    assert!(standin.requests().is_empty(), "{:?}", standin.requests());
    let counted = |cause: &str| ravelin.metric(&format!("ravelin_errors_total{{cause=\"{cause}\""));
    assert_eq!((counted("no_host"), counted("unknown_host")), (7.0, 3.0));
}

#[tokio::test]
async fn a_malformed_authority_is_a_bad_request_in_every_form() {
    let standin = standin().await;
    let ravelin = before(&standin);
    for asked in [
        "localhost:8443:8443",
        "localhost:8443/x",
        "localhost:8443#",
        "localhost:8443?x",
        "localhost:8443,evil.test",
        "localhost, evil.test",
        "user@localhost:8443",
        "user:pw@localhost",
        "localhost:evil",
        "localhost:",
        "localhost:08443",
        "local host",
        "",
        "lo\u{e7}alhost",
        "localhost%2eevil.test",
        "localhost\\.evil.test",
    ] {
        let answer = raw::get(ravelin.plain(), asked, "/headers").await;
        assert_eq!(answer.status(), 400, "{asked:?}: {answer:?}");
    }
    for request in [
        "GET http://evil.test/headers HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        "GET http://localhost/headers HTTP/1.1\r\nhost: evil.test\r\nconnection: close\r\n\r\n",
        "GET http://localhost/headers HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET /headers HTTP/1.1\r\nhost: localhost\r\nhost: evil.test\r\nconnection: close\r\n\r\n",
        "GET /headers HTTP/1.1\r\nconnection: close\r\n\r\n",
    ] {
        assert_eq!(raw::send(ravelin.plain(), b"", request).await.status(), 400, "{request}");
    }
    // `:authority` and `Host` that disagree.
    let client = Client::tls(ravelin.https()).await;
    let request = Request::get("https://localhost/headers").header("host", "evil.test");
    let answer = client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(standin.requests().is_empty());
}

#[tokio::test]
async fn an_absolute_target_is_known_by_its_own_authority() {
    let standin = standin().await;
    let ravelin = before(&standin);
    let request = "GET http://LOCALHOST:8443/headers HTTP/1.1\r\nhost: localhost:8443\r\nconnection: close\r\n\r\n";
    assert_eq!(raw::send(ravelin.plain(), b"", request).await.status(), 200);
    assert_eq!(seen(&standin), "localhost:8443");
}

#[tokio::test]
async fn a_fixed_authority_wins_over_the_spelling() {
    let standin = standin().await;
    let before = config_before(&format!("h2c://{}", standin.address()));
    let keys = "to: up, public_hosts: localhost, rewrite: {host: \"Fixed:1\"}";
    let ravelin = Ravelin::start(&before.replace("to: up", keys));
    assert_eq!(raw::get(ravelin.plain(), "LocalHost", "/headers").await.status(), 200);
    let seen = standin.requests().pop().unwrap();
    assert_eq!(seen.authority, "Fixed:1");
    assert_eq!(seen.headers["x-forwarded-host"], "localhost");
    assert_eq!(raw::get(ravelin.plain(), "evil.test", "/headers").await.status(), 404);
}

/// Authorities near to the known ones, and far from any.
fn authorities() -> impl Strategy<Value = String> {
    let junk = "user@|user:pw@|a\\.|,|evil\\.test,";
    let host = "(?i)localhost|id\\.example\\.com|x\\.apps\\.example\\.com|127\\.0\\.0\\.1";
    let port = prop_oneof![4 => "(:(80|443|8443|9000)|){1}", 1 => ":(0443|[0-9]{0,6}|evil)"];
    let rest = "\\.|%2e|:[0-9]{1,4}|/x|#|\\?|,evil\\.test| b";
    let authority = (
        prop_oneof![3 => Just(String::new()), 1 => junk],
        host,
        port,
        prop_oneof![3 => Just(String::new()), 1 => rest],
    )
        .prop_map(|(junk, host, port, rest)| format!("{junk}{host}{port}{rest}"));
    prop_oneof![4 => authority, 1 => "[ -~]{0,30}", 1 => "\\PC{0,12}"]
}

#[test]
fn no_generated_authority_reaches_upstream_in_another_spelling() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (standin, ravelin, client) = runtime.block_on(async {
        let standin = standin().await;
        let ravelin = before(&standin);
        let client = Client::tls(ravelin.https()).await;
        (standin, ravelin, client)
    });
    let mut runner =
        TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    let mut reached = 0;
    let check = |text: &str| {
        let all = standin.requests();
        for seen in all.iter().skip(reached) {
            let known = SPELLINGS.contains(&seen.authority.as_str())
                || seen.authority.ends_with("x.apps.example.com:9000");
            assert!(known, "{text:?} as {:?}", seen.authority);
            assert_eq!(seen.authority, seen.authority.to_lowercase(), "{text:?}");
            assert_eq!(seen.headers["x-forwarded-host"], seen.authority.as_str(), "{text:?}");
        }
        reached = all.len();
        reached
    };
    let check = std::cell::RefCell::new(check);
    runner
        .run(&(authorities(), 0..3_u8), |(text, form)| {
            runtime.block_on(async {
                let fields = "connection: close\r\n\r\n";
                match form {
                    0 => drop(raw::get(ravelin.plain(), &text, "/headers").await),
                    1 => {
                        let line = format!(
                            "GET http://{text}/headers HTTP/1.1\r\nhost: {text}\r\n{fields}"
                        );
                        drop(raw::send(ravelin.plain(), b"", &line).await);
                    }
                    _ => {
                        let request =
                            Request::get(format!("https://{text}/headers")).body(Bytes::new());
                        if let Ok(request) = request
                            && request.uri().authority().is_some()
                        {
                            let _ = client.send(request).await;
                        }
                    }
                }
            });
            (check.borrow_mut())(&text);
            Ok(())
        })
        .unwrap();
    let reached = (check.borrow_mut())("");
    assert!(reached > 10, "too few reached upstream to tell: {reached}");
}
