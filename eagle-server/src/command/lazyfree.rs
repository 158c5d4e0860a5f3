//! INFO `lazyfreed_objects`: objects that were freed in the background because a client asked for it.
//!
//! Here whatever is large is freed in the background, whoever removes it. Redis counts what it hands to another thread:
//! on UNLINK (and DEL with `lazyfree-lazy-user-del`) a value of more than 64 allocations, on FLUSHDB and FLUSHALL with
//! ASYNC every key. The same is counted here.

use super::context::Context;
use eagle_core::store::{Encoding, Kind};

/// Allocations below which Redis frees a value at once.
const EFFORT_MIN: u64 = 64;

impl Context<'_> {
    /// Whether removing `key` of the selected database is to be counted.
    pub fn is_freed_lazily(&self, key: &[u8]) -> bool {
        self.free_effort(key) > EFFORT_MIN
    }

    /// Counts so many objects.
    pub fn note_lazyfreed(&self, objects: u64) {
        self.node.lazyfreed.add_shared(objects);
    }

    /// How many allocations a value is made of, about.
    pub fn free_effort(&self, key: &[u8]) -> u64 {
        /// Elements of a list that share one.
        const LIST_NODE: u64 = 128;
        let (view, db) = (&self.view, self.db());
        let Some(entry) = view.peek(db, key) else {
            return 0;
        };
        let len = match entry.encoding() {
            Encoding::Int
            | Encoding::Embstr
            | Encoding::Raw
            | Encoding::Chunked
            | Encoding::Listpack
            | Encoding::ListpackEx
            | Encoding::Intset => return 1,
            Encoding::Hashtable if entry.kind() == Kind::Set => {
                view.set(db, key).map(|set| set.map(|set| set.len()))
            }
            Encoding::Hashtable | Encoding::HashtableEx => {
                view.hash(db, key).map(|hash| hash.map(|hash| hash.len()))
            }
            Encoding::Skiplist => view.zset(db, key).map(|zset| zset.map(|zset| zset.len())),
            Encoding::Quicklist => view
                .list(db, key)
                .map(|list| list.map(|list| list.len() / LIST_NODE)),
            Encoding::Stream => {
                let per_node = self.config.encoding.stream_node_max_entries.max(1);
                view.stream(db, key)
                    .map(|stream| stream.map(|stream| stream.len() / per_node))
            }
        };
        len.ok().flatten().unwrap_or(1)
    }
}
