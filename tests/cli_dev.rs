//! `ravelin dev` as its user meets it: files, settings, certificates that clients believe, and what
//! is done to a machine's trust stores.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/program.rs"]
mod program;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use program::{PATIENCE, Running, command};
use ravelin::command::dev::authority::{Authority, Change, now};
use ravelin::command::dev::facts::Facts;
use ravelin::command::dev::trust::{
    Action, Anchor, Database, MARK, Machine, State, System, Work, plan,
};
use ravelin::standin::{Options, Standin};

const DAY: i64 = 24 * 60 * 60;

fn standin(address: SocketAddr, port: u16) -> Standin {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = Options {
        address,
        external_domain: "localhost".into(),
        external_port: port,
        external_secure: true,
        ..Options::default()
    };
    runtime.block_on(Standin::start(options)).unwrap()
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn facts(path: &Path) -> Facts {
    Facts::of_pem(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A TLS client that believes the CA in this folder and nobody else.
fn client(folder: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("dev-ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    // A resumed connection is shown no certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// Asks over HTTPS; the certificate that was shown, and the answer, or why there is none.
fn ask(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
    host: &str,
) -> Result<(Vec<u8>, String), String> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let request = format!(
        "GET /.well-known/openid-configuration HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    let shown = stream.conn.peer_certificates().unwrap()[0].to_vec();
    Ok((shown, answer))
}

/// A running `ravelin dev` and the port of its listener.
fn dev(folder: &Path, upstream: SocketAddr, more: &[&str]) -> (Running, u16) {
    let upstream = format!("h2c://{upstream}");
    let mut command = command(folder);
    command.args(["dev", "--port", "0", "--upstream", &upstream]).args(more);
    let mut running = Running::start(&mut command);
    running.says("Below is one line");
    let line = running.has_said("https://localhost:");
    let port = line.split([':', ' ']).nth(2).unwrap().parse().unwrap();
    (running, port)
}

#[test]
fn one_command_serves_https_that_a_client_of_its_ca_believes() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = free();
    let (mut dev, port) =
        dev(folder.path(), upstream, &["--name", "id.test", "--name", "10.1.2.3"]);
    let certs = folder.path().join("certs");
    let config = client(&certs);
    let _standin = standin(upstream, port);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let host = format!("localhost:{port}");
    for name in ["localhost", "127.0.0.1", "::1", "id.test", "10.1.2.3"] {
        let (_, answer) = ask(&config, address, name, &host).unwrap_or_else(|error| {
            panic!("{name}: {error}");
        });
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        assert!(answer.contains(&format!("\"issuer\":\"https://localhost:{port}\"")), "{answer}");
    }
    let refused = ask(&config, address, "other.test", &host).unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
    // The other loopback address, where there is one.
    if TcpListener::bind("[::1]:0").is_ok() {
        let address = SocketAddr::new("::1".parse().unwrap(), port);
        assert!(ask(&config, address, "localhost", &host).is_ok());
    }
    let record = dev.says("openid-configuration");
    assert!(record.contains("\" 200 "), "a line of text, not JSON: {record}");
    dev.signal("-INT");
    assert_eq!(dev.ended().code(), Some(0));
}

#[test]
fn it_prints_the_settings_that_zitadel_needs_for_this_port() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = free();
    let listens = upstream.port();
    let (dev, port) = dev(folder.path(), upstream, &["--login", "http://127.0.0.1:3000"]);
    for expected in [
        format!("  export ZITADEL_PORT={listens}"),
        "  export ZITADEL_EXTERNALDOMAIN=localhost".to_owned(),
        format!("  export ZITADEL_EXTERNALPORT={port}"),
        "  export ZITADEL_EXTERNALSECURE=true".to_owned(),
        "  --tlsMode external".to_owned(),
        format!(
            "  -p 127.0.0.1:{listens}:{listens} -e ZITADEL_EXTERNALDOMAIN=localhost -e ZITADEL_EXTERNALPORT={port} -e ZITADEL_EXTERNALSECURE=true -e ZITADEL_TLS_ENABLED=false -e ZITADEL_PORT={listens}"
        ),
        format!(
            "  curl --cacert certs/dev-ca.crt https://localhost:{port}/.well-known/openid-configuration"
        ),
        format!("https://localhost:{port}/ui/v2/login is http://127.0.0.1:3000"),
    ] {
        assert!(dev.said.contains(&expected), "{expected} is not in {:#?}", dev.said);
    }
}

#[test]
fn a_zitadel_that_is_not_there_yet_is_said_once_and_served_once_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = free();
    let (mut dev, port) = dev(folder.path(), upstream, &[]);
    dev.has_said("ZITADEL is not there yet");
    let config = client(&folder.path().join("certs"));
    let (address, host) = (SocketAddr::from(([127, 0, 0, 1], port)), format!("localhost:{port}"));
    let (_, answer) = ask(&config, address, "localhost", &host).unwrap();
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
    let _standin = standin(upstream, port);
    dev.says("ZITADEL is there now");
    let deadline = Instant::now() + PATIENCE;
    while !ask(&config, address, "localhost", &host).unwrap().1.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "it is never connected to");
        std::thread::sleep(Duration::from_millis(20));
    }
    dev.signal("-INT");
    dev.ended();
    let told = dev.said.iter().filter(|line| line.contains("not there yet")).count();
    assert!(told <= 1, "{:#?}", dev.said);
}

#[test]
fn what_is_made_can_be_read_by_its_owner_alone_and_is_reused() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    let authority = Authority::new(&certs, &[]);
    let first = authority.prepare(now()).unwrap();
    assert_eq!(first.ca, Some(Change::Made));
    assert_eq!(first.leaves.len(), 2);
    assert_eq!(mode(&certs), 0o700);
    let mut names: Vec<_> = fs::read_dir(&certs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        ".dev.lock",
        "dev-ca.crt",
        "dev-ca.key",
        "dev-wildcard.crt",
        "dev-wildcard.key",
        "dev.crt",
        "dev.key",
    ];
    assert_eq!(names, expected);
    for key in names.iter().filter(|name| name.ends_with(".key")) {
        assert_eq!(mode(&certs.join(key)), 0o600, "{key}");
    }
    let read = || names.iter().map(|name| fs::read(certs.join(name)).unwrap()).collect::<Vec<_>>();
    let before = read();
    // Somebody has opened a key to everybody.
    fs::set_permissions(certs.join("dev.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let again = authority.prepare(now()).unwrap();
    assert_eq!((again.ca, again.leaves.len()), (None, 0));
    assert_eq!(read(), before);
    assert_eq!(mode(&certs.join("dev.key")), 0o600);
}

#[test]
fn the_ca_signs_for_this_machine_and_the_names_given_alone() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), &["id.dev.example".into()]);
    authority.prepare(now()).unwrap();
    let pem = fs::read_to_string(authority.ca()).unwrap();
    let ca = Facts::of_pem(&pem).unwrap();
    for name in ["localhost", "a.localhost", "x.test", "127.3.2.1", "::1", "id.dev.example"] {
        assert!(ca.permits(name), "{name}");
    }
    for name in ["example.com", "dev.example", "128.0.0.1", "::2", "10.0.0.1", "localhost.com"] {
        assert!(!ca.permits(name), "{name}");
    }
    assert!((ca.not_after - now() - 825 * DAY).abs() < 60);
    // Not our own reading of it alone: a client refuses what the key signs for somebody else.
    let key = KeyPair::from_pem(&fs::read_to_string(folder.path().join("dev-ca.key")).unwrap());
    let signed = |name: &str| sign(key.as_ref().unwrap(), &ca.name, &[name], now() + DAY).0;
    let verdict = |name: &str| verify(&pem, &signed(name), name);
    assert_eq!(verdict("somewhere.test"), Ok(()));
    let refused = verdict("example.com").unwrap_err();
    assert!(refused.contains("NameConstraint") || refused.contains("name constraint"), "{refused}");
}

/// A certificate of this CA that ends at `end`, and its key.
fn sign(ca: &KeyPair, name: &str, names: &[&str], end: i64) -> (String, String) {
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = rcgen::DistinguishedName::new();
    issuer.distinguished_name.push(DnType::CommonName, name);
    let mut leaf =
        CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>());
    let leaf = leaf.as_mut().unwrap();
    leaf.not_after =
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(end).unwrap());
    let key = KeyPair::generate().unwrap();
    let signed = leaf.signed_by(&key, &Issuer::from_params(&issuer, ca)).unwrap();
    (signed.pem(), key.serialize_pem())
}

fn verify(ca: &str, leaf: &str, name: &str) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let moment = rustls::pki_types::UnixTime::now();
    use rustls::client::danger::ServerCertVerifier as _;
    let verdict = verifier.build().unwrap().verify_server_cert(&leaf, &[], &name, &[], moment);
    verdict.map(drop).map_err(|error| format!("{error:?}"))
}

/// Puts an almost expired certificate into the place of `dev.crt`.
fn age(certs: &Path, days: i64) -> Vec<u8> {
    let ca = KeyPair::from_pem(&fs::read_to_string(certs.join("dev-ca.key")).unwrap()).unwrap();
    let name = facts(&certs.join("dev-ca.crt")).name;
    let names = ["localhost", "127.0.0.1", "::1"];
    let (pem, key) = sign(&ca, &name, &names, now() + days * DAY);
    fs::write(certs.join("dev.key"), key).unwrap();
    fs::write(certs.join("dev.crt"), &pem).unwrap();
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[test]
fn an_almost_expired_certificate_is_renewed_at_a_start_and_a_younger_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), &[]);
    authority.prepare(now()).unwrap();
    age(folder.path(), 31);
    assert_eq!(authority.prepare(now()).unwrap().leaves, []);
    age(folder.path(), 29);
    let renewed = authority.prepare(now()).unwrap();
    assert_eq!(renewed.ca, None);
    assert_eq!(renewed.leaves, [(folder.path().join("dev.crt"), Change::Renewed)]);
    let left = facts(&folder.path().join("dev.crt")).not_after - now();
    assert!((left - 90 * DAY).abs() < 60, "{left}");
}

#[test]
fn it_is_renewed_while_running_too_and_the_next_connection_is_shown_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    Authority::new(&certs, &[]).prepare(now()).unwrap();
    let (mut dev, port) = dev(folder.path(), free(), &["--check-every", "50ms"]);
    let (config, address) = (client(&certs), SocketAddr::from(([127, 0, 0, 1], port)));
    let host = format!("localhost:{port}");
    let (first, _) = ask(&config, address, "localhost", &host).unwrap();
    let old = age(&certs, 1);
    dev.has_said("renewed before it expires");
    dev.has_said("a new certificate is in use");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (shown, _) = ask(&config, address, "localhost", &host).unwrap();
        if shown != first && shown != old {
            break;
        }
        assert!(Instant::now() < deadline, "the old one is still shown");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_ca_is_replaced_when_it_ends_or_may_not_sign_for_a_name_and_the_old_one_can_be_untrusted() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Authority::new(folder.path(), &[]);
    // Almost all of its life ago: a machine that was switched off for two years.
    plain.prepare(now() - 800 * DAY).unwrap();
    let first = facts(&plain.ca());
    assert_eq!(plain.prepare(now()).unwrap().ca, Some(Change::Renewed));
    let second = facts(&plain.ca());
    assert_ne!(first.name, second.name, "stores tell them apart by name");
    let known = Authority::new(folder.path(), &["more.test".into()]);
    assert_eq!(known.prepare(now()).unwrap().ca, None, ".test is signed for by every CA");
    let named = Authority::new(folder.path(), &["id.example".into()]);
    assert_eq!(named.prepare(now()).unwrap().ca, Some(Change::Renewed));
    let old: Vec<_> = named.replaced().unwrap().iter().map(|file| facts(file).name).collect();
    let mut expected = vec![first.name, second.name];
    expected.sort();
    assert_eq!(old, expected);
}

#[test]
fn a_wildcard_below_a_top_level_name_has_a_certificate_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), &["*.test".into(), "*.dev.test".into()]);
    authority.prepare(now()).unwrap();
    let (plain, wild) =
        (facts(&folder.path().join("dev.crt")), facts(&folder.path().join("dev-wildcard.crt")));
    assert!(plain.covers("localhost") && plain.covers("*.dev.test") && !plain.covers("*.test"));
    assert!(wild.covers("*.localhost") && wild.covers("*.test") && !wild.covers("localhost"));
}

/// A machine's files below a folder, with programs that do nothing but exist.
fn machine(folders: &[&str], programs: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for folder in folders {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    for program in programs {
        put_program(&root.path().join(program), "");
    }
    root
}

fn put_program(path: &Path, does: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{does}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn anchor() -> Anchor {
    Anchor { name: "Ravelin dev CA 12ab".into(), file: "certs/dev-ca.crt".into(), pem: "P".into() }
}

/// The lines of a plan, with `/R` for the root.
fn lines(action: Action, root: &Path, machine: &Machine) -> Vec<String> {
    let root = root.display().to_string();
    let mut lines = Vec::new();
    for (store, work) in plan(action, &anchor(), machine) {
        match work {
            Work::Nothing(why) => lines.push(format!("{store}: {why}")),
            Work::Manual(what) => lines.push(format!("{store}: {what}")),
            Work::Steps(steps) => {
                lines.push(store);
                lines.extend(steps.iter().map(ToString::to_string));
            }
        }
    }
    lines.iter().map(|line| line.replace(&root, "/R")).collect()
}

#[test]
fn what_debian_leaves_behind_is_taken_away_too_even_after_a_run_that_was_cut() {
    let root = machine(&["usr/local/share"], &["usr/sbin/update-ca-certificates"]);
    let machine = Machine {
        system: System::detect(root.path(), None),
        system_holds: Some(false),
        links: vec!["/e/ravelin-dev-ca-12ab.pem".into(), "/e/01c3.0".into()],
        java: Some("/e/java/cacerts".into()),
        sudo: true,
        databases: Vec::new(),
        certutil: true,
    };
    assert_eq!(
        lines(Action::Untrust, root.path(), &machine),
        [
            "system store (Debian, Ubuntu, Alpine)",
            "sudo rm -f /R/usr/local/share/ca-certificates/ravelin-dev-ca-12ab.crt /e/ravelin-dev-ca-12ab.pem /e/01c3.0",
            "sudo /R/usr/sbin/update-ca-certificates",
            "sudo keytool -delete -storepass changeit -alias debian:ravelin-dev-ca-12ab.pem -keystore /e/java/cacerts",
        ]
    );
}

/// Every file and link below a folder, with what it holds or leads to.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let holds = match fs::read_link(&path) {
            Ok(target) => target.into_os_string().into_encoded_bytes(),
            Err(_) => fs::read(&path).unwrap(),
        };
        found.push((path, holds));
    }
    found.sort();
    found
}

/// Debian's own program on a root of ours: a machine's store is not for tests.
#[test]
fn debians_own_update_leaves_everything_as_it_was_before() {
    const REAL: &str = "/usr/sbin/update-ca-certificates";
    if !fs::read_to_string(REAL).is_ok_and(|text| text.contains("--etccertsdir")) {
        std::io::stderr().write_all(b"SKIPPED: this is no Debian\n").unwrap();
        return;
    }
    let root = machine(&["usr/local/share/ca-certificates", "etc/ssl/certs", "hooks", "none"], &[]);
    let (below, home) = (root.path().display().to_string(), tempfile::tempdir().unwrap());
    put_program(
        &root.path().join("usr/sbin/update-ca-certificates"),
        &format!(
            "exec {REAL} --certsdir {below}/none --certsconf /dev/null --localcertsdir {below}/usr/local/share/ca-certificates --etccertsdir {below}/etc/ssl/certs --hooksdir {below}/hooks"
        ),
    );
    let update = || {
        let program = root.path().join("usr/sbin/update-ca-certificates");
        assert!(Command::new(program).output().unwrap().status.success());
    };
    // Certificates that somebody has put there before; two, since openssl takes a bundle of one for
    // a certificate.
    for name in ["own", "other"] {
        let own = Authority::new(&root.path().join(name), &[]);
        own.prepare(now()).unwrap();
        let to = format!("usr/local/share/ca-certificates/{name}.crt");
        fs::copy(own.ca(), root.path().join(to)).unwrap();
    }
    update();
    let certs = root.path().join("etc/ssl/certs");
    let before = tree(&certs);
    assert!(before.len() == 5, "{before:?}: links, links by hash, bundle");

    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    command.args(["dev", "--port", "0", "--trust", "--root"]).arg(root.path());
    command.env("HOME", home.path()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut dev = Running::start(&mut command);
    dev.says("Below is one line");
    dev.signal("-INT");
    dev.ended();
    let bundle = fs::read_to_string(certs.join("ca-certificates.crt")).unwrap();
    let ca = fs::read_to_string(folder.path().join("certs/dev-ca.crt")).unwrap();
    assert!(bundle.contains(ca.trim()), "{:#?}", dev.said);

    let output = untrust(folder.path(), root.path(), home.path(), "/usr/sbin:/usr/bin:/bin");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let paths =
        |tree: &[(PathBuf, Vec<u8>)]| tree.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    let after = tree(&certs);
    assert_eq!(paths(&after), paths(&before));
    assert!(after == before, "a file or link is no longer what it was");
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn every_system_is_told_in_its_own_way() {
    let pem = "certs/dev-ca.crt";
    for (folders, programs, name, place, update) in [
        (
            &["usr/local/share"][..],
            &["usr/sbin/update-ca-certificates"][..],
            "Debian, Ubuntu, Alpine",
            "/R/usr/local/share/ca-certificates",
            "/R/usr/sbin/update-ca-certificates",
        ),
        (
            // Debian with p11-kit's tool beside.
            &["usr/local/share/ca-certificates", "etc/ca-certificates/update.d"],
            &["usr/sbin/update-ca-certificates", "usr/bin/trust"],
            "Debian, Ubuntu, Alpine",
            "/R/usr/local/share/ca-certificates",
            "/R/usr/sbin/update-ca-certificates",
        ),
        (
            &["etc/pki/ca-trust/source/anchors", "usr/local/share"],
            &["usr/bin/update-ca-trust", "usr/bin/trust"],
            "Fedora, RHEL",
            "/R/etc/pki/ca-trust/source/anchors",
            "/R/usr/bin/update-ca-trust extract",
        ),
        (
            &["etc/ca-certificates/trust-source/anchors", "usr/local/share"],
            &["usr/bin/trust", "usr/bin/update-ca-trust"],
            "Arch",
            "/R/etc/ca-certificates/trust-source/anchors",
            "/R/usr/bin/trust extract-compat",
        ),
        (
            &["etc/pki/trust/anchors", "usr/local/share"],
            &["usr/sbin/update-ca-certificates", "usr/bin/trust"],
            "openSUSE",
            "/R/etc/pki/trust/anchors",
            "/R/usr/sbin/update-ca-certificates",
        ),
    ] {
        let root = machine(folders, programs);
        let system = System::detect(root.path(), None);
        let mut machine = Machine {
            system,
            system_holds: Some(false),
            links: Vec::new(),
            java: None,
            sudo: true,
            databases: Vec::new(),
            certutil: true,
        };
        let to = format!("{place}/ravelin-dev-ca-12ab.crt");
        let store = format!("system store ({name})");
        let install = format!("sudo install -D -m 0644 {pem} {to}");
        let told = lines(Action::Trust, root.path(), &machine);
        assert_eq!(told, [store.clone(), install, format!("sudo {update}")]);
        let told = lines(Action::Untrust, root.path(), &machine);
        assert_eq!(told, [format!("{store}: not there")]);
        machine.system_holds = Some(true);
        machine.sudo = false;
        let told = lines(Action::Trust, root.path(), &machine);
        assert_eq!(told, [format!("{store}: already there")]);
        let told = lines(Action::Untrust, root.path(), &machine);
        assert_eq!(told, [store, format!("rm -f {to}"), update.to_owned()]);
    }
}

#[test]
fn macos_is_told_by_its_keychain_without_root() {
    let root = machine(&["System/Library"], &["usr/bin/security"]);
    let home = root.path().join("Users/My Self");
    let machine = Machine {
        system: System::detect(root.path(), Some(&home)),
        system_holds: None,
        links: Vec::new(),
        java: None,
        sudo: true,
        databases: Vec::new(),
        certutil: false,
    };
    let keychain = "'/R/Users/My Self/Library/Keychains/login.keychain-db'";
    assert_eq!(
        lines(Action::Trust, root.path(), &machine),
        [
            "system store (macOS, login keychain)".to_owned(),
            format!(
                "/R/usr/bin/security add-trusted-cert -r trustRoot -k {keychain} certs/dev-ca.crt"
            ),
        ]
    );
    assert_eq!(
        lines(Action::Untrust, root.path(), &machine),
        [
            "system store (macOS, login keychain)".to_owned(),
            "/R/usr/bin/security remove-trusted-cert certs/dev-ca.crt".to_owned(),
            format!("/R/usr/bin/security delete-certificate -c 'Ravelin dev CA 12ab' {keychain}"),
        ]
    );
}

#[test]
fn an_unknown_system_is_said_to_be_the_users_own_affair() {
    let root = machine(&["etc"], &[]);
    let machine = Machine {
        system: System::detect(root.path(), None),
        system_holds: None,
        links: Vec::new(),
        java: None,
        sudo: true,
        databases: Vec::new(),
        certutil: true,
    };
    assert_eq!(
        lines(Action::Trust, root.path(), &machine),
        [
            "system store: not known how on this system: make it trust certs/dev-ca.crt as an authority for websites"
        ]
    );
    assert_eq!(
        lines(Action::Untrust, root.path(), &machine),
        [
            "system store: not known how on this system: if you have made it trust \"Ravelin dev CA 12ab\", take that back"
        ]
    );
}

#[test]
fn a_browsers_store_is_made_filled_emptied_and_removed_as_it_was_found() {
    let of = |state, certutil| Machine {
        system: System::Unknown,
        system_holds: None,
        links: Vec::new(),
        java: None,
        sudo: false,
        databases: vec![Database { owner: "Chromium", path: "/h/.pki/nssdb".into(), state }],
        certutil,
    };
    let told = |action, state, certutil| {
        let lines = lines(action, Path::new("/nowhere"), &of(state, certutil));
        lines[1..].join("\n")
    };
    let (trust, untrust) = (Action::Trust, Action::Untrust);
    let store = "Chromium (/h/.pki/nssdb)";
    let add =
        "certutil -d sql:/h/.pki/nssdb -A -t C,, -n 'Ravelin dev CA 12ab' -i certs/dev-ca.crt";
    let shared = State::With { ours_alone: false };
    for (action, state, expected) in [
        (trust, State::Without, format!("{store}\n{add}")),
        (trust, shared, format!("{store}: already there")),
        (
            trust,
            State::Missing,
            format!(
                "{store}\nmkdir -p -m 0700 /h/.pki/nssdb\ncertutil -d sql:/h/.pki/nssdb -N --empty-password\ntouch /h/.pki/nssdb/{MARK}\n{add}"
            ),
        ),
        (untrust, State::Without, format!("{store}: not there")),
        (untrust, State::Missing, format!("{store}: not there")),
        (
            untrust,
            shared,
            format!("{store}\ncertutil -d sql:/h/.pki/nssdb -D -n 'Ravelin dev CA 12ab'"),
        ),
        (
            untrust,
            State::With { ours_alone: true },
            format!("{store}\nrm -r /h/.pki/nssdb\nrmdir --ignore-fail-on-non-empty /h/.pki"),
        ),
    ] {
        assert_eq!(told(action, state, true), expected);
    }
    for (action, state) in
        [(trust, State::Missing), (trust, State::Unseen), (untrust, State::Unseen)]
    {
        let said = told(action, state, false);
        assert!(said.contains("certutil is missing") && said.contains("libnss3-tools"), "{said}");
    }
}

/// Debian below a folder: its command writes down that it was called.
fn debian() -> tempfile::TempDir {
    let root = machine(&["usr/local/share/ca-certificates"], &[]);
    let calls = root.path().join("calls");
    put_program(
        &root.path().join("usr/sbin/update-ca-certificates"),
        &format!("echo called >> {}", calls.display()),
    );
    root
}

fn untrust(folder: &Path, root: &Path, home: &Path, path: &str) -> Output {
    let mut command = command(folder);
    command.args(["dev", "--untrust", "--root"]).arg(root).env("HOME", home).env("PATH", path);
    command.output().unwrap()
}

#[test]
fn untrust_takes_back_what_trust_has_done_to_the_system_store() {
    let (folder, root, home) =
        (tempfile::tempdir().unwrap(), debian(), tempfile::tempdir().unwrap());
    let (root, home) = (root.path(), home.path());
    let mut command = command(folder.path());
    command.args(["dev", "--port", "0", "--trust", "--root"]).arg(root);
    command.env("HOME", home).env("PATH", "/usr/bin:/bin");
    let mut dev = Running::start(&mut command);
    dev.says("Below is one line");
    let store = root.join("usr/local/share/ca-certificates");
    let held: Vec<PathBuf> =
        fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [held] = &held[..] else { panic!("{held:?}: {:#?}", dev.said) };
    let ca = folder.path().join("certs/dev-ca.crt");
    assert_eq!(fs::read(held).unwrap(), fs::read(ca).unwrap());
    assert_eq!(mode(held), 0o644);
    // It says what it did, as it did it.
    let update = root.join("usr/sbin/update-ca-certificates").display().to_string();
    let installed = format!("    install -D -m 0644 certs/dev-ca.crt {}", held.display());
    let place = dev.said.iter().position(|line| *line == installed).unwrap();
    assert_eq!(dev.said[place + 1..place + 3], [format!("    {update}"), "    done".into()]);
    dev.signal("-INT");
    dev.ended();

    let output = untrust(folder.path(), root, home, "/usr/bin:/bin");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains(&format!("    rm -f {}\n    {update}\n    done\n", held.display())),
        "{said}"
    );
    assert_eq!(fs::read_dir(&store).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(root.join("calls")).unwrap(), "called\ncalled\n");
    let output = untrust(folder.path(), root, home, "/usr/bin:/bin");
    assert!(String::from_utf8_lossy(&output.stdout).contains(": not there"));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn untrust_takes_back_what_trust_has_done_to_browsers_stores() {
    let Ok(version) = Command::new("certutil").arg("-H").output() else {
        // Not by the macro, whose words nobody sees when the test passes.
        let why: &[u8] = b"SKIPPED: certutil is missing (apt-get install libnss3-tools)\n";
        std::io::stderr().write_all(why).unwrap();
        return;
    };
    drop(version);
    let (folder, root, home) =
        (tempfile::tempdir().unwrap(), debian(), tempfile::tempdir().unwrap());
    let home = home.path();
    // A Firefox profile with a certificate of the user's own; Chromium without any database.
    let profile = home.join("snap/firefox/common/.mozilla/firefox/abc.default");
    fs::create_dir_all(&profile).unwrap();
    let certutil = |database: &Path, arguments: &[&str]| {
        let mut command = Command::new("certutil");
        command.arg("-d").arg(format!("sql:{}", database.display())).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    certutil(&profile, &["-N", "--empty-password"]);
    let own = Authority::new(&folder.path().join("own"), &[]);
    own.prepare(now()).unwrap();
    let own = own.ca().display().to_string();
    certutil(&profile, &["-A", "-t", "C,,", "-n", "my own", "-i", &own]);
    let before = certutil(&profile, &["-L"]);
    let programs = tempfile::tempdir().unwrap();
    put_program(&programs.path().join("chromium"), "");
    let path = format!("{}:/usr/bin:/bin", programs.path().display());

    let mut command = command(folder.path());
    command.args(["dev", "--port", "0", "--trust", "--root"]).arg(root.path());
    command.env("HOME", home).env("PATH", &path);
    let mut dev = Running::start(&mut command);
    dev.says("Below is one line");
    let chromium = home.join(".pki/nssdb");
    let name = facts(&folder.path().join("certs/dev-ca.crt")).name;
    for database in [&chromium, &profile] {
        let listed = certutil(database, &["-L"]);
        let line = listed.lines().find(|line| line.contains(&name)).unwrap_or_default();
        assert!(line.trim_end().ends_with("C,,"), "{listed}");
    }
    assert_eq!(mode(&chromium), 0o700);
    dev.signal("-INT");
    dev.ended();

    let output = untrust(folder.path(), root.path(), home, &path);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(certutil(&profile, &["-L"]), before);
    assert!(!home.join(".pki").exists(), "it was made for this alone");
}
