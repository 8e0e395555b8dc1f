//! The way to a server that leaves: makes it wait no longer.

use tokio::sync::watch;

/// Cuts what is left, once it is told to.
#[derive(Clone, Debug)]
pub struct Hurry(watch::Sender<bool>);

impl Hurry {
    /// Nobody is in a hurry.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Cuts what is left.
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    /// When it is told to.
    pub(super) async fn told(&self) {
        // It cannot fail: this is a sender.
        let _ = self.0.subscribe().wait_for(|now| *now).await;
    }
}
