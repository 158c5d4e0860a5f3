//! The table's medium on the pool: [`Reader`] and [`Writer`].
//!
//! The writer keeps two rules for everybody above it:
//!
//! 1. The first visible store of a transaction stays pending in the pool's transaction. If nothing follows it
//!    is the commit point, and lock-free readers see the change in one store.
//! 2. Before a second visible store the sequence words of all locked slots are made odd, and they stay so
//!    until the transaction is committed or undone: lock-free readers of these slots wait.
//!
//! In a slot that others [share](super::sharing) there is no second visible store, nor any other one to memory that was
//! there before: whoever would make one unwinds.
//!
//! A word that was hidden when the transaction began is stored without logging. That is only right for the
//! first change: later ones may hide what was in use before (a record that this transaction removed), and
//! a rollback must bring its word back. So hidden stores are logged from the second change on.

use smallvec::SmallVec;
use std::ops::Range;
use std::sync::atomic::AtomicU64;

use super::blob::Blob;
use super::dash::hash::{Hash, KeyHasher};
use super::dash::layout::Record;
use super::dash::{Words, WordsMut};
use super::error::StoreError;
use super::sharing;
use super::slot::Locks;
use crate::pmem::{Offset, OutOfSpace, Pool, Tx};
use crate::sync::primitive::Ordering;
use crate::sync::{Guard, WriteGuard};

impl From<OutOfSpace> for StoreError {
    fn from(_: OutOfSpace) -> StoreError {
        StoreError::OutOfSpace
    }
}

/// The offset of a pending publish that is not there: no word has it.
const NO_WORD: u64 = u64::MAX;

/// A store that the transaction holds back until commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    at: u64,
    value: u64,
}

impl Pending {
    /// Nothing is held back.
    pub(super) const NONE: Pending = Pending {
        at: NO_WORD,
        value: 0,
    };

    /// Whether something is held back.
    pub(super) fn is_some(self) -> bool {
        self.at != NO_WORD
    }

    /// What is held back of a range of bytes: the word at this offset, which it may share with others.
    pub(super) fn within(self, range: Range<u64>) -> Option<(u64, u64)> {
        let meets = self.is_some() && self.at < range.end && self.at + 8 > range.start;
        meets.then_some((self.at, self.value))
    }
}

/// Reads the pool under a pin, seeing the pending store of the view's own transaction.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) pool: &'a Pool,
    pub(super) guard: &'a Guard,
    pub(super) hasher: &'a KeyHasher,
    pub(super) pending: Pending,
}

impl<'a> Reader<'a> {
    /// Loads a word that is not part of a table: of a blob's header.
    #[inline]
    pub(super) fn load_header(&self, at: u64) -> u64 {
        self.load(at)
    }

    /// Asks for the cache line at `at`. A hint: any offset will do.
    #[inline]
    pub(super) fn prefetch(&self, at: u64) {
        self.pool.prefetch(Offset::from_raw(at));
    }

    /// Bytes of a blob.
    #[inline]
    pub(super) fn bytes(&self, at: u64, len: usize) -> &'a [u8] {
        self.pool.bytes(Offset::from_raw(at), len, self.guard)
    }

    /// Stores a word whose loss or staleness does not matter. Neither logged nor ordered.
    pub(super) fn store_hint(&self, at: u64, value: u64) {
        self.pool.store_hint_u64(Offset::from_raw(at), value);
    }
}

impl Words for Reader<'_> {
    #[inline]
    fn load(&self, at: u64) -> u64 {
        if at == self.pending.at {
            return self.pending.value;
        }
        self.pool.load_u64(Offset::from_raw(at), Ordering::Acquire)
    }

    #[inline]
    fn run<T>(&self, at: u64, len: usize, read: impl FnOnce(&[AtomicU64]) -> T) -> T {
        debug_assert_eq!(self.pending.within(at..at + 8 * len as u64), None);
        read(self.pool.words(Offset::from_raw(at), len))
    }

    #[inline]
    fn key_is(&self, record: Record, key: &[u8]) -> bool {
        Blob::of(self, record).key_is(self, key)
    }

    fn key_hash(&self, record: Record) -> Hash {
        self.hasher.hash(Blob::of(self, record).key(self))
    }
}

/// The volatile part of a transaction, which outlives the writers of its single changes.
pub(super) struct WriterState<'a> {
    /// Declared, hence dropped, in this order: the transaction is undone while the slots are still odd.
    pub(super) tx: Tx<'a>,
    pub(super) odd: SmallVec<[WriteGuard<'a>; 1]>,
    pub(super) pending: Pending,
    /// Whether a change of this transaction has been completed before the one at hand.
    pub(super) later: bool,
}

impl<'a> WriterState<'a> {
    /// A transaction that has done nothing.
    pub(super) fn new(tx: Tx<'a>) -> WriterState<'a> {
        WriterState {
            tx,
            odd: SmallVec::new(),
            pending: Pending::NONE,
            later: false,
        }
    }
}

/// Writes the pool inside a transaction.
pub(super) struct Writer<'w, 'a> {
    pub(super) state: &'w mut WriterState<'a>,
    pub(super) locks: &'w Locks<'a>,
    pub(super) pool: &'a Pool,
    pub(super) guard: &'a Guard,
    pub(super) hasher: &'a KeyHasher,
}

impl<'a> Writer<'_, 'a> {
    /// A reader that sees what this writer did.
    #[inline]
    pub(super) fn reader(&self) -> Reader<'a> {
        Reader {
            pool: self.pool,
            guard: self.guard,
            hasher: self.hasher,
            pending: self.state.pending,
        }
    }

    /// Ends a change: a pending store is carried out, so that another change may follow.
    pub(super) fn settle(&mut self) {
        if self.state.pending.is_some() {
            self.exclude_readers();
            self.state.tx.settle();
            self.state.pending = Pending::NONE;
            self.state.later = true;
        }
    }

    /// Goes on only with the slots alone.
    #[inline]
    pub(super) fn be_alone(&self) {
        if self.locks.are_shared() {
            sharing::refuse();
        }
    }

    /// Makes lock-free readers of the locked slots wait until the transaction ends.
    pub(super) fn exclude_readers(&mut self) {
        self.be_alone();
        if self.state.odd.is_empty() {
            self.locks.write_all(&mut self.state.odd);
        }
    }

    /// A fresh block of at least `bytes` bytes, to be [filled](Writer::fill).
    #[cfg_attr(test, track_caller)]
    pub(super) fn alloc(&mut self, bytes: usize) -> Result<u64, StoreError> {
        debug_assert!(
            !self.state.pending.is_some(),
            "a change goes on after its publish"
        );
        if bytes > Pool::BLOCK_BYTES_MAX {
            return Err(StoreError::OutOfSpace);
        }
        Ok(self.state.tx.alloc(bytes)?.raw())
    }

    /// Writes bytes of a block of this transaction.
    #[cfg_attr(test, track_caller)]
    pub(super) fn fill(&mut self, at: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.state.tx.write_fresh(Offset::from_raw(at), bytes);
        }
    }

    /// Writes pieces, one behind the other, to a block of this transaction.
    #[inline]
    #[cfg_attr(test, track_caller)]
    pub(super) fn fill_pieces<const N: usize>(&mut self, at: u64, pieces: [&[u8]; N]) {
        let tx = &mut self.state.tx;
        tx.write_fresh_pieces(Offset::from_raw(at), pieces);
    }

    /// Writes a word of a block of this transaction.
    #[cfg_attr(test, track_caller)]
    pub(super) fn fill_word(&mut self, at: u64, word: u64) {
        self.state.tx.store_fresh_u64(Offset::from_raw(at), word);
    }

    /// Writes bytes behind what is used of a block, which later stores of this change put in use. Unlike hidden words
    /// they are never logged: they must not have been in use before in this transaction.
    #[cfg_attr(test, track_caller)]
    pub(super) fn append(&mut self, at: u64, bytes: &[u8]) {
        self.be_alone();
        debug_assert!(
            !self.state.pending.is_some(),
            "a change goes on after its publish"
        );
        self.state.tx.write_unused(Offset::from_raw(at), bytes);
    }

    /// The same for one word, atomically.
    #[cfg_attr(test, track_caller)]
    pub(super) fn append_word(&mut self, at: u64, word: u64) {
        self.be_alone();
        debug_assert!(
            !self.state.pending.is_some(),
            "a change goes on after its publish"
        );
        self.state.tx.store_unused_u64(Offset::from_raw(at), word);
    }

    /// Writes bytes beside what is used of a block, which later stores of this change put in use. Logged from the second
    /// change on: what an earlier one has put out of use comes back if it is undone.
    #[cfg_attr(test, track_caller)]
    pub(super) fn write_spare(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.be_alone();
        if self.state.later {
            return Ok(self.state.tx.write_bytes(Offset::from_raw(at), bytes)?);
        }
        self.append(at, bytes);
        Ok(())
    }

    /// Overwrites bytes in use: logged, at any byte position.
    pub(super) fn overwrite(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        debug_assert!(
            !self.state.pending.is_some(),
            "a change goes on after its publish"
        );
        self.exclude_readers();
        Ok(self.state.tx.write_bytes(Offset::from_raw(at), bytes)?)
    }

    /// Bytes of the block that begins at `at`.
    pub(super) fn block_bytes(&self, at: u64) -> u64 {
        self.pool.usable_size(Offset::from_raw(at)) as u64
    }

    /// Zeroes bytes of a block of this transaction.
    #[cfg_attr(test, track_caller)]
    pub(super) fn fill_zero(&mut self, at: u64, bytes: usize) {
        self.state.tx.zero_fresh(Offset::from_raw(at), bytes);
    }
}

impl Words for Writer<'_, '_> {
    #[inline]
    fn load(&self, at: u64) -> u64 {
        self.reader().load(at)
    }

    #[inline]
    fn run<T>(&self, at: u64, len: usize, read: impl FnOnce(&[AtomicU64]) -> T) -> T {
        self.reader().run(at, len, read)
    }

    fn key_is(&self, record: Record, key: &[u8]) -> bool {
        self.reader().key_is(record, key)
    }

    fn key_hash(&self, record: Record) -> Hash {
        self.reader().key_hash(record)
    }
}

impl WordsMut for Writer<'_, '_> {
    #[cfg_attr(test, track_caller)]
    fn alloc_words(&mut self, words: &[u64]) -> Result<u64, StoreError> {
        let at = self.alloc(8 * words.len())?;
        self.state.tx.write_fresh_words(Offset::from_raw(at), words);
        Ok(at)
    }

    #[cfg_attr(test, track_caller)]
    fn free(&mut self, at: u64) -> Result<(), StoreError> {
        Ok(self.state.tx.free(Offset::from_raw(at))?)
    }

    #[cfg_attr(test, track_caller)]
    fn store_hidden(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        self.be_alone();
        debug_assert!(
            !self.state.pending.is_some(),
            "a change goes on after its publish"
        );
        if self.state.later {
            return Ok(self.state.tx.store_u64(Offset::from_raw(at), value)?);
        }
        self.state.tx.store_unused_u64(Offset::from_raw(at), value);
        Ok(())
    }

    #[cfg_attr(test, track_caller)]
    fn store(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        self.exclude_readers();
        self.store_apart(at, value)
    }

    #[cfg_attr(test, track_caller)]
    fn store_apart(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        self.be_alone();
        debug_assert!(
            !self.state.pending.is_some(),
            "a change goes on after its publish"
        );
        Ok(self.state.tx.store_u64(Offset::from_raw(at), value)?)
    }

    #[cfg_attr(test, track_caller)]
    fn store_words(&mut self, at: u64, words: &[u64]) -> Result<(), StoreError> {
        self.be_alone();
        debug_assert!(
            !self.state.pending.is_some(),
            "a change goes on after its publish"
        );
        match words {
            [] => Ok(()),
            &[word] => self.store_apart(at, word),
            words => Ok(self.state.tx.store_words(Offset::from_raw(at), words)?),
        }
    }

    #[cfg_attr(test, track_caller)]
    fn publish(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        debug_assert!(!self.state.pending.is_some(), "a change has one publish");
        self.state.tx.publish_u64(Offset::from_raw(at), value)?;
        self.state.pending = Pending { at, value };
        Ok(())
    }
}
