//! `ravelin check`: is this configuration sound, and what does it mean?

use std::process::ExitCode;

use crate::command::{USAGE, print, report};
use crate::config::plan::Plan;
use crate::config::{self, Source, explain};
use crate::downstream::certificates::Store;
use crate::downstream::handshake::{self, trust::Trust};
use crate::upstream::tls;

/// Loads a source and says so, or all that is wrong with it.
///
/// `explained`: what it means, `full` or what differs from the defaults.
pub fn check(source: &Source, explained: Option<&str>) -> ExitCode {
    let name = match &source.file {
        Some(file) => file.display().to_string(),
        None => "configuration".to_owned(),
    };
    match config::load(source.clone()) {
        Err(faults) => report(&faults),
        Ok(plan) if unsound(&plan) => USAGE.into(),
        Ok(plan) => match explained {
            Some("full") => print(&explain::yaml(&plan)),
            Some(_) => print(&explain::concise(&plan)),
            None => print(&format!(
                "{name}: ok ({}, {}, {})\n",
                counted(plan.listeners.len(), "listener"),
                counted(plan.routes.len(), "route"),
                counted(plan.clusters.len(), "cluster"),
            )),
        },
    }
}

/// Whether there is TLS, towards clients or upstream, with which a start would fail; each is told.
fn unsound(plan: &Plan) -> bool {
    let secured =
        plan.listeners.iter().filter_map(|listener| Some((listener, listener.tls.as_ref()?)));
    let faults = secured.filter_map(|(listener, tls)| {
        let beside = tls.client_auth.ca().cloned();
        let loaded = Store::load_beside(&tls.certificates, beside, handshake::provider())
            .map_err(|error| error.to_string())
            .and_then(|store| Trust::new(tls, &store).map_err(|error| error.to_string()));
        loaded.err().map(|why| format!("listener {}: {why}", listener.name))
    });
    let clusters = plan.clusters.iter().filter_map(|cluster| {
        let mut secured = cluster.endpoints.iter().filter(|endpoint| endpoint.protocol.is_tls());
        let why = secured.find_map(|endpoint| tls::client(&cluster.tls, endpoint).err())?;
        Some(format!("cluster {}: {why}", cluster.name))
    });
    let faults: Vec<_> = faults.chain(clusters).collect();
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    !faults.is_empty()
}

fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
