//! A small steady load that counts every call which did not go well: on HTTP/2 connections that are
//! kept, and on connections of their own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::faults::{Http1, get, with};
use super::h2::Client;

/// Between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(5);

/// Callers that go on until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    good: AtomicU64,
    bad: Mutex<Vec<String>>,
}

impl Counts {
    fn count(&self, who: &str, outcome: Result<u16, String>) {
        match outcome {
            Ok(200) => {
                self.good.fetch_add(1, Ordering::Relaxed);
            }
            other => self.bad.lock().unwrap().push(format!("{who}: {other:?}")),
        }
    }
}

impl Load {
    /// Calls `/admin/v1/healthz` at a plaintext listener in three ways.
    pub fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::<Counts>::default();
        let mut callers = Vec::new();
        for caller in 0..3 {
            let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
            callers.push(tokio::spawn(async move {
                match caller {
                    0 => kept_http2(address, &stop, &counts).await,
                    1 => kept_http1(address, &stop, &counts).await,
                    _ => new_connections(address, &stop, &counts).await,
                }
            }));
        }
        Self { stop, counts, callers }
    }

    /// How many calls went well so far.
    pub fn good(&self) -> u64 {
        self.counts.good.load(Ordering::Relaxed)
    }

    /// Waits for so many more good calls.
    pub async fn more(&self, calls: u64) {
        let enough = self.good() + calls;
        super::faults::eventually("calls go on", || self.good() >= enough).await;
    }

    /// Stops, and says how many calls went well and which did not.
    pub async fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        let bad = self.counts.bad.lock().unwrap().clone();
        (self.counts.good.load(Ordering::Relaxed), bad)
    }
}

/// As every gRPC client does: a connection that was told to go is replaced before the next call.
async fn kept_http2(address: SocketAddr, stop: &AtomicBool, counts: &Counts) {
    let mut client = Client::plain(address).await;
    while !stop.load(Ordering::Relaxed) {
        if !client.is_open().await {
            client = Client::plain(address).await;
        }
        let answer = client.get("/admin/v1/healthz").await;
        match answer {
            // What a GOAWAY says was not processed is sent again, as every client does (RFC 9113 §6.8).
            Err(error) if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) => {
                client = Client::plain(address).await;
            }
            answer => counts.count("h2", answer.map(|it| it.status()).map_err(|it| it.to_string())),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A connection is kept until an answer says that it is the last one.
async fn kept_http1(address: SocketAddr, stop: &AtomicBool, counts: &Counts) {
    let mut kept = Http1::open(address).await;
    while !stop.load(Ordering::Relaxed) {
        kept.send(get("localhost", "/admin/v1/healthz")).await;
        let answer = kept.read().await;
        let last = !matches!(&answer, Ok(answer) if answer.header("connection") != "close");
        counts.count("kept", answer.map(|it| it.status()).map_err(|it| it.to_string()));
        if last {
            kept = Http1::open(address).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn new_connections(address: SocketAddr, stop: &AtomicBool, counts: &Counts) {
    while !stop.load(Ordering::Relaxed) {
        let request = with(get("localhost", "/admin/v1/healthz"), "connection", "close");
        let answer = super::faults::http1(address, request).await;
        counts.count("new", answer.map(|it| it.status()).map_err(|it| it.to_string()));
        tokio::time::sleep(PAUSE).await;
    }
}
