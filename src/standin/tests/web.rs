//! REST, OIDC, console, login: what browsers and REST clients see.

use super::{ask, raw, read, start};
use crate::standin::console::{Span, span};
use crate::standin::dispatch::clean;
use crate::standin::hosts::forwarded;
use crate::standin::{Options, Standin};
use std::time::Duration;

#[tokio::test]
async fn unknown_paths_are_a_json_404_with_the_code_of_the_gateway() {
    let standin = start().await;
    for path in [
        "/nope",
        "/favicon.ico",
        "/ui/v2/login/",
        "/%64ebug/metrics",
        "/DEBUG/metrics",
        "/debug%2Fmetrics",
    ] {
        let got = read(&standin, path, &[]).await;
        assert_eq!(
            (got.status(), got.text().as_str()),
            (404, "{\"code\":5, \"message\":\"Not Found\"}"),
            "{path}"
        );
        assert_eq!(got.header("x-robots-tag"), "none");
    }
    let got = ask(&standin, "PUT", "/v2/users/human", &[], b"{}").await;
    assert_eq!(got.status(), 405);
}

#[tokio::test]
async fn rest_without_a_token_is_401_code_16_and_with_one_deletes_the_quota_cookie() {
    let standin = start().await;
    let got = ask(&standin, "POST", "/v2/users", &[], b"{}").await;
    assert_eq!(got.status(), 401);
    assert_eq!(got.header("www-authenticate"), "auth header missing");
    assert!(got.text().starts_with("{\"code\":16,"));

    let token = "authorization: Bearer demo";
    let got =
        ask(&standin, "POST", "/v2/users", &[token, "origin: https://app.example"], b"{}").await;
    assert_eq!(got.status(), 200);
    assert!(got.header("set-cookie").starts_with("zitadel.quota.exhausted=;"));
    assert_eq!(got.header("cache-control"), "", "v2 has only the gateway's copy");
    assert_eq!(got.header("access-control-allow-origin"), "https://app.example");
    let got = read(&standin, "/auth/v1/users/me", &[token]).await;
    assert_eq!((got.status(), got.header("cache-control")), (200, "no-store"));
}

#[tokio::test]
async fn an_error_for_a_client_that_takes_trailers_has_trailers() {
    let standin = start().await;
    let got = read(&standin, "/auth/v1/users/me", &["te: trailers"]).await;
    assert_eq!(got.header("trailer"), "Grpc-Trailer-Content-Type");
    assert_eq!(got.trailer("grpc-trailer-content-type"), "application/grpc");
    assert_eq!(got.header("content-length"), "");
}

#[tokio::test]
async fn rest_is_unavailable_for_a_while_after_the_start() {
    let options = Options { rest_after: Some(Duration::from_secs(3600)), ..Options::default() };
    let standin = Standin::start(options).await.unwrap();
    let got = read(&standin, "/admin/v1/healthz", &[]).await;
    assert_eq!(got.status(), 503);
    assert!(
        got.text().contains("\"code\":14") && got.text().contains("Error while dialing"),
        "{}",
        got.text()
    );
    assert_eq!(read(&standin, "/debug/ready", &[]).await.text(), "\"ok\"");
}

#[tokio::test]
async fn the_issuer_is_whatever_host_was_asked_for_or_claimed() {
    let standin = start().await;
    let path = "/.well-known/openid-configuration";
    let issuer = |text: String| {
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["issuer"].to_string()
    };
    for (header, expected) in [
        ("host: localhost:evil", "\"https://localhost:evil\""),
        (
            "forwarded: for=1.2.3.4;host=\"localhost:1\", host=localhost:2",
            "\"https://localhost:1\"",
        ),
        ("x-forwarded-host: localhost:3,evil", "\"https://localhost:3,evil\""),
        ("x-forwarded-for: host=localhost:4", "\"https://localhost:4\""),
        ("x-zitadel-forwarded: host=localhost:5", "\"https://localhost:5\""),
        ("x-zitadel-instance-host: localhost:6", "\"https://localhost:6\""),
        ("x-zitadel-public-host: 127.0.0.1:7", "\"https://127.0.0.1:7\""),
    ] {
        assert_eq!(issuer(read(&standin, path, &[header]).await.text()), expected, "{header}");
    }
    for header in [
        "host: nobody.example",
        "host: LOCALHOST:8443",
        "host: localhost.",
        "x-forwarded-host: nobody.example",
    ] {
        let got = read(&standin, path, &[header]).await;
        assert_eq!(got.status(), 404, "{header}");
        assert!(got.text().contains("(ExternalDomain is localhost)"), "{}", got.text());
    }
    let got = read(&standin, path, &["x-zitadel-public-host: evil.example"]).await;
    assert!(got.text().contains("QUERY-IuGh1"), "{}", got.text());
}

#[tokio::test]
async fn rest_ignores_forwarded_but_believes_metadata_headers() {
    let standin = start().await;
    let token = "authorization: Bearer demo";
    let status =
        async |header| read(&standin, "/auth/v1/users/me", &[token, header]).await.status();
    assert_eq!(status("forwarded: host=nobody.example").await, 200);
    assert_eq!(status("grpc-metadata-x-zitadel-instance-host: nobody.example").await, 404);
    assert_eq!(status("x-forwarded-host: nobody.example").await, 404);
}

#[tokio::test]
async fn discovery_and_keys_set_a_cookie_although_the_keys_may_be_stored() {
    let standin = start().await;
    let got = read(&standin, "/oauth/v2/keys", &[]).await;
    assert_eq!(got.header("cache-control"), "max-age=300, must-revalidate");
    assert!(got.header("set-cookie").starts_with("__Host-zitadel.useragent="));
    let got = read(&standin, "/saml/v2/metadata", &[]).await;
    assert_eq!((got.header("content-type"), got.header("cache-control")), ("text/xml", ""));
    let got = read(&standin, "/ui/login/loginname", &[]).await;
    assert_eq!(got.head.headers().get_all("set-cookie").iter().count(), 2);
    assert_eq!(got.header("cache-control"), "");
}

#[tokio::test]
async fn the_console_has_ranges_and_no_validators_and_knows_no_instance() {
    let standin = start().await;
    let got = read(&standin, "/ui/console/", &["host: nobody.example"]).await;
    assert_eq!(got.header("cache-control"), "public, max-age=0, s-maxage=300");
    assert!(got.header("content-security-policy").contains("connect-src 'self' nobody.example"));
    let page = got.text();
    let main = page.split('"').find(|part| part.starts_with("main.")).unwrap().to_owned();
    let path = format!("/ui/console/{main}");
    let got = read(&standin, &path, &[]).await;
    assert!(got.body.len() > 300_000);
    assert_eq!(got.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!((got.header("etag"), got.header("last-modified")), ("", ""));
    let got = read(&standin, &path, &["range: bytes=10-19"]).await;
    assert_eq!((got.status(), got.body.len()), (206, 10));
    let got = read(&standin, "/ui/console/main.0000.js", &[]).await;
    assert_eq!((got.status(), got.header("cache-control")), (404, "no-store"));
    let got =
        read(&standin, "/ui/console/assets/environment.json", &["x-forwarded-host: localhost:1"])
            .await;
    assert!(got.text().contains("\"api\":\"https://localhost:8443\""), "{}", got.text());
    assert!(got.text().contains("\"issuer\":\"https://localhost:1\""), "{}", got.text());
    let got =
        read(&standin, "/ui/console/assets/environment.json", &["host: nobody.example"]).await;
    assert_eq!(got.status(), 404);
}

#[tokio::test]
async fn paths_are_cleaned_after_decoding_by_a_redirect() {
    let standin = start().await;
    for path in [
        "/ui/console/%2e%2e/%2e%2e/debug/ready",
        "//debug/ready",
        "/x/..%2fdebug/ready",
        "/./debug/ready",
    ] {
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = raw(standin.address(), &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 301 "), "{path}: {answer}");
        assert!(answer.contains("\r\nLocation: /debug/ready\r\n"), "{path}: {answer}");
    }
    let bad = "GET /%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(raw(standin.address(), bad).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn preflights_pass_only_as_a_browser_writes_them() {
    let standin = start().await;
    let base = ["origin: https://app.example", "access-control-request-method: POST"];
    let path = "/zitadel.session.v2.SessionService/ListSessions";
    let with = |names: &str| format!("access-control-request-headers: {names}");
    let good = with("authorization,connect-protocol-version,content-type");
    let got = ask(&standin, "OPTIONS", path, &[base[0], base[1], &good], b"").await;
    assert_eq!(
        (got.status(), got.header("access-control-allow-origin")),
        (204, "https://app.example")
    );
    assert_eq!(got.header("access-control-max-age"), "");
    for bad in
        ["content-type,authorization", "authorization, content-type", "Authorization", "x-other"]
    {
        let got = ask(&standin, "OPTIONS", path, &[base[0], base[1], &with(bad)], b"").await;
        assert_eq!((got.status(), got.header("access-control-allow-origin")), (204, ""), "{bad}");
    }
    let web = with("content-type,x-grpc-web");
    let got = ask(
        &standin,
        "OPTIONS",
        "/zitadel.auth.v1.AuthService/GetMyUser",
        &[base[0], base[1], &web],
        b"",
    )
    .await;
    assert_eq!(got.header("access-control-max-age"), "600");
}

#[tokio::test]
async fn public_assets_have_an_etag_and_a_date_that_no_parser_takes() {
    let standin = start().await;
    let got = read(&standin, "/assets/v1/demo/logo.png", &[]).await;
    assert_eq!((got.status(), got.header("cache-control")), (200, ""));
    assert!(got.header("last-modified").ends_with("UTC"));
    let etag = format!("if-none-match: {}", got.header("etag"));
    let got = read(&standin, "/assets/v1/demo/logo.png", &[&etag]).await;
    assert_eq!(
        (got.status(), got.header("cache-control")),
        (304, "public, max-age=5, s-maxage=604800")
    );
    assert_eq!(read(&standin, "/assets/v1/users/me/avatar", &[]).await.status(), 401);
}

#[test]
fn clean_does_what_go_does() {
    for (path, expected) in [
        ("/", "/"),
        ("//a", "/a"),
        ("/a/./b/", "/a/b/"),
        ("/a/../b", "/b"),
        ("/../..", "/"),
        ("/a/b", "/a/b"),
    ] {
        assert_eq!(clean(path), expected);
    }
}

#[test]
fn ranges_are_read_as_rfc_9110_says() {
    assert_eq!(span("bytes=0-9", 100), Span::Part(0, 9));
    assert_eq!(span("bytes=90-", 100), Span::Part(90, 99));
    assert_eq!(span("bytes=-10", 100), Span::Part(90, 99));
    assert_eq!(span("bytes=100-", 100), Span::Outside);
    assert_eq!(span("bytes=0-1,5-6", 100), Span::Whole);
}

#[test]
fn the_first_forwarded_element_wins() {
    assert_eq!(forwarded("for=1;host=a, host=b", "host").as_deref(), Some("a"));
    assert_eq!(forwarded("1.2.3.4, 5.6.7.8", "host"), None);
}

#[tokio::test]
async fn a_folder_is_served_as_the_console() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("assets")).unwrap();
    std::fs::write(folder.path().join("index.html"), "<html>own</html>").unwrap();
    std::fs::write(folder.path().join("assets/x.js"), "1").unwrap();
    let options = Options { console: Some(folder.path().to_owned()), ..Options::default() };
    let standin = Standin::start(options).await.unwrap();
    let index = read(&standin, "/ui/console/", &[]).await;
    assert_eq!(index.text(), "<html>own</html>");
    let script = read(&standin, "/ui/console/assets/x.js", &[]).await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    let empty = tempfile::tempdir().unwrap();
    let options = Options { console: Some(empty.path().to_owned()), ..Options::default() };
    assert!(Standin::start(options).await.is_err(), "a console without index.html");
}
