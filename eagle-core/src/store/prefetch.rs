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
//! A key that follows itself, as that of a queue or of a counter does, has been asked for already: what its twin found out
//! holds for it too.
//!
//! Nothing is decided by what is read here and nothing is kept, so it needs neither lock nor validation. The idea for a
//! server of this kind is that of DLHT (HPDC'24) and of Valkey 8.

use smallvec::SmallVec;

use super::blob::is_same;
use super::dash::Words;
use super::dash::hash::Hash;
use super::dash::layout::{Form, NodeRef, Record};
use super::dash::table;
use super::keyspace::{Guard, Keyspace};
use super::known::{KnownKey, KnownKeys};
use super::{key_slot, root};

/// Keys that are looked ahead for at once: more would push each other out of the nearest cache.
pub const PREFETCH_MAX: usize = 16;

/// A key on its way.
#[derive(Clone, Copy)]
struct Chain {
    hash: Hash,
    /// Where the word is that names the node: the slot's root word, or one of a directory.
    at: u64,
    node: NodeRef,
    /// Where the first records to be compared are, or zero.
    records: [u64; 2],
}

impl Keyspace {
    /// Brings what a look-up of each of `keys` (at most [`PREFETCH_MAX`] of them count) touches into the cache.
    pub fn prefetch(&self, guard: &Guard, db: u8, keys: &[&[u8]]) {
        self.prefetch_known(guard, db, keys.iter().copied(), &mut KnownKeys::default());
    }

    /// The same, and notes in `known` what it has computed of them.
    pub fn prefetch_known<'k>(
        &self,
        guard: &Guard,
        db: u8,
        keys: impl Iterator<Item = &'k [u8]>,
        known: &mut KnownKeys,
    ) {
        let reader = self.reader(guard);
        let Some(array) = self.array(&reader, db) else {
            return;
        };
        let mut chains: SmallVec<[Chain; PREFETCH_MAX]> = SmallVec::new();
        let mut last: Option<KnownKey<'_>> = None;
        for key in keys.take(PREFETCH_MAX) {
            if let Some(last) = last.filter(|last| is_same(last.key(), key)) {
                known.push(key, last.slot(), last.hash());
                continue;
            }
            let slot = key_slot(key);
            let at = root::slot_at(array, slot);
            reader.prefetch(at);
            self.slots().prefetch(slot);
            let hash = self.hasher().hash(key);
            known.push(key, slot, hash);
            last = Some(KnownKey::new(key, slot, hash));
            chains.push(Chain {
                hash,
                at,
                node: NodeRef::EMPTY,
                records: [0; 2],
            });
        }
        for chain in &mut chains {
            chain.node = NodeRef::from_raw(reader.load(chain.at));
            if chain.node.form() == Form::Directory {
                chain.at = chain.node.word_at(chain.hash);
                reader.prefetch(chain.at);
            }
        }
        for chain in &mut chains {
            if chain.node.form() == Form::Directory {
                chain.node = NodeRef::from_raw(reader.load(chain.at));
            }
            table::headers_of(chain.node, chain.hash, &mut |at| reader.prefetch(at));
        }
        for chain in &mut chains {
            let (mut count, records) = (0, &mut chain.records);
            table::records_of(&reader, chain.node, chain.hash, &mut |at| {
                reader.prefetch(at);
                if let Some(place) = records.get_mut(count) {
                    *place = at;
                    count += 1;
                }
            });
        }
        for chain in &chains {
            for at in chain.records {
                if at != 0 {
                    reader.prefetch(Record::from_raw(reader.load(at)).blob());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::PoolOptions;

    #[test]
    fn a_key_that_follows_itself_is_known_each_time() {
        let (keyspace, _) = Keyspace::open(&PoolOptions::in_memory(16 << 20)).expect("it opens");
        let guard = keyspace.pin();
        keyspace.prepare(0).expect("there is room");
        let bytes = b"queue:1queue:1queue:2queue:1";
        let keys: Vec<&[u8]> = bytes.chunks(7).collect();
        let mut known = KnownKeys::default();
        keyspace.prefetch_known(&guard, 0, keys.iter().copied(), &mut known);
        for key in keys {
            let (found, computed) = (known.take(key).expect("it is known"), keyspace.know(key));
            assert_eq!(
                (found.slot(), found.hash()),
                (computed.slot(), computed.hash())
            );
            assert!(found.is(key), "it is this very one");
        }
    }
}
