//! `maxmemory-clients`: what connections take of the memory, and which of them must go when that is too much. The sum is
//! also a part of what `maxmemory` bounds.
//!
//! Every connection says what it holds after each batch of requests, the periodic work says it for those that are
//! silent. Both only while there is a limit; without one nothing is counted. When the sum is above the limit the
//! connections that hold most are ended, until it is not.

use super::{ClientInfo, ClientKind, Registry};
use crate::config::OutputLimits;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

const RELAXED: Ordering = Ordering::Relaxed;

/// Bytes a watched key, and a subscription, are taken to need besides the names.
const ENTRY_BYTES: usize = 96;

/// What one client has last been counted with.
#[derive(Default)]
pub(super) struct Share {
    bytes: AtomicUsize,
    /// It has left: nothing is counted any more.
    has_left: AtomicBool,
}

/// The sum over all clients.
#[derive(Default)]
pub struct ClientMemory {
    bytes: AtomicU64,
    /// Clients ended because all together held too much (INFO `evicted_clients`).
    pub evicted: AtomicU64,
}

impl ClientInfo {
    /// Bytes the connection holds: buffers, queued commands, watched keys, subscriptions. A few replies do not count, so
    /// that a client that reads them takes the same whether it is looked at before or after.
    pub fn memory_bytes(&self) -> usize {
        let topics = &self.subscriptions;
        let entries = self.watching()
            + topics.channels() as usize
            + topics.patterns() as usize
            + topics.shard_channels() as usize;
        let prefixes = self.caching.prefixes();
        let prefixes: usize = prefixes.iter().map(|name| name.len() + ENTRY_BYTES).sum();
        size_of::<ClientInfo>()
            + prefixes
            + self.query_bytes.load(RELAXED)
            + self.query_room_bytes.load(RELAXED)
            + self.counted_bytes()
            + self.multi_bytes()
            + ENTRY_BYTES * entries
    }
}

impl Registry {
    /// Counts what every client holds now, and ends those that hold most if all together hold more than `bytes_max`.
    /// Those that have to go anyway, because of their own limit, go first.
    pub fn recount_memory(&self, bytes_max: u64, limits: &OutputLimits) {
        for client in self.all() {
            if self.enforce_output_limit(&client, limits) {
                self.forget_memory(&client);
            } else {
                self.count(&client);
            }
        }
        if self.memory.bytes.load(RELAXED) > bytes_max {
            self.evict_clients(bytes_max);
        }
    }

    /// Counts what `client` holds now, and ends those that hold most if all together hold more than `bytes_max`. To be called
    /// only while there is a limit.
    pub fn count_memory(&self, client: &ClientInfo, bytes_max: u64) {
        if self.count(client) > bytes_max {
            self.evict_clients(bytes_max);
        }
    }

    /// What all hold as far as it is counted: while `maxmemory` or `maxmemory-clients` bound it.
    pub fn counted_memory(&self) -> u64 {
        self.memory.bytes.load(RELAXED)
    }

    /// Counts what `client` holds now; what all hold.
    fn count(&self, client: &ClientInfo) -> u64 {
        let memory = &self.memory;
        // What waits for replicas is not theirs alone.
        let now = match client.kind() {
            ClientKind::Replica => 0,
            _ => client.memory_bytes(),
        };
        let before = client.share.bytes.swap(now, RELAXED);
        let sum = if now == before {
            // All threads share the sum: it is not written to without need.
            memory.bytes.load(RELAXED)
        } else if now > before {
            let grown = (now - before) as u64;
            memory.bytes.fetch_add(grown, RELAXED) + grown
        } else {
            let shrunk = (before - now) as u64;
            memory.bytes.fetch_sub(shrunk, RELAXED) - shrunk
        };
        if client.share.has_left.load(RELAXED) {
            self.forget_memory(client);
            return memory.bytes.load(RELAXED);
        }
        sum
    }

    /// Takes a client that leaves out of the sum.
    pub fn forget_memory(&self, client: &ClientInfo) {
        client.share.has_left.store(true, RELAXED);
        let bytes = client.share.bytes.swap(0, RELAXED) as u64;
        self.memory.bytes.fetch_sub(bytes, RELAXED);
    }

    fn evict_clients(&self, bytes_max: u64) {
        let mut clients: Vec<(usize, Arc<ClientInfo>)> = self
            .all()
            .into_iter()
            .filter(|client| !client.no_evict.load(RELAXED) && !client.is_killed())
            .filter(|client| client.kind() != ClientKind::Replica)
            .map(|client| (client.share.bytes.load(RELAXED), client))
            .collect();
        clients.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, client) in clients {
            if self.memory.bytes.load(RELAXED) <= bytes_max {
                return;
            }
            tracing::info!(
                "Evicting client: id={} addr={} name={} tot-mem={bytes}",
                client.id,
                client.addr,
                client.name()
            );
            self.end(&client);
            self.forget_memory(&client);
            self.memory.evicted.fetch_add(1, RELAXED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(registry: &Registry, bytes: usize) -> Arc<ClientInfo> {
        let id = registry.next_id();
        let info = ClientInfo::new(id, String::new(), String::new(), None, 0, 0);
        info.query_bytes.store(bytes, RELAXED);
        let info = Arc::new(info);
        assert!(registry.insert(info.clone(), usize::MAX));
        info
    }

    #[test]
    fn whoever_holds_most_goes_first_and_only_while_it_must_be() {
        let registry = Registry::default();
        let clients = [50_000, 300_000, 200_000, 400_000].map(|bytes| client(&registry, bytes));
        clients[3].no_evict.store(true, RELAXED);
        for client in &clients {
            registry.count_memory(client, u64::MAX);
        }
        registry.count_memory(&clients[0], 700_000);
        let killed = clients.each_ref().map(|client| client.is_killed());
        assert_eq!(killed, [false, true, false, false]);
        assert_eq!(registry.len(), 3);
        // It cannot come back into the sum.
        registry.count_memory(&clients[1], u64::MAX);
        registry.count_memory(&clients[0], 600_000);
        assert!(clients[2].is_killed() && !clients[0].is_killed());
        assert_eq!(registry.memory.evicted.load(RELAXED), 2);
        for client in &clients {
            registry.forget_memory(client);
        }
        assert_eq!(registry.memory.bytes.load(RELAXED), 0);
    }
}
