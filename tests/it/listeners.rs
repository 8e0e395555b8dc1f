//! Where clients connect, and what is spoken there.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use http::Request;
use ravelin::standin::Standin;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use crate::support::{Ravelin, certs, h2::Client, raw, standin};

/// Listeners as YAML flow mappings, all leading to the stand-in.
fn with(listeners: &[&str], standin: &Standin) -> Ravelin {
    Ravelin::start(&configured(listeners, standin, "access_log: {format: \"off\"}"))
}

fn configured(listeners: &[&str], standin: &Standin, more: &str) -> String {
    let listeners: String = listeners.iter().map(|one| format!("  - {{{one}}}\n")).collect();
    format!(
        "workers: 1\nlisteners:\n{listeners}routes: [{{name: all, to: up}}]\n\
         clusters: {{up: {{endpoints: [\"h2c://{}\"]}}}}\nadmin: \"off\"\nshutdown: {{grace: 1s}}\n{more}\n",
        standin.address()
    )
}

const TLS: &str = "name: https, address: \"127.0.0.1:0\", tls: {certificates: [{cert: \"{cert}\", key: \"{key}\"}]}";

#[tokio::test]
async fn alpn_chooses_h2_then_http_1_1_and_refuses_what_is_neither() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let connect = |alpn: &'static [&'static str]| {
        certs::connect(ravelin.https(), "localhost", certs::client(alpn))
    };
    let both = connect(&["http/1.1", "h2"]).await.unwrap();
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(Client::over(both).await.get("/healthz").await.unwrap().status(), 200);
    for (alpn, chosen) in [(&["http/1.1"][..], Some(&b"http/1.1"[..])), (&[], None)] {
        let one = connect(alpn).await.unwrap();
        assert_eq!(one.get_ref().1.alpn_protocol(), chosen);
        let request = raw::request("GET", "localhost", "/healthz", "");
        assert_eq!(raw::exchange(one, request.as_bytes()).await.status(), 200, "{alpn:?}");
    }
    let error = connect(&["spdy/3"]).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn plaintext_speaks_http_1_1_and_h2c_by_prior_knowledge_on_one_port() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    assert_eq!(raw::get(ravelin.plain(), "localhost", "/healthz").await.status(), 200);
    let client = Client::plain(ravelin.plain()).await;
    assert_eq!(client.get("/healthz").await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_upgrade_to_h2c_is_answered_on_stream_1() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let request = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n";
    // The client's preface and an empty SETTINGS.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut io = TcpStream::connect(ravelin.plain()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut io, &[request.as_bytes(), preface].concat())
        .await
        .unwrap();
    let mut got = Vec::new();
    let mut stream_1_headers = false;
    while !stream_1_headers {
        let read = tokio::time::timeout(raw::PATIENCE, io.read_buf(&mut got)).await;
        assert!(read.expect("no answer on stream 1").unwrap() > 0, "{got:?}");
        let Some(at) = got.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        assert!(got.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&got));
        let mut frames = &got[at + 4..];
        while let [a, b, c, kind, _, 0, 0, 0, stream, ..] = *frames {
            stream_1_headers |= kind == 1 && stream == 1;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            frames = frames.get(9 + length..).unwrap_or(&[]);
        }
    }
}

#[tokio::test]
async fn a_redirecting_listener_keeps_path_and_query_and_names_the_right_port() {
    let standin = standin().await;
    let ravelin = with(
        &[
            "name: named, address: \"127.0.0.1:0\", redirect_to_https: 8443",
            "name: usual, address: \"127.0.0.1:0\", redirect_to_https: 443",
        ],
        &standin,
    );
    for (listener, host, to) in [
        ("named", "localhost:8000", "https://localhost:8443/ui/x%20y?a=b&c=%2F"),
        ("usual", "localhost:8000", "https://localhost/ui/x%20y?a=b&c=%2F"),
        ("usual", "[::1]:8000", "https://[::1]/ui/x%20y?a=b&c=%2F"),
    ] {
        let answer = raw::get(ravelin.address(listener), host, "/ui/x%20y?a=b&c=%2F").await;
        assert_eq!((answer.status(), answer.header("location")), (308, to), "{listener}");
    }
    let client = Client::plain(ravelin.address("named")).await;
    let request = Request::post("http://localhost:8000/oauth/v2/token").body(Bytes::new()).unwrap();
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.status(), 308);
    assert_eq!(answer.header("location"), "https://localhost:8443/oauth/v2/token");
    assert_eq!(standin.requests().len(), 0);
}

#[tokio::test]
async fn a_unix_socket_carries_both_versions_and_its_file_goes_with_the_listener() {
    let standin = standin().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.sock");
    // A stale one, as a killed process leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let ravelin = with(&[&format!("name: unix, address: \"unix:{}\"", path.display())], &standin);
    let client = Client::over(UnixStream::connect(&path).await.unwrap()).await;
    assert_eq!(client.get("/headers").await.unwrap().status(), 200);
    let request = raw::request("GET", "localhost", "/headers", "x-forwarded-for: 198.51.100.1\r\n");
    let io = UnixStream::connect(&path).await.unwrap();
    assert_eq!(raw::exchange(io, request.as_bytes()).await.status(), 200);
    for seen in standin.requests() {
        assert_eq!(seen.headers.get("x-forwarded-for"), None, "a socket file has no address");
        assert_eq!(seen.headers["x-forwarded-proto"], "http");
    }
    drop(client);
    ravelin.drain();
    ravelin.wait();
    assert!(!path.exists());
}

#[tokio::test]
async fn ipv6_and_dual_stack_name_each_client_by_its_own_address() {
    let standin = standin().await;
    let ravelin =
        with(&["name: v6, address: \"[::1]:0\"", "name: dual, address: \"[::]:0\""], &standin);
    let dual = ravelin.address("dual").port();
    for (address, client) in [
        (ravelin.address("v6"), "::1"),
        (SocketAddr::from((Ipv6Addr::LOCALHOST, dual)), "::1"),
        (SocketAddr::from((Ipv4Addr::LOCALHOST, dual)), "127.0.0.1"),
    ] {
        assert_eq!(raw::get(address, "localhost", "/headers").await.status(), 200);
        assert_eq!(standin.requests().last().unwrap().headers["x-forwarded-for"], client);
    }
}

#[tokio::test]
async fn a_trusted_proxy_header_names_the_client_upstream_and_in_the_record() {
    let standin = standin().await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let yaml = configured(
        &[
            "name: lb, address: \"127.0.0.1:0\", proxy_protocol: {from: 127.0.0.0/8}",
            &TLS.replace("name: https,", "name: lbs, proxy_protocol: {from: [127.0.0.1]},"),
        ],
        &standin,
        &format!("access_log: {{output: \"{}\"}}", log.path().display()),
    );
    let ravelin = Ravelin::start(&yaml);
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    v2.extend("2001:db8::9".parse::<Ipv6Addr>().unwrap().octets());
    v2.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    v2.extend([0x15, 0xb3, 0x01, 0xbb]);
    let request = raw::request("GET", "localhost", "/headers", "");
    for (header, client) in [
        (&b"PROXY TCP4 203.0.113.9 198.51.100.1 5555 443\r\n"[..], "203.0.113.9"),
        (&v2, "2001:db8::9"),
        // Of itself, as health checks of load balancers do: the peer is the client.
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "127.0.0.1"),
    ] {
        let answer = raw::send(ravelin.address("lb"), header, &request).await;
        assert_eq!(answer.status(), 200, "{client}");
        assert_eq!(standin.requests().last().unwrap().headers["x-forwarded-for"], client);
    }
    let mut io = TcpStream::connect(ravelin.address("lbs")).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut io, &v2).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let tls = tokio_rustls::TlsConnector::from(certs::client(&["h2"])).connect(name, io).await;
    assert_eq!(Client::over(tls.unwrap()).await.get("/headers").await.unwrap().status(), 200);
    assert_eq!(standin.requests().last().unwrap().headers["x-forwarded-for"], "2001:db8::9");

    let records = raw::until(
        async || std::fs::read_to_string(log.path()).unwrap(),
        |text| text.lines().count() >= 5,
    )
    .await;
    let clients: Vec<_> = records
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["client.addr"].clone())
        .collect();
    let is = |client: &serde_json::Value, address: &str| {
        client.as_str().unwrap().trim_start_matches('[').starts_with(address)
    };
    assert!(is(&clients[0], "203.0.113.9") && is(&clients[1], "2001:db8::9"), "{clients:?}");
    assert!(is(&clients[2], "127.0.0.1") && is(&clients[4], "2001:db8::9"), "{clients:?}");
}

#[tokio::test]
async fn a_proxy_header_is_refused_from_strangers_and_missed_from_the_trusted() {
    let standin = standin().await;
    let ravelin = with(
        &[
            "name: trusted, address: \"127.0.0.1:0\", proxy_protocol: {from: 127.0.0.1}, limits: {head_time: 1s}",
            "name: stranger, address: \"127.0.0.1:0\", proxy_protocol: {from: 10.0.0.0/8}",
            "name: plain, address: \"127.0.0.1:0\"",
        ],
        &standin,
    );
    let request = raw::request("GET", "localhost", "/headers", "");
    let header = b"PROXY TCP4 203.0.113.9 198.51.100.1 5555 443\r\n";
    assert_eq!(raw::send(ravelin.address("stranger"), header, &request).await.status(), 0);
    assert_eq!(raw::send(ravelin.address("stranger"), b"", &request).await.status(), 0);
    assert_eq!(raw::send(ravelin.address("trusted"), b"", &request).await.status(), 0);
    assert_eq!(
        raw::send(ravelin.address("trusted"), b"PROXY TCP4 x\r\n", &request).await.status(),
        0
    );
    // Where nobody is trusted it is not HTTP.
    let answer = raw::send(ravelin.address("plain"), header, &request).await;
    assert!(matches!(answer.status(), 0 | 400), "{answer:?}");
    assert_eq!(standin.requests().len(), 0);
}

/// Whether the server keeps a new connection, told by an answer on it.
async fn kept(address: SocketAddr) -> Option<TcpStream> {
    let mut io = TcpStream::connect(address).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let _ = tokio::io::AsyncWriteExt::write_all(&mut io, request).await;
    let mut some = [0; 8];
    let read = tokio::time::timeout(raw::PATIENCE, io.read(&mut some)).await.unwrap();
    matches!(read, Ok(1..)).then_some(io)
}

#[tokio::test]
async fn caps_hold_per_client_and_in_all_and_are_given_back() {
    let standin = standin().await;
    let ravelin = with(
        &[
            "name: client, address: \"127.0.0.1:0\", limits: {connections_per_client: 2}",
            "name: total, address: \"127.0.0.1:0\", limits: {connections: 1}",
            "name: behind, address: \"127.0.0.1:0\", limits: {connections_per_client: 1}, proxy_protocol: {from: 127.0.0.1}",
        ],
        &standin,
    );
    for (listener, cap) in [("client", 2), ("total", 1)] {
        let address = ravelin.address(listener);
        let mut held = Vec::new();
        for _ in 0..cap {
            held.push(kept(address).await.expect("below the cap"));
        }
        assert!(kept(address).await.is_none(), "{listener}");
        held.pop();
        raw::until(async || kept(address).await, Option::is_some).await;
    }
    // Behind a balancer its clients are counted, not the balancer.
    let mut held = Vec::new();
    for client in ["203.0.113.1", "203.0.113.2"] {
        let mut io = TcpStream::connect(ravelin.address("behind")).await.unwrap();
        let text = format!(
            "PROXY TCP4 {client} 198.51.100.1 5 6\r\nGET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
        );
        tokio::io::AsyncWriteExt::write_all(&mut io, text.as_bytes()).await.unwrap();
        assert!(io.read_u8().await.is_ok(), "{client}");
        held.push(io);
    }
    let again = b"PROXY TCP4 203.0.113.1 198.51.100.1 5 6\r\n";
    let request = raw::request("GET", "localhost", "/healthz", "");
    assert_eq!(raw::send(ravelin.address("behind"), again, &request).await.status(), 0);
    let refused = |listener: &str, cap: &str| {
        let name = "ravelin_connections_refused_total";
        ravelin.metric(&format!("{name}{{listener=\"{listener}\",cap=\"{cap}\"}}"))
    };
    assert!(refused("client", "client") >= 1.0);
    assert!(refused("total", "listener") >= 1.0);
    assert!((refused("behind", "client") - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn a_listener_has_routes_of_its_own() {
    let yaml = "workers: 2\nlisteners:\n  - {name: one, address: \"127.0.0.1:0\"}\n  - {name: two, address: \"127.0.0.1:0\"}\n\
        routes:\n  - {match: {listeners: one}, respond: {body: first}}\n  - {match: {listeners: [two], path: /x}, respond: {body: second}}\n\
        admin: \"off\"\naccess_log: {format: \"off\"}\n";
    let ravelin = Ravelin::start(yaml);
    assert_eq!(raw::get(ravelin.address("one"), "a", "/x").await.body, "first");
    assert_eq!(raw::get(ravelin.address("two"), "a", "/x").await.body, "second");
    assert_eq!(raw::get(ravelin.address("two"), "a", "/").await.status(), 404);
}

#[tokio::test]
async fn http_on_a_tls_port_is_told_what_is_spoken_there() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let answer = raw::get(ravelin.https(), "localhost", "/").await;
    assert_eq!((answer.status(), answer.body.as_str()), (400, "This port speaks https\n"));
}

#[tokio::test]
async fn a_handshake_that_never_comes_ends_with_its_clock_and_holds_nobody_up() {
    let standin = standin().await;
    let tls = format!("{TLS}, limits: {{head_time: 1s}}");
    let ravelin = with(&[&tls], &standin);
    let mut silent = TcpStream::connect(ravelin.https()).await.unwrap();
    let mut dripping = std::net::TcpStream::connect(ravelin.https()).unwrap();
    dripping.write_all(b"\x16\x03\x01").unwrap();
    assert_eq!(Client::tls(ravelin.https()).await.get("/healthz").await.unwrap().status(), 200);
    let ended = tokio::time::timeout(raw::PATIENCE, silent.read(&mut [0; 16])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
    drop(dripping);
}
