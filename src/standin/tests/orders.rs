//! Orders to misbehave are obeyed.

use h2::Reason;

use super::{connect, exchange, framed, raw, read, request, start};
use crate::standin::orders::parse;

#[tokio::test]
async fn streams_are_reset_or_refused_as_ordered() {
    let standin = start().await;
    let send = connect(standin.address()).await;
    let reason = async |target: &str, order: &str| {
        let order = format!("x-standin-order: {order}");
        exchange(&send, request("GET", target, &[&order]), b"")
            .await
            .err()
            .and_then(|error| error.reason())
    };
    assert_eq!(reason("/headers", "reset").await, Some(Reason::INTERNAL_ERROR));
    assert_eq!(reason("/headers", "refuse").await, Some(Reason::REFUSED_STREAM));
    assert_eq!(reason("/headers", "refuse-once=k").await, Some(Reason::REFUSED_STREAM));
    assert_eq!(reason("/headers", "refuse-once=k").await, None);
    assert_eq!(reason("/bytes/1000", "reset-mid-body").await, Some(Reason::INTERNAL_ERROR));
    assert_eq!(standin.cancelled(), 0, "what was ordered is not the client's doing");
}

#[tokio::test]
async fn a_connection_dies_by_a_reset() {
    let standin = start().await;
    let send = connect(standin.address()).await;
    let error =
        exchange(&send, request("GET", "/headers?order=die", &[]), b"").await.err().unwrap();
    assert!(error.is_io() || error.is_go_away(), "{error:?}");
    let answer = raw(
        standin.address(),
        "GET /bytes/1000?order=die-mid-body HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.len() < 1000, "{answer}");
    standin.wait_for_connections(0).await;
}

#[tokio::test]
async fn grpc_can_end_without_a_status() {
    let standin = start().await;
    let send = connect(standin.address()).await;
    let headers = ["content-type: application/grpc", "x-standin-order: no-trailers"];
    let got = exchange(&send, request("POST", "/ravelin.test.Echo/Unary", &headers), &framed(b"m"))
        .await
        .unwrap();
    assert!(got.trailers.is_empty());
    let got = exchange(
        &send,
        request("POST", "/zitadel.user.v2.UserService/ListUsers", &headers),
        &framed(b""),
    )
    .await
    .unwrap();
    assert_eq!((got.header("grpc-status"), got.trailers.len()), ("", 0));
}

#[tokio::test]
async fn heads_are_changed_as_ordered_and_typing_errors_found() {
    let standin = start().await;
    let got = read(&standin, "/headers?order=status=418,set-header=X-Teapot:yes", &[]).await;
    assert_eq!((got.status(), got.header("x-teapot")), (418, "yes"));
    assert_eq!(read(&standin, "/headers?order=stal", &[]).await.status(), 400);
    for word in ["slow-head=x", "status=9", "set-header=a", "nope"] {
        assert_eq!(parse(word), None, "{word}");
    }
}

#[tokio::test]
async fn goaway_ends_the_connection_after_the_exchange() {
    let standin = start().await;
    let send = connect(standin.address()).await;
    let got = exchange(&send, request("GET", "/headers?order=goaway", &[]), b"").await.unwrap();
    assert_eq!(got.status(), 200);
    standin.wait_for_connections(0).await;
}
