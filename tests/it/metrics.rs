//! What the admin listener says, after traffic that is known to the last exchange.

use std::time::Duration;

use ravelin::standin::Standin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::faults::{Http1, eventually, get, http1, post, soon, with};
use crate::support::h2::Client;
use crate::support::{Ravelin, standin};

const UNARY: &str = "/ravelin.test.Echo/Unary";

fn before(standin: &Standin) -> Ravelin {
    Ravelin::before(&format!("h2c://{}", standin.address()))
}

/// One sample of a scrape.
fn sample(text: &str, series: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    line?.rsplit(' ').next()?.parse().ok()
}

async fn scrape(ravelin: &Ravelin) -> String {
    let answer = http1(ravelin.admin(), get("localhost", "/metrics")).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().to_owned()
}

#[tokio::test]
async fn every_exchange_is_counted_where_it_belongs() {
    let standin = standin().await;
    let ravelin = before(&standin);
    let client = Client::plain(ravelin.plain()).await;
    for _ in 0..5 {
        client.get("/bytes/1000").await.unwrap();
    }
    client.send(post("localhost", "/sink", vec![0; 70])).await.unwrap();
    for _ in 0..3 {
        client.grpc(UNARY, &[], b"12345").await.unwrap();
    }
    client.grpc(UNARY, &[("x-echo-status", "5")], b"12345").await.unwrap();
    client.send(with(get("localhost", "/bytes/1"), "x-standin-order", "reset")).await.unwrap();
    http1(ravelin.plain(), get("localhost", "/bytes/1000")).await.unwrap();
    let text = scrape(&ravelin).await;
    let endpoint = format!("cluster=\"up\",endpoint=\"h2c://{}\"", standin.address());
    for (series, expected) in [
        ("ravelin_requests_total{route=\"all\",class=\"rest\",protocol=\"h2\",code=\"200\"}", 6.0),
        ("ravelin_requests_total{route=\"all\",class=\"rest\",protocol=\"h2\",code=\"502\"}", 1.0),
        ("ravelin_requests_total{route=\"all\",class=\"rest\",protocol=\"h1\",code=\"200\"}", 1.0),
        ("ravelin_requests_total{route=\"all\",class=\"grpc\",protocol=\"h2\",code=\"200\"}", 4.0),
        (
            "ravelin_grpc_responses_total{route=\"all\",class=\"grpc\",protocol=\"h2\",grpc_status=\"0\"}",
            3.0,
        ),
        (
            "ravelin_grpc_responses_total{route=\"all\",class=\"grpc\",protocol=\"h2\",grpc_status=\"5\"}",
            1.0,
        ),
        ("ravelin_request_body_bytes_total{route=\"all\",class=\"rest\",protocol=\"h2\"}", 70.0),
        ("ravelin_response_body_bytes_total{route=\"all\",class=\"rest\",protocol=\"h1\"}", 1000.0),
        (
            "ravelin_request_duration_seconds_count{route=\"all\",class=\"grpc\",protocol=\"h2\"}",
            4.0,
        ),
        ("ravelin_errors_total{cause=\"upstream_reset\"}", 1.0),
        ("ravelin_requests_in_flight", 0.0),
        (&format!("ravelin_upstream_connections_open{{{endpoint}}}"), 1.0),
        (&format!("ravelin_upstream_streams_open{{{endpoint}}}"), 0.0),
        (&format!("ravelin_upstream_requests_total{{{endpoint}}}"), 12.0),
        (&format!("ravelin_upstream_connects_total{{{endpoint},result=\"ok\"}}"), 1.0),
        ("ravelin_connections_total{listener=\"plain\"}", 2.0),
        ("ravelin_connections_total{listener=\"https\"}", 0.0),
    ] {
        assert_eq!(sample(&text, series), Some(expected), "{series}\n{text}");
    }
}

#[tokio::test]
async fn what_is_in_flight_is_seen_and_ends_with_its_client() {
    let standin = standin().await;
    let ravelin = before(&standin);
    let client = Client::tls(ravelin.https()).await;
    let stalled = with(get("localhost", "/bytes/1"), "x-standin-order", "stall-head");
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(client.open(stalled.clone().map(|_| ()), true).await.unwrap());
    }
    let mut old = Http1::open(ravelin.plain()).await;
    old.send(stalled).await;
    soon("arrived", standin.wait_for_in_flight(4)).await;
    let text = scrape(&ravelin).await;
    assert_eq!(sample(&text, "ravelin_requests_in_flight"), Some(4.0), "{text}");
    assert_eq!(ravelin.metric("ravelin_upstream_streams_open"), 4.0);
    assert_eq!(ravelin.metric("ravelin_connections_open"), 2.0);
    // One is reset, the others lose their connection.
    kept.pop().unwrap().1.send_reset(h2::Reason::CANCEL);
    eventually("one less", || ravelin.metric("ravelin_requests_in_flight") == 3.0).await;
    drop((kept, client, old));
    eventually("none", || ravelin.metric("ravelin_requests_in_flight") == 0.0).await;
    eventually("no stream", || ravelin.metric("ravelin_upstream_streams_open") == 0.0).await;
    eventually("no connection", || ravelin.metric("ravelin_connections_open") == 0.0).await;
    soon("upstream too", standin.wait_for_in_flight(0)).await;
    assert_eq!(ravelin.metric("ravelin_errors_total{cause=\"client_gone\"}"), 4.0);
    assert_eq!(ravelin.metric("ravelin_requests_total"), 4.0);
}

#[tokio::test]
async fn certificates_and_handshakes_are_told_by_label() {
    let standin = standin().await;
    let ravelin = before(&standin);
    drop(Client::tls(ravelin.https()).await);
    // Not TLS at all; a client that hangs up; one that trusts another CA.
    let mut plain = TcpStream::connect(ravelin.https()).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let _ = plain.read_to_end(&mut Vec::new()).await;
    // The server waits for the rest, lest its answer is lost.
    drop(plain);
    drop(TcpStream::connect(ravelin.https()).await.unwrap());
    let failed = || {
        let all = ravelin.metric("ravelin_tls_handshakes_total");
        all - ravelin.metric("ravelin_tls_handshakes_total{listener=\"https\",result=\"ok\"}")
    };
    eventually("both failures", || failed() == 2.0).await;
    let text = scrape(&ravelin).await;
    let series = "ravelin_tls_handshakes_total{listener=\"https\",result=\"ok\"}";
    assert_eq!(sample(&text, series), Some(1.0), "{text}");
    let labels: Vec<_> =
        text.lines().filter(|line| line.starts_with("ravelin_tls_handshakes_total")).collect();
    assert_eq!(labels.len(), 3, "each failure has a label of its own: {labels:?}");
    let series =
        "ravelin_tls_sessions_total{listener=\"https\",version=\"TLSv1.3\",resumed=\"false\"}";
    assert_eq!(sample(&text, series), Some(1.0), "{text}");
    let days =
        text.lines().find(|line| line.starts_with("ravelin_certificate_left_days{")).unwrap();
    assert!(
        days.contains("listener=\"https\"") && days.contains("certificate=\"localhost\""),
        "{days}"
    );
    assert!(days.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 1.0);
}

#[tokio::test]
async fn both_formats_are_spoken_and_nothing_else_is_answered() {
    let standin = standin().await;
    let ravelin = before(&standin);
    let ask = async |request| http1(ravelin.admin(), request).await.unwrap();
    let text = ask(get("localhost", "/metrics")).await;
    assert!(text.header("content-type").starts_with("text/plain; version=0.0.4"), "{text:?}");
    assert!(!text.text().contains("# EOF"));
    let open = "application/openmetrics-text; version=1.0.0, text/plain;q=0.5";
    let text = ask(with(get("localhost", "/metrics"), "accept", open)).await;
    assert!(text.header("content-type").starts_with("application/openmetrics-text"), "{text:?}");
    assert!(text.text().ends_with("# EOF\n"));
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/", 200), ("/nothing", 404)] {
        assert_eq!(ask(get("localhost", path)).await.status(), status, "{path}");
    }
    assert_eq!(ask(post("localhost", "/metrics", "x")).await.status(), 405);
    // Nothing of it is on the listeners for clients.
    let outside = http1(ravelin.plain(), get("localhost", "/readyz")).await.unwrap();
    assert_ne!(outside.text(), ask(get("localhost", "/readyz")).await.text());
}

#[tokio::test]
async fn an_endpoint_that_is_away_is_seen() {
    let refusing = ravelin::standin::Refusing::start().unwrap();
    let ravelin = Ravelin::before(&format!("h2c://{}", refusing.address()));
    let client = Client::plain(ravelin.plain()).await;
    assert_eq!(client.get("/").await.unwrap().status(), 503);
    let series = format!(
        "ravelin_upstream_connects_total{{cluster=\"up\",endpoint=\"h2c://{}\",result=\"upstream_connect\"}}",
        refusing.address()
    );
    assert_eq!(sample(&scrape(&ravelin).await, &series), Some(1.0));
    let page =
        tokio::time::timeout(Duration::from_secs(2), http1(ravelin.admin(), get("localhost", "/")));
    assert!(page.await.unwrap().unwrap().text().contains("cannot be reached"));
}
