//! A Ravelin to test against, and clients that speak to it.

pub mod certs;
pub mod dns;
pub mod frames;
pub mod echo;
pub mod echo_service;
pub mod faults;
pub mod h2;
pub mod origin;
pub mod load;
pub mod process;
pub mod wire;
pub mod raw;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ravelin::config::{self, Files, Overrides};
use ravelin::server::Server;
use ravelin::standin::{Options, Standin};
use ravelin::telemetry::metrics::{Metrics, TextFormat};
use ravelin::upstream::roster::Roster;
use tokio::sync::oneshot;

/// A stand-in with ZITADEL's own settings.
pub async fn standin() -> Standin {
    Standin::start(Options::default()).await.unwrap()
}

/// A running Ravelin, with its control runtime on a thread of its own.
pub struct Ravelin {
    addresses: Vec<(String, SocketAddr)>,
    admin: Option<SocketAddr>,
    metrics: Arc<Metrics>,
    roster: Arc<Roster>,
    leave: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Ravelin {
    /// Two listeners, `https` and `plain`, and one route to `upstream` (`h2c://127.0.0.1:1234`).
    pub fn before(upstream: &str) -> Self {
        Self::start(&config_before(upstream))
    }

    /// Any configuration; `{cert}` and `{key}` stand for a certificate of localhost.
    pub fn start(yaml: &str) -> Self {
        let text = certs::fill(yaml);
        let plan = config::load_str("test", &text, &Overrides::default(), Files::MustExist)
            .unwrap_or_else(|faults| panic!("{faults}"));
        let (tell, told) = std::sync::mpsc::channel();
        let (leave, left) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let server = Server::start(plan).await.unwrap_or_else(|error| panic!("{error}"));
                let addresses = server
                    .listening()
                    .into_iter()
                    .filter_map(|(name, _)| Some((name.to_string(), server.address(&name)?)));
                let told = (
                    addresses.collect(),
                    server.admin(),
                    Arc::clone(server.metrics()),
                    Arc::clone(server.roster()),
                );
                tell.send(told).unwrap();
                let _ = left.await;
                server.drain().await;
            });
        });
        let (addresses, admin, metrics, roster) = told.recv().unwrap();
        Self {
            addresses,
            admin,
            metrics,
            roster,
            leave: Mutex::new(Some(leave)),
            thread: Mutex::new(Some(thread)),
        }
    }

    /// The address of a TCP listener.
    pub fn address(&self, name: &str) -> SocketAddr {
        self.addresses.iter().find(|(known, _)| known == name).unwrap().1
    }

    pub fn https(&self) -> SocketAddr {
        self.address("https")
    }

    pub fn plain(&self) -> SocketAddr {
        self.address("plain")
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin.unwrap()
    }

    /// One sample of the metrics, `ravelin_requests_total{…}` with all its labels, or 0.
    pub fn metric(&self, line_start: &str) -> f64 {
        let text = self.metrics.expose(TextFormat::Prometheus);
        text.lines()
            .filter(|line| line.starts_with(line_start))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// What is known of every endpoint.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Begins to drain (as SIGTERM does); `wait` waits for the end.
    pub fn drain(&self) {
        if let Some(leave) = self.leave.lock().unwrap().take() {
            let _ = leave.send(());
        }
    }

    /// Waits until it has ended.
    pub fn wait(&self) {
        if let Some(thread) = self.thread.lock().unwrap().take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Ravelin {
    fn drop(&mut self) {
        self.drain();
    }
}

/// The configuration of [`Ravelin::before`].
pub fn config_before(upstream: &str) -> String {
    format!(
        "workers: 1\n\
         listeners:\n\
         \x20 - {{name: https, address: \"127.0.0.1:0\", tls: {{certificates: [{{cert: \"{{cert}}\", key: \"{{key}}\"}}]}}}}\n\
         \x20 - {{name: plain, address: \"127.0.0.1:0\"}}\n\
         routes:\n  - {{name: all, to: up}}\n\
         clusters:\n  up: {{endpoints: [\"{upstream}\"]}}\n\
         admin: {{address: \"127.0.0.1:0\"}}\n\
         access_log: {{format: \"off\"}}\n\
         shutdown: {{grace: 5s}}\n"
    )
}
