//! The header table of `zitadel.md` §4.4 in each of ZITADEL's TLS modes: over HTTP/1.1 and HTTP/2,
//! each header alone and all at once, to ZITADEL and to its login through the preset, and to a ZITADEL
//! that is spoken to over HTTP/1.1.

use bytes::Bytes;
use http::{Request, Version};

use crate::identity::{DISCOVERY, REST, TABLE, lines, unspoofed};
use crate::support::h2::{Client, frame};
use crate::support::{Ravelin, standin};
use crate::zitadel_wiring::{MODES, Mode, Site, zitadel};

const GRPC: &str = "/zitadel.management.v1.ManagementService/Healthz";
const LOGIN: &str = "/ui/v2/login/loginname";

/// Authority, scheme and port of the public origin.
const fn origin(mode: Mode) -> (&'static str, &'static str, &'static str) {
    match mode {
        Mode::Disabled => ("localhost", "http", "80"),
        Mode::External | Mode::Enabled => ("localhost", "https", "443"),
    }
}

async fn over_h1(site: &Site, path: &str, fields: &[(&str, &str)]) -> String {
    let fields = format!("authorization: Bearer demo\r\n{}", lines(fields));
    site.h1_with("GET", path, &fields, b"").await.body
}

async fn over_h2(client: &Client, path: &str, fields: &[(&str, &str)]) -> String {
    let mut request = Request::get(format!("https://localhost{path}"));
    request = request.header("authorization", "Bearer demo");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    answer.text().to_owned()
}

/// ZITADEL behind a route by hand, over HTTP/1.1, which the preset does not do.
async fn over_http1(mode: Mode) -> Site {
    let (zitadel, login) = (zitadel(mode).await, standin().await);
    let (scheme, tls) = match mode {
        Mode::Disabled | Mode::External => ("http", ""),
        Mode::Enabled => ("https", ", tls: {ca: \"{ca}\"}"),
    };
    let listener = match mode {
        Mode::Disabled => "",
        _ => ", tls: {certificates: [{cert: \"{cert}\", key: \"{key}\"}]}",
    };
    // Without TLS the public port is 80, which no scheme tells a route by hand.
    let host = if mode == Mode::Disabled { "localhost:80" } else { "localhost" };
    let ravelin = Ravelin::start(&format!(
        "listeners: [{{name: public, address: \"127.0.0.1:0\"{listener}}}]\n\
         routes: [{{to: up, identity: zitadel, public_hosts: \"{host}\"}}]\n\
         clusters: {{up: {{endpoints: \"{scheme}://{}\"{tls}}}}}\n\
         workers: 1\nadmin: \"off\"\naccess_log: {{format: \"off\"}}\nshutdown: {{grace: 1s}}\n",
        zitadel.address()
    ));
    Site { mode, zitadel, login, ravelin }
}

async fn grpc_web(client: &Client, fields: &[(&str, &str)]) -> String {
    let mut request = Request::post(format!("https://localhost{GRPC}"));
    request = request.header("content-type", "application/grpc-web+proto");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = client.send(request.body(frame(b"")).unwrap()).await.unwrap();
    String::from_utf8_lossy(&answer.body).to_ascii_lowercase().replace(": ", ":")
}

/// Issuer, instance and client are the connection's word, whatever these headers say.
async fn check(site: &Site, client: &Client, fields: &[(&str, &str)]) {
    let why = format!("{:?} {fields:?}", site.mode);
    let (authority, scheme, _) = origin(site.mode);
    let sound = || {
        let seen = site.zitadel.requests().pop().unwrap();
        unspoofed(&seen, origin(site.mode), &why);
    };
    for h2 in [false, true] {
        let discovery = match h2 {
            false => over_h1(site, DISCOVERY, fields).await,
            true => over_h2(client, DISCOVERY, fields).await,
        };
        let told: serde_json::Value = serde_json::from_str(&discovery).expect(&why);
        assert_eq!(told["issuer"], format!("{scheme}://{authority}"), "{why}");
        assert!(!discovery.contains("666"), "{why}");
        sound();
        let me = match h2 {
            false => over_h1(site, REST, fields).await,
            true => over_h2(client, REST, fields).await,
        };
        assert!(me.contains("\"username\""), "{why}: {me}");
        sound();
    }
    let told = grpc_web(client, fields).await;
    assert!(told.contains("grpc-status:0"), "{why}: {told}");
    sound();
}

async fn check_grpc(site: &Site, client: &Client, fields: &[(&str, &str)]) {
    let why = format!("{:?} gRPC {fields:?}", site.mode);
    let answer = client.grpc(GRPC, fields, b"").await.unwrap();
    assert_eq!(answer.trailer("grpc-status"), "0", "{why}: {answer:?}");
    unspoofed(&site.zitadel.requests().pop().unwrap(), origin(site.mode), &why);
}

#[tokio::test]
async fn no_header_of_the_table_is_believed_in_any_tls_mode() {
    for mode in MODES {
        let site = Site::start(mode).await;
        let client = site.h2().await;
        for field in TABLE {
            check(&site, &client, &[*field]).await;
            check_grpc(&site, &client, &[*field]).await;
        }
        check(&site, &client, TABLE).await;
        check_grpc(&site, &client, TABLE).await;
        let seen = site.zitadel.requests();
        assert!(seen.iter().all(|seen| seen.version == Version::HTTP_2), "{mode:?}");
    }
}

#[tokio::test]
async fn no_header_of_the_table_is_believed_over_http1_upstream_in_any_tls_mode() {
    for mode in MODES {
        let site = over_http1(mode).await;
        let client = site.h2().await;
        for field in TABLE {
            check(&site, &client, &[*field]).await;
        }
        check(&site, &client, TABLE).await;
        let seen = site.zitadel.requests();
        assert!(seen.iter().all(|seen| seen.version == Version::HTTP_11), "{mode:?}");
    }
}

#[tokio::test]
async fn the_login_is_told_both_hosts_by_ravelin_alone_in_every_tls_mode() {
    for mode in MODES {
        let site = Site::start(mode).await;
        let client = site.h2().await;
        let (authority, scheme, port) = origin(mode);
        for h2 in [false, true] {
            match h2 {
                false => over_h1(&site, LOGIN, TABLE).await,
                true => over_h2(&client, LOGIN, TABLE).await,
            };
            let seen = site.login.requests().pop().unwrap().headers;
            for (name, expected) in [
                ("x-zitadel-instance-host", Some(authority)),
                ("x-zitadel-public-host", Some(authority)),
                ("x-forwarded-host", Some(authority)),
                ("x-forwarded-for", Some("127.0.0.1")),
                ("x-forwarded-proto", Some(scheme)),
                ("x-forwarded-port", Some(port)),
                // With it the login sends its token to whoever is named (GHSA-7wfc-4796-gmg5).
                ("x-zitadel-forward-host", None),
                ("x-original-host", None),
                ("forwarded", None),
                ("traceparent", None),
            ] {
                let told: Vec<_> = seen.get_all(name).iter().collect();
                assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{mode:?} {name}");
            }
        }
    }
}
