//! `ravelin check --live` before the stand-in, in each TLS mode and with wrong settings: one line
//! for each disagreement, with the setting to change.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ravelin::standin::{Options, Standin};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::certs;
use crate::support::dns::NameServer;

/// Exit code and lines of `check --live`; `{cert}`, `{key}` and `{ca}` as elsewhere.
fn check(yaml: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ravelin.yaml"), certs::fill(yaml)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ravelin"))
        .args(["check", "--live"])
        .env_clear()
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), text)
}

fn tls() -> Arc<rustls::ServerConfig> {
    let (cert, key) = certs::pair("live", &["127.0.0.1"]);
    let chain = CertificateDer::pem_file_iter(cert).unwrap().map(Result::unwrap).collect();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    Arc::new(config)
}

async fn standin(options: Options) -> Standin {
    Standin::start(options).await.unwrap()
}

const CERTIFICATE: &str = "certificate: {cert: \"{cert}\", key: \"{key}\"}\n";

#[tokio::test]
async fn settings_that_agree_are_ok_in_every_mode() {
    let external = standin(Options::default()).await;
    let text = format!(
        "zitadel: {{upstream: \"h2c://{}\", domain: \"localhost:8443\"}}\n{CERTIFICATE}",
        external.address()
    );
    let (code, said) = check(&text);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("zitadel: ok (") && said.contains("https://localhost:8443"), "{said}");
    let disabled = standin(Options { external_secure: false, ..Options::default() }).await;
    let text =
        format!("zitadel: {{upstream: \"h2c://{}\", domain: localhost}}\n", disabled.address());
    assert_eq!(check(&text).0, 0, "{}", check(&text).1);
    let enabled = standin(Options { tls: Some(tls()), ..Options::default() }).await;
    let text = format!(
        "zitadel: {{upstream: \"h2://{}\", domain: localhost, tls: {{ca: \"{{ca}}\"}}}}\n{CERTIFICATE}",
        enabled.address()
    );
    assert_eq!(check(&text).0, 0, "{}", check(&text).1);
}

#[tokio::test]
async fn whoever_is_found_in_a_file_or_by_dns_is_asked_and_a_source_itself_is_not() {
    let standin = standin(Options { external_secure: false, ..Options::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endpoints.yaml");
    std::fs::write(&file, format!("- {}\n", standin.address())).unwrap();
    let text =
        format!("zitadel: {{upstream: \"h2c+file:{}\", domain: localhost}}\n", file.display());
    let (code, said) = check(&text);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("h2c://{} answers", standin.address())), "{said}");
    std::fs::write(&file, "[]\n").unwrap();
    let (code, said) = check(&text);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains("no endpoints are found at h2c+file:"), "{said}");
    assert!(said.contains("(the list is empty)"), "{said}");
    let names = NameServer::start();
    let port = standin.address().port();
    names.addresses("here.test", &[Ipv4Addr::LOCALHOST]);
    names.targets("_zitadel._tcp.test", &[(1, 1, port, "here.test")]);
    for source in [format!("h2c+dns://here.test:{port}"), "h2c+srv://_zitadel._tcp.test".into()] {
        let text = format!(
            "zitadel: {{upstream: \"{source}\", domain: localhost, resolver: \"{}\"}}\n",
            names.address()
        );
        let (code, said) = check(&text);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(&format!("h2c://127.0.0.1:{port} answers")), "{said}");
    }
}

#[tokio::test]
async fn another_tls_mode_is_said_in_those_words() {
    let enabled = standin(Options { tls: Some(tls()), ..Options::default() }).await;
    let text = format!(
        "zitadel: {{upstream: \"h2c://{}\", domain: localhost}}\n{CERTIFICATE}",
        enabled.address()
    );
    let (code, said) = check(&text);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains("speaks TLS, so ZITADEL runs with --tlsMode enabled"), "{said}");
    assert!(said.contains("tls_mode \"external\""), "{said}");
    let external = standin(Options::default()).await;
    let text = format!(
        "zitadel: {{upstream: \"h2://{}\", domain: localhost}}\n{CERTIFICATE}",
        external.address()
    );
    let (code, said) = check(&text);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains("speaks h2c in plaintext"), "{said}");
    assert!(said.contains("--tlsMode enabled (ZITADEL_TLS_ENABLED=true)"), "{said}");
    // No CA was named: the system's do not know the run's.
    let text = text.replace(&external.address().to_string(), &enabled.address().to_string());
    let (code, said) = check(&text);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains("zitadel.tls.ca"), "{said}");
}

#[tokio::test]
async fn a_public_scheme_or_host_that_differs_names_its_setting() {
    let insecure = standin(Options { external_secure: false, ..Options::default() }).await;
    // Its issuer follows what the front says, the Console's settings do not.
    let text = format!(
        "zitadel: {{upstream: \"h2c://{}\", domain: localhost, tls_mode: external}}\n{CERTIFICATE}",
        insecure.address()
    );
    let (code, said) = check(&text);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains("--tlsMode external (ZITADEL_EXTERNALSECURE=true)"), "{said}");
    let secure = standin(Options::default()).await;
    let text =
        format!("zitadel: {{upstream: \"h2c://{}\", domain: localhost}}\n", secure.address());
    let (code, said) = check(&text);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains("ZITADEL_EXTERNALSECURE=false"), "{said}");
    let text = format!(
        "zitadel: {{upstream: \"h2c://{}\", domain: [localhost, id.example.com]}}\n{CERTIFICATE}",
        secure.address()
    );
    let (code, said) = check(&text);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains("no instance for id.example.com (its ExternalDomain is localhost)"));
    assert!(said.contains("ZITADEL_EXTERNALDOMAIN=id.example.com"), "{said}");
}

/// A server, on threads of its own, that answers every HTTP/1.1 request with what `answer` says of
/// its path.
fn http1(answer: fn(&str) -> u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut bytes = vec![0; 4096];
                let n = stream.read(&mut bytes).unwrap_or(0);
                let head = String::from_utf8_lossy(&bytes[..n]).into_owned();
                if head.starts_with("GET ") {
                    let status = answer(head.split(' ').nth(1).unwrap_or_default());
                    let text = format!(
                        "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    );
                    let _ = stream.write_all(text.as_bytes());
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn http_1_alone_is_not_enough_for_zitadel() {
    let address = http1(|_| 200);
    let text = format!("zitadel: {{upstream: \"h2c://{address}\", domain: localhost}}\n");
    let (code, said) = check(&text);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains("speaks HTTP/1.1 only") && said.contains("appProtocol"), "{said}");
}

#[tokio::test]
async fn a_login_that_is_missing_elsewhere_or_cut_off_is_told_apart() {
    let zitadel = standin(Options::default()).await;
    let with = |login: SocketAddr| {
        check(&format!(
            "zitadel: {{upstream: \"h2c://{}\", domain: localhost, login: \"http://{login}\"}}\n{CERTIFICATE}",
            zitadel.address()
        ))
    };
    let (code, said) = with(http1(|_| 200));
    assert_eq!(code, 0, "{said}");
    let (code, said) = with(http1(|_| 404));
    assert!(code == 1 && said.contains("NEXT_PUBLIC_BASE_PATH=/ui/v2/login"), "{said}");
    let cut_off = |path: &str| if path.ends_with("/healthy") { 200 } else { 500 };
    let (code, said) = with(http1(cut_off));
    assert!(code == 1 && said.contains("ZITADEL_API_URL") && said.contains("Host:localhost"));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, said) = with(gone);
    assert!(code == 1 && said.contains("cannot be reached") && said.contains("zitadel.login"));
}

#[test]
fn nobody_there_and_nobody_to_ask_are_different() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!("zitadel: {{upstream: \"h2c://{gone}\", domain: localhost}}\n");
    let (code, said) = check(&text);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains("cannot be reached") && said.contains("ZITADEL_PORT"), "{said}");
    assert_eq!(check("upstream: h2c://127.0.0.1:1\n").0, 64);
}

#[test]
fn a_start_is_not_kept_waiting_and_warns_of_each_disagreement_once() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "zitadel: {{upstream: \"h2c://{gone}\", domain: localhost}}\n\
         listen: \"127.0.0.1:0\"\nworkers: 1\nadmin: \"off\"\n"
    );
    std::fs::write(folder.path().join("ravelin.yaml"), text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ravelin"))
        .env_clear()
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut listening = false;
    let warned = lines.into_iter().find(|line| {
        listening |= line.contains("listening");
        // Health checks warn of the same endpoint in their own words, and of its cluster.
        line.contains("WARN") && !line.contains("ravelin::upstream")
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let warned = warned.unwrap_or_default();
    assert!(listening, "it listens before it has asked");
    assert!(warned.contains("cannot be reached") && warned.contains("ZITADEL_PORT"), "{warned}");
}
