//! Transactions: all or nothing across a crash, a panic and an explicit rollback.
//!
//! A transaction works on the log of a lane ([`log`](super::log)). Before it changes reachable
//! memory it logs what was there; memory that it has allocated itself is nobody else's yet and
//! needs no log. Allocation bits change only in `commit`; so the blocks of slabs that a transaction has allocated and
//! given up need not be in the log before: they are named together, in its last entry, as a rule.
//!
//! [`commit`](super::commit) says how it ends.
//!
//! # Duties of the caller
//!
//! The words and blocks a transaction touches are the caller's alone (slot lock) from the first
//! touch until `commit` has returned or the transaction has been dropped.

use super::{
    Offset, OutOfSpace, Pool,
    alloc::Block,
    lane::LaneState,
    layout::{PAGE_BYTES, PageEntry},
    log::{self, Entry, Kind, Name},
    medium::{Medium, Site},
    sim::Part,
};
use crate::sync::Guard;
use std::sync::atomic::Ordering;

/// Old bytes up to which a small buffer does.
const SHORT_BYTES_MAX: usize = 256;

/// Most words that one log entry covers when words are stored: a cache line.
const RUN_WORDS_MAX: usize = 8;

/// A store of a transaction: enough to undo it without looking for its entry in the log.
#[derive(Debug, Clone, Copy)]
pub(super) enum Undo {
    /// The word at `at` was `old`.
    Word { at: Offset, old: u64 },
    /// The `len` bytes at `at` are in the payload of the entry at `entry`.
    Bytes { at: Offset, len: u32, entry: Offset },
}

/// A block that a transaction has allocated or given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockChange {
    pub block: Block,
    /// Whether it was given up.
    pub freed: bool,
}

/// A transaction on a lane. Dropping it without [`Tx::commit`] rolls it back.
#[derive(Debug)]
pub struct Tx<'p> {
    pub(super) pool: &'p Pool,
    pub(super) lane: &'p mut LaneState,
    pub(super) guard: &'p Guard,
    pub(super) publish: Option<(Offset, u64)>,
}

impl<'p> Tx<'p> {
    pub(super) fn new(pool: &'p Pool, lane: &'p mut LaneState, guard: &'p Guard) -> Tx<'p> {
        assert!(
            lane.stores.is_empty() && lane.changes.is_empty(),
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
    pub(super) fn medium(&self) -> &'p Medium {
        self.pool.medium()
    }

    /// A fresh block of at least `size` bytes, owned by this transaction. Its contents are
    /// undefined. It is free again if the transaction is rolled back.
    #[inline]
    #[cfg_attr(test, track_caller)]
    pub fn alloc(&mut self, size: usize) -> Result<Offset, OutOfSpace> {
        self.reserve_name()?;
        let block = self.pool.heap().alloc(&mut self.lane.claims, size)?;
        let is_logged = !self.medium().leaves_out(Part::Entry);
        match block.extent {
            PageEntry::Slab { class } if is_logged => self.name(block.at, class, false),
            PageEntry::Slab { .. } => {}
            _ => self.enter_run(&block, is_logged)?,
        }
        self.lane.changes.push(BlockChange {
            block,
            freed: false,
        });
        Ok(block.at)
    }

    /// The word of a run is needed at once: it tells the size of the block.
    #[cold]
    fn enter_run(&mut self, block: &Block, is_logged: bool) -> Result<(), OutOfSpace> {
        if let Err(error) = self.reserve(log::ENTRY_BYTES) {
            self.lane.counters.add_retired(1, block.bytes() as i64);
            self.retire(block);
            return Err(error);
        }
        if is_logged {
            self.append_short(Kind::Alloc, block.at, block.extent.encode());
        }
        self.medium().fence(Site::Log);
        self.pool.heap().set_allocated(block, true);
        Ok(())
    }

    /// Notes a block of a slab for the log.
    #[inline]
    fn name(&mut self, at: Offset, class: u8, freed: bool) {
        let name = Name { at, class, freed };
        self.lane.names.push(name.encode());
    }

    /// Makes sure that one more block can be noted: the last entry names so many at most.
    #[inline]
    fn reserve_name(&mut self) -> Result<(), OutOfSpace> {
        if self.lane.names.len() - self.lane.names_logged >= log::NAMES_MAX {
            return self.log_names();
        }
        Ok(())
    }

    /// Logs the blocks noted so far in an entry of their own.
    #[cold]
    fn log_names(&mut self) -> Result<(), OutOfSpace> {
        self.reserve(log::NAMES_BYTES)?;
        self.append_names(Kind::Blocks, Offset::NULL, 0);
        Ok(())
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

    /// Writes words in a row to memory allocated by this transaction.
    #[cfg_attr(test, track_caller)]
    pub fn write_fresh_words(&mut self, at: Offset, words: &[u64]) {
        let medium = self.medium();
        let len = size_of_val(words);
        debug_assert!(
            self.is_fresh(at, len),
            "not memory of this transaction: {at:?}"
        );
        // SAFETY: a fresh block is reached by the transaction that allocated it, only.
        unsafe { medium.write_run_owned(at, words) };
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
        let mut changes = self.lane.changes.iter().rev();
        changes.any(|BlockChange { block, freed }| {
            let end = block.at.plus(block.bytes());
            !freed && block.at <= at && at.plus(len as u64) <= end
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
        self.lane.stores.push(Undo::Word { at, old });
    }

    /// Stores reachable words in a row: as [`Tx::store_u64`] does, but a line's worth of them under one log entry.
    #[cfg_attr(test, track_caller)]
    pub fn store_words(&mut self, at: Offset, words: &[u64]) -> Result<(), OutOfSpace> {
        self.settle();
        let mut at = at;
        for run in words.chunks(RUN_WORDS_MAX) {
            // A whole line is what nodes are changed by most. Said apart, it takes no loops.
            match <&[u64; RUN_WORDS_MAX]>::try_from(run) {
                Ok(line) => self.store_run(at, line)?,
                Err(_) => self.store_run(at, run)?,
            }
            at = at.plus(size_of_val(run) as u64);
        }
        Ok(())
    }

    /// Stores at most a line's worth of words. The waiting publish, if any, is settled.
    #[inline(always)]
    #[cfg_attr(test, track_caller)]
    fn store_run(&mut self, at: Offset, run: &[u64]) -> Result<(), OutOfSpace> {
        let medium = self.medium();
        let len = size_of_val(run);
        self.reserve(log::entry_bytes(len))?;
        let entry = self.lane.position;
        let mut old = [0; RUN_WORDS_MAX];
        for (old, cell) in old.iter_mut().zip(medium.words(at, run.len())) {
            *old = cell.load(Ordering::Relaxed);
        }
        if !medium.leaves_out(Part::Entry) {
            self.append_words(at, &old[..run.len()]);
        }
        if !medium.leaves_out(Part::Fence) {
            medium.fence(Site::Log);
        }
        medium.store_run(at, run);
        if !medium.leaves_out(Part::Flush) {
            medium.flush(at, len, Site::InPlace);
        }
        self.lane.stores.push(Undo::Bytes {
            at,
            len: len as u32,
            entry,
        });
        Ok(())
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
            self.lane.stores.push(Undo::Bytes {
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
        self.has_done_nothing() && self.publish.is_none()
    }

    /// The same, but for a waiting publish.
    #[inline]
    pub(super) fn has_done_nothing(&self) -> bool {
        self.lane.stores.is_empty() && self.lane.changes.is_empty()
    }

    /// Frees a block when the transaction commits; it is reused after the grace period. Panics
    /// if the block is not allocated. Does not settle a waiting publish.
    #[cfg_attr(test, track_caller)]
    pub fn free(&mut self, at: Offset) -> Result<(), OutOfSpace> {
        let (block, allocated) = self.pool.heap().block_to_free(at);
        assert!(
            allocated || self.has(at, false),
            "free of a block that is not allocated: {at:?}"
        );
        debug_assert!(
            !self.has(at, true),
            "block freed twice by one transaction: {at:?}"
        );
        if self.medium().leaves_out(Part::Whole) {
            return Ok(());
        }
        let is_logged = !self.medium().leaves_out(Part::Entry);
        match block.extent {
            PageEntry::Slab { class } if is_logged => {
                self.reserve_name()?;
                self.name(block.at, class, true);
            }
            PageEntry::Slab { .. } => {}
            _ => {
                self.reserve(log::ENTRY_BYTES)?;
                if is_logged {
                    self.append_short(Kind::Free, block.at, block.extent.encode());
                }
            }
        }
        self.lane.changes.push(BlockChange { block, freed: true });
        Ok(())
    }

    /// Whether this transaction has given up, or else allocated, the block at `at`.
    fn has(&self, at: Offset, freed: bool) -> bool {
        let mut changes = self.lane.changes.iter();
        changes.any(|change| change.block.at == at && change.freed == freed)
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
    pub(super) fn append_short(&mut self, kind: Kind, at: Offset, value: u64) {
        let lane = &mut *self.lane;
        let position = lane.position;
        lane.seq += 1;
        let medium = self.pool.medium();
        let (identity, seq) = (lane.identity, lane.seq);
        log::write_words(medium, identity, position, seq, kind, (at, value), &[]);
        lane.position = position.plus(log::ENTRY_BYTES);
    }

    /// Appends an entry with the old values of words in a row, for which there is room.
    #[inline(always)]
    fn append_words(&mut self, at: Offset, old: &[u64]) {
        let lane = &mut *self.lane;
        let position = lane.position;
        lane.seq += 1;
        let medium = self.pool.medium();
        let (identity, seq, kind) = (lane.identity, lane.seq, Kind::UndoBytes);
        log::write_words(medium, identity, position, seq, kind, (at, 0), old);
        lane.position = position.plus(log::entry_bytes(size_of_val(old)));
    }

    /// Appends an entry that names the blocks which none names yet; there is room for it.
    #[inline(never)]
    pub(super) fn append_names(&mut self, kind: Kind, at: Offset, value: u64) {
        let lane = &mut *self.lane;
        let position = lane.position;
        lane.seq += 1;
        let medium = self.pool.medium();
        let (identity, seq) = (lane.identity, lane.seq);
        let names = &lane.names[lane.names_logged..];
        log::write_words(medium, identity, position, seq, kind, (at, value), names);
        lane.position = position.plus(log::entry_bytes(8 * names.len()));
        lane.names_logged = lane.names.len();
    }

    /// The same for the end of a transaction without a publish, if there are any.
    #[inline]
    pub(super) fn append_left_names(&mut self) {
        if self.lane.names_logged < self.lane.names.len() {
            self.append_names(Kind::Blocks, Offset::NULL, 0);
        }
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
