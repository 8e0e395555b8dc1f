use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::status::{
    CertificateStatus, ClusterStatus, EndpointStatus, ListenerStatus, RouteStatus,
};
use super::*;

fn status() -> Status {
    let endpoint = |address: &str, usable, state: &str| EndpointStatus {
        address: address.into(),
        usable,
        state: state.into(),
        connections: 2,
    };
    Status {
        version: "0.1.0".into(),
        uptime: Duration::from_millis(93_784_500),
        in_flight: 7,
        warnings: vec!["cluster <zitadel>: TLS is not verified".into()],
        listeners: vec![ListenerStatus {
            name: "public".into(),
            address: "[::]:443".into(),
            transport: "TLS".into(),
            connections: 42,
        }],
        routes: vec![RouteStatus {
            name: "api".into(),
            when: "host id.example.com".into(),
            action: "forward to zitadel".into(),
        }],
        clusters: vec![ClusterStatus {
            name: "zitadel".into(),
            endpoints: vec![
                endpoint("h2c://10.0.0.1:8080", true, "connected"),
                endpoint("h2c://10.0.0.2:8080", false, "connection refused"),
            ],
        }],
        certificates: vec![CertificateStatus {
            listener: "public".into(),
            names: vec!["id.example.com".into(), "*.id.example.com".into()],
            days_left: 3.7,
        }],
    }
}

fn admin() -> Admin {
    Admin {
        readiness: Arc::default(),
        metrics: Metrics::new(),
        status: Arc::new(Status::default),
        roster: Arc::default(),
        clusters: Arc::new(Vec::new),
        drained: Arc::default(),
        control: None,
        purge: Arc::new(|_| Purged::NoCache),
    }
}

/// A running admin listener; it stops when the sender is dropped.
async fn start() -> (SocketAddr, Arc<Readiness>, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let readiness = Arc::new(Readiness::default());
    let admin = Admin { readiness: Arc::clone(&readiness), status: Arc::new(status), ..admin() };
    let (keep, stop) = oneshot::channel::<()>();
    tokio::spawn(serve(listener, admin, async {
        let _ = stop.await;
    }));
    (address, readiness, keep)
}

/// Status and the whole answer as text.
async fn ask(address: SocketAddr, method: &str, path: &str, header: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

#[tokio::test]
async fn readiness_follows_the_phase_and_health_does_not() {
    let (address, readiness, _keep) = start().await;
    for (phase, status) in [(Phase::Starting, 503), (Phase::Ready, 200), (Phase::Draining, 503)] {
        readiness.set(phase);
        let (code, answer) = ask(address, "GET", "/readyz", "").await;
        assert_eq!(code, status);
        assert!(answer.ends_with(&format!("\r\n\r\n{}\n", phase.label())), "{answer}");
        assert_eq!(ask(address, "GET", "/healthz", "").await.0, 200);
    }
}

#[tokio::test]
async fn only_get_and_head_are_answered_and_head_has_no_body() {
    let (address, _, _keep) = start().await;
    for path in ["/", "/healthz", "/metrics"] {
        let (code, answer) = ask(address, "HEAD", path, "").await;
        assert_eq!(code, 200);
        assert!(answer.ends_with("\r\n\r\n") && answer.contains("content-length"), "{answer}");
    }
    for (method, path, status) in [
        ("POST", "/", 405),
        ("DELETE", "/metrics", 405),
        ("OPTIONS", "/readyz", 405),
        ("POST", "/nothing", 405),
        ("GET", "/nothing", 404),
        ("GET", "/metrics/", 404),
    ] {
        assert_eq!(ask(address, method, path, "").await.0, status, "{method} {path}");
    }
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let (address, _, _keep) = start().await;
    let (_, plain) = ask(address, "GET", "/metrics", "").await;
    assert!(plain.contains("text/plain; version=0.0.4") && !plain.contains("# EOF"));
    let accept = "accept: application/openmetrics-text;version=1.0.0\r\n";
    let (_, open) = ask(address, "GET", "/metrics", accept).await;
    assert!(
        open.contains("application/openmetrics-text; version=1.0.0") && open.ends_with("# EOF\n")
    );
}

#[tokio::test]
async fn the_page_shows_how_things_stand_and_escapes_it() {
    let (address, readiness, _keep) = start().await;
    readiness.set(Phase::Ready);
    let (code, page) = ask(address, "GET", "/", "").await;
    assert_eq!(code, 200);
    for part in [
        "Ravelin 0.1.0",
        ">ready<",
        "up 1day 2h 3m 4s",
        "7 in flight",
        "[::]:443",
        "cluster &lt;zitadel&gt;: TLS is not verified",
        "forward to zitadel",
        "<td class=\"bad\">connection refused</td>",
        "id.example.com, *.id.example.com",
        "<td class=\"n bad\">3</td>",
        "default-src 'none'",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[tokio::test]
async fn the_listener_ends_when_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    serve(listener, admin(), std::future::ready(())).await.unwrap();
}

#[tokio::test]
async fn calls_that_change_something_are_for_tools_and_not_for_browsers() {
    let (address, _, _keep) = start().await;
    for (method, path, headers, status) in [
        ("POST", "/drain", "", 404),
        ("GET", "/drain?cluster=x&timeout=1s", "", 404),
        ("GET", "/drain?timeout=x", "", 400),
        ("POST", "/undrain", "", 404),
        ("POST", "/reload", "", 503),
        ("GET", "/reload", "", 405),
        ("PUT", "/drain", "", 405),
        ("POST", "/drain", "origin: http://127.0.0.1:9901\r\n", 403),
        ("GET", "/undrain", "user-agent: Mozilla/5.0\r\n", 403),
        ("POST", "/reload", "sec-fetch-site: cross-site\r\n", 403),
    ] {
        let (code, answer) = ask(address, method, path, headers).await;
        assert_eq!(code, status, "{method} {path} {headers}: {answer}");
    }
}

#[tokio::test]
async fn a_reload_is_answered_with_what_came_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ask_control, mut control) = tokio::sync::mpsc::channel(1);
    tokio::spawn(serve(
        listener,
        Admin { control: Some(ask_control), ..admin() },
        std::future::pending(),
    ));
    let answers = [
        Ok(calls::Reloaded { changed: vec!["route a added".into()], not_live: vec!["workers"] }),
        Err(vec!["ravelin.yaml:1:1: x".to_owned(), "ravelin.yaml:2:1: y".to_owned()]),
    ];
    for (answer, code, parts) in answers.into_iter().zip([200, 422]).map(|(answer, code)| {
        let parts = match code {
            200 => ["\"route a added\"", "\"workers\""],
            _ => ["ravelin.yaml:1:1: x", "ravelin.yaml:2:1: y"],
        };
        (answer, code, parts)
    }) {
        let asking = ask(address, "POST", "/reload", "");
        let answering = async {
            let Some(calls::Ask::Reload(tell)) = control.recv().await else { panic!("no reload") };
            tell.send(answer).unwrap();
        };
        let ((found, text), ()) = tokio::join!(asking, answering);
        assert_eq!(found, code);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}
