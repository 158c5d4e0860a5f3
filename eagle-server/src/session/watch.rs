//! WATCH: who wants to know that a key changed.
//!
//! A session registers its flag under each watched key while it holds the key's slot lock, and a
//! writer raises the flags of the keys it touched before it lets go of that lock. So a change
//! either happened before the registration, and the client's next read sees it, or it raises the
//! flag. Nobody pays while nothing is watched: writers look at one counter of watched keys, which
//! the keyspace keeps (`Keyspace::watchers`).

use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Raised once a watched key has changed.
pub type WatchFlag = Arc<AtomicBool>;

type WatchedKey = (u8, Box<[u8]>);

const SHARDS: usize = 64;

/// Watched keys of all sessions, sharded by a hash of the key.
pub struct WatchTable {
    shards: Vec<Mutex<HashMap<WatchedKey, Vec<WatchFlag>>>>,
}

impl Default for WatchTable {
    fn default() -> WatchTable {
        WatchTable {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl WatchTable {
    /// Raises the flag of every session that watches `key`.
    pub fn touch(&self, db: u8, key: &[u8]) {
        let shard = self.shard(key).lock();
        if let Some(flags) = shard.get(&(db, Box::from(key))) {
            flags
                .iter()
                .for_each(|flag| flag.store(true, Ordering::Release));
        }
    }

    /// Raises the flags of the watched keys in `db` for which `changed` says so (FLUSHDB, SWAPDB).
    pub fn touch_if(&self, db: u8, mut changed: impl FnMut(&[u8]) -> bool) {
        for shard in &self.shards {
            for ((_, key), flags) in shard.lock().iter().filter(|((at, _), _)| *at == db) {
                if changed(key) {
                    flags
                        .iter()
                        .for_each(|flag| flag.store(true, Ordering::Release));
                }
            }
        }
    }

    fn register(&self, db: u8, key: &[u8], flag: &WatchFlag) {
        self.shard(key)
            .lock()
            .entry((db, Box::from(key)))
            .or_default()
            .push(flag.clone());
    }

    fn unregister(&self, db: u8, key: &[u8], flag: &WatchFlag) {
        let mut shard = self.shard(key).lock();
        let watched: WatchedKey = (db, Box::from(key));
        if let Some(flags) = shard.get_mut(&watched) {
            flags.retain(|other| !Arc::ptr_eq(other, flag));
            if flags.is_empty() {
                shard.remove(&watched);
            }
        }
    }

    fn shard(&self, key: &[u8]) -> &Mutex<HashMap<WatchedKey, Vec<WatchFlag>>> {
        &self.shards[usize::from(eagle_core::store::key_slot(key)) % SHARDS]
    }
}

/// The keys one session watches.
#[derive(Default)]
pub struct Watched {
    keys: Vec<(u8, Box<[u8]>, Option<u64>)>,
    flag: WatchFlag,
}

impl Watched {
    /// Watches `key`. `expires_at_ms` is its TTL at this moment: a key that expires afterwards
    /// counts as changed, even before anybody removes it. The caller holds the key's slot lock.
    pub fn add(
        &mut self,
        table: &WatchTable,
        watchers: &AtomicU64,
        db: u8,
        key: &[u8],
        expires_at_ms: Option<u64>,
    ) {
        if self
            .keys
            .iter()
            .any(|(at, watched, _)| *at == db && **watched == *key)
        {
            return;
        }
        watchers.fetch_add(1, Ordering::AcqRel);
        table.register(db, key, &self.flag);
        self.keys.push((db, Box::from(key), expires_at_ms));
    }

    /// Whether a watched key has changed or expired.
    pub fn is_dirty(&self, now_ms: u64) -> bool {
        self.is_touched()
            || self
                .keys
                .iter()
                .any(|(_, _, expires)| expires.is_some_and(|at_ms| at_ms <= now_ms))
    }

    /// Whether a watched key has changed.
    pub fn is_touched(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Whether keys of `slot` are watched.
    pub fn covers(&self, slot: u16) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|(_, key, _)| eagle_core::store::key_slot(key) == slot)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn clear(&mut self, table: &WatchTable, watchers: &AtomicU64) {
        for (db, key, _) in self.keys.drain(..) {
            table.unregister(db, &key, &self.flag);
            watchers.fetch_sub(1, Ordering::AcqRel);
        }
        self.flag = WatchFlag::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_raises_only_watchers_of_that_key_and_db() {
        let (table, watchers) = (WatchTable::default(), AtomicU64::new(0));
        let (mut a, mut b) = (Watched::default(), Watched::default());
        a.add(&table, &watchers, 0, b"k", None);
        b.add(&table, &watchers, 1, b"k", None);
        table.touch(0, b"other");
        assert!(!a.is_dirty(0));
        table.touch(0, b"k");
        assert!(a.is_dirty(0) && !b.is_dirty(0));
        a.clear(&table, &watchers);
        assert!(!a.is_dirty(0) && watchers.load(Ordering::Relaxed) == 1);
        b.clear(&table, &watchers);
        assert_eq!(watchers.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn expiry_counts_as_change() {
        let (table, watchers) = (WatchTable::default(), AtomicU64::new(0));
        let mut watched = Watched::default();
        watched.add(&table, &watchers, 0, b"k", Some(100));
        assert!(!watched.is_dirty(99) && watched.is_dirty(100));
        watched.clear(&table, &watchers);
    }
}
