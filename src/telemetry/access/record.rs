//! What an access record holds and how it looks.
//!
//! The record borrows: making one costs nothing but the facts. Path, authority and referrer are
//! redacted here, while writing, so that no caller can forget it. No other header is logged.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use super::text::{escaped, ip, millis, number, socket, time};
use crate::error::Kind;
use crate::exchange::{Class, Protocol, Tried};
use crate::telemetry::redact::redact;

/// One exchange, after its end.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When its head had been read.
    pub started: SystemTime,
    /// From then until the answer's body ended or was dropped.
    pub duration: Duration,
    /// The listener's name.
    pub listener: &'a str,
    /// The client; `None` on a Unix socket.
    pub client: Option<IpAddr>,
    /// The other end of the connection; another than the client behind a trusted proxy.
    pub peer: Option<SocketAddr>,
    /// The HTTP version of the client's connection.
    pub protocol: Protocol,
    /// `TLSv1.3`, say.
    pub tls: Option<&'static str>,
    /// What it was.
    pub class: Class,
    /// The method.
    pub method: &'a str,
    /// The host that was asked for, with its port.
    pub authority: &'a str,
    /// Path and query as they came; redacted when written.
    pub path: &'a str,
    /// The HTTP status of the answer; 0: there was none.
    pub status: u16,
    /// The gRPC status, where the answer had one.
    pub grpc_status: Option<u8>,
    /// What went wrong.
    pub cause: Option<Kind>,
    /// The chain of causes.
    pub detail: Option<&'a str>,
    /// The route that matched.
    pub route: Option<&'a str>,
    /// What the cache did.
    pub cache: Option<&'a str>,
    /// The cluster it went to.
    pub cluster: Option<&'a str>,
    /// The endpoint of the last attempt.
    pub endpoint: Option<&'a str>,
    /// How many times it was sent.
    pub attempts: u32,
    /// Attempts before the last that came to nothing, the first few of them.
    pub tried: &'a [Tried],
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From the start until upstream's head.
    pub upstream_head: Option<Duration>,
    /// The request's id.
    pub request_id: Option<&'a str>,
    /// The trace it belongs to.
    pub trace_id: Option<&'a str>,
    /// `User-Agent`, as it came.
    pub user_agent: Option<&'a [u8]>,
    /// `Referer`, as it came; redacted when written.
    pub referer: Option<&'a [u8]>,
}

impl Default for Record<'_> {
    /// A record of nothing, for the fields one does not care about.
    fn default() -> Self {
        Self {
            started: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            listener: "",
            client: None,
            peer: None,
            protocol: Protocol::H2,
            tls: None,
            class: Class::default(),
            method: "",
            authority: "",
            path: "",
            status: 0,
            grpc_status: None,
            cause: None,
            detail: None,
            route: None,
            cache: None,
            cluster: None,
            endpoint: None,
            attempts: 0,
            tried: &[],
            bytes_in: 0,
            bytes_out: 0,
            upstream_head: None,
            request_id: None,
            trace_id: None,
            user_agent: None,
            referer: None,
        }
    }
}

/// Appends the record as one line of JSON. Facts that are not there are left out.
pub fn write_json(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    time(record.started, out);
    out.extend_from_slice(b"\",\"duration_ms\":");
    millis(record.duration, out);
    string("listener", Some(record.listener.as_bytes()), out);
    if record.client.is_some() {
        out.extend_from_slice(b",\"client.addr\":\"");
        client(record, out);
        out.push(b'"');
    }
    if let Some(peer) = record.peer.filter(|peer| Some(peer.ip()) != record.client) {
        out.extend_from_slice(b",\"peer.addr\":\"");
        socket(peer, out);
        out.push(b'"');
    }
    word_of_ours("protocol", Some(record.protocol.label()), out);
    word_of_ours("tls", record.tls, out);
    word_of_ours("class", Some(record.class.label()), out);
    string("method", Some(record.method.as_bytes()), out);
    string("authority", Some(host(record.authority).as_bytes()), out);
    string("path", Some(redact(record.path).as_bytes()), out);
    integer("status", u64::from(record.status), out);
    if let Some(code) = record.grpc_status {
        integer("grpc.status", u64::from(code), out);
    }
    word_of_ours("cause", record.cause.map(Kind::label), out);
    string("detail", record.detail.map(str::as_bytes), out);
    string("route", record.route.map(str::as_bytes), out);
    string("cache.status", record.cache.map(str::as_bytes), out);
    string("upstream.cluster", record.cluster.map(str::as_bytes), out);
    string("upstream.endpoint", record.endpoint.map(str::as_bytes), out);
    integer("attempts", u64::from(record.attempts), out);
    tried(record.tried, out);
    integer("bytes_in", record.bytes_in, out);
    integer("bytes_out", record.bytes_out, out);
    if let Some(head) = record.upstream_head {
        out.extend_from_slice(b",\"upstream.head_ms\":");
        millis(head, out);
    }
    string("request_id", record.request_id.map(str::as_bytes), out);
    string("trace_id", record.trace_id.map(str::as_bytes), out);
    string("user_agent", record.user_agent, out);
    if let Some(referer) = record.referer {
        string("referer", Some(redact(&String::from_utf8_lossy(referer)).as_bytes()), out);
    }
    out.extend_from_slice(b"}\n");
}

/// `"upstream.tried":[{"endpoint":"…","cause":"…"}]`, where there are any.
fn tried(all: &[Tried], out: &mut Vec<u8>) {
    for (i, one) in all.iter().enumerate() {
        let before: &[u8] =
            if i == 0 { b",\"upstream.tried\":[{\"endpoint\":\"" } else { b",{\"endpoint\":\"" };
        out.extend_from_slice(before);
        escaped(one.endpoint.as_bytes(), out);
        out.extend_from_slice(b"\",\"cause\":\"");
        out.extend_from_slice(one.cause.label().as_bytes());
        out.extend_from_slice(b"\"}");
    }
    if !all.is_empty() {
        out.push(b']');
    }
}

/// The client, with its port where the connection is its own.
fn client(record: &Record<'_>, out: &mut Vec<u8>) {
    match (record.client, record.peer) {
        (Some(client), Some(peer)) if peer.ip() == client => socket(peer, out),
        (Some(client), _) => ip(client, out),
        (None, _) => out.push(b'-'),
    }
}

/// `,"name":"value"` for values that need no escaping.
fn word_of_ours(name: &str, value: Option<&'static str>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    for part in [",\"", name, "\":\"", value, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// `,"name":"value"`; names are plain words.
fn string(name: &str, value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.reserve(name.len() + value.len() + 6);
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    escaped(value, out);
    out.push(b'"');
}

fn integer(name: &str, value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    number(value, out);
}

/// An authority without `user:password@`, which RFC 9113 §8.3.1 forbids but a client may send.
fn host(authority: &str) -> &str {
    let at = authority.bytes().rposition(|byte| byte == b'@');
    at.and_then(|at| authority.get(at + 1..)).unwrap_or(authority)
}

/// Appends the record as one line for people:
/// `time client "method authority path" status class/protocol ms in/out route>endpoint …`.
pub fn write_text(record: &Record<'_>, out: &mut Vec<u8>) {
    time(record.started, out);
    out.push(b' ');
    client(record, out);
    out.extend_from_slice(b" \"");
    escaped(record.method.as_bytes(), out);
    out.push(b' ');
    escaped(host(record.authority).as_bytes(), out);
    escaped(redact(record.path).as_bytes(), out);
    out.extend_from_slice(b"\" ");
    number(u64::from(record.status), out);
    if let Some(code) = record.grpc_status {
        out.extend_from_slice(b" grpc=");
        number(u64::from(code), out);
    }
    for part in [" ", record.class.label(), "/", record.protocol.label(), " "] {
        out.extend_from_slice(part.as_bytes());
    }
    millis(record.duration, out);
    out.extend_from_slice(b"ms in=");
    number(record.bytes_in, out);
    out.extend_from_slice(b" out=");
    number(record.bytes_out, out);
    for (name, value) in [
        ("listener", Some(Cow::Borrowed(record.listener.as_bytes()))),
        ("route", record.route.map(|route| route.as_bytes().into())),
        ("cache", record.cache.map(|cache| cache.as_bytes().into())),
        ("upstream", record.endpoint.map(|endpoint| endpoint.as_bytes().into())),
        ("cause", record.cause.map(|cause| cause.label().as_bytes().into())),
        ("detail", record.detail.map(|detail| detail.as_bytes().into())),
        ("id", record.request_id.map(|id| id.as_bytes().into())),
        ("trace", record.trace_id.map(|id| id.as_bytes().into())),
        ("agent", record.user_agent.map(Cow::Borrowed)),
    ] {
        word(name, value.as_deref(), out);
    }
    if record.attempts > 1 {
        out.extend_from_slice(b" attempts=");
        number(u64::from(record.attempts), out);
    }
    for one in record.tried {
        word("tried", Some(format!("{}:{}", one.endpoint, one.cause.label()).as_bytes()), out);
    }
    out.push(b'\n');
}

/// ` name=value`, quoted where it holds a space.
fn word(name: &str, value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return };
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    let quote: &[u8] = if value.contains(&b' ') { b"\"" } else { b"" };
    out.extend_from_slice(quote);
    escaped(value, out);
    out.extend_from_slice(quote);
}

#[cfg(test)]
mod tests {
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
        let document = include_str!("../../../docs/records.md");
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
}
