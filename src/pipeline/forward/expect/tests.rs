use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::body::testing::whole;

fn gated() -> (Body, Interim) {
    gate(Body::from(Bytes::from_static(b"upload")), None)
}

#[test]
fn only_100_continue_is_an_expectation() {
    for (value, expected) in [("100-continue", true), ("100-Continue", true), ("200-ok", false)] {
        let mut headers = Fields::new();
        headers.insert(EXPECT, value.parse().unwrap());
        assert_eq!(expects_continue(&headers), expected, "{value}");
    }
    assert!(!expects_continue(&Fields::new()));
}

#[tokio::test(start_paused = true)]
async fn the_body_is_asked_for_when_upstream_wants_it() {
    let (body, relay) = gated();
    let began = Instant::now();
    let opener = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        relay(StatusCode::CONTINUE, &Fields::new());
    };
    let (body, ()) = futures_util::future::join(whole(body), opener).await;
    assert_eq!(body.unwrap().bytes, "upload");
    assert_eq!(began.elapsed(), Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn other_interim_answers_do_not_open_the_gate_but_pass() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    let interim: Interim = Rc::new(move |status, _: &Fields| log.borrow_mut().push(status));
    let (body, relay) = gate(Body::from(Bytes::from_static(b"upload")), Some(interim));
    let began = Instant::now();
    relay(StatusCode::EARLY_HINTS, &Fields::new());
    assert_eq!(whole(body).await.unwrap().bytes, "upload");
    assert_eq!(began.elapsed(), PATIENCE, "only patience opened it");
    relay(StatusCode::CONTINUE, &Fields::new());
    assert_eq!(*seen.borrow(), [StatusCode::EARLY_HINTS, StatusCode::CONTINUE]);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_is_open_stays_open() {
    let (mut body, relay) = gated();
    relay(StatusCode::CONTINUE, &Fields::new());
    let began = Instant::now();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "upload");
    assert!(body.frame().await.is_none());
    assert_eq!(began.elapsed(), Duration::ZERO);
}
