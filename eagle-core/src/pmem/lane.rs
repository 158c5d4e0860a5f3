//! Lanes: the right to run one transaction at a time, with a log on the medium.
//!
//! A lane's volatile half keeps the place in the log, the claimed blocks of each size class (so
//! that threads do not contend in the allocator) and the freed blocks not yet handed to the
//! epochs. It stays with the lane's number while nobody has the lane checked out; the lane that
//! was returned last is checked out first, so a process touches as many lanes as it has writing
//! threads.

use super::{
    Offset,
    alloc::{Block, Claims},
    layout::{LANE_BYTES, LANE_HEADER_BYTES, PageEntry},
    log::Identity,
    pool::Shared,
    tx::{BlockChange, Undo},
};
use crate::sync::Guard;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// Freed blocks are handed to the epochs in batches of this many, or of this many bytes.
const RETIRED_BLOCKS_MAX: usize = 64;
const RETIRED_BYTES_MAX: u64 = 256 << 10;

/// A freed block on its way to reuse.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retired {
    /// The word of its slab's bitmap, or where the run begins.
    pub at: Offset,
    /// Its bit in that word, 0 for a run.
    pub bit: u64,
    /// Pages of a run, 0 for a block of a slab.
    pub pages: u32,
    /// Bytes of the block. A run of 4 GiB or more does not exist.
    pub bytes: u32,
}

impl Retired {
    /// A block, to be retired.
    #[inline]
    pub fn of(block: &Block) -> Retired {
        let (at, pages) = match block.extent {
            PageEntry::Run { pages } => (block.at, pages),
            _ => (block.word, 0),
        };
        Retired {
            at,
            bit: block.bit,
            pages,
            bytes: block.bytes() as u32,
        }
    }
}

/// Figures of one lane, written by its holder and summed by whoever asks. On a cache line of
/// their own, so that counting does not make lanes contend.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    allocated_bytes: AtomicI64,
    retired_blocks: AtomicI64,
    retired_bytes: AtomicI64,
}

impl Counters {
    #[inline]
    fn add(counter: &AtomicI64, delta: i64) {
        // The holder of the lane is the only writer.
        counter.store(counter.load(Ordering::Relaxed) + delta, Ordering::Relaxed);
    }

    #[inline]
    pub fn add_allocated(&self, bytes: i64) {
        Counters::add(&self.allocated_bytes, bytes);
    }

    #[inline]
    pub fn add_retired(&self, blocks: i64, bytes: i64) {
        Counters::add(&self.retired_blocks, blocks);
        Counters::add(&self.retired_bytes, bytes);
    }

    /// Bytes allocated minus bytes freed, blocks retired and their bytes: since the start.
    pub fn read(&self) -> [i64; 3] {
        [
            &self.allocated_bytes,
            &self.retired_blocks,
            &self.retired_bytes,
        ]
        .map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// The volatile half of a lane.
#[derive(Debug)]
pub(super) struct LaneState {
    /// The generation's word on the medium, where the lane begins.
    pub header: Offset,
    /// Salt and generation of the transaction in flight.
    pub identity: Identity,
    /// Where the next log entry goes, and the end of the chunk.
    pub position: Offset,
    pub chunk_end: Offset,
    /// Number of the last log entry.
    pub seq: u32,
    /// Further chunks of the log, with their pages.
    pub chunks: Vec<(Offset, u32)>,
    /// What the transaction in flight has stored.
    pub stores: Vec<Undo>,
    /// What blocks it has allocated and given up.
    pub changes: Vec<BlockChange>,
    /// The names of those that are blocks of slabs, and how many of them are in the log.
    pub names: Vec<u64>,
    pub names_logged: usize,
    /// Blocks claimed for the next allocations.
    pub claims: Claims,
    /// Freed blocks not yet handed to the epochs.
    pub retired: Vec<Retired>,
    retired_bytes: u64,
    pub counters: Arc<Counters>,
}

impl LaneState {
    pub fn new(header: Offset, identity: Identity, counters: Arc<Counters>) -> LaneState {
        let mut lane = LaneState {
            header,
            identity,
            position: Offset::NULL,
            chunk_end: Offset::NULL,
            seq: 0,
            chunks: Vec::new(),
            stores: Vec::new(),
            changes: Vec::new(),
            names: Vec::new(),
            names_logged: 0,
            claims: Claims::new(),
            retired: Vec::new(),
            retired_bytes: 0,
            counters,
        };
        lane.rewind();
        lane
    }

    /// Goes to the start of the first chunk.
    #[inline]
    pub fn rewind(&mut self) {
        self.position = self.header.plus(LANE_HEADER_BYTES);
        self.chunk_end = self.header.plus(LANE_BYTES);
        self.seq = 0;
    }

    /// Notes a freed block, which the caller counts; `true` when it is time to hand the batch to the epochs.
    #[inline]
    pub fn retire(&mut self, block: Retired) -> bool {
        self.retired.push(block);
        self.retired_bytes += u64::from(block.bytes);
        self.retired.len() >= RETIRED_BLOCKS_MAX || self.retired_bytes >= RETIRED_BYTES_MAX
    }

    /// The batch of freed blocks, and their bytes.
    pub fn take_retired(&mut self) -> (Vec<Retired>, u64) {
        let fresh = Vec::with_capacity(RETIRED_BLOCKS_MAX);
        let retired = std::mem::replace(&mut self.retired, fresh);
        (retired, std::mem::take(&mut self.retired_bytes))
    }
}

/// A lane checked out by a thread; goes back to the pool on drop.
#[derive(Debug)]
pub struct Lane {
    pub(super) shared: Arc<Shared>,
    /// Always `Some` until the drop.
    pub(super) state: Option<LaneState>,
}

impl Lane {
    /// Gives back what the lane keeps for its next transactions: the slabs it allocates from, of which those that are
    /// empty become free pages, and the freed blocks that have not been handed to the epochs. The lane takes other slabs
    /// when it is used again.
    ///
    /// A transaction borrows its lane, so there is none now. This is what dropping the lane does, too.
    pub fn give_back(&mut self, guard: &Guard) {
        if let Some(state) = &mut self.state {
            self.shared.defer_release(state, guard);
            self.shared.heap.surrender(&mut state.claims);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(mut state) = self.state.take() {
            self.shared.defer_release(&mut state, &crate::sync::pin());
            self.shared.return_lane(state);
        }
    }
}
