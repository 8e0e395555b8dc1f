use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::exchange::CacheUse;

fn full() -> Record<'static> {
    Record {
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        duration: Duration::from_micros(4567),
        listener: "public",
        client: Some("2001:db8::1".parse().unwrap()),
        peer: Some("[2001:db8::1]:4711".parse().unwrap()),
        tls: Some("TLSv1.3"),
        class: Class::Grpc,
        method: "POST",
        authority: "id.example.com",
        path: "/x?code=secret&a=1",
        status: 502,
        grpc_status: Some(14),
        cause: Some(Kind::Reset),
        detail: Some("reset by \"peer\""),
        route: Some("api"),
        cluster: Some("zitadel"),
        endpoint: Some("h2c://127.0.0.1:8080"),
        attempts: 2,
        bytes_in: 10,
        bytes_out: 20,
        upstream_head: Some(Duration::from_millis(3)),
        request_id: Some("r1"),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        user_agent: Some(b"curl/8 \xff\n"),
        referer: Some(b"https://u:p@h/cb?state=secret"),
        ..Record::default()
    }
}

#[test]
fn a_record_is_one_json_object_with_its_secrets_hidden() {
    let mut out = Vec::new();
    write_json(&full(), &mut out);
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(
        serde_json::from_slice::<Value>(&out).unwrap(),
        json!({
            "time": "2023-11-14T22:13:20.123Z", "duration_ms": 4.567, "listener": "public",
            "client.addr": "[2001:db8::1]:4711", "protocol": "h2", "tls": "TLSv1.3",
            "class": "grpc", "method": "POST", "authority": "id.example.com",
            "path": "/x?code=redacted&a=1", "status": 502, "grpc.status": 14,
            "cause": "upstream_reset", "detail": "reset by \"peer\"", "route": "api",
            "upstream.cluster": "zitadel", "upstream.endpoint": "h2c://127.0.0.1:8080",
            "attempts": 2, "bytes_in": 10, "bytes_out": 20, "upstream.head_ms": 3.0,
            "request_id": "r1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "user_agent": "curl/8 \u{fffd}\n", "referer": "https://redacted@h/cb?state=redacted",
        })
    );
}

#[test]
fn every_field_and_word_of_a_record_is_in_the_documentation() {
    let document = include_str!("../../../../docs/records.md");
    let tried = [Tried { endpoint: "h2c://a:1".into(), cause: Kind::Reset }];
    let record = Record {
        client: Some("203.0.113.7".parse().unwrap()),
        cache: Some("hit"),
        tried: &tried,
        ..full()
    };
    let mut out = Vec::new();
    write_json(&record, &mut out);
    let json = serde_json::from_slice::<Value>(&out).unwrap();
    let fields: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields.len(), 28, "a field that this record does not have: {fields:?}");
    let classes = Class::ALL.iter().map(|class| class.label());
    let cached = CacheUse::ALL.iter().map(|cached| cached.reason());
    for word in fields.into_iter().chain(classes).chain(cached) {
        assert!(document.contains(&format!("`{word}`")), "{word} is not in docs/records.md");
    }
}

#[test]
fn attempts_that_came_to_nothing_are_told_with_their_causes() {
    let at = |endpoint: &str, cause| Tried { endpoint: endpoint.into(), cause };
    let tried = [at("h2c://a:1", Kind::Reset), at("h2c://b:1", Kind::Connect)];
    let record = Record { tried: &tried, ..full() };
    let mut out = Vec::new();
    write_json(&record, &mut out);
    assert_eq!(
        serde_json::from_slice::<Value>(&out).unwrap()["upstream.tried"],
        json!([
            {"endpoint": "h2c://a:1", "cause": "upstream_reset"},
            {"endpoint": "h2c://b:1", "cause": "upstream_connect"},
        ])
    );
    out.clear();
    write_text(&record, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with(
        " attempts=2 tried=h2c://a:1:upstream_reset tried=h2c://b:1:upstream_connect\n"
    ));
}

#[test]
fn behind_a_trusted_proxy_client_and_peer_are_two() {
    let record = Record { client: Some("203.0.113.7".parse().unwrap()), ..full() };
    let mut out = Vec::new();
    write_json(&record, &mut out);
    let json = serde_json::from_slice::<Value>(&out).unwrap();
    assert_eq!(json["client.addr"], "203.0.113.7");
    assert_eq!(json["peer.addr"], "[2001:db8::1]:4711");
    out.clear();
    write_text(&record, &mut out);
    assert!(String::from_utf8(out).unwrap().contains("Z 203.0.113.7 \"POST"));
}

#[test]
fn a_record_for_people_is_one_line() {
    let mut out = Vec::new();
    write_text(&full(), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "2023-11-14T22:13:20.123Z [2001:db8::1]:4711 \"POST id.example.com/x?code=redacted&a=1\" \
         502 grpc=14 grpc/h2 4.567ms in=10 out=20 listener=public route=api \
         upstream=h2c://127.0.0.1:8080 cause=upstream_reset detail=\"reset by \\\"peer\\\"\" id=r1 \
         trace=4bf92f3577b34da6a3ce929d0e0e4736 agent=\"curl/8 \u{fffd}\\n\" attempts=2\n"
    );
}

proptest! {
    #[test]
    fn whatever_a_client_sends_the_line_is_json(
        path in "\\PC*", method in "\\PC*", authority in "\\PC*", agent: Vec<u8>, referer: Vec<u8>,
        status: u16, duration: u64,
    ) {
        let record = Record {
            path: &path, method: &method, authority: &authority, user_agent: Some(&agent),
            referer: Some(&referer), status, duration: Duration::from_nanos(duration), ..full()
        };
        let mut out = Vec::new();
        write_json(&record, &mut out);
        prop_assert!(serde_json::from_slice::<Value>(&out).unwrap().is_object());
        out.clear();
        write_text(&record, &mut out);
        prop_assert_eq!(std::str::from_utf8(&out).unwrap().matches('\n').count(), 1);
    }
}
