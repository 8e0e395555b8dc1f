//! What an installation is told beyond its three lines: guards, hosts and limits by their keys in
//! `zitadel`, through the real server.

use std::net::SocketAddr;

use http::Request;
use ravelin::standin::Standin;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::h2::{Client, frame};
use crate::support::{Ravelin, raw, standin};

const IMPORT: &str = "/zitadel.admin.v1.AdminService/ImportData";
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Listeners `public` and `proxied`, which is told its clients; `more` within `zitadel`.
fn before(zitadel: &Standin, domain: &str, more: &str) -> Ravelin {
    Ravelin::start(&format!(
        "zitadel: {{upstream: \"h2c://{}\", health: \"off\", cache: false, tls_mode: disabled, domain: {domain}, {more}}}\n\
         listeners:\n\
         \x20 - {{name: public, address: \"127.0.0.1:0\"}}\n\
         \x20 - {{name: proxied, address: \"127.0.0.1:0\", proxy_protocol: {{from: 127.0.0.1}}}}\n\
         workers: 1\nadmin: \"off\"\naccess_log: {{format: \"off\"}}\n",
        zitadel.address()
    ))
}

fn proxy(client: &str) -> String {
    format!("PROXY TCP4 {client} 127.0.0.1 50000 80\r\n")
}

/// HTTP/2 as a client with this address.
async fn h2_of(address: SocketAddr, client: &str) -> Client {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(proxy(client).as_bytes()).await.unwrap();
    Client::over(stream).await
}

#[tokio::test]
async fn import_and_export_are_for_the_clients_named_and_nothing_for_others() {
    let zitadel = standin().await;
    let ravelin = before(&zitadel, "localhost", "guards: {import_export: 10.0.0.0/8}");
    for (client, reaches) in [("10.1.2.3", true), ("11.1.2.3", false)] {
        let before = zitadel.requests().len();
        for path in ["/admin/v1/import", "/admin/v1/export"] {
            let request = raw::request("POST", "localhost", path, "content-length: 0\r\n");
            let proxy = proxy(client);
            let answer = raw::send(ravelin.address("proxied"), proxy.as_bytes(), &request).await;
            // ZITADEL's own answer, or that of a path where nothing is.
            assert_eq!(
                answer.json().get("status").is_none(),
                reaches,
                "{client} {path}: {answer:?}"
            );
        }
        let h2 = h2_of(ravelin.address("proxied"), client).await;
        for method in ["ImportData", "ExportData"] {
            let path = format!("/zitadel.admin.v1.AdminService/{method}");
            let code = h2.grpc(&path, &[], b"").await.unwrap().trailer("grpc-status").to_owned();
            // Without a token it is ZITADEL that refuses.
            assert_eq!(code, if reaches { "16" } else { "12" }, "{client} {method}");
            let request = Request::post(format!("http://localhost{path}"));
            let request = request.header("content-type", "application/grpc-web+proto");
            let answer = h2.send(request.body(frame(b"")).unwrap()).await.unwrap();
            assert_eq!(answer.status(), 200);
            let told = String::from_utf8_lossy(&answer.body).replace(": ", ":");
            let code = if reaches { "grpc-status:16" } else { "grpc-status:12" };
            let told = told.contains(code) || code.ends_with(answer.trailer("grpc-status"));
            assert!(told, "{client} {method}: {answer:?}");
        }
        let reached = zitadel.requests().len() - before;
        assert_eq!(reached, if reaches { 6 } else { 0 }, "{client}");
    }
}

#[tokio::test]
async fn health_and_single_paths_are_opened_alone() {
    let zitadel = standin().await;
    let guards = "guards: {health: true, open: [{paths: /debug/metrics, clients: 10.0.0.0/8}, \
                  {names: system, listeners: proxied}]}";
    let ravelin = before(&zitadel, "localhost", guards);
    for (listener, client, path, status) in [
        ("public", "", "/debug/healthz", 200),
        ("public", "", "/debug/ready", 200),
        ("public", "", "/debug/validate", 404),
        ("public", "", "/debug/metrics", 404),
        ("public", "", "/system/v1/healthz", 404),
        ("proxied", "10.1.2.3", "/debug/metrics", 200),
        ("proxied", "11.1.2.3", "/debug/metrics", 404),
        ("proxied", "10.1.2.3", "/debug/validate", 404),
    ] {
        let prefix = if client.is_empty() { String::new() } else { proxy(client) };
        let request = raw::request("GET", "localhost", path, "");
        let answer = raw::send(ravelin.address(listener), prefix.as_bytes(), &request).await;
        assert_eq!(answer.status(), status, "{listener} {client} {path}: {answer:?}");
    }
    let system = "/zitadel.system.v1.SystemService/Healthz";
    for (listener, code) in [("public", "12"), ("proxied", "0")] {
        let client = match listener {
            "public" => Client::plain(ravelin.address(listener)).await,
            _ => h2_of(ravelin.address(listener), "11.1.2.3").await,
        };
        let answer = client.grpc(system, &[], b"").await.unwrap();
        assert_eq!(answer.trailer("grpc-status"), code, "{listener}");
    }
}

#[tokio::test]
async fn every_domain_of_an_installation_is_an_instance_s_own_and_another_is_nobody_s() {
    let zitadel = standin().await;
    let ravelin = before(&zitadel, "[localhost, \"127.0.0.1:8080\"]", "");
    for host in ["localhost", "127.0.0.1:8080"] {
        let answer = raw::get(ravelin.address("public"), host, DISCOVERY).await;
        assert_eq!(answer.json()["issuer"], format!("https://{host}"));
    }
    for host in ["127.0.0.1", "localhost:8080", "evil.test"] {
        let answer = raw::get(ravelin.address("public"), host, DISCOVERY).await;
        assert_eq!(answer.status(), 404, "{host}");
    }
    assert_eq!(zitadel.requests().len(), 2);
}

#[tokio::test]
async fn one_instance_answers_whatever_host_was_asked_for() {
    let zitadel = standin().await;
    let ravelin = before(&zitadel, "\"*.example.com\"", "instance_host: localhost");
    let answer = raw::get(ravelin.address("public"), "a.example.com", DISCOVERY).await;
    assert_eq!(answer.json()["issuer"], "https://localhost");
    let seen = zitadel.requests().pop().unwrap();
    assert_eq!(
        (&*seen.authority, &seen.headers["x-zitadel-instance-host"]),
        ("a.example.com", &"localhost".parse().unwrap())
    );
}

#[tokio::test]
async fn a_login_on_a_domain_of_its_own_is_told_the_instance_beside_it() {
    let (zitadel, login) = (standin().await, standin().await);
    let more = format!("login: \"http://{}\", login_domain: login.example.com", login.address());
    let ravelin = before(&zitadel, "localhost", &more);
    for (host, path, public) in [
        ("login.example.com", "/loginname", "login.example.com"),
        ("login.example.com", "/ui/v2/login/loginname", "login.example.com"),
        ("localhost", "/ui/v2/login/loginname", "localhost"),
    ] {
        raw::get(ravelin.address("public"), host, path).await;
        let seen = login.requests().pop().unwrap();
        let told = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
        assert_eq!(seen.target, path);
        assert_eq!(told("x-zitadel-instance-host"), "localhost", "{host}{path}");
        assert_eq!(told("x-zitadel-public-host"), public, "{host}{path}");
    }
    assert_eq!((login.requests().len(), zitadel.requests().len()), (3, 0));
}

#[tokio::test]
async fn what_zitadel_would_not_take_is_refused_here_and_imports_are_not() {
    let zitadel = standin().await;
    let ravelin = before(&zitadel, "localhost", "");
    for (path, length, status) in
        [("/assets/v1/users/me/avatar", (1 << 20) + 1, 413), ("/scim/v2/1/Users", 1_000_001, 413)]
    {
        let fields = format!("content-length: {length}\r\n");
        let request = raw::request("POST", "localhost", path, &fields);
        let answer = raw::send(ravelin.address("public"), b"", &request).await;
        assert_eq!(answer.status(), status, "{path}");
    }
    let client = Client::plain(ravelin.address("public")).await;
    let message = vec![0; (4 << 20) + 1];
    let call = "/zitadel.management.v1.ManagementService/AddProject";
    let answer = client.grpc(call, &[], &message).await.unwrap();
    assert_eq!(answer.trailer("grpc-status"), "8", "{answer:?}");
    client.grpc(IMPORT, &[], &message).await.unwrap();
    // The others were not, or not to their end.
    let whole =
        zitadel.requests().into_iter().filter(|seen| seen.body.is_some_and(|body| body > 1 << 20));
    assert_eq!(whole.map(|seen| seen.target).collect::<Vec<_>>(), [IMPORT]);
}
