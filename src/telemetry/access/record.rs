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
    string(br#","listener":""#, Some(record.listener.as_bytes()), out);
    if record.client.is_some() {
        out.extend_from_slice(br#","client.addr":""#);
        client(record, out);
        out.push(b'"');
    }
    if let Some(peer) = record.peer.filter(|peer| Some(peer.ip()) != record.client) {
        out.extend_from_slice(br#","peer.addr":""#);
        socket(peer, out);
        out.push(b'"');
    }
    word_of_ours(br#","protocol":""#, Some(record.protocol.label()), out);
    word_of_ours(br#","tls":""#, record.tls, out);
    word_of_ours(br#","class":""#, Some(record.class.label()), out);
    string(br#","method":""#, Some(record.method.as_bytes()), out);
    string(br#","authority":""#, Some(host(record.authority).as_bytes()), out);
    string(br#","path":""#, Some(redact(record.path).as_bytes()), out);
    integer(br#","status":"#, u64::from(record.status), out);
    if let Some(code) = record.grpc_status {
        integer(br#","grpc.status":"#, u64::from(code), out);
    }
    word_of_ours(br#","cause":""#, record.cause.map(Kind::label), out);
    string(br#","detail":""#, record.detail.map(str::as_bytes), out);
    string(br#","route":""#, record.route.map(str::as_bytes), out);
    string(br#","cache.status":""#, record.cache.map(str::as_bytes), out);
    string(br#","upstream.cluster":""#, record.cluster.map(str::as_bytes), out);
    string(br#","upstream.endpoint":""#, record.endpoint.map(str::as_bytes), out);
    integer(br#","attempts":"#, u64::from(record.attempts), out);
    tried(record.tried, out);
    integer(br#","bytes_in":"#, record.bytes_in, out);
    integer(br#","bytes_out":"#, record.bytes_out, out);
    if let Some(head) = record.upstream_head {
        out.extend_from_slice(br#","upstream.head_ms":"#);
        millis(head, out);
    }
    string(br#","request_id":""#, record.request_id.map(str::as_bytes), out);
    string(br#","trace_id":""#, record.trace_id.map(str::as_bytes), out);
    string(br#","user_agent":""#, record.user_agent, out);
    if let Some(referer) = record.referer {
        string(br#","referer":""#, Some(redact(&String::from_utf8_lossy(referer)).as_bytes()), out);
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

/// A field whose value needs no escaping; `before` is `,"name":"`.
fn word_of_ours(before: &[u8], value: Option<&'static str>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(before);
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// A field; `before` is `,"name":"`.
fn string(before: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(before);
    escaped(value, out);
    out.push(b'"');
}

/// The same of a number; `before` is `,"name":`.
fn integer(before: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
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
mod tests;
