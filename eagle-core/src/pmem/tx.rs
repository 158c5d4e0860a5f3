//! Transactions: all or nothing across a crash, a panic and an explicit rollback.
//!
//! A transaction works on the log of a lane ([`log`](super::log)). Before it changes reachable
//! memory it logs what was there; memory that it has allocated itself is nobody else's yet and
//! needs no log. Allocation bits change only in `commit`, after their log entries.
//!
//! # Commit
//!
//! 1. Fence: log entries, fresh blocks and in-place stores are persistent.
//! 2. If a publish is pending: it was logged (before 1) and is executed now. *This is the commit
//!    point*; from here on recovery goes forward.
//! 3. The bits of allocated and freed blocks are set and cleared. Fence.
//! 4. The lane's generation goes up, which truncates the log. Without a publish *this is the
//!    commit point*; up to here recovery goes back, including the bits of step 3. Fence.
//! 5. Freed blocks are retired: they can be handed out after the grace period.
//!
//! Why a publish commits by itself: lock-free readers see the published word at once and may
//! answer a client with it. Recovery must not take back what somebody has seen. The stores of a
//! transaction without a pending publish are hidden from readers by the slot's sequence word
//! until `commit` has returned.
//!
//! With a record for the log ring ([`Tx::commit_logged`]) the ring's head takes the place of both commit
//! points: the head is stored between 1 and 2, and recovery goes by it. The publish is logged as the undo
//! of an ordinary store as well, because without a fence between them it may become persistent before
//! the head.
//!
//! # Duties of the caller
//!
//! The words and blocks a transaction touches are the caller's alone (slot lock) from the first
//! touch until `commit` has returned or the transaction has been dropped.

use super::{
    Offset, OutOfSpace, Pool,
    alloc::Block,
    lane::{LaneState, Retired},
    layout::{PAGE_BYTES, PageEntry, RING_HEAD},
    log::{self, Entry, Kind},
    medium::{Medium, Site},
    ring::RingRecord,
    sim::Part,
};
use crate::sync::Guard;
use std::sync::atomic::Ordering;

/// Old bytes up to which a small buffer does.
const SHORT_BYTES_MAX: usize = 256;

/// What a transaction has done, in order: enough to undo it without reading the log again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Record {
    /// The word at `at` was `old`.
    Word { at: Offset, old: u64 },
    /// The `len` bytes at `at` are in the payload of the entry at `entry`.
    Bytes { at: Offset, len: u32, entry: Offset },
    /// The block was allocated.
    Alloc(Block),
    /// The block is to be freed.
    Free(Block),
}

/// A point of a transaction to which it can be rolled back.
#[derive(Debug, Clone, Copy)]
pub struct Savepoint {
    records: usize,
    position: Offset,
    chunk_end: Offset,
    chunks: usize,
}

/// A transaction on a lane. Dropping it without [`Tx::commit`] rolls it back.
#[derive(Debug)]
pub struct Tx<'p> {
    pool: &'p Pool,
    lane: &'p mut LaneState,
    guard: &'p Guard,
    publish: Option<(Offset, u64)>,
}

impl<'p> Tx<'p> {
    pub(super) fn new(pool: &'p Pool, lane: &'p mut LaneState, guard: &'p Guard) -> Tx<'p> {
        assert!(
            lane.records.is_empty(),
            "the lane's last transaction was neither ended nor dropped"
        );
        Tx {
            pool,
            lane,
            guard,
            publish: None,
        }
    }

    /// The pool.
    pub fn pool(&self) -> &'p Pool {
        self.pool
    }

    /// The guard that keeps what this transaction can see from being reused.
    pub fn guard(&self) -> &'p Guard {
        self.guard
    }

    #[inline]
    fn medium(&self) -> &'p Medium {
        self.pool.medium()
    }

    /// A fresh block of at least `size` bytes, owned by this transaction. Its contents are
    /// undefined. It is free again if the transaction is rolled back.
    #[inline]
    #[cfg_attr(test, track_caller)]
    pub fn alloc(&mut self, size: usize) -> Result<Offset, OutOfSpace> {
        let heap = self.pool.heap();
        let block = heap.alloc(&mut self.lane.claims, size)?;
        if let Err(error) = self.reserve(log::ENTRY_BYTES) {
            self.lane.counters.add_retired(1, block.bytes() as i64);
            self.retire(&block);
            return Err(error);
        }
        if !self.medium().leaves_out(Part::Entry) {
            self.append_short(Kind::Alloc, block.at, block.extent.encode());
        }
        if block.bit == 0 {
            // The word of a run is needed at once: it tells the size of the block.
            self.medium().fence(Site::Log);
            heap.set_allocated(&block, true);
        }
        self.lane.records.push(Record::Alloc(block));
        Ok(block.at)
    }

    /// Writes pieces, one behind the other, to memory allocated by this transaction. Not logged. Any byte position.
    #[inline]
    #[cfg_attr(test, track_caller)]
    pub fn write_fresh_pieces<const N: usize>(&mut self, at: Offset, pieces: [&[u8]; N]) {
        let medium = self.medium();
        debug_assert!(
            self.is_fresh(at, pieces.iter().map(|piece| piece.len()).sum()),
            "not memory of this transaction: {at:?}"
        );
        // SAFETY: a fresh block is reached by the transaction that allocated it, only.
        let len = unsafe { medium.write_pieces_owned(at, pieces) };
        if !medium.leaves_out(Part::Flush) {
            medium.flush(at, len, Site::Fresh);
        }
    }

    /// Writes memory allocated by this transaction. Not logged. Any byte position.
    #[inline]
    #[cfg_attr(test, track_caller)]
    pub fn write_fresh(&mut self, at: Offset, bytes: &[u8]) {
        let medium = self.medium();
        debug_assert!(
            self.is_fresh(at, bytes.len()),
            "not memory of this transaction: {at:?}"
        );
        // SAFETY: a fresh block is reached by the transaction that allocated it, only.
        unsafe { medium.write_owned(at, bytes) };
        if !medium.leaves_out(Part::Flush) {
            medium.flush(at, bytes.len(), Site::Fresh);
        }
    }

    /// Fills memory allocated by this transaction with zeros.
    #[inline]
    #[cfg_attr(test, track_caller)]
    pub fn zero_fresh(&mut self, at: Offset, len: usize) {
        let medium = self.medium();
        debug_assert!(
            self.is_fresh(at, len),
            "not memory of this transaction: {at:?}"
        );
        // SAFETY: a fresh block is reached by the transaction that allocated it, only.
        unsafe { medium.zero_owned(at, len) };
        if !medium.leaves_out(Part::Flush) {
            medium.flush(at, len, Site::Fresh);
        }
    }

    /// Writes a word of memory allocated by this transaction.
    #[inline]
    #[cfg_attr(test, track_caller)]
    pub fn store_fresh_u64(&mut self, at: Offset, value: u64) {
        let medium = self.medium();
        debug_assert!(
            self.is_fresh(at, 8),
            "not memory of this transaction: {at:?}"
        );
        medium.store(at, value);
        if !medium.leaves_out(Part::Flush) {
            medium.flush(at, 8, Site::Fresh);
        }
    }

    /// Stores a word of a reachable block that is out of use until a later store of this
    /// transaction says otherwise (a record whose allocation bit is clear). Not logged: after a
    /// rollback or a crash the word may have either value. Atomic, release ordering.
    #[inline]
    #[cfg_attr(test, track_caller)]
    pub fn store_unused_u64(&mut self, at: Offset, value: u64) {
        let medium = self.medium();
        medium.store(at, value);
        if !medium.leaves_out(Part::Flush) {
            medium.flush(at, 8, Site::Fresh);
        }
    }

    /// Writes bytes of a reachable block that are out of use until a later store of this transaction says otherwise
    /// (room behind what is used). Not logged: after a rollback or a crash they may have either value. Any byte
    /// position; bytes beside them are not touched.
    #[cfg_attr(test, track_caller)]
    pub fn write_unused(&mut self, at: Offset, bytes: &[u8]) {
        let medium = self.medium();
        // SAFETY: nobody reads bytes that are out of use, and the caller is the block's only writer.
        unsafe { medium.write_owned(at, bytes) };
        if !medium.leaves_out(Part::Flush) {
            medium.flush(at, bytes.len(), Site::Fresh);
        }
    }

    /// Whether a range lies in a block that this transaction has allocated.
    fn is_fresh(&self, at: Offset, len: usize) -> bool {
        self.lane.records.iter().rev().any(|record| match record {
            Record::Alloc(block) => {
                let end = block.at.plus(block.bytes());
                block.at <= at && at.plus(len as u64) <= end
            }
            _ => false,
        })
    }

    /// Stores a reachable word: undo-logged, atomic, release ordering.
    #[inline]
    #[cfg_attr(test, track_caller)]
    pub fn store_u64(&mut self, at: Offset, value: u64) -> Result<(), OutOfSpace> {
        self.settle();
        self.reserve(log::ENTRY_BYTES)?;
        self.store_logged(at, value);
        Ok(())
    }

    #[inline]
    #[cfg_attr(test, track_caller)]
    fn store_logged(&mut self, at: Offset, value: u64) {
        let medium = self.medium();
        let old = medium.load(at, Ordering::Relaxed);
        if !medium.leaves_out(Part::Entry) {
            self.append_short(Kind::UndoWord, at, old);
        }
        if !medium.leaves_out(Part::Fence) {
            medium.fence(Site::Log);
        }
        medium.store(at, value);
        if !medium.leaves_out(Part::Flush) {
            medium.flush(at, 8, Site::InPlace);
        }
        self.lane.records.push(Record::Word { at, old });
    }

    /// Writes reachable bytes: undo-logged. Any byte position. Each 8-byte word changes
    /// atomically, the whole does not.
    #[cfg_attr(test, track_caller)]
    pub fn write_bytes(&mut self, at: Offset, bytes: &[u8]) -> Result<(), OutOfSpace> {
        self.settle();
        let medium = self.medium();
        let mut at = at;
        for piece in bytes.chunks(log::PAYLOAD_BYTES_MAX) {
            // Most pieces are short, and clearing room for the longest takes longer than all the rest.
            let (mut short, mut long);
            let old = if piece.len() <= SHORT_BYTES_MAX {
                short = [0; SHORT_BYTES_MAX];
                &mut short[..piece.len()]
            } else {
                long = [0; log::PAYLOAD_BYTES_MAX];
                &mut long[..piece.len()]
            };
            medium.read_shared(at, old);
            let entry = match medium.leaves_out(Part::Entry) {
                true => self.lane.position,
                false => self.append_bytes(at, old)?,
            };
            if !medium.leaves_out(Part::Fence) {
                medium.fence(Site::Log);
            }
            medium.write_shared(at, piece);
            if !medium.leaves_out(Part::Flush) {
                medium.flush(at, piece.len(), Site::InPlace);
            }
            self.lane.records.push(Record::Bytes {
                at,
                len: piece.len() as u32,
                entry,
            });
            at = at.plus(piece.len() as u64);
        }
        Ok(())
    }

    /// A deferred store of a reachable word. If `commit` comes next it is executed as the commit
    /// point, and readers see it before the log is truncated. Loads do not see it until then;
    /// [`Tx::settle`] executes it at once. A later store, publish or savepoint settles it too.
    #[inline]
    #[cfg_attr(test, track_caller)]
    pub fn publish_u64(&mut self, at: Offset, value: u64) -> Result<(), OutOfSpace> {
        self.settle();
        // Panics here, rather than in `commit`, if there is no such word.
        self.medium().load(at, Ordering::Relaxed);
        self.reserve(0)?;
        if self.medium().leaves_out(Part::Whole) {
            return Ok(());
        }
        self.publish = Some((at, value));
        Ok(())
    }

    /// Whether a publish is waiting.
    #[inline]
    pub fn has_pending_publish(&self) -> bool {
        self.publish.is_some()
    }

    /// Executes a waiting publish as an ordinary logged store.
    #[inline]
    pub fn settle(&mut self) {
        if let Some((at, value)) = self.publish.take() {
            // `publish_u64` has made sure that there is room.
            self.store_logged(at, value);
        }
    }

    /// Whether nothing has been done yet that a commit would keep.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.lane.records.is_empty() && self.publish.is_none()
    }

    /// Frees a block when the transaction commits; it is reused after the grace period. Panics
    /// if the block is not allocated. Does not settle a waiting publish.
    #[cfg_attr(test, track_caller)]
    pub fn free(&mut self, at: Offset) -> Result<(), OutOfSpace> {
        let (block, allocated) = self.pool.heap().block_to_free(at);
        let is_fresh = || {
            let fresh = |record: &Record| matches!(record, Record::Alloc(own) if own.at == at);
            self.lane.records.iter().any(fresh)
        };
        assert!(
            allocated || is_fresh(),
            "free of a block that is not allocated: {at:?}"
        );
        debug_assert!(
            !self
                .lane
                .records
                .iter()
                .any(|record| matches!(record, Record::Free(b) if b.at == at)),
            "block freed twice by one transaction: {at:?}"
        );
        if self.medium().leaves_out(Part::Whole) {
            return Ok(());
        }
        self.reserve(log::ENTRY_BYTES)?;
        if !self.medium().leaves_out(Part::Entry) {
            self.append_short(Kind::Free, block.at, block.extent.encode());
        }
        self.lane.records.push(Record::Free(block));
        Ok(())
    }

    /// Marks this point. Settles a waiting publish.
    pub fn savepoint(&mut self) -> Savepoint {
        self.settle();
        Savepoint {
            records: self.lane.records.len(),
            position: self.lane.position,
            chunk_end: self.lane.chunk_end,
            chunks: self.lane.chunks.len(),
        }
    }

    /// Undoes everything since the savepoint, which stays valid.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) {
        assert!(
            savepoint.records <= self.lane.records.len(),
            "the savepoint was rolled back"
        );
        self.publish = None;
        if self.lane.records.len() == savepoint.records {
            return;
        }
        let medium = self.medium();
        self.undo_down_to(savepoint.records);
        // Cut the log. The entries behind the cut keep lower numbers than all that follow.
        medium.store(savepoint.position, 0);
        medium.flush(savepoint.position, 8, Site::Log);
        medium.fence(Site::Log);
        self.lane.position = savepoint.position;
        self.lane.chunk_end = savepoint.chunk_end;
        self.drop_chunks(savepoint.chunks);
        self.forget(savepoint.records);
    }

    /// Makes the transaction permanent. Cannot fail.
    pub fn commit(mut self) {
        let medium = self.medium();
        if let Some((at, value)) = self.publish.take() {
            if self.lane.records.is_empty() {
                // Nothing but one word: the store is atomic as it is.
                medium.fence(Site::Commit);
                medium.store(at, value);
                medium.flush(at, 8, Site::Publish);
                medium.fence(Site::Publish);
                return;
            }
            self.append_short(Kind::Publish, at, value);
            medium.fence(Site::Commit);
            medium.store(at, value);
            medium.flush(at, 8, Site::Publish);
        } else if self.lane.records.is_empty() {
            return;
        } else {
            medium.fence(Site::Commit);
        }
        self.finish();
    }

    /// Makes the transaction permanent together with a record of the log ring, if there is a ring. Answers the
    /// ring's head after the record. Cannot fail; waits while a reader of the ring holds what would be overwritten.
    pub fn commit_logged(mut self, record: &RingRecord<'_>) -> Option<u64> {
        let medium = self.medium();
        if self.is_empty() {
            return self.pool.ring_append(record);
        }
        let Some(mut append) = self.pool.ring().begin(medium, record) else {
            self.commit();
            return None;
        };
        append.write(record);
        let publish = self.publish.take();
        if let Some((at, _)) = publish {
            let old = medium.load(at, Ordering::Relaxed);
            self.append_short(Kind::UndoWord, at, old);
        }
        self.append_short(Kind::Ring, RING_HEAD, append.head);
        if let Some((at, value)) = publish {
            self.append_short(Kind::Publish, at, value);
        }
        medium.fence(Site::Commit);
        let head = append.publish();
        if let Some((at, value)) = publish {
            medium.store(at, value);
            medium.flush(at, 8, Site::Publish);
        }
        self.finish();
        Some(head)
    }

    /// What follows the commit point, or leads up to it if nothing was published: the allocation bits, the end of
    /// the log, the retirement of freed blocks.
    fn finish(&mut self) {
        let medium = self.medium();
        let heap = self.pool.heap();
        let (mut allocated_bytes, mut freed_bytes, mut freed) = (0, 0, 0);
        for record in &self.lane.records {
            match record {
                Record::Alloc(block) => {
                    heap.set_allocated(block, true);
                    allocated_bytes += block.bytes() as i64;
                }
                Record::Free(block) => {
                    heap.set_allocated(block, false);
                    freed_bytes += block.bytes() as i64;
                    freed += 1;
                }
                Record::Word { .. } | Record::Bytes { .. } => {}
            }
        }
        medium.fence(Site::Bits);
        self.truncate();
        let counters = &self.lane.counters;
        counters.add_allocated(allocated_bytes - freed_bytes);
        if freed > 0 {
            counters.add_retired(freed, freed_bytes);
            for index in 0..self.lane.records.len() {
                if let Record::Free(block) = self.lane.records[index] {
                    self.retire(&block);
                }
            }
        }
        self.lane.records.clear();
    }

    /// Undoes what was done since there were `keep` records, in memory and on the medium.
    fn undo_down_to(&mut self, keep: usize) {
        let medium = self.medium();
        for record in self.lane.records[keep..].iter().rev() {
            match *record {
                Record::Word { at, old } => {
                    medium.store(at, old);
                    medium.flush(at, 8, Site::Rollback);
                }
                Record::Bytes { at, len, entry } => {
                    let mut old = [0; log::PAYLOAD_BYTES_MAX];
                    let old = &mut old[..len as usize];
                    medium.read_shared(entry.plus(log::ENTRY_BYTES), old);
                    medium.write_shared(at, old);
                    medium.flush(at, old.len(), Site::Rollback);
                }
                // Bits of slabs change in `commit` only.
                Record::Alloc(block) if block.bit == 0 => {
                    self.pool.heap().set_allocated(&block, false);
                }
                Record::Alloc(_) | Record::Free(_) => {}
            }
        }
        medium.fence(Site::Rollback);
    }

    /// Drops the records from `keep` on, and retires the blocks they had allocated: somebody may
    /// have read an offset before it was undone.
    fn forget(&mut self, keep: usize) {
        while self.lane.records.len() > keep {
            if let Some(Record::Alloc(block)) = self.lane.records.pop() {
                self.lane.counters.add_retired(1, block.bytes() as i64);
                self.retire(&block);
            }
        }
    }

    /// Ends the log of this transaction.
    fn truncate(&mut self) {
        let medium = self.medium();
        self.lane.identity.generation += 1;
        medium.store(self.lane.header, self.lane.identity.generation);
        medium.flush(self.lane.header, 8, Site::Generation);
        medium.fence(Site::Generation);
        self.lane.rewind();
        self.drop_chunks(0);
    }

    fn drop_chunks(&mut self, keep: usize) {
        while self.lane.chunks.len() > keep {
            if let Some((at, pages)) = self.lane.chunks.pop() {
                self.pool.heap().free_log_chunk(at, pages);
                self.pool.log_pages_sub(pages);
            }
        }
    }

    /// Has a block be handed out again after the grace period. The caller counts it.
    #[inline]
    fn retire(&mut self, block: &Block) {
        let (at, pages) = match block.extent {
            PageEntry::Run { pages } => (block.at, pages),
            _ => (block.word, 0),
        };
        let retired = Retired {
            at,
            bit: block.bit,
            pages,
            bytes: block.bytes() as u32,
        };
        if self.lane.retire(retired) {
            self.pool.defer_release(self.lane, self.guard);
        }
    }

    /// Appends an entry with payload and answers its position.
    fn append_bytes(&mut self, at: Offset, payload: &[u8]) -> Result<Offset, OutOfSpace> {
        let bytes = log::entry_bytes(payload.len());
        self.reserve(bytes)?;
        let lane = &mut *self.lane;
        let position = lane.position;
        lane.seq += 1;
        let entry = Entry {
            kind: Kind::UndoBytes,
            len: payload.len() as u32,
            at,
            value: 0,
        };
        let medium = self.pool.medium();
        log::write(medium, lane.identity, position, lane.seq, entry, payload);
        lane.position = position.plus(bytes);
        Ok(position)
    }

    /// Makes room for `bytes` in addition to the reserve of the chunk.
    #[inline]
    fn reserve(&mut self, bytes: u64) -> Result<(), OutOfSpace> {
        if self.lane.position.plus(bytes + log::RESERVE_BYTES) > self.lane.chunk_end {
            return self.extend();
        }
        Ok(())
    }

    /// Appends an entry without payload, for which there is room. A call of few arguments: every transaction has several.
    #[inline(never)]
    fn append_short(&mut self, kind: Kind, at: Offset, value: u64) {
        let lane = &mut *self.lane;
        let position = lane.position;
        lane.seq += 1;
        let medium = self.pool.medium();
        log::write_short(medium, lane.identity, position, lane.seq, kind, (at, value));
        lane.position = position.plus(log::ENTRY_BYTES);
    }

    /// Links a further chunk to the log.
    #[cold]
    fn extend(&mut self) -> Result<(), OutOfSpace> {
        const DOUBLINGS_MAX: usize = 6;
        // Far beyond what any pool has room for, but the numbers must not wrap.
        if self.lane.seq > u32::MAX / 2 {
            return Err(OutOfSpace);
        }
        let pages = 1 << self.lane.chunks.len().min(DOUBLINGS_MAX);
        self.pool.log_pages_add(pages)?;
        let chunk = match self.pool.heap().alloc_log_chunk(pages) {
            Ok(chunk) => chunk,
            Err(error) => {
                self.pool.log_pages_sub(pages);
                return Err(error);
            }
        };
        let bytes = u64::from(pages) * PAGE_BYTES;
        self.append_short(Kind::Link, chunk, bytes);
        self.lane.chunks.push((chunk, pages));
        self.lane.position = chunk;
        self.lane.chunk_end = chunk.plus(bytes);
        Ok(())
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.lane.records.is_empty() {
            return;
        }
        self.undo_down_to(0);
        self.truncate();
        self.forget(0);
    }
}
