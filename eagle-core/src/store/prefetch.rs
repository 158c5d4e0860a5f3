//! Prefetching: brings what the next commands will look at into the cache, for several keys at once.
//!
//! A look-up is a chain of loads, each of which misses the cache once the table is larger than it: the slot's words, the
//! control word of a bucket, the record, the blob. One after the other they cost most of the time of a GET. The chains
//! of different keys do not depend on each other, so they are walked step by step together: each step asks for the
//! memory of the next step for all keys, and by the time the last key has asked, the first one's memory is there.
//!
//! ```text
//!   1  hash, slot        -> slot words, slot lock
//!   2  root word         -> directory word
//!   3  node              -> control words and fingerprints of both home buckets
//!   4  fingerprints      -> records
//!   5  record            -> blob
//! ```
//!
//! Nothing is decided by what is read here and nothing is kept, so it needs neither lock nor validation. The idea for a
//! server of this kind is that of DLHT (HPDC'24) and of Valkey 8.

use smallvec::SmallVec;

use super::dash::Words;
use super::dash::hash::Hash;
use super::dash::layout::{Form, NodeRef};
use super::dash::table;
use super::keyspace::{Guard, Keyspace};
use super::{key_slot, root};

/// Keys that are looked ahead for at once: more would push each other out of the nearest cache.
pub const PREFETCH_MAX: usize = 16;

/// A key on its way.
#[derive(Clone, Copy)]
struct Chain {
    hash: Hash,
    /// Where the next word is: the slot's root word, then the node.
    at: u64,
}

impl Keyspace {
    /// Brings what a look-up of each of `keys` (at most [`PREFETCH_MAX`] of them count) touches into the cache.
    pub fn prefetch(&self, guard: &Guard, db: u8, keys: &[&[u8]]) {
        let reader = self.reader(guard);
        let Some(array) = self.array(&reader, db) else {
            return;
        };
        let mut chains: SmallVec<[Chain; PREFETCH_MAX]> = SmallVec::new();
        for key in keys.iter().take(PREFETCH_MAX) {
            let slot = key_slot(key);
            let at = root::slot_at(array, slot);
            reader.prefetch(at);
            self.slots().prefetch(slot);
            let hash = self.hasher().hash(key);
            chains.push(Chain { hash, at });
        }
        for chain in &mut chains {
            let root = NodeRef::from_raw(reader.load(chain.at));
            if root.form() == Form::Directory {
                chain.at = root.word_at(chain.hash);
                reader.prefetch(chain.at);
            }
        }
        chains.retain(|chain| {
            let node = NodeRef::from_raw(reader.load(chain.at));
            let known = !matches!(node.form(), Form::Empty | Form::Directory);
            if known {
                table::headers_of(node, chain.hash).for_each(|at| reader.prefetch(at));
            }
            known
        });
        for chain in &chains {
            let node = NodeRef::from_raw(reader.load(chain.at));
            table::records_of(&reader, node, chain.hash, &mut |at| reader.prefetch(at));
        }
        for chain in &chains {
            let node = NodeRef::from_raw(reader.load(chain.at));
            table::blobs_of(&reader, node, chain.hash, &mut |at| reader.prefetch(at));
        }
    }
}
