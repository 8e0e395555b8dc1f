//! Open-loop load: calls begin when their time has come, whatever became of those before.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::HeaderMap;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, MissedTickBehavior};

use crate::calls::{Answer, Effect, KINDS, Kind};

/// Connections of the clients.
const CONNECTIONS: usize = 4;
/// A stream for so many other calls.
const STREAMS: u64 = 5;
/// How long a client waits for an answer: longer than Ravelin needs to give up a silent connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of one call.
#[derive(Debug)]
pub struct Outcome {
    pub kind: &'static Kind,
    pub id: u64,
    pub began: Instant,
    pub took: Duration,
    /// What the client was told, where that is not what it wanted.
    pub told: Result<(), String>,
    /// The answer's end had a status; of interest for streams.
    pub has_status: bool,
}

/// What the clients have seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub outcomes: Vec<Outcome>,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that broke; those that Ravelin ended with a GOAWAY did not.
    pub broken: u64,
}

/// Load on its own thread, until it is ended.
pub struct Load {
    stop: tokio::sync::watch::Sender<bool>,
    thread: std::thread::JoinHandle<Seen>,
}

impl Load {
    /// Begins so many calls a second.
    pub fn begin(address: SocketAddr, rate: u32) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => LocalSet::new().block_on(&runtime, run(address, rate, stopped)),
                Err(error) => panic!("no runtime: {error}"),
            }
        });
        Self { stop, thread }
    }

    /// No new calls; waits for those under way.
    pub async fn end(self) -> Seen {
        let _ = self.stop.send(true);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        joined.map_or_else(|_| Seen::default(), Result::unwrap_or_default)
    }
}

async fn run(
    address: SocketAddr,
    rate: u32,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) -> Seen {
    let clients: Vec<Rc<Client>> = (0..CONNECTIONS).map(|_| Client::new(address)).collect();
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls: Vec<JoinHandle<()>> = Vec::new();
    for id in 0_u64.. {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
        let kind = &KINDS[(id % KINDS.len() as u64) as usize];
        // A stream lasts: fewer of them are enough.
        if kind.effect == Effect::Stream && !(id / KINDS.len() as u64).is_multiple_of(STREAMS) {
            continue;
        }
        let client = Rc::clone(&clients[(id % CONNECTIONS as u64) as usize]);
        let outcomes = Rc::clone(&outcomes);
        calls.retain(|call| !call.is_finished());
        calls.push(spawn_local(async move {
            let began = Instant::now();
            let answer = tokio::time::timeout(PATIENCE, client.call(kind, id)).await;
            let (told, has_status) = match answer {
                Ok(Ok(answer)) => (kind.judge(&answer), Kind::has_status(&answer)),
                Ok(Err(error)) => (Err(format!("no answer: {error}")), false),
                Err(_) => (Err("no answer: it took too long".to_owned()), false),
            };
            let took = began.elapsed();
            outcomes.borrow_mut().push(Outcome { kind, id, began, took, told, has_status });
        }));
    }
    for call in calls {
        let _ = call.await;
    }
    Seen {
        outcomes: outcomes.take(),
        opened: clients.iter().map(|client| client.opened.get()).sum(),
        broken: clients.iter().map(|client| client.broken.get()).sum(),
    }
}

/// One connection to Ravelin, opened anew when it has gone.
struct Client {
    address: SocketAddr,
    open: tokio::sync::Mutex<Option<SendRequest<Bytes>>>,
    opened: Cell<u64>,
    broken: Rc<Cell<u64>>,
}

impl Client {
    fn new(address: SocketAddr) -> Rc<Self> {
        Rc::new(Self {
            address,
            open: tokio::sync::Mutex::default(),
            opened: Cell::new(0),
            broken: Rc::default(),
        })
    }

    async fn send(&self) -> Result<SendRequest<Bytes>, Box<dyn std::error::Error>> {
        let mut open = self.open.lock().await;
        if let Some(send) = &*open
            && let Ok(send) = send.clone().ready().await
        {
            return Ok(send);
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = h2::client::handshake(stream).await?;
        let broken = Rc::clone(&self.broken);
        spawn_local(async move {
            if connection.await.is_err() {
                broken.set(broken.get() + 1);
            }
        });
        self.opened.set(self.opened.get() + 1);
        *open = Some(send.clone());
        Ok(send.ready().await?)
    }

    async fn call(&self, kind: &Kind, id: u64) -> Result<Answer, Box<dyn std::error::Error>> {
        let (request, body) = kind.request(id);
        let mut send = self.send().await?;
        let (response, mut stream) = send.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(body, true)?;
        }
        let (head, mut stream) = response.await?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let trailers: HeaderMap = stream.trailers().await?.unwrap_or_default();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, trailers })
    }
}
