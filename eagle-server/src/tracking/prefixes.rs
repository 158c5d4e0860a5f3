//! Clients in broadcast mode, by the prefixes of the keys they want to hear of.

use crate::session::ClientInfo;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Clients by id.
type Listeners = BTreeMap<u64, Arc<ClientInfo>>;

#[derive(Default)]
pub(super) struct Prefixes {
    by_prefix: RwLock<BTreeMap<Box<[u8]>, Listeners>>,
    len: AtomicUsize,
}

impl Prefixes {
    /// Prefixes with a client.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Adds a client to those of a prefix; whether it is new there.
    pub fn add(&self, prefix: &[u8], client: &Arc<ClientInfo>) -> bool {
        let mut by_prefix = self.by_prefix.write();
        let clients = by_prefix.entry(prefix.into()).or_default();
        let is_new = clients.insert(client.id, client.clone()).is_none();
        self.len.store(by_prefix.len(), Ordering::SeqCst);
        is_new
    }

    pub fn remove(&self, prefix: &[u8], id: u64) {
        let mut by_prefix = self.by_prefix.write();
        if let Some(clients) = by_prefix.get_mut(prefix) {
            clients.remove(&id);
            if clients.is_empty() {
                by_prefix.remove(prefix);
            }
        }
        self.len.store(by_prefix.len(), Ordering::SeqCst);
    }

    /// Calls `each` for every client of every prefix that some of `keys` have, with those keys.
    pub fn for_each(&self, keys: &[&[u8]], mut each: impl FnMut(&ClientInfo, &[&[u8]])) {
        for (prefix, clients) in self.by_prefix.read().iter() {
            let with_prefix = keys.iter().copied().filter(|key| key.starts_with(prefix));
            let with_prefix: Vec<&[u8]> = with_prefix.collect();
            if !with_prefix.is_empty() {
                for client in clients.values() {
                    each(client, &with_prefix);
                }
            }
        }
    }
}
