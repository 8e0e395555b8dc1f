//! Which certificate a client is shown, what is asked of the client, and what TLS settles.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, ProtocolVersion,
    SignatureScheme, SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::faults::{eventually, get, http1};
use crate::support::{Ravelin, certs, h2::Client, raw};

/// A client that takes any certificate, to see which one it is shown.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client that takes any certificate; `own` is the pair that it shows.
fn credulous(
    versions: &[&'static SupportedProtocolVersion],
    own: Option<(PathBuf, PathBuf)>,
) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider)));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            builder.with_client_auth_cert(vec![der(&cert)], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

fn der(cert: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(cert).unwrap()
}

/// The certificate that is shown to who asks for `name`.
async fn shown(address: SocketAddr, name: &str) -> std::io::Result<CertificateDer<'static>> {
    let stream = certs::connect(address, name, credulous(BOTH, None)).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
}

/// One TLS listener that answers `ok`; `tls` is its flow mapping.
fn answering(tls: &str, routes: &str) -> Ravelin {
    Ravelin::start(&format!(
        "workers: 1\nlisteners:\n  - {{name: https, address: \"127.0.0.1:0\", tls: {{{tls}}}}}\n  - {{name: plain, address: \"127.0.0.1:0\"}}\n\
         routes: {routes}\nadmin: \"127.0.0.1:0\"\naccess_log: {{format: \"off\"}}\n"
    ))
}

const OK: &str = "[{respond: {body: ok}}]";

fn entry((cert, key): &(PathBuf, PathBuf), more: &str) -> String {
    format!("{{cert: \"{}\", key: \"{}\"{more}}}", cert.display(), key.display())
}

/// Puts another pair into these files, as certificate tools do: written beside, then renamed.
fn replace(files: &(PathBuf, PathBuf), by: &(PathBuf, PathBuf)) {
    for (to, from) in [(&files.1, &by.1), (&files.0, &by.0)] {
        let beside = to.with_extension("new");
        std::fs::copy(from, &beside).unwrap();
        std::fs::rename(&beside, to).unwrap();
    }
}

#[tokio::test]
async fn the_exact_name_comes_before_the_wildcard_before_the_default() {
    let exact = certs::pair("c-exact", &["id.apps.test"]);
    let wild = certs::pair("c-wild", &["*.apps.test"]);
    let default = certs::pair("c-default", &["default.test"]);
    let list = [entry(&default, ", default: true"), entry(&wild, ""), entry(&exact, "")].join(", ");
    let ravelin = answering(&format!("certificates: [{list}]"), OK);
    for (name, expected) in [
        ("id.apps.test", &exact),
        ("ID.Apps.test", &exact),
        ("other.apps.test", &wild),
        ("a.b.apps.test", &default),
        ("apps.test", &default),
        // No name is sent for an address (RFC 6066 §3).
        ("127.0.0.1", &default),
    ] {
        assert_eq!(shown(ravelin.https(), name).await.unwrap(), der(&expected.0), "{name}");
    }
}

#[tokio::test]
async fn without_a_default_an_unknown_name_is_refused_in_the_handshake() {
    let pairs = [certs::pair("c-one", &["one.test"]), certs::pair("c-two", &["two.test"])];
    let list = [entry(&pairs[0], ""), entry(&pairs[1], "")].join(", ");
    let ravelin = answering(&format!("certificates: [{list}]"), OK);
    shown(ravelin.https(), "two.test").await.unwrap();
    for name in ["three.test", "127.0.0.1"] {
        let error = shown(ravelin.https(), name).await.unwrap_err();
        assert!(error.to_string().contains("UnrecognisedName"), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_replaced_file_is_shown_to_new_connections_and_old_ones_live_on() {
    let old = certs::pair("c-old", &["localhost"]);
    let original = der(&old.0);
    let ravelin = answering(&format!("certificates: [{}]", entry(&old, "")), OK);
    let before = Client::tls(ravelin.https()).await;
    assert_eq!(before.get("/").await.unwrap().text(), "ok");
    let new = certs::pair("c-new", &["localhost"]);
    replace(&old, &new);
    let now = raw::until(
        async || shown(ravelin.https(), "localhost").await.unwrap(),
        |shown| *shown != original,
    );
    assert_eq!(now.await, der(&new.0));
    assert_eq!(before.get("/").await.unwrap().text(), "ok");
}

#[tokio::test]
async fn an_expired_certificate_is_replaced_while_running() {
    let files = certs::pair("c-expired", &["localhost"]);
    let authority = certs::authority();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(&files.0, params.signed_by(&key, &authority.issuer).unwrap().pem()).unwrap();
    std::fs::write(&files.1, key.serialize_pem()).unwrap();
    let ravelin = answering(&format!("certificates: [{}]", entry(&files, "")), OK);
    let honest = || certs::connect(ravelin.https(), "localhost", certs::client(&["h2"]));
    assert!(honest().await.unwrap_err().to_string().contains("xpired"));
    replace(&files, &certs::pair("c-renewed", &["localhost"]));
    raw::until(honest, Result::is_ok).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn the_symlink_swap_of_kubernetes_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str, pair: &(PathBuf, PathBuf)| {
        let below = folder.path().join(name);
        std::fs::create_dir(&below).unwrap();
        std::fs::copy(&pair.0, below.join("tls.crt")).unwrap();
        std::fs::copy(&pair.1, below.join("tls.key")).unwrap();
        // As kubelet does: a new link beside, renamed over the old one.
        std::os::unix::fs::symlink(name, folder.path().join("..data_tmp")).unwrap();
        std::fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
    };
    let first = certs::pair("c-secret-1", &["localhost"]);
    version("..2026_1", &first);
    for file in ["tls.crt", "tls.key"] {
        let to = Path::new("..data").join(file);
        std::os::unix::fs::symlink(to, folder.path().join(file)).unwrap();
    }
    let files = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let ravelin = answering(&format!("certificates: [{}]", entry(&files, "")), OK);
    assert_eq!(shown(ravelin.https(), "localhost").await.unwrap(), der(&first.0));
    let second = certs::pair("c-secret-2", &["localhost"]);
    version("..2026_2", &second);
    std::fs::remove_dir_all(folder.path().join("..2026_1")).unwrap();
    let expected = der(&second.0);
    let ask = async || shown(ravelin.https(), "localhost").await.unwrap();
    raw::until(ask, |shown| *shown == expected).await;
}

#[tokio::test]
async fn of_a_bad_new_pair_the_last_good_one_is_kept() {
    let spoilt = certs::pair("c-spoilt", &["spoilt.test"]);
    let sound = certs::pair("c-sound", &["sound.test"]);
    let (good, old) = (der(&spoilt.0), der(&sound.0));
    let list = [entry(&spoilt, ""), entry(&sound, "")].join(", ");
    let ravelin = answering(&format!("certificates: [{list}]"), OK);
    // A certificate whose key is another's; then a sound pair, by which it is seen that both were
    // looked at.
    let stranger = certs::pair("c-stranger", &["spoilt.test"]);
    std::fs::copy(&stranger.0, &spoilt.0).unwrap();
    replace(&sound, &certs::pair("c-sounder", &["sound.test"]));
    let ask = async || shown(ravelin.https(), "sound.test").await.unwrap();
    raw::until(ask, |shown| *shown != old).await;
    assert_eq!(shown(ravelin.https(), "spoilt.test").await.unwrap(), good);
}

/// Whether the server takes a client that shows `own`: TLS 1.3 tells only by the first answer.
async fn taken(address: SocketAddr, own: Option<(PathBuf, PathBuf)>) -> bool {
    let Ok(stream) = certs::connect(address, "localhost", credulous(BOTH, own)).await else {
        return false;
    };
    let builder = h2::client::Builder::new();
    let Ok((send, connection)) = builder.handshake::<_, Bytes>(stream).await else { return false };
    tokio::spawn(connection);
    let request = Request::get("https://localhost/").body(()).unwrap();
    let Ok(mut send) = send.ready().await else { return false };
    let answer = async { send.send_request(request, true)?.0.await };
    answer.await.is_ok_and(|answer| answer.status() == 200)
}

#[tokio::test]
async fn a_replaced_client_ca_is_believed_live_and_of_a_bad_one_the_last_good_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("clients.pem");
    let authority = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, key);
        let own = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&own, &issuer).unwrap();
        let files =
            (folder.path().join(format!("{name}.crt")), folder.path().join(format!("{name}.key")));
        std::fs::write(&files.0, leaf.pem()).unwrap();
        std::fs::write(&files.1, own.serialize_pem()).unwrap();
        (pem, files)
    };
    let (first, second) = (authority("first"), authority("second"));
    std::fs::write(&ca, &first.0).unwrap();
    let tls = format!("{LOCAL}, client_auth: {{mode: required, ca: \"{}\"}}", ca.display());
    let ravelin = answering(&tls, OK);
    let knows =
        async |files: &(PathBuf, PathBuf)| taken(ravelin.https(), Some(files.clone())).await;
    assert!(knows(&first.1).await && !knows(&second.1).await);
    std::fs::write(&ca, &second.0).unwrap();
    crate::support::raw::until(async || knows(&second.1).await, |known| *known).await;
    assert!(!knows(&first.1).await, "the old one is not believed any more");
    // What is no certificate at all changes nothing; the next good one does.
    let good = || ravelin.metric("ravelin_certificates_last_reload_successful{listener=\"https\"}");
    let since = || ravelin.metric("ravelin_certificates_last_reload_success_timestamp_seconds{");
    let before = since();
    assert!(good() == 1.0 && before > 1.0e9);
    std::fs::write(&ca, "-----BEGIN nonsense").unwrap();
    eventually("it is told that it is bad", || good() == 0.0).await;
    assert_eq!(since(), before);
    let page = http1(ravelin.admin(), get("localhost", "/")).await.unwrap();
    assert!(page.text().contains("New certificates of listener https are not used"));
    assert!(knows(&second.1).await && !knows(&first.1).await);
    std::fs::write(&ca, first.0 + &second.0).unwrap();
    crate::support::raw::until(async || knows(&first.1).await, |known| *known).await;
    assert!(knows(&second.1).await);
    eventually("and that it is good again", || good() == 1.0 && since() > before).await;
}

#[tokio::test]
async fn client_certificates_are_ignored_looked_at_or_required() {
    let own = || certs::pair("c-client", &["client.test"]);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let strange = (folder.path().join("s.crt"), folder.path().join("s.key"));
    std::fs::write(&strange.0, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&strange.1, key.serialize_pem()).unwrap();
    let client = own();
    for (mode, none, good, bad) in [
        ("{mode: \"off\"}", true, true, true),
        ("{mode: optional, ca: \"{ca}\"}", true, true, false),
        ("{mode: required, ca: \"{ca}\"}", false, true, false),
    ] {
        let tls = format!(
            "certificates: [{{cert: \"{{cert}}\", key: \"{{key}}\"}}], client_auth: {mode}"
        );
        let ravelin = answering(&tls, OK);
        assert_eq!(taken(ravelin.https(), None).await, none, "{mode}, none");
        assert_eq!(taken(ravelin.https(), Some(client.clone())).await, good, "{mode}, good");
        assert_eq!(taken(ravelin.https(), Some(strange.clone())).await, bad, "{mode}, strange");
    }
}

const LOCAL: &str = "certificates: [{cert: \"{cert}\", key: \"{key}\"}]";

async fn asked(stream: TlsStream<TcpStream>) -> u16 {
    Client::over(stream).await.get("/").await.unwrap().status()
}

#[tokio::test]
async fn a_second_connection_resumes_the_session_in_both_versions() {
    let ravelin = answering(LOCAL, OK);
    for versions in [&BOTH[..1], &BOTH[1..]] {
        let config = credulous(versions, None);
        let connect = || certs::connect(ravelin.https(), "localhost", Arc::clone(&config));
        let first = connect().await.unwrap();
        assert_ne!(first.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        // The answer comes behind the tickets.
        assert_eq!(asked(first).await, 200);
        let second = connect().await.unwrap();
        assert_eq!(second.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(asked(second).await, 200);
    }
}

#[tokio::test]
async fn a_session_without_a_client_certificate_is_not_resumed_where_one_is_required() {
    let required = format!("{LOCAL}, client_auth: {{mode: required, ca: \"{{ca}}\"}}");
    let yaml = format!(
        "workers: 1\nlisteners:\n  - {{name: open, address: \"127.0.0.1:0\", tls: {{{LOCAL}}}}}\n  - {{name: closed, address: \"127.0.0.1:0\", tls: {{{required}}}}}\n\
         routes: {OK}\nadmin: \"off\"\naccess_log: {{format: \"off\"}}\n"
    );
    let ravelin = Ravelin::start(&yaml);
    for versions in [&BOTH[..1], &BOTH[1..]] {
        let config = credulous(versions, None);
        let open = certs::connect(ravelin.address("open"), "localhost", Arc::clone(&config));
        assert_eq!(asked(open.await.unwrap()).await, 200);
        let closed = certs::connect(ravelin.address("closed"), "localhost", config).await;
        if let Ok(stream) = closed {
            assert_ne!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
            let (mut read, _write) = tokio::io::split(stream);
            let mut nothing = Vec::new();
            let end = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut nothing).await;
            assert!(end.is_err_and(|error| error.to_string().contains("CertificateRequired")));
        }
    }
}

#[tokio::test]
async fn tls_1_2_is_spoken_unless_it_is_refused() {
    let ravelin = answering(LOCAL, OK);
    let old = certs::connect(ravelin.https(), "localhost", credulous(&BOTH[1..], None)).await;
    let old = old.unwrap();
    assert_eq!(old.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(asked(old).await, 200);
    let ravelin = answering(&format!("{LOCAL}, min_version: \"1.3\""), OK);
    let error = certs::connect(ravelin.https(), "localhost", credulous(&BOTH[1..], None)).await;
    assert!(error.unwrap_err().to_string().contains("ProtocolVersion"));
    let new = certs::connect(ravelin.https(), "localhost", credulous(&BOTH[..1], None)).await;
    assert_eq!(new.unwrap().get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn keys_are_exchanged_by_x25519mlkem768_where_the_client_can() {
    let ravelin = answering(LOCAL, OK);
    let group = |stream: &TlsStream<TcpStream>| {
        stream.get_ref().1.negotiated_key_exchange_group().unwrap().name()
    };
    let modern = certs::connect(ravelin.https(), "localhost", credulous(BOTH, None)).await;
    assert_eq!(group(&modern.unwrap()), NamedGroup::X25519MLKEM768);
    // One that knows nothing of it is served as ever.
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let provider = Arc::new(provider);
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider)))
        .with_no_client_auth();
    let stream = certs::connect(ravelin.https(), "localhost", Arc::new(config)).await.unwrap();
    assert_eq!(group(&stream), NamedGroup::X25519);
}

#[tokio::test]
async fn a_coalesced_host_beyond_the_certificate_is_misdirected_and_the_sni_s_own_never_is() {
    let first = certs::pair("c-first", &["first.test", "*.first.test"]);
    let second = certs::pair("c-second", &["second.test"]);
    let list = [entry(&first, ", default: true"), entry(&second, "")].join(", ");
    let ravelin = answering(&format!("certificates: [{list}]"), OK);
    let client = async |sni: &str| {
        let stream = certs::connect(ravelin.https(), sni, credulous(BOTH, None)).await.unwrap();
        Client::over(stream).await
    };
    let ask = async |client: &Client, host: &str| {
        let request = Request::get(format!("https://{host}/")).header("accept", "application/json");
        client.send(request.body(Bytes::new()).unwrap()).await.unwrap()
    };
    let connection = client("first.test").await;
    for (host, status) in [
        ("first.test", 200),
        ("FIRST.test:8443", 200),
        ("a.first.test", 200),
        ("a.b.first.test", 421),
        ("second.test", 421),
        ("other.test", 421),
    ] {
        assert_eq!(ask(&connection, host).await.status(), status, "{host}");
    }
    let refused = ask(&connection, "second.test").await;
    assert_eq!(refused.header("content-type"), "application/problem+json");
    // gRPC is told in gRPC.
    let request =
        Request::post("https://second.test/a.B/C").header("content-type", "application/grpc");
    let answer = connection.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!((answer.status(), answer.trailer("grpc-status")), (200, "14"));
    // The default certificate covers neither: the name that the handshake was about is served.
    let connection = client("other.test").await;
    assert_eq!(ask(&connection, "other.test").await.status(), 200);
    assert_eq!(ask(&connection, "another.test").await.status(), 421);
}

#[tokio::test]
async fn a_host_that_nobody_serves_is_421_over_tls_and_404_without() {
    let routes = "[{match: {host: localhost}, respond: {body: ok}}]";
    let ravelin = answering(LOCAL, routes);
    let client = Client::tls(ravelin.https()).await;
    let ask = async |client: &Client, host: &str| {
        let request = Request::get(format!("https://{host}/")).body(Bytes::new()).unwrap();
        client.send(request).await.unwrap().status()
    };
    assert_eq!(ask(&client, "localhost").await, 200);
    // Covered by the certificate, unknown to the routes.
    assert_eq!(ask(&client, "a.localhost").await, 421);
    let plain = Client::plain(ravelin.plain()).await;
    assert_eq!(ask(&plain, "localhost").await, 200);
    assert_eq!(ask(&plain, "a.localhost").await, 404);
    assert_eq!(raw::get(ravelin.plain(), "a.localhost", "/").await.status(), 404);
    assert_eq!(raw::get(ravelin.plain(), "localhost", "/").await.status(), 200);
}
