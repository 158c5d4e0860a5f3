//! How a transaction ends: committed, rolled back, or rolled back to a savepoint.
//!
//! # Commit
//!
//! 1. The last entry is written, with the names of blocks. Fence: log entries, fresh blocks and in-place stores are
//!    persistent.
//! 2. If a publish is pending: the last entry has it, and it is executed now. *This is the commit
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

use super::{
    Offset, Tx,
    alloc::Block,
    lane::Retired,
    layout::RING_HEAD,
    log::{self, Kind},
    medium::Site,
    ring::RingRecord,
    tx::{BlockChange, Undo},
};
use std::sync::atomic::Ordering;

/// A point of a transaction to which it can be rolled back.
#[derive(Debug, Clone, Copy)]
pub struct Savepoint {
    stores: usize,
    changes: usize,
    names: usize,
    names_logged: usize,
    position: Offset,
    chunk_end: Offset,
    chunks: usize,
}

impl Tx<'_> {
    /// Marks this point. Settles a waiting publish.
    pub fn savepoint(&mut self) -> Savepoint {
        self.settle();
        let lane = &self.lane;
        Savepoint {
            stores: lane.stores.len(),
            changes: lane.changes.len(),
            names: lane.names.len(),
            names_logged: lane.names_logged,
            position: lane.position,
            chunk_end: lane.chunk_end,
            chunks: lane.chunks.len(),
        }
    }

    /// Undoes everything since the savepoint, which stays valid.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) {
        let (stores, changes) = (self.lane.stores.len(), self.lane.changes.len());
        assert!(
            savepoint.stores <= stores && savepoint.changes <= changes,
            "the savepoint was rolled back"
        );
        self.publish = None;
        if (savepoint.stores, savepoint.changes) == (stores, changes) {
            return;
        }
        let medium = self.medium();
        self.undo_down_to(savepoint.stores, savepoint.changes);
        // Cut the log. The entries behind the cut keep lower numbers than all that follow.
        medium.store(savepoint.position, 0);
        medium.flush(savepoint.position, 8, Site::Log);
        medium.fence(Site::Log);
        self.lane.position = savepoint.position;
        self.lane.chunk_end = savepoint.chunk_end;
        self.drop_chunks(savepoint.chunks);
        // Names from before the savepoint may have been logged behind it: that entry is cut off.
        self.lane.names.truncate(savepoint.names);
        self.lane.names_logged = savepoint.names_logged;
        self.forget(savepoint.stores, savepoint.changes);
    }

    /// Makes the transaction permanent. Cannot fail.
    pub fn commit(mut self) {
        let medium = self.medium();
        if let Some((at, value)) = self.publish.take() {
            if self.has_done_nothing() {
                // Nothing but one word: the store is atomic as it is.
                medium.fence(Site::Commit);
                medium.store(at, value);
                medium.flush(at, 8, Site::Publish);
                medium.fence(Site::Publish);
                return;
            }
            self.append_names(Kind::Publish, at, value);
            medium.fence(Site::Commit);
            medium.store(at, value);
            medium.flush(at, 8, Site::Publish);
        } else if self.has_done_nothing() {
            return;
        } else {
            self.append_left_names();
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
        match publish {
            Some((at, value)) => self.append_names(Kind::Publish, at, value),
            None => self.append_left_names(),
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
        let mut is_batch_full = false;
        for index in 0..self.lane.changes.len() {
            let change = self.lane.changes[index];
            heap.set_allocated(&change.block, !change.freed);
            let bytes = change.block.bytes() as i64;
            if change.freed {
                freed_bytes += bytes;
                freed += 1;
                // With the lane, until the log has ended.
                is_batch_full = self.lane.retire(Retired::of(&change.block));
            } else {
                allocated_bytes += bytes;
            }
        }
        medium.fence(Site::Bits);
        self.truncate();
        let counters = &self.lane.counters;
        counters.add_allocated(allocated_bytes - freed_bytes);
        if freed > 0 {
            counters.add_retired(freed, freed_bytes);
        }
        if is_batch_full {
            self.pool.defer_release(self.lane, self.guard);
        }
        self.lane.stores.clear();
        self.lane.changes.clear();
    }

    /// Undoes what was done since there were so many stores and block changes, in memory and on the medium.
    fn undo_down_to(&mut self, stores: usize, changes: usize) {
        let medium = self.medium();
        for store in self.lane.stores[stores..].iter().rev() {
            match *store {
                Undo::Word { at, old } => {
                    medium.store(at, old);
                    medium.flush(at, 8, Site::Rollback);
                }
                Undo::Bytes { at, len, entry } => {
                    let mut old = [0; log::PAYLOAD_BYTES_MAX];
                    let old = &mut old[..len as usize];
                    medium.read_shared(entry.plus(log::ENTRY_BYTES), old);
                    medium.write_shared(at, old);
                    medium.flush(at, old.len(), Site::Rollback);
                }
            }
        }
        for BlockChange { block, freed } in &self.lane.changes[changes..] {
            // Bits of slabs change in `commit` only.
            if block.bit == 0 && !freed {
                self.pool.heap().set_allocated(block, false);
            }
        }
        medium.fence(Site::Rollback);
    }

    /// Drops what was noted since there were so many stores and block changes, and retires the blocks that had been
    /// allocated: somebody may have read an offset before it was undone.
    fn forget(&mut self, stores: usize, changes: usize) {
        self.lane.stores.truncate(stores);
        while self.lane.changes.len() > changes {
            if let Some(BlockChange {
                block,
                freed: false,
            }) = self.lane.changes.pop()
            {
                self.lane.counters.add_retired(1, block.bytes() as i64);
                self.retire(&block);
            }
        }
    }

    /// Ends the log of this transaction.
    fn truncate(&mut self) {
        let medium = self.medium();
        self.lane.names.clear();
        self.lane.names_logged = 0;
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
    pub(super) fn retire(&mut self, block: &Block) {
        if self.lane.retire(Retired::of(block)) {
            self.pool.defer_release(self.lane, self.guard);
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.has_done_nothing() {
            return;
        }
        self.undo_down_to(0, 0);
        self.truncate();
        self.forget(0, 0);
    }
}
