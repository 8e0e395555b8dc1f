//! What somebody else leaves to us: sockets, of the process before this one or of systemd, of which
//! it is decided here whose they are, and endpoints that stay drained.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::SockRef;

use super::Server;
use crate::admin::Drain;
use crate::downstream::bind::{Bound, Listener, Ours, SocketFile, configure};
use crate::downstream::plan::{Address, ListenerPlan};

/// What there is; empty at an ordinary start.
#[derive(Debug, Default)]
pub struct Legacy {
    /// For listeners.
    pub listeners: Vec<Handed>,
    /// For the admin listener.
    pub admin: Option<(SocketAddr, TcpListener)>,
    /// Endpoints that stay drained.
    pub drained: Vec<Drain>,
    /// Whether the files of its Unix sockets are this process's to remove.
    pub ours: Ours,
}

/// The sockets of one listener.
#[derive(Debug)]
pub struct Handed {
    /// The listener's name, as whoever opened them calls it.
    pub name: String,
    /// Where it listens, as it was asked for: a port of 0 stands for whichever it has become.
    pub address: Address,
    /// Whether the file of a Unix socket is ours to remove at the end.
    pub owns_file: bool,
    /// At least one.
    pub sockets: Vec<Listener>,
}

impl Legacy {
    /// The sockets for this listener, if they are here.
    ///
    /// # Errors
    /// Where one of them is no listening socket any more.
    pub fn take(&mut self, plan: &ListenerPlan) -> io::Result<Option<Bound>> {
        let here = self.listeners.iter().enumerate();
        let here = here.map(|(place, handed)| (place, &*handed.name, &handed.address));
        let Some(place) = place_of(&plan.name, &plan.address, here) else { return Ok(None) };
        let handed = self.listeners.remove(place);
        for socket in &handed.sockets {
            socket.set_nonblocking()?;
            if let Listener::Tcp(socket) = socket {
                configure(&SockRef::from(socket))?;
            }
        }
        let first = handed.sockets.first().ok_or(io::ErrorKind::InvalidInput)?;
        let address = first.address()?;
        let file = match &address {
            Address::Unix(path) if handed.owns_file => Some(SocketFile::adopt(path, &self.ours)?),
            Address::Unix(_) | Address::Tcp(_) => None,
        };
        Ok(Some(Bound { address, sockets: handed.sockets, file }))
    }

    /// Closes the sockets that nobody has taken, and removes the files of those that are ours.
    pub fn clear_away(self) {
        for handed in &self.listeners {
            if let (Address::Unix(path), true) = (&handed.address, handed.owns_file) {
                // It goes with its owner.
                drop(SocketFile::adopt(path, &self.ours));
            }
        }
    }

    /// The admin listener's socket, if it is here.
    pub fn take_admin(&mut self, address: SocketAddr) -> Option<TcpListener> {
        self.admin.take_if(|(known, _)| *known == address).map(|(_, socket)| socket)
    }
}

impl Server {
    /// Goes on with what the process before this one had drained, as far as there is such a cluster;
    /// the endpoint may be found later.
    pub(super) fn keep_drained(&self, drained: Vec<Drain>) {
        let live = self.live.load();
        for Drain { cluster, endpoint, left } in drained {
            let Some(members) = live.clusters.iter().find(|one| *one.plan.name == *cluster) else {
                continue;
            };
            let state = self.roster().state(&members.plan.name, &endpoint.into());
            let list = members.list();
            let found = list.iter().find(|member| member.plan.name == state.name);
            state.set_draining(true);
            self.drained.watch(&state, found.map(|member| member.plan.clone()), left);
            tracing::info!(upstream.cluster = %state.cluster, upstream.endpoint = %state.name, "drained, as it was before the upgrade");
        }
    }
}

/// Which of those that are there a listener is: the one with its name and its address, else the one
/// with its address. A port that the system chose is nobody's address.
pub(super) fn place_of<'a>(
    name: &str,
    address: &Address,
    there: impl Iterator<Item = (usize, &'a str, &'a Address)> + Clone,
) -> Option<usize> {
    let fixed = !matches!(address, Address::Tcp(address) if address.port() == 0);
    let mut same = there.filter(|(_, _, known)| *known == address);
    let by_name = same.clone().find(|(_, known, _)| *known == name);
    by_name.or_else(|| same.next().filter(|_| fixed)).map(|(place, _, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_known_by_its_address_and_by_its_name_where_the_address_says_nothing() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        let there = [
            ("a", tcp("127.0.0.1:0")),
            ("b", tcp("127.0.0.1:0")),
            ("c", tcp("0.0.0.0:443")),
            ("d", Address::Unix("/run/d.sock".into())),
        ];
        let find = |name, address: Address| {
            let there = there.iter().enumerate();
            place_of(name, &address, there.map(|(place, (name, address))| (place, *name, address)))
        };
        for (name, address, place) in [
            ("b", tcp("127.0.0.1:0"), Some(1)),
            ("x", tcp("127.0.0.1:0"), None),
            ("c", tcp("0.0.0.0:443"), Some(2)),
            ("renamed", tcp("0.0.0.0:443"), Some(2)),
            ("c", tcp("0.0.0.0:444"), None),
            ("x", Address::Unix("/run/d.sock".into()), Some(3)),
            ("d", Address::Unix("/run/e.sock".into()), None),
        ] {
            assert_eq!(find(name, address), place, "{name}");
        }
    }
}
