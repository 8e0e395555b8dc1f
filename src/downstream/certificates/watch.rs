//! Loads certificates anew when their files have changed.

use std::sync::Arc;
use std::time::Duration;

use super::{Report, Store};
pub use crate::watch::Watch;
use crate::watch::{POLL, watch_every as watch_files};

/// Watches the files of `store` on a thread of its own and reloads them when they change.
/// `on_reload` is told what came of it, after it has been logged; fails where no thread can be had.
pub fn watch(
    store: Arc<Store>,
    on_reload: impl FnMut(&Report) + Send + 'static,
) -> std::io::Result<Watch> {
    watch_every(store, POLL, on_reload)
}

pub(super) fn watch_every(
    store: Arc<Store>,
    poll: Duration,
    mut on_reload: impl FnMut(&Report) + Send + 'static,
) -> std::io::Result<Watch> {
    let (files, seen) = (store.files().cloned().collect(), store.seen);
    watch_files(poll, "certificates", files, seen, move || {
        let report = store.reload();
        log(&report);
        on_reload(&report);
    })
}

fn log(report: &Report) {
    for file in &report.changed {
        tracing::info!(file = %file.display(), "a new certificate is in use");
    }
    for error in &report.failed {
        tracing::error!(%error, "a new certificate is not used; the last good one stays");
    }
}
