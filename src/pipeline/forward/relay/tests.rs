use bytes::Bytes;
use futures_util::stream;

use super::*;
use crate::body::testing::{Script, whole};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn timeouts(first_byte: Option<u64>, idle: Option<u64>) -> Timeouts {
    Timeouts { first_byte: first_byte.map(ms), idle: idle.map(ms), total: None }
}

fn deadline(after: u64) -> Option<Deadline> {
    Some(Deadline { at: Instant::now() + ms(after), kind: Kind::TotalTimeout })
}

/// A body of one byte each `interval`, `count` times.
fn ticking(interval: u64, count: usize) -> crate::body::Body {
    let ticks = stream::unfold(0, move |sent| async move {
        if sent == count {
            return None;
        }
        tokio::time::sleep(ms(interval)).await;
        Some((Ok(Frame::Data(Bytes::from_static(b"x"))), sent + 1))
    });
    crate::body::Body::boxed(Script(Box::pin(ticks)))
}

async fn outcome(body: impl Frames) -> Result<usize, Kind> {
    let collected = whole(body).await.map_err(|error| error.kind())?;
    Ok(collected.bytes.len())
}

#[test]
fn the_earlier_of_two_deadlines_counts_under_its_own_name() {
    let now = Instant::now();
    let kind = |asked: Option<u64>, total: Option<u64>| {
        Deadline::earliest(now, asked.map(ms), total.map(ms)).map(|it| (it.kind, it.at - now))
    };
    assert_eq!(kind(None, None), None);
    assert_eq!(kind(Some(5), None), Some((Kind::Deadline, ms(5))));
    assert_eq!(kind(None, Some(7)), Some((Kind::TotalTimeout, ms(7))));
    assert_eq!(kind(Some(5), Some(7)), Some((Kind::Deadline, ms(5))));
    assert_eq!(kind(Some(9), Some(7)), Some((Kind::TotalTimeout, ms(7))));
    assert_eq!(kind(Some(7), Some(7)), Some((Kind::Deadline, ms(7))));
    // A caller may name centuries.
    assert!(Deadline::earliest(now, Some(Duration::MAX), None).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_clock_runs_out_without_an_answer() {
    let began = Instant::now();
    let head = std::future::pending::<Result<(), Error>>();
    let moved = Cell::new(0);
    let error = until_head(
        Instant::now(),
        std::pin::pin!(head),
        &timeouts(Some(100), None),
        None,
        &moved,
        || false,
    )
    .await
    .unwrap_err();
    assert_eq!((error.kind(), began.elapsed()), (Kind::FirstByteTimeout, ms(100)));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_moves_begins_the_first_byte_clock_anew() {
    let (began, moved) = (Instant::now(), Cell::new(0));
    let answer = async {
        for _ in 0..10 {
            tokio::time::sleep(ms(60)).await;
            moved.set(moved.get() + 1);
        }
        std::future::pending::<Result<(), Error>>().await
    };
    let error = until_head(
        Instant::now(),
        std::pin::pin!(answer),
        &timeouts(Some(100), None),
        None,
        &moved,
        || false,
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), Kind::FirstByteTimeout);
    let took = began.elapsed();
    assert!(took >= ms(700) && took <= ms(800), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_whatever_moves() {
    let (began, moved) = (Instant::now(), Cell::new(0));
    let answer = async {
        loop {
            tokio::time::sleep(ms(10)).await;
            moved.set(moved.get() + 1);
        }
    };
    let error = until_head::<()>(
        Instant::now(),
        std::pin::pin!(answer),
        &timeouts(Some(100), None),
        deadline(250),
        &moved,
        || false,
    )
    .await;
    assert_eq!(error.unwrap_err().kind(), Kind::TotalTimeout);
    assert_eq!(began.elapsed(), ms(250));
}

#[tokio::test(start_paused = true)]
async fn without_clocks_an_answer_may_take_its_time() {
    let answer = async {
        tokio::time::sleep(Duration::from_secs(100_000)).await;
        Ok(7)
    };
    assert_eq!(
        until_head(
            Instant::now(),
            std::pin::pin!(answer),
            &timeouts(None, None),
            None,
            &Cell::new(0),
            || false
        )
        .await
        .unwrap(),
        7
    );
}

#[tokio::test(start_paused = true)]
async fn what_moves_is_not_idle_and_what_stands_still_is() {
    let clocks = timeouts(None, Some(100));
    let relay = Relay::new(Instant::now(), ticking(90, 20), &clocks, None, Rc::default(), None);
    assert_eq!(outcome(relay).await, Ok(20));
    let began = Instant::now();
    let relay = Relay::new(Instant::now(), ticking(110, 20), &clocks, None, Rc::default(), None);
    assert_eq!(outcome(relay).await, Err(Kind::IdleTimeout));
    assert_eq!(began.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn bytes_of_the_request_move_too() {
    let moved = Rc::new(Cell::new(0));
    let relay = Relay::new(
        Instant::now(),
        ticking(450, 1),
        &timeouts(None, Some(100)),
        None,
        Rc::clone(&moved),
        None,
    );
    let uploading = async {
        loop {
            tokio::time::sleep(ms(50)).await;
            moved.set(moved.get() + 1);
        }
    };
    tokio::select! {
        outcome = outcome(relay) => assert_eq!(outcome, Ok(1)),
        () = uploading => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_body_that_moves() {
    let began = Instant::now();
    let relay = Relay::new(
        Instant::now(),
        ticking(10, 100),
        &timeouts(None, Some(50)),
        deadline(300),
        Rc::default(),
        None,
    );
    assert_eq!(outcome(relay).await, Err(Kind::TotalTimeout));
    assert_eq!(began.elapsed(), ms(300));
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_client_takes_nothing_is_not_upstreams() {
    let clocks = timeouts(None, Some(100));
    let mut relay = Relay::new(Instant::now(), ticking(90, 3), &clocks, None, Rc::default(), None);
    relay.frame().await.unwrap().unwrap();
    tokio::time::sleep(ms(1000)).await;
    // The next is there; the one behind it has its whole time.
    assert_eq!(outcome(relay).await, Ok(2));
}
