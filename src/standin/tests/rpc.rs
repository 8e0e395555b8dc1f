//! gRPC, gRPC-Web, Connect: the shapes of both generations.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ask, connect, exchange, framed, raw, request, start};

const GRPC: &str = "content-type: application/grpc";
const TOKEN: &str = "authorization: Bearer demo";

#[tokio::test]
async fn v1_answers_with_a_head_and_trailers_also_for_errors() {
    let standin = start().await;
    let got =
        ask(&standin, "POST", "/zitadel.admin.v1.AdminService/Healthz", &[GRPC], &framed(b""))
            .await;
    assert_eq!((got.status(), got.trailer("grpc-status")), (200, "0"));
    assert_eq!(&got.body[..], framed(b""));
    let got =
        ask(&standin, "POST", "/zitadel.auth.v1.AuthService/GetMyUser", &[GRPC], &framed(b""))
            .await;
    assert_eq!((got.header("grpc-status"), got.trailer("grpc-status")), ("", "16"));
    assert_eq!(got.header("cache-control"), "no-store");
    let json = "content-type: application/grpc+json";
    let got = ask(
        &standin,
        "POST",
        "/zitadel.auth.v1.AuthService/GetMyUser",
        &[json, TOKEN],
        &framed(b"{}"),
    )
    .await;
    assert_eq!(got.trailer("grpc-status"), "13");
    let unknown = "host: nobody.example";
    let got = ask(
        &standin,
        "POST",
        "/zitadel.admin.v1.AdminService/Healthz",
        &[GRPC, unknown],
        &framed(b""),
    )
    .await;
    assert_eq!(got.trailer("grpc-status"), "5");
    let got = ask(&standin, "POST", "/zitadel.nope.v1.Service/Get", &[GRPC], &framed(b"")).await;
    assert_eq!(got.trailer("grpc-status"), "12");
}

#[tokio::test]
async fn the_system_service_answers_to_encoded_spellings() {
    let standin = start().await;
    let paths = [
        "/zitadel.system.v1.SystemService/Healthz",
        "/zitadel%2Esystem.v1.SystemService/Healthz",
        "/zitadel.system.v1.SystemService%2FHealthz",
        "/zitadel.system.v1.%53ystemService/Healthz",
    ];
    for path in paths {
        let got = ask(&standin, "POST", path, &[GRPC], &framed(b"")).await;
        assert_eq!(got.trailer("grpc-status"), "0", "{path}");
        let web = "content-type: application/grpc-web+proto";
        let got = ask(&standin, "POST", path, &[web], &framed(b"")).await;
        assert!(got.text().ends_with("grpc-status: 0\r\n"), "{path}: {}", got.text());
    }
    let path = "/zitadel%2Esession.v2.SessionService/ListSessions";
    let got = ask(&standin, "POST", path, &["content-type: application/json"], b"{}").await;
    assert_eq!(got.status(), 404, "connect-go matches the raw path");
}

#[tokio::test]
async fn a_content_type_with_parameters_or_http1_falls_to_the_gateway() {
    let standin = start().await;
    let kind = "content-type: application/grpc; charset=utf-8";
    let got =
        ask(&standin, "POST", "/zitadel.admin.v1.AdminService/Healthz", &[kind], &framed(b""))
            .await;
    assert_eq!((got.status(), got.header("content-type")), (404, "application/json"));
    let answer = raw(
        standin.address(),
        "POST /zitadel.admin.v1.AdminService/Healthz HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc\r\n\
         Content-Length: 5\r\nConnection: close\r\n\r\n\0\0\0\0\0",
    );
    assert!(answer.await.contains("{\"code\":5, \"message\":\"Not Found\"}"));
}

#[tokio::test]
async fn a_message_over_4_mib_is_refused_by_v1() {
    let standin = start().await;
    let send = connect(standin.address()).await;
    let large = framed(&vec![0; (4 << 20) + 1]);
    let got =
        exchange(&send, request("POST", "/zitadel.admin.v1.AdminService/Healthz", &[GRPC]), &large)
            .await
            .unwrap();
    assert_eq!(got.trailer("grpc-status"), "8");
    assert!(got.trailer("grpc-message").contains("4194305 vs. 4194304"));
}

#[tokio::test]
async fn v2_errors_are_trailers_only_and_unknown_methods_plain_404() {
    let standin = start().await;
    let path = "/zitadel.session.v2.SessionService/ListSessions";
    for kind in [GRPC, "content-type: application/grpc-web+proto"] {
        let got = ask(&standin, "POST", path, &[kind], &framed(b"")).await;
        assert_eq!((got.status(), got.header("grpc-status")), (200, "16"));
        assert!(got.body.is_empty() && got.trailers.is_empty());
    }
    let got = ask(&standin, "POST", path, &[GRPC, TOKEN], &framed(b"")).await;
    assert_eq!((got.trailer("grpc-status"), &got.body[..]), ("0", &framed(&[0x0a, 2, 8, 1])[..]));
    let got =
        ask(&standin, "POST", "/zitadel.session.v2.SessionService/Nope", &[GRPC], &framed(b""))
            .await;
    assert_eq!((got.status(), got.header("content-type")), (404, "text/plain; charset=utf-8"));
}

#[tokio::test]
async fn connect_errors_are_json_and_answers_gzipped_when_asked() {
    let standin = start().await;
    let path = "/zitadel.session.v2.SessionService/ListSessions";
    let json = "content-type: application/json";
    let got = ask(&standin, "POST", path, &[json], b"{}").await;
    assert_eq!(got.status(), 401);
    assert_eq!(got.text(), "{\"code\":\"unauthenticated\",\"message\":\"auth header missing\"}");
    assert_eq!(got.header("accept-encoding"), "gzip");
    let got = ask(&standin, "POST", path, &[json, TOKEN, "accept-encoding: gzip, br"], b"{}").await;
    assert_eq!(got.header("content-encoding"), "gzip");
    assert_eq!(&got.body[..2], b"\x1f\x8b");
    assert_eq!(ask(&standin, "GET", path, &[], b"").await.status(), 405);
    assert_eq!(ask(&standin, "POST", path, &["content-type: text/plain"], b"").await.status(), 415);
}

#[tokio::test]
async fn grpc_web_of_v1_ends_in_a_trailer_frame_binary_and_text() {
    let standin = start().await;
    let path = "/zitadel.auth.v1.AuthService/GetMyUser";
    let got =
        ask(&standin, "POST", path, &["content-type: application/grpc-web+proto"], &framed(b""))
            .await;
    assert_eq!(got.body[0], 0x80);
    assert_eq!(&got.body[5..], b"grpc-status: 16\r\ngrpc-message: auth header missing\r\n");
    let text = STANDARD.encode(framed(b""));
    let kind = "content-type: application/grpc-web-text";
    let got = ask(&standin, "POST", path, &[kind, TOKEN], text.as_bytes()).await;
    assert_eq!(got.header("content-type"), "application/grpc-web-text");
    assert!(got.text().starts_with("AAAA") && got.text().contains("gAAA"), "{}", got.text());
}

#[tokio::test]
async fn the_echo_service_echoes_messages_and_metadata() {
    let standin = start().await;
    let send = connect(standin.address()).await;
    let metadata = ["x-echo-a: 1", "x-echo-trailer-b: 2", GRPC];
    let got =
        exchange(&send, request("POST", "/ravelin.test.Echo/Unary", &metadata), &framed(b"hi"))
            .await
            .unwrap();
    assert_eq!((&got.body[..], got.header("x-echo-a")), (&framed(b"hi")[..], "1"));
    assert_eq!((got.trailer("x-echo-trailer-b"), got.trailer("grpc-status")), ("2", "0"));
    let order = framed(b"count=3,size=2,interval_ms=0");
    let got = exchange(&send, request("POST", "/ravelin.test.Echo/ServerStream", &[GRPC]), &order)
        .await
        .unwrap();
    assert_eq!(&got.body[..], framed(b"xx").repeat(3));
    let two = [framed(b"a"), framed(b"bc")].concat();
    let got = exchange(&send, request("POST", "/ravelin.test.Echo/ClientStream", &[GRPC]), &two)
        .await
        .unwrap();
    assert_eq!(&got.body[..], framed(b"messages=2,bytes=3"));
    let bidi = request("POST", "/ravelin.test.Echo/Bidi", &[GRPC, "x-echo-status: 9"]);
    let got = exchange(&send, bidi, &two).await.unwrap();
    assert_eq!((&got.body[..], got.trailer("grpc-status")), (&two[..], "9"));
}

#[tokio::test]
async fn reflection_lists_services_to_anybody() {
    let standin = start().await;
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let got = ask(&standin, "POST", path, &[GRPC], &framed(b"\x3a\x00")).await;
    assert!(got.text().contains("zitadel.user.v2.UserService"));
    assert_eq!(got.trailer("grpc-status"), "0");
}
