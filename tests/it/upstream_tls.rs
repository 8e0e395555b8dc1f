//! Upstream speaks TLS: who is believed, and what is shown to it.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use ravelin::standin::{Options, Standin};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::certs::{authority, pair};
use crate::support::faults::{self, eventually};
use crate::support::h2::Client;
use crate::support::{Ravelin, config_before};

/// A server with a certificate for these names; `ask`: it wants a client's certificate.
fn config(label: &str, names: &[&str], alpn: &[&str], ask: bool) -> Arc<rustls::ServerConfig> {
    let (cert, key) = pair(label, names);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if ask {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(authority().issuer.pem().as_bytes()).unwrap())
            .unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let chain = CertificateDer::pem_file_iter(cert).unwrap().map(Result::unwrap).collect();
    let mut config =
        builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn standin(label: &str, names: &[&str], alpn: &[&str], ask: bool) -> Standin {
    let options = Options { tls: Some(config(label, names, alpn, ask)), ..Options::default() };
    Standin::start(options).await.unwrap()
}

const BOTH: &[&str] = &["h2", "http/1.1"];

/// Ravelin before it, with these keys below the cluster's `tls`.
fn before(standin: &Standin, scheme: &str, tls: &str) -> Ravelin {
    before_port(standin.address().port(), scheme, tls)
}

fn before_port(port: u16, scheme: &str, tls: &str) -> Ravelin {
    let endpoint = format!("{scheme}://127.0.0.1:{port}");
    let tls = format!("\"{endpoint}\"], tls: {{{tls}}}}}");
    Ravelin::start(&config_before(&endpoint).replace(&format!("\"{endpoint}\"]}}"), &tls))
}

/// The status of a REST call and of a gRPC call.
async fn statuses(ravelin: &Ravelin) -> (u16, String) {
    let client = Client::tls(ravelin.https()).await;
    let rest = client.get("/admin/v1/healthz").await.unwrap().status();
    let path = "/zitadel.admin.v1.AdminService/Healthz";
    let grpc = client.grpc(path, &[], b"").await.unwrap();
    (rest, grpc.trailer("grpc-status").to_owned())
}

fn pin(cert: &Path) -> String {
    let der = CertificateDer::from_pem_file(cert).unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, parsed.public_key().raw);
    base64::engine::general_purpose::STANDARD.encode(digest)
}

fn good() -> (u16, String) {
    (200, "0".to_owned())
}

fn refused() -> (u16, String) {
    (502, "14".to_owned())
}

#[tokio::test]
async fn the_chain_must_lead_to_the_ca_file_and_cover_the_host() {
    let standin = standin("up-address", &["127.0.0.1"], BOTH, false).await;
    let ravelin = before(&standin, "h2", "ca: \"{ca}\"");
    assert_eq!(statuses(&ravelin).await, good());
    assert_eq!(standin.connections_total(), 1);
    assert_eq!(standin.requests()[0].version, http::Version::HTTP_2);
    // The system's roots do not know the run's CA.
    assert_eq!(statuses(&before(&standin, "h2", "")).await, refused());
}

#[tokio::test]
async fn the_name_that_is_asked_for_and_verified_may_be_set() {
    let standin = standin("up-name", &["zitadel.internal"], BOTH, false).await;
    let named = |name| format!("ca: \"{{ca}}\", server_name: {name}");
    assert_eq!(statuses(&before(&standin, "h2", &named("zitadel.internal"))).await, good());
    assert_eq!(statuses(&before(&standin, "h2", &named("other.internal"))).await, refused());
    // Without it the endpoint's host counts, an address that the certificate does not cover.
    assert_eq!(statuses(&before(&standin, "h2", "ca: \"{ca}\"")).await, refused());
    assert_eq!(standin.count("/admin"), 1);
}

#[tokio::test]
async fn a_pinned_key_is_enough_alone_and_needed_beside_a_ca() {
    let standin = standin("up-pin", &["elsewhere.example"], BOTH, false).await;
    let folder = authority().folder.path();
    let right = pin(&folder.join("up-pin.crt"));
    let wrong = pin(&folder.join("ca.crt"));
    let good_name = "ca: \"{ca}\", server_name: elsewhere.example";
    for (tls, expected) in [
        (format!("pins: [\"{right}\"]"), good()),
        (format!("pins: [\"{wrong}\", \"{right}\"]"), good()),
        (format!("pins: [\"{wrong}\"]"), refused()),
        (format!("{good_name}, pins: [\"{right}\"]"), good()),
        (format!("{good_name}, pins: [\"{wrong}\"]"), refused()),
        // The pin does not make up for a name that the chain does not cover.
        (format!("ca: \"{{ca}}\", pins: [\"{right}\"]"), refused()),
    ] {
        assert_eq!(statuses(&before(&standin, "h2", &tls)).await, expected, "{tls}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_there_is_one() {
    let standin = standin("up-mutual", &["127.0.0.1"], BOTH, true).await;
    let (cert, key) = pair("ravelin-client", &["ravelin"]);
    let shown = format!(
        "ca: \"{{ca}}\", certificate: {{cert: \"{}\", key: \"{}\"}}",
        cert.display(),
        key.display()
    );
    assert_eq!(statuses(&before(&standin, "h2", &shown)).await, good());
    let (rest, grpc) = statuses(&before(&standin, "h2", "ca: \"{ca}\"")).await;
    // TLS 1.3 tells a client only after its handshake that it was refused.
    assert!(matches!(rest, 502 | 503) && grpc == "14", "{rest} {grpc}");
}

#[tokio::test]
async fn verification_is_skipped_only_on_request() {
    let standin = standin("up-skip", &["elsewhere.example"], BOTH, false).await;
    assert_eq!(statuses(&before(&standin, "h2", "insecure_skip_verify: true")).await, good());
    assert_eq!(statuses(&before(&standin, "h2", "insecure_skip_verify: false")).await, refused());
}

#[tokio::test]
async fn a_server_that_does_not_agree_to_h2_is_refused() {
    let standin = standin("up-alpn", &["127.0.0.1"], &["http/1.1"], false).await;
    assert_eq!(statuses(&before(&standin, "h2", "ca: \"{ca}\"")).await, refused());
    assert_eq!(standin.requests().len(), 0);
}

#[tokio::test]
async fn https_is_http_1_1_over_tls_and_takes_no_grpc() {
    let standin = standin("up-https", &["127.0.0.1"], BOTH, false).await;
    let ravelin = before(&standin, "https", "ca: \"{ca}\"");
    assert_eq!(statuses(&ravelin).await, (200, "13".to_owned()));
    assert_eq!(standin.requests()[0].version, http::Version::HTTP_11);
    let client = Client::tls(ravelin.https()).await;
    for _ in 0..3 {
        assert_eq!(client.get("/bytes/300000").await.unwrap().body.len(), 300_000);
    }
    assert_eq!(standin.connections_total(), 1);
    assert_eq!(statuses(&before(&standin, "https", "")).await.0, 502);
}

#[tokio::test]
async fn a_server_that_speaks_h2_alone_is_up_for_a_check_of_its_port() {
    let standin = standin("up-h2", &["127.0.0.1"], &["h2"], false).await;
    let keys = "ca: \"{ca}\"}, health: {check: tcp, interval: 100ms";
    let ravelin = before(&standin, "h2", keys);
    eventually("it is checked", || standin.connections_total() >= 5).await;
    assert_eq!(statuses(&ravelin).await.0, 200);
}

/// RFC 9112 §9.8: whoever cuts a connection must not be able to cut an answer short unnoticed.
#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole_only_behind_a_close_notify() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor =
        tokio_rustls::TlsAcceptor::from(config("up-cut", &["127.0.0.1"], &["http/1.1"], false));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut stream = acceptor.accept(socket).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it").await.unwrap();
            stream.flush().await.unwrap();
            if head.starts_with(b"GET /whole") {
                stream.shutdown().await.unwrap();
            } else {
                stream.get_mut().0.shutdown().await.unwrap();
            }
        }
    });
    let ravelin = before_port(port, "https", "ca: \"{ca}\"");
    let client = Client::tls(ravelin.https()).await;
    assert_eq!(client.get("/whole").await.unwrap().text(), "all of it");
    assert!(client.get("/cut").await.unwrap_err().is_reset());
}

#[tokio::test]
async fn servers_that_know_no_http1_are_not_left_alone_for_a_websocket() {
    let (one, other) = tokio::join!(
        standin("of-h2-alone", &["localhost"], &["h2"], false),
        standin("of-h2-alone", &["localhost"], &["h2"], false),
    );
    let endpoints = [&one, &other].map(|one| format!("h2://127.0.0.1:{}", one.address().port()));
    let cluster = "tls: {insecure_skip_verify: true}";
    let ravelin = Ravelin::start(&faults::config(&endpoints, cluster, ""));
    for _ in 0..3 {
        let asked = faults::websocket("localhost", "/ws");
        assert_eq!(faults::http1(ravelin.plain(), asked).await.unwrap().status(), 502);
    }
    assert_eq!(ravelin.metric("ravelin_upstream_ejections_total"), 0.0);
    let client = Client::plain(ravelin.plain()).await;
    for _ in 0..10 {
        assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 200);
    }
}
