//! Sockets that systemd has opened and holds (`sd_listen_fds(3)`): a restart refuses no connection.

use crate::config::plan::Plan;
use crate::downstream::bind::Listener;
use crate::downstream::plan::{Address, ListenerPlan};

use super::legacy::{Handed, Legacy};

/// The admin listener's socket, by `FileDescriptorName=`.
const ADMIN: &str = "admin";

/// The sockets that were handed to this process, each for the listener that it is: by its name
/// (`FileDescriptorName=`), else by its address. What is nobody's is told of and closed.
///
/// To be called while the process has no other thread: variables are removed.
pub(super) fn sockets(plan: &Plan) -> Legacy {
    // The names stay where they are when the rest is taken.
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut given = listenfd::ListenFd::from_env();
    let mut legacy = Legacy::default();
    let mut names = names.split(':');
    for index in 0..given.len() {
        let name = names.next().unwrap_or_default();
        match socket(&mut given, index) {
            Some(socket) => sort(name, socket, plan, &mut legacy),
            None => tracing::warn!(
                index,
                name,
                "what systemd has handed over is no listening stream socket"
            ),
        }
    }
    legacy
}

fn socket(given: &mut listenfd::ListenFd, index: usize) -> Option<Listener> {
    let tcp = given.take_tcp_listener(index).ok().flatten().map(Listener::Tcp);
    tcp.or_else(|| given.take_unix_listener(index).ok().flatten().map(Listener::Unix))
}

fn sort(name: &str, socket: Listener, plan: &Plan, legacy: &mut Legacy) {
    let Ok(real) = socket.address() else {
        tracing::warn!(name, "a socket from systemd has no address");
        return;
    };
    if let Some(listener) = whose(name, &real, &plan.listeners) {
        let there = legacy.listeners.iter_mut().find(|handed| *handed.name == *listener.name);
        match there {
            Some(handed) => handed.sockets.push(socket),
            None => legacy.listeners.push(Handed {
                name: listener.name.to_string(),
                address: listener.address.clone(),
                // systemd made it, and removes it.
                owns_file: false,
                sockets: vec![socket],
            }),
        }
        return;
    }
    match (socket, plan.admin) {
        (Listener::Tcp(socket), Some(admin)) if name == ADMIN || real == Address::Tcp(admin) => {
            legacy.admin = Some((admin, socket));
        }
        _ => {
            tracing::warn!(name, address = ?real, "a socket from systemd is no listener's: closed")
        }
    }
}

fn whose<'a>(
    name: &str,
    real: &Address,
    listeners: &'a [std::sync::Arc<ListenerPlan>],
) -> Option<&'a ListenerPlan> {
    let named = listeners.iter().find(|listener| *listener.name == *name);
    named
        .or_else(|| listeners.iter().find(|listener| listener.address == *real))
        .map(|found| &**found)
}
