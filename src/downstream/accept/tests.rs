use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;
use crate::downstream::bind::{self, Bound};
use crate::downstream::plan::{Address, Limits, ListenerPlan};

fn plan(address: Address, connections: usize) -> ListenerPlan {
    ListenerPlan {
        name: "public".into(),
        address,
        tls: None,
        proxy_protocol: Vec::new(),
        trusted_proxies: Arc::default(),
        redirect_to_https: None,
        limits: Limits { connections, ..Limits::default() },
    }
}

fn loopback() -> Address {
    Address::Tcp("127.0.0.1:0".parse().unwrap())
}

fn open(plan: &ListenerPlan) -> (Listener, Bound) {
    let mut bound = bind::listeners(plan, 1).unwrap();
    (bound.sockets.pop().unwrap(), bound)
}

#[tokio::test(start_paused = true)]
async fn errors_are_waited_out_with_growing_pauses_and_do_not_end_the_loop() {
    let calls = Cell::new(0);
    let accept = async || {
        calls.set(calls.get() + 1);
        match calls.get() {
            1..=12 => Err(io::Error::from_raw_os_error(24)),
            13 => Ok(((), None)),
            14 => Err(io::ErrorKind::ConnectionAborted.into()),
            15 => Err(io::Error::from_raw_os_error(24)),
            16 => Ok(((), None)),
            _ => future::pending().await,
        }
    };
    let start = Instant::now();
    let times = RefCell::new(Vec::new());
    let (done, stop) = oneshot::channel::<()>();
    let mut done = Some(done);
    let gate = Gate::new(&plan(loopback(), 10));
    let stop = async {
        drop(stop.await);
        Waiting::Take
    };
    accept_from(accept, &gate, stop, |(), _| {
        times.borrow_mut().push(start.elapsed().as_millis());
        if times.borrow().len() == 2 {
            drop(done.take());
        }
    })
    .await;
    // 5 + 10 + 20 + 40 + 80 + 160 + 320 + 640 + 4 × 1000, then from 5 again.
    assert_eq!(*times.borrow(), [5275, 5280]);
    assert_eq!(gate.counters.errors.load(Ordering::Relaxed), 14);
}

#[tokio::test(start_paused = true)]
async fn a_pause_does_not_delay_the_end() {
    let accept = async || Err::<((), Option<SocketAddr>), _>(io::Error::from_raw_os_error(24));
    let gate = Gate::new(&plan(loopback(), 10));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(5500)).await;
        Waiting::Take
    };
    let start = Instant::now();
    accept_from(accept, &gate, stop, |(), _| {}).await;
    assert_eq!(start.elapsed(), Duration::from_millis(5500));
}

#[test]
fn one_line_a_second_is_logged_about_errors() {
    let mut trouble = Trouble::default();
    let start = Instant::now();
    let error = io::Error::from_raw_os_error(24);
    trouble.pause(&error, start);
    trouble.pause(&error, start + LOG_INTERVAL / 2);
    trouble.pause(&error, start + LOG_INTERVAL / 2);
    assert_eq!((trouble.logged, trouble.unlogged), (Some(start), 2));
    trouble.pause(&error, start + LOG_INTERVAL);
    assert_eq!((trouble.logged, trouble.unlogged), (Some(start + LOG_INTERVAL), 0));
}

#[tokio::test]
async fn a_connection_over_the_cap_is_closed_at_once_and_a_freed_place_is_used() {
    let plan = plan(loopback(), 1);
    let (listener, bound) = open(&plan);
    let Address::Tcp(address) = bound.address else { panic!("not TCP") };
    let gate = Gate::new(&plan);
    let held = Rc::new(RefCell::new(Vec::new()));
    let taken = held.clone();
    let accepting =
        accept_loop(listener, gate.clone(), future::pending(), move |stream, peer, permit| {
            if let Ok(permit) = permit {
                taken.borrow_mut().push((stream, peer, permit));
            }
        });
    let clients = async {
        let mut first = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut second = tokio::net::TcpStream::connect(address).await.unwrap();
        assert_eq!(second.read(&mut [0; 1]).await.unwrap(), 0, "closed by the gate");
        let (mut stream, peer, permit) = held.borrow_mut().pop().unwrap();
        assert_eq!(peer, Some(first.local_addr().unwrap()));
        stream.write_all(b"hello").await.unwrap();
        drop((stream, permit));
        let mut text = String::new();
        first.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        let _third = tokio::net::TcpStream::connect(address).await.unwrap();
        while held.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let (accepting, clients) = (std::pin::pin!(accepting), std::pin::pin!(clients));
    assert!(matches!(future::select(accepting, clients).await, Either::Right(_)));
    assert_eq!(gate.counters.refused_total.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn connections_that_wait_when_the_end_comes_are_still_taken() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(Address::Unix(folder.path().join("s")), 10);
    let (listener, _bound) = open(&plan);
    let Address::Unix(path) = &plan.address else { panic!("not Unix") };
    let _waiting = std::os::unix::net::UnixStream::connect(path).unwrap();
    // Another process may have the socket too: what waits is then left to it.
    for (waiting, taken) in [(Waiting::Leave, 0), (Waiting::Take, 1)] {
        let count = Cell::new(0);
        let stop = future::ready(waiting);
        accept_loop(listener.try_clone().unwrap(), Gate::new(&plan), stop, |_, peer, _| {
            assert_eq!(peer, None);
            count.set(count.get() + 1);
        })
        .await
        .unwrap();
        assert_eq!(count.get(), taken);
    }
}

#[test]
fn a_mapped_address_is_given_in_its_own_form() {
    let mapped = "[::ffff:192.0.2.1]:5".parse().unwrap();
    assert_eq!(canonical(mapped), "192.0.2.1:5".parse().unwrap());
    let v6 = "[2001:db8::1]:5".parse().unwrap();
    assert_eq!(canonical(v6), v6);
}
