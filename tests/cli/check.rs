//! What a check, and a start, say of a configuration that is read.

use super::{run, text};

#[test]
fn a_certificate_that_is_missing_or_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("junk.pem"), "junk").unwrap();
    let base = ["--upstream", "h2c://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "off"];
    let output =
        run(&[&base[..], &["--cert", "no.crt", "--key", "no.key"]].concat(), folder.path());
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(
        text(&output.stderr),
        "--cert: certificate.cert: found \"no.crt\", expected a readable file (no.crt: there is none)\n\
         --key: certificate.key: found \"no.key\", expected a readable file (no.key: there is none)\n"
    );
    let output =
        run(&[&base[..], &["--cert", "junk.pem", "--key", "junk.pem"]].concat(), folder.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("junk.pem: has no certificate in it"));
    let junk = ["--cert", "junk.pem", "--key", "junk.pem"];
    let output = run(&[&["check"], &base[..], &junk].concat(), folder.path());
    assert_eq!(output.status.code(), Some(64), "a check finds what a start would fail of");
    assert!(text(&output.stderr).contains("junk.pem: has no certificate in it"));
}

#[test]
fn a_check_finds_what_tls_towards_upstream_would_fail_of() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("junk.pem"), "junk").unwrap();
    for (cluster, why) in [
        ("endpoints: [\"h2://a.test:443\"], tls: {ca: junk.pem}", "cluster up: junk.pem"),
        (
            "endpoints: [\"h2+unix:/run/x.sock\"]",
            "r.yaml:3:17: clusters.up.endpoints: found TLS over a unix socket, expected tls.server_name",
        ),
    ] {
        let yaml = format!(
            "listeners: [{{name: a, address: \"127.0.0.1:0\"}}]\nroutes: [{{name: b, to: up}}]\nclusters: {{up: {{{cluster}}}}}\n"
        );
        std::fs::write(folder.path().join("r.yaml"), yaml).unwrap();
        let output = run(&["check", "-c", "r.yaml"], folder.path());
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(64) && said.contains(why), "{said}");
    }
}

#[test]
fn what_check_explains_can_be_checked_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let flags =
        ["--upstream", "h2c://127.0.0.1:8080", "--domain", "id.example.com", "--grace", "7s"];
    let output = run(&[&["check", "--explain"][..], &flags].concat(), folder.path());
    assert_eq!(output.status.code(), Some(0));
    let explained = text(&output.stdout);
    assert!(explained.contains("id.example.com") && explained.contains("7s"), "{explained}");
    std::fs::write(folder.path().join("e.yaml"), &explained).unwrap();
    let again = run(&["check", "--explain", "-c", "e.yaml"], folder.path());
    assert_eq!(text(&again.stdout), explained, "{}", text(&again.stderr));
    let plain = run(&["check", "-c", "e.yaml"], folder.path());
    assert_eq!(text(&plain.stdout), "e.yaml: ok (1 listener, 1 route, 1 cluster)\n");
}

#[test]
fn what_is_switched_off_below_an_installation_is_explained_too() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "zitadel: {upstream: \"h2c://a.test:80\", domain: id.test, tls_mode: disabled}\n\
        listeners: [{name: plain, address: \"127.0.0.1:0\"}]\n\
        routes:\n\
        \x20 - {name: mine, to: zitadel, match: {path: /x}, compress: off, identity: none}\n\
        \x20 - {name: zitadel, cache: false}\n";
    std::fs::write(folder.path().join("r.yaml"), yaml).unwrap();
    let explain = |file| run(&["check", "--explain=full", "-c", file], folder.path());
    let first = text(&explain("r.yaml").stdout);
    for off in ["identity: none", "compress: \"off\"", "cache: false"] {
        assert!(first.contains(off), "{off}: {first}");
    }
    std::fs::write(folder.path().join("e.yaml"), &first).unwrap();
    let again = explain("e.yaml");
    assert_eq!(text(&again.stdout), first, "{}", text(&again.stderr));
}
