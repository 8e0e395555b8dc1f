//! How many connections a listener has, in all and of one client: who may come in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::downstream::plan::ListenerPlan;
use crate::exchange::Client;

/// Workers lock one of these for a moment at a connection's begin and end; 16 keep them apart.
const SHARDS: usize = 16;

/// The caps of one listener, shared by all workers.
#[derive(Debug)]
pub struct Gate {
    cap: AtomicUsize,
    cap_per_client: AtomicUsize,
    peers_are_clients: AtomicBool,
    open: AtomicUsize,
    clients: [Mutex<HashMap<Client, usize>>; SHARDS],
    /// What it has counted, for the metrics.
    pub counters: Counters,
}

/// What a gate has counted since the start; each only grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that came in.
    pub accepted: AtomicU64,
    /// Connections closed at once because the listener had its fill.
    pub refused_total: AtomicU64,
    /// Connections closed at once because their client had its fill.
    pub refused_client: AtomicU64,
    /// Errors of accepting itself.
    pub errors: AtomicU64,
}

/// Why a connection may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The listener has as many as it may.
    Total,
    /// The client has as many as it may.
    Client,
}

impl Gate {
    /// The gate of a listener. Where the PROXY protocol is spoken, a peer is a balancer and not a
    /// client: connections are then counted for a client only by [`Permit::attribute`].
    pub fn new(plan: &ListenerPlan) -> Arc<Self> {
        Arc::new(Self {
            cap: AtomicUsize::new(plan.limits.connections),
            cap_per_client: AtomicUsize::new(plan.limits.connections_per_client),
            peers_are_clients: AtomicBool::new(plan.proxy_protocol.is_empty()),
            open: AtomicUsize::new(0),
            clients: std::array::from_fn(|_| Mutex::default()),
            counters: Counters::default(),
        })
    }

    /// From now on another plan's caps hold; connections that are there stay and count.
    pub fn follow(&self, plan: &ListenerPlan) {
        self.cap.store(plan.limits.connections, Ordering::Relaxed);
        self.cap_per_client.store(plan.limits.connections_per_client, Ordering::Relaxed);
        self.peers_are_clients.store(plan.proxy_protocol.is_empty(), Ordering::Relaxed);
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Lets a connection of `peer` in, or says why not; either is counted.
    pub fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Permit, Refused> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.cap.load(Ordering::Relaxed) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.counters.refused_total.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Total);
        }
        let mut permit = Permit { gate: self.clone(), client: None };
        if let Some(peer) = peer.filter(|_| self.peers_are_clients.load(Ordering::Relaxed)) {
            permit.attribute(peer)?;
        }
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(permit)
    }

    fn clients(&self, client: Client) -> Option<MutexGuard<'_, HashMap<Client, usize>>> {
        // Counting cannot panic half-way, so a poisoned map is still whole.
        let shard = self.clients.get(client.shard(SHARDS))?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One open connection; gives its place back when dropped.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    client: Option<Client>,
}

impl Permit {
    /// Counts the connection for this client, in place of one that it was counted for before.
    pub fn attribute(&mut self, client: IpAddr) -> Result<(), Refused> {
        self.release_client();
        let client = Client::of(client);
        if let Some(mut clients) = self.gate.clients(client) {
            let count = clients.entry(client).or_insert(0);
            if *count >= self.gate.cap_per_client.load(Ordering::Relaxed) {
                if *count == 0 {
                    clients.remove(&client);
                }
                self.gate.counters.refused_client.fetch_add(1, Ordering::Relaxed);
                return Err(Refused::Client);
            }
            *count += 1;
        }
        self.client = Some(client);
        Ok(())
    }

    fn release_client(&mut self) {
        let Some(client) = self.client.take() else { return };
        let Some(mut clients) = self.gate.clients(client) else { return };
        if let Entry::Occupied(mut entry) = clients.entry(client) {
            if *entry.get() > 1 {
                *entry.get_mut() -= 1;
            } else {
                entry.remove();
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release_client();
        self.gate.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downstream::plan::{Address, Limits};

    fn gate(connections: usize, connections_per_client: usize, proxied: bool) -> Arc<Gate> {
        let limits = Limits { connections, connections_per_client, ..Limits::default() };
        Gate::new(&ListenerPlan { limits, ..plan(proxied) })
    }

    fn plan(proxied: bool) -> ListenerPlan {
        ListenerPlan {
            name: "public".into(),
            address: Address::Unix("unused".into()),
            tls: None,
            proxy_protocol: proxied.then(|| "10.0.0.0/8".parse().unwrap()).into_iter().collect(),
            trusted_proxies: Arc::default(),
            redirect_to_https: None,
            limits: Limits::default(),
        }
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn held_clients(gate: &Gate) -> usize {
        gate.clients.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn the_cap_of_a_client_is_counted_and_released() {
        let gate = gate(10, 2, false);
        let first = gate.admit(ip("192.0.2.1")).unwrap();
        let second = gate.admit(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(gate.admit(ip("192.0.2.1")).unwrap_err(), Refused::Client);
        assert_eq!(gate.open(), 2);
        let other = gate.admit(ip("192.0.2.2")).unwrap();
        drop(first);
        let third = gate.admit(ip("192.0.2.1")).unwrap();
        drop((second, third, other));
        assert_eq!((gate.open(), held_clients(&gate)), (0, 0));
        assert_eq!(gate.counters.refused_client.load(Ordering::Relaxed), 1);
        assert_eq!(gate.counters.accepted.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_new_plan_s_caps_hold_for_the_next_and_count_those_that_are_there() {
        let gate = gate(2, 2, false);
        let first = gate.admit(ip("192.0.2.1")).unwrap();
        let second = gate.admit(ip("192.0.2.2")).unwrap();
        gate.follow(&ListenerPlan {
            limits: Limits { connections: 3, connections_per_client: 1, ..Limits::default() },
            ..plan(false)
        });
        assert_eq!(gate.admit(ip("192.0.2.1")).unwrap_err(), Refused::Client);
        let third = gate.admit(ip("192.0.2.3")).unwrap();
        assert_eq!(gate.admit(ip("192.0.2.4")).unwrap_err(), Refused::Total);
        drop((first, second, third));
        assert_eq!((gate.open(), held_clients(&gate)), (0, 0));
    }

    #[test]
    fn addresses_of_one_v6_subscriber_are_one_client() {
        let gate = gate(10, 1, false);
        let _held = gate.admit(ip("2001:db8:0:1::1")).unwrap();
        assert_eq!(gate.admit(ip("2001:db8:0:1:ffff::2")).unwrap_err(), Refused::Client);
        gate.admit(ip("2001:db8:0:2::1")).unwrap();
    }

    #[test]
    fn the_cap_of_the_listener_holds_for_all_and_for_unix_sockets() {
        let gate = gate(2, 1, false);
        let held = (gate.admit(None).unwrap(), gate.admit(None).unwrap());
        assert_eq!(gate.admit(None).unwrap_err(), Refused::Total);
        assert_eq!(gate.counters.refused_total.load(Ordering::Relaxed), 1);
        drop(held);
        gate.admit(None).unwrap();
    }

    #[test]
    fn behind_a_balancer_the_client_counts_and_not_the_balancer() {
        let gate = gate(10, 1, true);
        let mut first = gate.admit(ip("10.0.0.1")).unwrap();
        let mut second = gate.admit(ip("10.0.0.1")).unwrap();
        first.attribute("192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(second.attribute("192.0.2.1".parse().unwrap()), Err(Refused::Client));
        second.attribute("192.0.2.2".parse().unwrap()).unwrap();
        drop((first, second));
        assert_eq!((gate.open(), held_clients(&gate)), (0, 0));
    }
}
