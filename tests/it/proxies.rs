//! Trusted proxies in front: who the client is, and how it came.

use ravelin::standin::Standin;
use tempfile::TempDir;

use crate::support::{Ravelin, config_before, raw, standin};

/// Before the stand-in; `top` are lines at the top of the configuration.
fn with(standin: &Standin, top: &str, route: &str) -> Ravelin {
    let before = config_before(&format!("h2c://{}", standin.address()));
    Ravelin::start(&format!("{top}{}", before.replace("to: up", &format!("to: up{route}"))))
}

/// `X-Forwarded-For` and `-Proto` that upstream saw for a request with these fields.
async fn told(
    standin: &Standin,
    ravelin: &Ravelin,
    prefix: &[u8],
    fields: &str,
) -> (String, String) {
    let request = raw::request("GET", "localhost", "/headers", fields);
    let answer = raw::send(ravelin.plain(), prefix, &request).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let headers = standin.requests().pop().unwrap().headers;
    let only = |name: &str| {
        let values: Vec<_> = headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
        assert!(values.len() < 2, "{name}: {values:?}");
        values.first().map_or(String::new(), |value| (*value).to_owned())
    };
    (only("x-forwarded-for"), only("x-forwarded-proto"))
}

#[tokio::test]
async fn the_client_is_the_first_untrusted_address_from_the_right() {
    let standin = standin().await;
    let ravelin = with(&standin, "trusted_proxies: [private, 192.0.2.1]\n", "");
    for (fields, client, proto) in [
        ("", "127.0.0.1", "http"),
        ("x-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: https\r\n", "203.0.113.7", "https"),
        ("x-forwarded-for: 198.51.100.9, 203.0.113.7, 192.0.2.1\r\n", "203.0.113.7", "http"),
        (
            "x-forwarded-for: 203.0.113.7\r\nx-forwarded-for: 10.1.1.1, fd00::1\r\n",
            "203.0.113.7",
            "http",
        ),
        ("x-forwarded-for: 2001:db8::7, 10.0.0.1\r\n", "2001:db8::7", "http"),
        ("x-forwarded-for: 203.0.113.7, evil, 10.0.0.1\r\n", "10.0.0.1", "http"),
        ("x-forwarded-for: host=evil.test\r\n", "127.0.0.1", "http"),
        ("forwarded: for=203.0.113.7\r\nx-real-ip: 203.0.113.7\r\n", "127.0.0.1", "http"),
        ("x-forwarded-proto: gopher\r\n", "127.0.0.1", "http"),
    ] {
        let expected = (client.to_owned(), proto.to_owned());
        assert_eq!(told(&standin, &ravelin, b"", fields).await, expected, "{fields}");
    }
}

#[tokio::test]
async fn nobody_is_believed_unless_named() {
    let standin = standin().await;
    let fields = "x-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: https\r\n";
    for top in ["", "trusted_proxies: []\n", "trusted_proxies: [cloudflare, 10.0.0.0/8]\n"] {
        let ravelin = with(&standin, top, "");
        let expected = ("127.0.0.1".to_owned(), "http".to_owned());
        assert_eq!(told(&standin, &ravelin, b"", fields).await, expected, "{top}");
    }
}

#[tokio::test]
async fn the_address_of_a_proxy_header_is_the_peer() {
    let standin = standin().await;
    let before = config_before(&format!("h2c://{}", standin.address()));
    let spoken = "{name: plain, proxy_protocol: {from: 127.0.0.1}, address: ";
    let yaml = before.replace("{name: plain, address: ", spoken);
    let ravelin = Ravelin::start(&format!("trusted_proxies: 173.245.48.0/20\n{yaml}"));
    let fields = "x-forwarded-for: 198.51.100.9, 203.0.113.7\r\n";
    for (peer, expected) in [("173.245.48.9", "203.0.113.7"), ("198.51.100.1", "198.51.100.1")] {
        let header = format!("PROXY TCP4 {peer} 127.0.0.1 4711 443\r\n");
        assert_eq!(told(&standin, &ravelin, header.as_bytes(), fields).await.0, expected, "{peer}");
    }
}

#[tokio::test]
async fn what_came_by_https_to_a_trusted_proxy_is_not_redirected_there() {
    let standin = standin().await;
    let before = config_before(&format!("h2c://{}", standin.address()));
    let redirecting = "{name: plain, redirect_to_https: 443, address: ";
    let yaml = before.replace("{name: plain, address: ", redirecting);
    let get = async |ravelin: &Ravelin, fields: &str| {
        let request = raw::request("GET", "localhost", "/headers", fields);
        raw::send(ravelin.plain(), b"", &request).await.status()
    };
    let trusting = Ravelin::start(&format!("trusted_proxies: private\n{yaml}"));
    assert_eq!(get(&trusting, "x-forwarded-proto: https\r\n").await, 200);
    assert_eq!(get(&trusting, "x-forwarded-proto: http\r\n").await, 308);
    let alone = Ravelin::start(&yaml);
    assert_eq!(get(&alone, "x-forwarded-proto: https\r\n").await, 308);
}

#[tokio::test]
async fn a_trusted_proxy_vouches_for_the_trace_and_for_nothing_that_chooses_the_instance() {
    let standin = standin().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fields = format!(
        "traceparent: {trace}\r\ntracestate: a=b\r\nx-zitadel-instance-host: 127.0.0.1\r\nx-forwarded-host: evil.test\r\n"
    );
    for (top, kept) in [("trusted_proxies: private\n", true), ("", false)] {
        let ravelin = with(&standin, top, ", identity: zitadel");
        told(&standin, &ravelin, b"", &fields).await;
        let seen = standin.requests().pop().unwrap().headers;
        assert_eq!(seen.contains_key("traceparent"), kept);
        assert_eq!(seen.contains_key("tracestate"), kept);
        assert!(!seen.contains_key("x-zitadel-instance-host"));
        assert_eq!(seen["x-forwarded-host"], "localhost");
    }
}

#[tokio::test]
async fn the_access_record_names_the_client_and_the_proxy() {
    let standin = standin().await;
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("access.log");
    let record = format!("access_log: {{format: json, output: \"{}\"}}", log.display());
    let before = config_before(&format!("h2c://{}", standin.address()));
    let yaml = before.replace("access_log: {format: \"off\"}", &record);
    let ravelin = Ravelin::start(&format!("trusted_proxies: private\n{yaml}"));
    told(&standin, &ravelin, b"", "x-forwarded-for: 203.0.113.7\r\n").await;
    told(&standin, &ravelin, b"", "").await;
    ravelin.drain();
    ravelin.wait();
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["client.addr"], "203.0.113.7");
    assert!(lines[0]["peer.addr"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(lines[1]["client.addr"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(lines[1].get("peer.addr").is_none());
}
