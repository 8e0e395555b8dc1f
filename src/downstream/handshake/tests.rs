use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, NamedGroup};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;

use super::*;
use crate::downstream::plan::CertificatePlan;

/// A CA, a listener for id.test, and what its clients need.
struct Bench {
    ca: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
    plan: TlsPlan,
}

type Met =
    (Result<Established<DuplexStream>, Failure>, std::io::Result<ClientStream<DuplexStream>>);

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let certificate = CertificatePlan {
            cert: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
            default: false,
        };
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["id.test".to_owned()]).unwrap();
        fs::write(&certificate.cert, params.signed_by(&key, &ca).unwrap().pem()).unwrap();
        fs::write(&certificate.key, key.serialize_pem()).unwrap();
        fs::write(folder.path().join("ca.crt"), ca.pem()).unwrap();
        let plan = TlsPlan {
            certificates: vec![certificate],
            client_auth: ClientAuth::Off,
            only_tls13: false,
        };
        Self { ca, folder, plan }
    }

    fn server(&self) -> (Arc<ServerConfig>, Arc<Store>) {
        let store = Store::load(&self.plan.certificates, provider()).unwrap();
        (server_config(&self.plan, store.clone()).unwrap(), store)
    }

    fn client(&self, identified: bool) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        if !identified {
            return builder.with_no_client_auth();
        }
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "tester");
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.signed_by(&key, &self.ca).unwrap().der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    }
}

async fn meet(server: &(Arc<ServerConfig>, Arc<Store>), client: ClientConfig, name: &str) -> Met {
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let accept = handshake(Replay::new(far), server.0.clone(), &server.1, soon());
    let connect = TlsConnector::from(Arc::new(client)).connect(name, near);
    tokio::join!(accept, connect)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test]
async fn the_first_choice_is_tls_1_3_with_a_post_quantum_key_exchange() {
    let bench = Bench::new();
    let mut client = bench.client(false);
    client.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let (accepted, connected) = meet(&bench.server(), client, "id.test").await;
    let accepted = accepted.unwrap();
    let connected = connected.unwrap();
    let group = connected.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert_eq!(accepted.protocol, Protocol::H2);
    assert_eq!(connected.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!((accepted.tls.version, accepted.tls.resumed), ("TLSv1.3", false));
    assert_eq!(accepted.tls.sni.as_deref(), Some("id.test"));
    assert_eq!(*accepted.tls.names, ["id.test".into()]);
    assert_eq!(accepted.tls.client_subject, None);
}

#[tokio::test]
async fn tls_1_2_is_spoken_unless_it_is_refused() {
    let mut bench = Bench::new();
    let old = |bench: &Bench| {
        let mut roots = RootCertStore::empty();
        roots.add(bench.ca.der().clone()).unwrap();
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    };
    let (accepted, _) = meet(&bench.server(), old(&bench), "id.test").await;
    let accepted = accepted.unwrap();
    assert_eq!((accepted.tls.version, accepted.protocol), ("TLSv1.2", Protocol::H1));
    bench.plan.only_tls13 = true;
    let (accepted, _) = meet(&bench.server(), old(&bench), "id.test").await;
    assert_eq!(accepted.unwrap_err().reason, Reason::NoSharedCipher);
}

#[tokio::test]
async fn a_second_connection_is_resumed() {
    let bench = Bench::new();
    let server = bench.server();
    let client = bench.client(false);
    for resumed in [false, true, true] {
        let (accepted, connected) = meet(&server, client.clone(), "id.test").await;
        let mut accepted = accepted.unwrap();
        assert_eq!(accepted.tls.resumed, resumed);
        assert_eq!(*accepted.tls.names, ["id.test".into()]);
        // Tickets come with the first bytes.
        accepted.stream.write_all(b"x").await.unwrap();
        accepted.stream.flush().await.unwrap();
        connected.unwrap().read_exact(&mut [0]).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_without_a_certificate_is_refused_with_its_own_alert() {
    let bench = Bench::new();
    for name in ["other.test", "192.0.2.1"] {
        let (accepted, connected) = meet(&bench.server(), bench.client(false), name).await;
        assert_eq!(accepted.unwrap_err().reason, Reason::UnknownName);
        let error = connected.unwrap_err().to_string();
        assert!(
            error.contains("UnrecognizedName") || error.contains("UnrecognisedName"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn client_certificates_are_unasked_optional_or_required() {
    let mut bench = Bench::new();
    let file = bench.folder.path().join("ca.crt");
    let modes = [ClientAuth::Off, ClientAuth::Optional(file.clone()), ClientAuth::Required(file)];
    let subject = |bench: &Bench, identified| {
        let (server, client) = (bench.server(), bench.client(identified));
        async move {
            let (accepted, _) = meet(&server, client, "id.test").await;
            accepted.map(|accepted| accepted.tls.client_subject).map_err(|failure| failure.reason)
        }
    };
    for mode in modes {
        bench.plan.client_auth = mode.clone();
        let named = subject(&bench, true).await.unwrap();
        let unnamed = subject(&bench, false).await;
        if mode == ClientAuth::Off {
            assert_eq!(named, None);
        } else {
            assert!(named.unwrap().contains("CN=tester"));
        }
        match mode {
            ClientAuth::Required(_) => assert_eq!(unnamed, Err(Reason::ClientCertificate)),
            _ => assert_eq!(unnamed, Ok(None)),
        }
        // One of another CA is worse than none.
        let stranger = Bench::new().client(true);
        let (accepted, _) = meet(&bench.server(), stranger, "id.test").await;
        assert!(accepted.is_err());
    }
    bench.plan.client_auth = ClientAuth::Required(bench.folder.path().join("none.crt"));
    let store = Store::load(&bench.plan.certificates, provider()).unwrap();
    let error = server_config(&bench.plan, store).unwrap_err();
    assert!(error.to_string().contains("none.crt: cannot be read"), "{error}");
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_answered_in_http() {
    let bench = Bench::new();
    let (config, store) = bench.server();
    for (sent, answered) in [("GET / HTTP/1.1\r\nhost: id.test\r\n\r\n", true), ("\0\0", false)] {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        near.write_all(sent.as_bytes()).await.unwrap();
        let client = async move {
            let mut text = String::new();
            near.read_to_string(&mut text).await.unwrap();
            text
        };
        let accept = handshake(Replay::new(far), config.clone(), &store, soon());
        let (accepted, text) = tokio::join!(accept, client);
        assert_eq!(accepted.unwrap_err().reason, Reason::NotTls);
        assert_eq!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), answered);
        assert_eq!(text.ends_with("\r\n\r\nThis port speaks https\n"), answered);
    }
    let (_, body) = std::str::from_utf8(PLAIN_HTTP).unwrap().split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), 23);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_has_until_the_deadline() {
    let bench = Bench::new();
    let (config, store) = bench.server();
    for sent in [&b""[..], &[22, 3, 1, 2, 0], b"GET / HTTP/1.1\r\n"] {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        near.write_all(sent).await.unwrap();
        let start = Instant::now();
        let failure =
            handshake(Replay::new(far), config.clone(), &store, soon()).await.unwrap_err();
        let expected = if sent.starts_with(b"G") { Reason::NotTls } else { Reason::Timeout };
        assert_eq!((failure.reason, start.elapsed().as_secs()), (expected, 10));
        drop(near);
    }
}

#[tokio::test]
async fn other_failures_have_their_own_words() {
    let bench = Bench::new();
    let server = bench.server();
    for sent in [&b""[..], &[22, 3, 1, 2, 0]] {
        let (mut near, far) = tokio::io::duplex(64);
        near.write_all(sent).await.unwrap();
        drop(near);
        let accept = handshake(Replay::new(far), server.0.clone(), &server.1, soon());
        assert_eq!(accept.await.unwrap_err().reason, Reason::Eof);
    }
    let (accepted, _) = meet(&server, Bench::new().client(false), "id.test").await;
    assert_eq!(accepted.unwrap_err().reason, Reason::ClientAlert);
    let mut client = bench.client(false);
    client.alpn_protocols = vec![b"spdy/3".to_vec()];
    let (accepted, _) = meet(&server, client, "id.test").await;
    assert_eq!(accepted.unwrap_err().reason, Reason::NoSharedProtocol);
    let labels: std::collections::HashSet<_> = Reason::ALL.iter().map(|r| r.label()).collect();
    assert_eq!(labels.len(), Reason::ALL.len());
}
