//! A gRPC client always gets a status, also where the server's answer has none or is not gRPC; what
//! it really was stands in the record.

use serde_json::Value;

use crate::support::faults::{config, eventually, post, soon, with};
use crate::support::h2::{Client, frame};
use crate::support::{Ravelin, standin};

const NONSENSE: &str = "/zitadel.user.v2.UserService/Nonsense";

#[tokio::test]
async fn a_plain_404_of_a_known_service_is_unimplemented() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let client = Client::tls(ravelin.https()).await;
    let answer = soon("404", client.grpc(NONSENSE, &[], b"")).await.unwrap();
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/grpc");
    assert_eq!(answer.header("grpc-status"), "12");
    assert!(answer.header("grpc-message").contains("404"), "{answer:?}");
    assert!(answer.body.is_empty() && answer.trailers.is_none(), "{answer:?}");
    assert_eq!(answer.header("content-length"), "");
    // A gRPC-Web client reads HTTP statuses itself: nothing is made of it on a route that passes.
    for media in ["application/grpc-web+proto", "application/json"] {
        let call = with(post("localhost", NONSENSE, frame(b"")), "content-type", media);
        let answer = soon(media, client.send(call)).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (404, "404 page not found\n"));
    }
}

#[tokio::test]
async fn any_http_status_becomes_the_code_that_grpc_maps_it_to() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let client = Client::plain(ravelin.plain()).await;
    for (status, code) in
        [(401, "16"), (403, "7"), (429, "14"), (502, "14"), (500, "2"), (302, "2")]
    {
        let order = format!("status={status}");
        let headers = [("x-standin-order", order.as_str())];
        let answer = soon(&order, client.grpc("/ravelin.test.Echo/Unary", &headers, b"m")).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status(), answer.header("grpc-status")), (200, code), "{status}");
        assert!(answer.body.is_empty() && answer.trailers.is_none(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_large_answer_that_is_no_grpc_is_cancelled() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    let client = Client::plain(ravelin.plain()).await;
    let answer = soon("a download", client.grpc("/bytes/10000000000", &[], b"")).await.unwrap();
    assert_eq!(answer.header("grpc-status"), "2");
    soon("cancelled", standin.wait_for_cancelled(1)).await;
    soon("nothing in flight", standin.wait_for_in_flight(0)).await;
}

#[tokio::test]
async fn the_record_says_what_upstream_really_did() {
    let standin = standin().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = format!("access_log: {{format: json, output: \"{}\"}}", file.display());
    let ravelin = Ravelin::start(&config(&[format!("h2c://{}", standin.address())], "", &log));
    let client = Client::plain(ravelin.plain()).await;
    let ended = [("x-standin-order", "no-trailers")];
    client.grpc(NONSENSE, &[], b"").await.unwrap();
    let answer = client.grpc("/ravelin.test.Echo/Unary", &ended, b"m").await.unwrap();
    assert_eq!(answer.trailer("grpc-status"), "14");
    drop(client);
    let lines = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    eventually("two records", || lines().len() >= 2).await;
    let records = lines();
    assert_eq!(records[0]["grpc.status"], 12, "{records:#?}");
    assert_eq!(records[0]["cause"], Value::Null, "upstream did what it had to");
    let detail = "answered to gRPC with HTTP 404, text/plain; charset=utf-8";
    assert_eq!(records[0]["detail"], detail);
    assert_eq!(records[1]["grpc.status"], 14, "{records:#?}");
    assert_eq!(records[1]["cause"], "upstream_incomplete");
    assert_eq!(records[1]["detail"], "the answer ended without grpc-status");
}
