//! Whom a listener believes to be a client: the CA file of client certificates, read anew when it
//! changes. A bad new file is reported, and the last good one kept.

use std::fs;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

use super::{SetupError, server_config};
use crate::downstream::certificates::{Report, Store};
use crate::downstream::plan::TlsPlan;

/// What is offered in handshakes, and what it was made of.
pub struct Trust {
    plan: TlsPlan,
    store: Arc<Store>,
    config: Arc<ArcSwap<ServerConfig>>,
    /// The CA file as it was read last.
    seen: Option<Vec<u8>>,
    /// Why that is not in use.
    fault: Option<String>,
}

impl Trust {
    /// What the plan says.
    ///
    /// # Errors
    /// As [`server_config`].
    pub fn new(plan: &TlsPlan, store: &Arc<Store>) -> Result<Self, SetupError> {
        let seen = plan.client_auth.ca().and_then(|file| fs::read(file).ok());
        let config = server_config(plan, Arc::clone(store))?;
        Ok(Self {
            plan: plan.clone(),
            store: Arc::clone(store),
            config: Arc::new(ArcSwap::new(config)),
            seen,
            fault: None,
        })
    }

    /// What is offered; the same place holds what comes later.
    pub fn config(&self) -> Arc<ArcSwap<ServerConfig>> {
        Arc::clone(&self.config)
    }

    /// Looks at the CA file whenever the files of the listener have changed, and notes how it all went.
    pub fn renewed(mut self) -> impl FnMut(&Report) + Send + 'static {
        move |report| {
            self.look();
            let faults = report.failed.iter().map(ToString::to_string).chain(self.fault.clone());
            let faults: Vec<_> = faults.collect();
            self.store.reloads().note((!faults.is_empty()).then(|| faults.join("; ")));
        }
    }

    /// The whole configuration is made anew: tickets of clients that an old CA had let in are not
    /// taken any more.
    fn look(&mut self) {
        let Some(file) = self.plan.client_auth.ca() else { return };
        let current = fs::read(file).ok();
        if current == self.seen {
            return;
        }
        self.fault = match server_config(&self.plan, Arc::clone(&self.store)) {
            Ok(config) => {
                self.config.store(config);
                tracing::info!(file = %file.display(), "a new CA of client certificates is in use");
                None
            }
            Err(error) => {
                tracing::error!(%error, "a new CA of client certificates is not used; the last good one stays");
                Some(error.to_string())
            }
        };
        self.seen = current;
    }
}
