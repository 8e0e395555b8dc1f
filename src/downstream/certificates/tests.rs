use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::downstream::handshake::provider;

/// Writes a pair for these names that is valid until a year's end.
fn write(folder: &Path, names: &[&str], until: i32) -> CertificatePlan {
    let (cert, key) = pem(names, until);
    let plan = plan(folder, false);
    fs::write(&plan.cert, cert).unwrap();
    fs::write(&plan.key, key).unwrap();
    plan
}

fn plan(folder: &Path, default: bool) -> CertificatePlan {
    CertificatePlan { cert: folder.join("tls.crt"), key: folder.join("tls.key"), default }
}

fn pem(names: &[&str], until: i32) -> (String, String) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 12, 31);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn load(plans: &[CertificatePlan]) -> Arc<Store> {
    Store::load(plans, provider()).unwrap()
}

fn names(store: &Store, sni: Option<&str>) -> Option<String> {
    store.names_for(sni, &[SignatureScheme::ECDSA_NISTP256_SHA256]).map(|names| names.join(" "))
}

#[test]
fn an_exact_name_comes_before_a_wildcard_before_the_default_before_none() {
    let folders: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let mut plans = [
        write(folders[0].path(), &["*.example.com", "192.0.2.7"], 2999),
        write(folders[1].path(), &["ID.example.com"], 2999),
        write(folders[2].path(), &["fallback.test"], 2999),
    ];
    let wild = Some("*.example.com 192.0.2.7".to_owned());
    let fallback = Some("fallback.test".to_owned());
    for (default, expected) in [(false, None), (true, fallback)] {
        plans[2].default = default;
        let store = load(&plans);
        assert_eq!(names(&store, Some("Id.Example.com")).as_deref(), Some("id.example.com"));
        assert_eq!(names(&store, Some("a.example.com")), wild);
        assert_eq!(names(&store, Some("a.b.example.com")), expected);
        assert_eq!(names(&store, Some("example.com")), expected);
        assert_eq!(names(&store, None), expected);
    }
}

#[test]
fn of_two_certificates_for_a_name_the_one_that_the_client_can_verify_is_chosen() {
    let folders: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let first = write(folders[0].path(), &["id.test", "p256.test"], 2999);
    let second = plan(folders[1].path(), false);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let params = CertificateParams::new(["id.test".to_owned(), "p384.test".to_owned()]).unwrap();
    fs::write(&second.cert, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&second.key, key.serialize_pem()).unwrap();
    let store = load(&[first, second]);
    let chosen = |scheme| store.names_for(Some("id.test"), &[scheme]).unwrap()[1].to_string();
    assert_eq!(chosen(SignatureScheme::ECDSA_NISTP256_SHA256), "p256.test");
    assert_eq!(chosen(SignatureScheme::ECDSA_NISTP384_SHA384), "p384.test");
    assert_eq!(chosen(SignatureScheme::ED25519), "p256.test");
}

#[test]
fn a_pair_that_is_not_sound_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = pem(&["id.test"], 2999);
    let (_, other) = pem(&["id.test"], 2999);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let table: [(Option<&str>, Option<&str>, &str, &str); 7] = [
        (None, Some(&key), "tls.crt", "cannot be read"),
        (Some(&cert), None, "tls.key", "cannot be read"),
        (Some("hello"), Some(&key), "tls.crt", "has no certificate in it"),
        (Some(&cert), Some(&cert), "tls.key", "has no private key in it"),
        (Some(broken), Some(&key), "tls.crt", "cannot be understood"),
        (Some(&cert[..cert.len() - 40]), Some(&key), "tls.crt", "is no sound PEM file"),
        (Some(&cert), Some(&other), "tls.key", "does not belong to the certificate"),
    ];
    for (cert, key, file, text) in table {
        let plan = plan(folder.path(), false);
        for (path, content) in [(&plan.cert, cert), (&plan.key, key)] {
            drop(fs::remove_file(path));
            if let Some(content) = content {
                fs::write(path, content).unwrap();
            }
        }
        let error = Store::load(&[plan], provider()).unwrap_err();
        assert!(error.file.ends_with(file), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn a_bad_new_pair_is_reported_and_the_last_good_one_kept() {
    let folder = tempfile::tempdir().unwrap();
    let plan = write(folder.path(), &["old.test"], 2999);
    let store = load(std::slice::from_ref(&plan));
    let held = store.certificates();
    assert_eq!((&*held[0].facts.names[0], &held[0].file), ("old.test", &plan.cert));

    fs::write(&plan.cert, pem(&["new.test"], 2999).0).unwrap();
    let report = store.reload();
    assert!(report.changed.is_empty());
    assert!(matches!(report.failed[0].fault, Fault::Mismatch(_)), "{:?}", report.failed);
    assert!(names(&store, Some("old.test")).is_some());

    write(folder.path(), &["gone.test"], 2002);
    assert!(matches!(store.reload().failed[0].fault, Fault::Expired));
    assert_eq!(store.certificates(), held);

    write(folder.path(), &["new.test"], 2998);
    assert_eq!(store.reload().changed, [plan.cert]);
    assert!(names(&store, Some("new.test")).is_some());
    assert!(names(&store, Some("old.test")).is_none());
    assert!(store.reload().changed.is_empty());
}

#[test]
fn an_expired_certificate_is_replaced_while_running() {
    let folder = tempfile::tempdir().unwrap();
    let plan = write(folder.path(), &["id.test"], 2002);
    let store = load(&[plan]);
    assert!(store.certificates()[0].facts.not_after < now());
    write(folder.path(), &["id.test"], 2999);
    assert_eq!(store.reload().changed.len(), 1);
    assert!(store.certificates()[0].facts.not_after > now());
}

/// A watch with a poll that a test would not wait for, unless it says so.
fn watched(store: &Arc<Store>, poll: u64) -> (Watch, mpsc::Receiver<Vec<PathBuf>>) {
    let (told, reports) = mpsc::channel();
    let watch = watch::watch_every(store.clone(), Duration::from_millis(poll), move |report| {
        if !report.changed.is_empty() {
            told.send(report.changed.clone()).unwrap();
        }
    });
    (watch.unwrap(), reports)
}

const LONG: Duration = Duration::from_secs(20);
const NO_POLL: u64 = 3_600_000;

#[test]
fn new_files_are_noticed_whether_written_or_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let plan = write(folder.path(), &["one.test"], 2999);
    let store = load(std::slice::from_ref(&plan));
    let (watch, reports) = watched(&store, NO_POLL);
    write(folder.path(), &["two.test"], 2999);
    reports.recv_timeout(LONG).unwrap();
    assert!(names(&store, Some("two.test")).is_some());

    let staging = tempfile::tempdir_in(folder.path()).unwrap();
    let staged = write(staging.path(), &["three.test"], 2999);
    fs::rename(&staged.key, &plan.key).unwrap();
    fs::rename(&staged.cert, &plan.cert).unwrap();
    reports.recv_timeout(LONG).unwrap();
    assert!(names(&store, Some("three.test")).is_some());
    drop(watch);
    assert!(reports.recv().is_err(), "the thread has ended");
}

#[test]
fn the_symlink_swap_of_kubernetes_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let publish = |version: &str, names: &[&str]| {
        fs::create_dir(root.join(version)).unwrap();
        write(&root.join(version), names, 2999);
        std::os::unix::fs::symlink(version, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    publish("..1", &["one.test"]);
    for file in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(Path::new("..data").join(file), root.join(file)).unwrap();
    }
    let store = load(&[plan(root, false)]);
    let (_watch, reports) = watched(&store, NO_POLL);
    for (version, name, old) in [("..2", "two.test", "..1"), ("..3", "three.test", "..2")] {
        publish(version, &[name]);
        fs::remove_dir_all(root.join(old)).unwrap();
        reports.recv_timeout(LONG).unwrap();
        assert!(names(&store, Some(name)).is_some());
    }
}

#[test]
fn a_folder_made_anew_is_noticed_by_the_poll() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let store = load(&[write(&inner, &["one.test"], 2999)]);
    let (_watch, reports) = watched(&store, 20);
    fs::remove_dir_all(&inner).unwrap();
    fs::create_dir(&inner).unwrap();
    write(&inner, &["two.test"], 2999);
    reports.recv_timeout(LONG).unwrap();
    assert!(names(&store, Some("two.test")).is_some());
}
