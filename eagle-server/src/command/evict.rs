//! Eviction: keys go when the dataset is larger than `maxmemory`.
//!
//! The thread of each command looks before it runs one, and makes room if need be: it draws keys, takes the best
//! candidate by `maxmemory-policy`, and removes it in a transaction of its own. When it has spent the time that
//! `maxmemory-eviction-tenacity` grants, the command goes on and the keyspace thread continues in the background.

use super::blocking::post_ready;
use super::caches::tell_caches;
use super::clock::{CLOCK_MASK, lfu_decayed, lru_clock};
use super::deliver::publish_event;
use super::end;
use crate::config::special::EventClasses;
use crate::config::{Config, EvictionPolicy};
use crate::eviction::{Candidates, time_max};
use crate::node::Node;
use crate::tracking::Turn;
use eagle_core::store::{Access, Among, Entry, Worker, key_slot};
use rand::Rng;
use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Whether there is room for more data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    Enough,
    /// The data is larger than allowed, but keys are going.
    Making,
    /// The data is larger than allowed and nothing may go.
    None,
}

/// What a thread evicts with.
pub struct Evictor<'a> {
    pub node: &'a Node,
    pub worker: &'a mut Worker,
    pub candidates: &'a mut Candidates,
    /// The turn of the connection for whose request there is to be room, if any.
    pub turn: Option<&'a RefCell<Turn>>,
}

/// Blocks of a removed value that are freed before memory is looked at again.
const REAP_BLOCKS: usize = 1024;

/// Draws that may find nothing to remove before eviction gives up: candidates that others removed, mostly.
const FRUITLESS_MAX: usize = 1000;

impl Evictor<'_> {
    /// Evicts keys until the data fits, nothing more may go, or the time is up.
    pub fn make_room(&mut self, config: &Config, now_ms: u64) -> Room {
        let memory = &config.memory;
        // The keyspace thread may look before a bound that has just been set is in force.
        if memory.maxmemory == 0 {
            return Room::Enough;
        }
        // What clients hold is looked at once: being told of keys that go, they would hold more with each.
        let bytes_max = memory
            .maxmemory
            .saturating_sub(self.node.clients.counted_memory());
        if self.fits(bytes_max) {
            return Room::Enough;
        }
        if memory.maxmemory_policy == EvictionPolicy::NoEviction {
            return Room::None;
        }
        let started = Instant::now();
        let time_max = time_max(memory.maxmemory_eviction_tenacity);
        let mut fruitless = 0;
        let room = loop {
            match self.evict_one(config, now_ms) {
                Some(true) => fruitless = 0,
                Some(false) if fruitless < FRUITLESS_MAX => fruitless += 1,
                _ => {
                    break if self.reap(bytes_max) {
                        Room::Enough
                    } else {
                        Room::None
                    };
                }
            }
            if !memory.lazyfree_lazy_eviction && !self.fits(bytes_max) {
                self.node.keyspace.reap_step(self.worker, REAP_BLOCKS);
            }
            if self.fits(bytes_max) {
                break Room::Enough;
            }
            if time_max.is_some_and(|max| started.elapsed() >= max) {
                self.node.evicting.store(true, Relaxed);
                break Room::Making;
            }
        };
        let took_ms = started.elapsed().as_millis() as u64;
        let threshold_ms = config.monitoring.latency_monitor_threshold;
        self.node
            .latency
            .record("eviction-cycle", now_ms / 1000, took_ms, threshold_ms);
        room
    }

    fn fits(&self, bytes_max: u64) -> bool {
        self.node.keyspace.usage().used <= bytes_max
    }

    /// Frees what was removed before, until the data fits or nothing is left to free; whether it fits.
    fn reap(&mut self, bytes_max: u64) -> bool {
        loop {
            let more = self.node.keyspace.reap_step(self.worker, REAP_BLOCKS);
            if self.fits(bytes_max) {
                return true;
            }
            if !more {
                return false;
            }
        }
    }

    /// Removes the best candidate; `Some(false)` if it was gone already, `None` if there is none.
    fn evict_one(&mut self, config: &Config, now_ms: u64) -> Option<bool> {
        let (db, key) = self.choose(config, now_ms)?;
        let keyspace = &self.node.keyspace;
        let guard = keyspace.pin();
        let slot = [key_slot(&key)];
        let mut view = keyspace.view(self.worker, &guard, Access::Slots(&slot), now_ms);
        let entry = view.find(db, &key);
        let may_go = entry.is_some_and(|entry| {
            !config.memory.maxmemory_policy.is_volatile() || entry.ttl_at().is_some()
        });
        if !may_go || !view.remove(db, &key).unwrap_or(false) {
            return Some(false);
        }
        let mut stream = self.node.stream();
        stream.push_removal(db, &key, config.memory.lazyfree_lazy_eviction);
        self.node.note_changes(view.dirty());
        let committed = end::commit(self.node, &mut view, &mut stream);
        post_ready(self.node, &committed);
        tell_caches(self.node, self.turn, committed.touched());
        publish_event(self.node, EventClasses::EVICTED, db, "evicted", &key);
        drop(committed);
        self.node.stats.evicted_keys.add_shared(1);
        Some(true)
    }

    /// The key that is to go next.
    fn choose(&mut self, config: &Config, now_ms: u64) -> Option<(u8, Box<[u8]>)> {
        let memory = &config.memory;
        let policy = memory.maxmemory_policy;
        let among = if policy.is_volatile() {
            Among::Volatile
        } else {
            Among::All
        };
        let is_random = matches!(
            policy,
            EvictionPolicy::AllkeysRandom | EvictionPolicy::VolatileRandom
        );
        let draws = if is_random {
            1
        } else {
            memory.maxmemory_samples as usize
        };
        let keyspace = &self.node.keyspace;
        let guard = keyspace.pin();
        let view = keyspace.view(self.worker, &guard, Access::LockFree, now_ms);
        let mut rng = rand::rng();
        let databases = config.databases() as u8;
        // Random policies go round the databases, as Redis does.
        let first = rng.next_u64() as u8 % databases.max(1);
        for i in 0..databases {
            let db = (first + i) % databases;
            for _ in 0..draws {
                let Some(entry) = view.draw(db, among, &mut || rng.next_u64()) else {
                    break;
                };
                if is_random {
                    return Some((db, entry.key().into()));
                }
                let score = score(policy, &entry, now_ms, memory.lfu_decay_time);
                self.candidates.offer(score, db, entry.key());
            }
        }
        self.candidates.take().map(|best| (best.db, best.key))
    }
}

/// How much better than others it is that a key goes.
fn score(policy: EvictionPolicy, entry: &Entry<'_>, now_ms: u64, decay_minutes: u32) -> u64 {
    match policy {
        EvictionPolicy::VolatileTtl => u64::MAX - entry.ttl_at().unwrap_or(u64::MAX),
        _ if policy.is_lfu() => 255 - u64::from(lfu_decayed(entry.clock(), now_ms, decay_minutes)),
        _ => u64::from(lru_clock(now_ms).wrapping_sub(entry.clock()) & CLOCK_MASK),
    }
}
