//! The table: extendible hashing after Dash, used for every hash slot of the keyspace and for every
//! large collection.
//!
//! A table is known by one *root word* somewhere in the pool. The word names a node on a growth ladder:
//!
//! ```text
//!   records      node                                      root word
//!   0            none                                      0
//!   ..7          64 B                                      Small
//!   ..14         128 B                                     Medium
//!   ..27         one 256-B bucket                          Buckets(1)
//!   ..~400       2, 4, 8, 16 buckets (16 = a segment)      Buckets(n)
//!   more         directory of 2^depth segment words        Directory
//! ```
//!
//! What is kept of Dash (Lu et al., VLDB 2020): segments of buckets with fingerprints, an insert that goes
//! to the emptier of a key's home bucket and the next one, a directory indexed by the top bits of the hash.
//! What differs, and why:
//!
//! a) Records are 8-byte words that refer to blobs, 27 in a bucket. Balancing between two buckets then
//!    fills a segment to 0.93 without stash buckets and without displacement, so both are gone, and with
//!    them the overflow metadata and its lazy rebuild.
//! b) A record never moves inside a node, and a node that is too full (or too empty) is never changed into
//!    its successors: they are built aside and published by one store; the old node stays as it is until the
//!    reclamation epoch has passed. Every change of a table is therefore *one* 8-byte store that readers see
//!    (a large directory excepted), which is also the commit point in the pool's log.
//! c) Readers take no lock and validate no version. See [`table`] for the argument.
//! d) Bucket numbers are the hash bits below the directory bits, so a walk over the table is a walk in hash
//!    order whatever its size, and a position in that order is a stable SCAN cursor.
//! e) A segment has no header. Depth and hash base stand in the word that refers to it.
//!
//! The code sees the medium only through [`Words`] and [`WordsMut`]; the same lines run on the pool, on a
//! plain vector in tests, and on loom's atomics in the model checks.

pub(crate) mod bucket;
pub(crate) mod build;
#[cfg(all(test, not(loom)))]
mod crash;
pub(crate) mod directory;
pub(crate) mod hash;
pub(crate) mod layout;
#[cfg(all(test, loom))]
mod models;
pub(crate) mod table;
#[cfg(all(test, not(loom)))]
pub(crate) mod testing;
#[cfg(not(loom))]
pub(crate) mod verify;
pub(crate) mod walk;

use super::error::StoreError;
use hash::Hash;
use layout::Record;
use smallvec::SmallVec;
// Never loom's: only structures that are read under a lock are looked at in runs.
use std::sync::atomic::AtomicU64;

/// What a reader needs of the medium.
pub(crate) trait Words {
    /// Loads the word at byte offset `at` with acquire ordering.
    fn load(&self, at: u64) -> u64;

    /// Lets `read` look at `len` words in a row, which are not the pending publish of a writer: many words cost little
    /// more than one that way.
    fn run<T>(&self, at: u64, len: usize, read: impl FnOnce(&[AtomicU64]) -> T) -> T {
        let words: SmallVec<[AtomicU64; 16]> = (0..len as u64)
            .map(|i| AtomicU64::new(self.load(at + 8 * i)))
            .collect();
        read(&words)
    }

    /// Whether the blob of a record carries `key`.
    fn key_is(&self, record: Record, key: &[u8]) -> bool;

    /// The hash of the key that the blob of a record carries.
    fn key_hash(&self, record: Record) -> Hash;
}

/// What a writer needs of the medium. The caller holds the lock of the table and undoes everything if a call
/// fails, except a failed [`alloc_words`](WordsMut::alloc_words), which has no effect.
pub(crate) trait WordsMut: Words {
    /// A fresh block with these contents; its byte offset. Frees nothing and shows nothing.
    fn alloc_words(&mut self, words: &[u64]) -> Result<u64, StoreError>;

    /// Frees a block once the change is committed and no reader can hold it.
    fn free(&mut self, at: u64) -> Result<(), StoreError>;

    /// Stores a word of a node that no reader uses yet: a record or fingerprint whose allocation bit is
    /// clear. Release ordering.
    fn store_hidden(&mut self, at: u64, value: u64) -> Result<(), StoreError>;

    /// Stores a word that readers use, when it is not the last one of the change. Release ordering.
    fn store(&mut self, at: u64, value: u64) -> Result<(), StoreError>;

    /// Stores a word that lock-free readers do not use together with others: of a counter, of a list of trash, of a
    /// structure that is only read under the lock.
    fn store_apart(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        self.store(at, value)
    }

    /// Stores several words in a row, as [`store_apart`](WordsMut::store_apart) does one.
    fn store_words(&mut self, at: u64, words: &[u64]) -> Result<(), StoreError> {
        for (i, &word) in words.iter().enumerate() {
            self.store_apart(at + 8 * i as u64, word)?;
        }
        Ok(())
    }

    /// The store that makes the change visible, the last one of it. Release ordering. Loads need not see it
    /// before the next change begins.
    fn publish(&mut self, at: u64, value: u64) -> Result<(), StoreError>;
}
