//! The volatile twin of a slab: which blocks may be handed out now.
//!
//! A block is *busy* from the moment a lane claims it until the grace period after its free has
//! passed; the bitmap on the medium says only what a crash must keep. Claiming is the privilege
//! of the one lane that owns the slab, which takes all free blocks of a bitmap word at once.
//! Anybody frees, with two atomic operations.
//!
//! Life of a slab: `Owned` by a lane -> `Full` or listed when the lane has used it up -> listed
//! as `Thin` (some free) or `Ready` (worth allocating from) as blocks are freed -> owned again,
//! or `Draining` while its blocks are moved away, or released when it is empty. State and links belong to the lock of the slab's class.
//!
//! Why a slab is never used after its release: it is released under the class lock when all
//! blocks are free, i.e. after every freeing thread has done its last access (the addition to
//! `free`). A thread whose addition calls for a change of state takes the class lock first and
//! asks the page table whether the slab is still there.

use super::class::TABLE;
use std::{
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

/// No page.
pub const NO_PAGE: u32 = u32::MAX;

/// Where a slab stands with respect to the lists of its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A lane allocates from it.
    Owned = 0,
    /// In no list: no free blocks when it was last looked at.
    Full = 1,
    /// In the list of slabs with few free blocks.
    Thin = 2,
    /// In the list of slabs to allocate from.
    Ready = 3,
    /// In no list, because its blocks are being moved elsewhere: nothing is allocated from it.
    Draining = 4,
}

/// The volatile twin.
#[derive(Debug)]
pub struct Slab {
    /// One bit for each block, set = busy. Bits beyond the last block are set.
    busy: Box<[AtomicU64]>,
    /// Number of clear bits, as far as it has been counted: a thread that has cleared a bit and
    /// not yet added it may find it claimed and subtracted already, so that the number is
    /// negative for a moment. Without an owner it never exceeds the number of clear bits.
    free: AtomicI32,
    class: u8,
    /// A [`State`], and the neighbours in the list of that state (first pages). Read and written
    /// under the class lock only.
    state: AtomicU8,
    before: AtomicU32,
    after: AtomicU32,
}

impl Slab {
    /// A slab whose busy blocks are those of the given bitmap.
    pub fn new(class: u8, allocated: impl Fn(usize) -> u64) -> Slab {
        let shape = &TABLE[usize::from(class)];
        let mut free = 0i32;
        let busy = (0..shape.bitmap_words())
            .map(|word| {
                let blocks = shape.blocks as usize - word * 64;
                let beyond = if blocks >= 64 { 0 } else { !0 << blocks };
                let bits = allocated(word) | beyond;
                free += bits.count_zeros() as i32;
                AtomicU64::new(bits)
            })
            .collect();
        Slab {
            busy,
            free: AtomicI32::new(free),
            class,
            state: AtomicU8::new(State::Full as u8),
            before: AtomicU32::new(NO_PAGE),
            after: AtomicU32::new(NO_PAGE),
        }
    }

    /// The size class.
    #[inline]
    pub fn class(&self) -> u8 {
        self.class
    }

    /// Number of free blocks.
    pub fn free(&self) -> u32 {
        self.free.load(Ordering::Acquire).max(0) as u32
    }

    /// The busy bits of a word.
    pub fn busy_bits(&self, word: usize) -> u64 {
        self.busy[word].load(Ordering::Relaxed)
    }

    /// Where the slab stands. The caller holds the class lock, or wants a hint.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Owned,
            1 => State::Full,
            2 => State::Thin,
            3 => State::Ready,
            _ => State::Draining,
        }
    }

    /// Claims all free blocks of the first word from `from` on that has any: the word's number
    /// and the claimed bits. Only the owner calls this.
    pub fn claim(&self, from: usize) -> Option<(usize, u64)> {
        for (word, busy) in self.busy.iter().enumerate().skip(from) {
            if busy.load(Ordering::Relaxed) != !0 {
                // Others only clear bits, hence what was clear still is.
                let claimed = !busy.fetch_or(!0, Ordering::AcqRel);
                self.free
                    .fetch_sub(claimed.count_ones() as i32, Ordering::AcqRel);
                return Some((word, claimed));
            }
        }
        None
    }

    /// Makes blocks of a word free; the slab may be gone when this returns.
    pub fn give(&self, word: usize, bits: u64) {
        self.busy[word].fetch_and(!bits, Ordering::AcqRel);
        let count = bits.count_ones() as i32;
        self.free.fetch_add(count, Ordering::AcqRel);
    }

    /// Makes one block of a word free, and answers the number of free blocks with it; the slab may be gone when this
    /// returns.
    #[inline]
    pub fn give_one(&self, word: usize, bit: u64) -> i32 {
        self.busy[word].fetch_and(!bit, Ordering::AcqRel);
        self.free.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// The slabs by first page. Two levels, so that an empty pool costs nothing.
#[derive(Debug)]
pub struct SlabTable {
    chunks: Box<[OnceLock<Chunk>]>,
}

type Chunk = Box<[AtomicPtr<Slab>]>;

const CHUNK_PAGES: usize = 1024;

#[cold]
fn make_chunk(cell: &OnceLock<Chunk>) -> &Chunk {
    cell.get_or_init(|| {
        (0..CHUNK_PAGES)
            .map(|_| AtomicPtr::new(ptr::null_mut()))
            .collect()
    })
}

impl SlabTable {
    /// A table for `pages` pages.
    pub fn new(pages: u64) -> SlabTable {
        let chunks = (pages as usize).div_ceil(CHUNK_PAGES);
        SlabTable {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
        }
    }

    #[inline]
    fn cell(&self, page: u32) -> &AtomicPtr<Slab> {
        let chunk = &self.chunks[page as usize / CHUNK_PAGES];
        let chunk = chunk.get().unwrap_or_else(|| make_chunk(chunk));
        &chunk[page as usize % CHUNK_PAGES]
    }

    /// The slab at a page, if it has a twin.
    ///
    /// # Safety
    /// While the answer is in use the slab is not removed: the caller holds the class lock, owns
    /// the slab, or holds a busy block of it.
    #[inline]
    pub unsafe fn at(&self, page: u32) -> Option<&Slab> {
        let slab = self.cell(page).load(Ordering::Acquire);
        // SAFETY: the pointer came from a box in `insert`, and `remove` does not run meanwhile.
        unsafe { slab.as_ref() }
    }

    /// Puts a twin in. The caller holds the class lock and there is none yet.
    pub fn insert(&self, page: u32, slab: Slab) {
        let former = self
            .cell(page)
            .swap(Box::into_raw(Box::new(slab)), Ordering::AcqRel);
        debug_assert!(former.is_null());
    }

    /// Takes a twin out and frees it.
    ///
    /// # Safety
    /// The caller holds the class lock, and all blocks of the slab are free.
    pub unsafe fn remove(&self, page: u32) {
        let slab = self.cell(page).swap(ptr::null_mut(), Ordering::AcqRel);
        if !slab.is_null() {
            // SAFETY: made by `insert`; nobody holds a reference (see the head of this file).
            drop(unsafe { Box::from_raw(slab) });
        }
    }
}

impl Drop for SlabTable {
    fn drop(&mut self) {
        for cell in self.chunks.iter().filter_map(OnceLock::get).flatten() {
            let slab = cell.load(Ordering::Relaxed);
            if !slab.is_null() {
                // SAFETY: made by `insert`; the table is being dropped, nobody else has it.
                drop(unsafe { Box::from_raw(slab) });
            }
        }
    }
}

/// The lists of one class. Whoever has a `&mut` of it holds the class lock.
#[derive(Debug)]
pub struct ClassLists {
    /// First and last slab of the lists for [`State::Thin`] and [`State::Ready`].
    ends: [(u32, u32); 2],
    /// Set when the pool closes: nothing may be released any more.
    pub closed: bool,
    /// Slabs in [`State::Draining`].
    pub draining: Vec<u32>,
}

impl Default for ClassLists {
    fn default() -> ClassLists {
        ClassLists {
            ends: [(NO_PAGE, NO_PAGE); 2],
            closed: false,
            draining: Vec::new(),
        }
    }
}

impl ClassLists {
    fn ends(&mut self, state: State) -> Option<&mut (u32, u32)> {
        match state {
            State::Thin => Some(&mut self.ends[0]),
            State::Ready => Some(&mut self.ends[1]),
            State::Owned | State::Full | State::Draining => None,
        }
    }

    /// Moves a slab to another state, and to the end of that state's list.
    pub fn set_state(&mut self, table: &SlabTable, page: u32, slab: &Slab, state: State) {
        // SAFETY: the lists hold slabs of this class only, whose lock the caller holds.
        let link = |page: u32| unsafe { table.at(page) };
        if let Some(ends) = self.ends(slab.state()) {
            let before = slab.before.load(Ordering::Relaxed);
            let after = slab.after.load(Ordering::Relaxed);
            match link_of(before, link) {
                Some(neighbour) => neighbour.after.store(after, Ordering::Relaxed),
                None => ends.0 = after,
            }
            match link_of(after, link) {
                Some(neighbour) => neighbour.before.store(before, Ordering::Relaxed),
                None => ends.1 = before,
            }
        }
        slab.state.store(state as u8, Ordering::Relaxed);
        if let Some(ends) = self.ends(state) {
            slab.before.store(ends.1, Ordering::Relaxed);
            slab.after.store(NO_PAGE, Ordering::Relaxed);
            match link_of(ends.1, link) {
                Some(neighbour) => neighbour.after.store(page, Ordering::Relaxed),
                None => ends.0 = page,
            }
            ends.1 = page;
        }
    }

    /// The slabs of a list: first page and free blocks.
    pub fn listed(&self, table: &SlabTable, state: State) -> Vec<(u32, u32)> {
        let mut slabs = Vec::new();
        let mut next = self.first(state).unwrap_or(NO_PAGE);
        // SAFETY: the lists hold slabs of this class only, whose lock the caller holds.
        while let Some(slab) = link_of(next, |page| unsafe { table.at(page) }) {
            slabs.push((next, slab.free()));
            next = slab.after.load(Ordering::Relaxed);
        }
        slabs
    }

    /// The slab that is longest in a list.
    pub fn first(&self, state: State) -> Option<u32> {
        let (first, _) = match state {
            State::Thin => self.ends[0],
            State::Ready => self.ends[1],
            State::Owned | State::Full | State::Draining => return None,
        };
        (first != NO_PAGE).then_some(first)
    }
}

fn link_of<'a>(page: u32, link: impl Fn(u32) -> Option<&'a Slab>) -> Option<&'a Slab> {
    if page == NO_PAGE { None } else { link(page) }
}
