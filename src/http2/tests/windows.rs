//! Whom a reader that reads little or nothing stops: nobody else.

use super::*;

/// More than a connection's window, there and back.
async fn goes_round(requests: &Requests) {
    let (mut sender, mut receiver) = requests.send(&post(), false).unwrap();
    let sending = spawn_local(async move {
        send(&mut sender, Bytes::from(vec![1; 100_000])).await.unwrap();
        sender.send_data(&Bytes::new(), true).unwrap();
    });
    head(&mut receiver).await.unwrap();
    assert_eq!(read(&mut receiver).await.unwrap().0.len(), 100_000);
    sending.await.unwrap();
}

#[tokio::test]
async fn what_nobody_reads_takes_no_window_from_others() {
    on_one_thread(async {
        let requests = pair(1 << 20, (30_000, 1 << 16), |mut accepted| async move {
            if accepted.request.uri().path() == "/echo" {
                return echo(accepted).await;
            }
            accepted.sender.respond(&Response::new(()), false).unwrap();
            // By then nobody reads the answer any more.
            let _ = poll_fn(|cx| accepted.receiver.poll_frame(cx)).await;
            let _ = send(&mut accepted.sender, Bytes::from(vec![7; 30_000])).await;
            poll_fn(|cx| accepted.sender.poll_reset(cx)).await;
        });
        let mut held = Vec::new();
        for _ in 0..10 {
            let asked = http::Request::post("http://localhost/unread").body(()).unwrap().into();
            let (mut sender, mut receiver) = requests.send(&asked, false).unwrap();
            assert_eq!(head(&mut receiver).await.unwrap().status(), 200);
            // The other half is held on: the stream is not reset.
            drop(receiver);
            send(&mut sender, Bytes::from_static(b"go on")).await.unwrap();
            held.push(sender);
        }
        goes_round(&requests).await;
    })
    .await;
}

#[tokio::test]
async fn slow_readers_of_most_of_the_window_leave_the_rest_to_others() {
    on_one_thread(async {
        let requests = pair(1 << 20, (20_000, 1 << 16), |mut accepted| async move {
            if accepted.request.uri().path() == "/echo" {
                return echo(accepted).await;
            }
            accepted.sender.respond(&Response::new(()), false).unwrap();
            let _ = send(&mut accepted.sender, Bytes::from(vec![7; 20_000])).await;
            poll_fn(|cx| accepted.sender.poll_reset(cx)).await;
        });
        // 40,000 of 65,535 bytes: less than half is left to go round.
        let mut held = Vec::new();
        for _ in 0..2 {
            let asked = http::Request::post("http://localhost/slow").body(()).unwrap().into();
            let (sender, mut receiver) = requests.send(&asked, false).unwrap();
            head(&mut receiver).await.unwrap();
            held.push((sender, receiver));
        }
        goes_round(&requests).await;
        // Nothing of theirs is lost.
        let (_sender, mut slow) = held.pop().unwrap();
        let mut heard = 0;
        while heard < 20_000 {
            let frame = poll_fn(|cx| slow.poll_frame(cx)).await.unwrap().unwrap();
            heard += frame.into_data().unwrap().len();
        }
    })
    .await;
}
