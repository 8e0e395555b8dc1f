//! How a server leaves: what is under way may end, the rest is cut and counted.

use std::time::Duration;

use super::Server;
use super::hurry::Hurry;
use crate::admin;
use crate::downstream::accept::Waiting;
use crate::worker::Order;

impl Server {
    /// How to cut what is left while it leaves.
    pub fn hurry(&self) -> Hurry {
        self.hurry.clone()
    }

    /// How long it waits for what is under way once it leaves.
    pub fn grace(&self) -> Duration {
        self.live.load().plan.shutdown.grace
    }

    /// Leaves: unready, wait for load balancers, no new connections, GOAWAY, wait for what is
    /// under way, at the latest until the grace is over. How many exchanges were cut then.
    pub async fn drain(self) -> u64 {
        let delay = self.live.load().plan.shutdown.delay;
        self.readiness.set(admin::Phase::Draining);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.hurry.told() => {}
        }
        self.leave(Waiting::Take).await
    }

    /// Leaves to another process that accepts on the same sockets: as [`Server::drain`], but nobody
    /// need notice, and what waits in the sockets is the other's.
    pub async fn hand_over(mut self) -> u64 {
        self.readiness.set(admin::Phase::Draining);
        if let Some(stop) = self.stop_admin.take() {
            let _ = stop.send(());
        }
        self.leave(Waiting::Leave).await
    }

    async fn leave(mut self, waiting: Waiting) -> u64 {
        let grace = self.grace();
        // Our own descriptors first, as in `Grounds::follow`; files of Unix sockets come with them.
        self.grounds.clear(waiting == Waiting::Leave);
        let workers = std::mem::take(&mut self.workers);
        let orders: Vec<_> = workers.iter().map(|worker| worker.orders.clone()).collect();
        let tell = |order: fn(Duration, Waiting) -> Order| {
            for worker in &orders {
                let _ = worker.send(order(grace, waiting));
            }
        };
        tell(Order::Leave);
        let mut joined = tokio::task::spawn_blocking(move || {
            let ended = workers.into_iter().map(|worker| worker.thread.join());
            ended.fold(0, |cut, ended| cut + exchanges_cut(ended))
        });
        let cut = tokio::select! {
            cut = &mut joined => cut,
            () = self.hurry.told() => {
                tell(|_, _| Order::Cut);
                joined.await
            }
        };
        if let Some(stop) = self.stop_admin.take() {
            let _ = stop.send(());
        }
        // Signals are heard meanwhile.
        let _ = tokio::task::spawn_blocking(move || self.access.close()).await;
        cut.unwrap_or_default()
    }
}

fn exchanges_cut(ended: std::thread::Result<std::io::Result<u64>>) -> u64 {
    match ended {
        Ok(Ok(cut)) => cut,
        Ok(Err(error)) => {
            tracing::error!(%error, "a worker ended badly");
            0
        }
        // A panic has been told by its thread.
        Err(_) => 0,
    }
}
