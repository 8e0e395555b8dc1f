//! What is remembered of each client, in bounded memory: what does not fit is forgotten, longest
//! unseen first. Whoever commands more networks than fit can therefore outrun a limit; what they
//! cannot do is fill the memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::exchange::Client;

/// Workers lock one of these for a moment at each request; 16 keep them apart.
const SHARDS: usize = 16;
/// Clients of one generation in one shard.
const GENERATION: usize = 2_048;
/// Clients that are remembered at most.
pub const CLIENTS: usize = SHARDS * 2 * GENERATION;

/// A `T` for each client seen of late; shared by all workers.
#[derive(Debug)]
pub struct Clients<T> {
    shards: [Mutex<Generations<T>>; SHARDS],
}

impl<T: Default> Clients<T> {
    /// Nobody has asked yet. Allocates with its first clients.
    pub fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(Generations::new())) }
    }

    /// Reads and changes what is known of `client`; a new one begins with the default. `change` must
    /// leave it whole at every moment: it is read again after a panic.
    pub fn with<R>(&self, client: Client, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let shard = self.shards.get(client.shard(SHARDS))?;
        let mut clients = shard.lock().unwrap_or_else(PoisonError::into_inner);
        Some(change(clients.known(client)))
    }

    /// How many clients are remembered.
    pub fn len(&self) -> usize {
        let count = |shard: &Mutex<Generations<T>>| {
            let clients = shard.lock().unwrap_or_else(PoisonError::into_inner);
            clients.young.len() + clients.old.len()
        };
        self.shards.iter().map(count).sum()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Default> Default for Clients<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Those seen of late, and those seen before them. When the young are too many they become the old,
/// and the old are forgotten at once: no sweep, and whoever asks often is always remembered.
#[derive(Debug)]
struct Generations<T> {
    young: HashMap<Client, T>,
    old: HashMap<Client, T>,
}

impl<T: Default> Generations<T> {
    fn new() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }

    fn known(&mut self, client: Client) -> &mut T {
        if self.young.len() >= GENERATION && !self.young.contains_key(&client) {
            let known = self.old.remove(&client).unwrap_or_default();
            self.old = std::mem::take(&mut self.young);
            return self.young.entry(client).or_insert(known);
        }
        let old = &mut self.old;
        self.young.entry(client).or_insert_with(|| old.remove(&client).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_beyond_the_bound_are_forgotten_and_those_that_go_on_asking_are_not() {
        let clients: Clients<u32> = Clients::new();
        assert!(clients.is_empty());
        let steady = Client::of("203.0.113.1".parse().unwrap());
        let count = |seen: &mut u32| {
            *seen += 1;
            *seen
        };
        let mut asked = 0;
        for address in 0..100_000u32 {
            assert_eq!(clients.with(Client::V4(address), count), Some(1));
            if address % 1_000 == 0 {
                asked += 1;
                assert_eq!(clients.with(steady, count), Some(asked), "{address}");
            }
        }
        assert!(clients.len() <= CLIENTS, "{}", clients.len());
        assert!(clients.len() > CLIENTS / 3, "{}", clients.len());
    }
}
