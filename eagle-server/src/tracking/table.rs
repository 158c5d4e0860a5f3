//! Which clients have read which keys.

use eagle_core::store::key_slot;
use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicUsize, Ordering};

const SHARDS: usize = 64;

/// Ids of clients, ascending.
type Ids = SmallVec<[u64; 2]>;

/// Clients by key, sharded by the keys' hash slots. A key is the same in all databases, as in Redis.
pub(super) struct Table {
    shards: Vec<Mutex<HashMap<Box<[u8]>, Ids>>>,
    keys: AtomicUsize,
    items: AtomicUsize,
    /// Where the search for keys to be forgotten goes on.
    next: AtomicUsize,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            keys: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
        }
    }
}

impl Table {
    pub fn keys(&self) -> usize {
        self.keys.load(Ordering::SeqCst)
    }

    pub fn items(&self) -> usize {
        self.items.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &[u8]) -> &Mutex<HashMap<Box<[u8]>, Ids>> {
        &self.shards[usize::from(key_slot(key)) % SHARDS]
    }

    /// Adds a client to those of a key.
    pub fn add(&self, key: &[u8], id: u64) {
        let mut shard = self.shard(key).lock();
        if let Some(ids) = shard.get_mut(key) {
            if let Err(at) = ids.binary_search(&id) {
                ids.insert(at, id);
                self.items.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        shard.insert(key.into(), SmallVec::from_slice(&[id]));
        self.items.fetch_add(1, Ordering::Relaxed);
        self.keys.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes the clients of a key out.
    pub fn take(&self, key: &[u8]) -> Vec<u64> {
        let taken = self.shard(key).lock().remove(key);
        taken.map_or(Vec::new(), |ids| self.taken(ids))
    }

    /// Takes any key out.
    pub fn take_any(&self) -> Option<(Box<[u8]>, Vec<u64>)> {
        for _ in 0..SHARDS {
            let at = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let mut shard = self.shards[at].lock();
            let taken = shard.extract_if(|_, _| true).next();
            drop(shard);
            if let Some((key, ids)) = taken {
                return Some((key, self.taken(ids)));
            }
        }
        None
    }

    /// Takes the keys of some slots out.
    pub fn take_slots(&self, wanted: impl Fn(u16) -> bool) -> Vec<(Box<[u8]>, Vec<u64>)> {
        let mut all = Vec::new();
        if self.keys() == 0 {
            return all;
        }
        for shard in &self.shards {
            let mut shard = shard.lock();
            let taken = shard.extract_if(|key, _| wanted(key_slot(key)));
            all.extend(taken.map(|(key, ids)| (key, self.taken(ids))));
        }
        all
    }

    /// Forgets all keys.
    pub fn clear(&self) {
        drop(self.take_slots(|_| true));
    }

    fn taken(&self, ids: Ids) -> Vec<u64> {
        self.keys.fetch_sub(1, Ordering::SeqCst);
        self.items.fetch_sub(ids.len(), Ordering::Relaxed);
        ids.into_vec()
    }
}
