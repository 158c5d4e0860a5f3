//! The persistent allocator: blocks from slabs of a size class, or page runs.
//!
//! What a crash must keep lies on the medium: the page table and one bitmap per slab. What may
//! be handed out now is volatile: [`PageMap`] and [`Slab`]. A transaction's allocation claims a
//! block in the volatile part at once, and sets the persistent bit when it commits; a free clears
//! the persistent bit when it commits, and the volatile one after the grace period. Hence no
//! block is ever handed out while a log or a reader still knows it.
//!
//! Pages change hands outside of transactions: an empty slab or an unused log chunk that a crash
//! leaves behind is simply found and given back at the next start.
//!
//! At a start the page table is read (64 KiB of it describe half a GiB), slab bitmaps are not:
//! slabs get their twin when they are first touched or when [`Heap::index_step`] comes by.
//!
//! Locks, in order: class lists, then the page map. Both are leaves for everybody else.

use super::{
    Offset, OutOfSpace,
    class::{self, TABLE},
    layout::{self, FRONTIER, Geometry, PAGE_BYTES, PAGE_SHIFT, PageEntry},
    medium::{Medium, Site},
    page_walk::PageWalk,
    pages::PageMap,
    slab::{ClassLists, NO_PAGE, Slab, SlabTable, State},
};
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// The least that is given back to the system at once.
const TRIM_PAGES_MIN: u32 = if cfg!(test) { 1 } else { 4 };

/// An allocated block, as the allocator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub at: Offset,
    /// The word on the medium that says whether it is allocated: of its slab's bitmap, or of
    /// the page table.
    pub word: Offset,
    /// Its bit in that word; 0 for a run, to which the whole word belongs.
    pub bit: u64,
    /// The page table's word of its slab or run.
    pub extent: PageEntry,
}

impl Block {
    /// Bytes that can be used.
    #[inline]
    pub fn bytes(&self) -> u64 {
        match self.extent {
            PageEntry::Slab { class } => u64::from(TABLE[usize::from(class)].block_bytes),
            PageEntry::Run { pages } => u64::from(pages) * PAGE_BYTES,
            _ => 0,
        }
    }
}

/// The blocks a lane has claimed from its current slab of one class.
#[derive(Debug, Clone, Copy)]
struct Claim {
    /// First page of the slab.
    page: u32,
    /// Number of the bitmap word that `bits` is of.
    word: u32,
    /// Claimed blocks of that word.
    bits: u64,
}

/// The claims of a lane, by class.
#[derive(Debug)]
pub struct Claims([Claim; class::CLASSES]);

impl Claims {
    /// No claims.
    pub fn new() -> Claims {
        Claims(
            [Claim {
                page: NO_PAGE,
                word: 0,
                bits: 0,
            }; class::CLASSES],
        )
    }
}

/// The allocator.
#[derive(Debug)]
pub struct Heap {
    /// The door to the medium.
    pub medium: Medium,
    /// Where things lie.
    pub geometry: Geometry,
    /// Pages the heap may grow to.
    pages_max: u32,
    pages: Mutex<PageMap>,
    /// Pages that can be accessed. Grows under the lock of `pages`.
    mapped: AtomicU32,
    classes: Box<[Mutex<ClassLists>]>,
    slabs: SlabTable,
    /// Pages of the slabs that lanes own.
    held: AtomicU32,
    /// Bytes allocated at the last start: runs, and slabs counted as full until indexed.
    found_bytes: AtomicI64,
    /// Pages below this were in use at the start; those from `indexed` on are yet to be indexed.
    index_end: u32,
    indexed: Mutex<u32>,
}

/// Pages and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeapUsage {
    /// Pages the heap may grow to, those mapped, and those in use.
    pub pages_max: u32,
    pub mapped: u32,
    pub used: u32,
    /// Pages of the slabs that lanes allocate from.
    pub held: u32,
    /// Bytes in blocks that were found at the start.
    pub found_bytes: i64,
    /// Whether `found_bytes` is exact.
    pub indexed: bool,
}

impl Heap {
    /// Takes a recovered medium and reads its page table. `mapped` pages are accessible.
    pub fn new(
        medium: Medium,
        geometry: Geometry,
        mapped: u32,
        pages_max: u32,
    ) -> Result<Heap, String> {
        let frontier = medium.load(FRONTIER, Ordering::Relaxed) as u32;
        let mut heap = Heap {
            pages_max: pages_max.max(mapped),
            pages: Mutex::new(PageMap::new(frontier)),
            mapped: AtomicU32::new(mapped),
            classes: (0..class::CLASSES).map(|_| Mutex::default()).collect(),
            slabs: SlabTable::new(u64::from(pages_max.max(mapped))),
            held: AtomicU32::new(0),
            found_bytes: AtomicI64::new(0),
            index_end: frontier,
            indexed: Mutex::new(0),
            medium,
            geometry,
        };
        let mut found = 0;
        for extent in PageWalk::new(&heap.medium, geometry, frontier) {
            let (page, pages, entry) = extent?;
            match entry {
                PageEntry::Free => {
                    let map = heap.pages.get_mut();
                    map.give(page, pages);
                    map.hollow_out(page, pages);
                }
                PageEntry::Slab { class } => {
                    let shape = &TABLE[usize::from(class)];
                    found += i64::from(shape.blocks) * i64::from(shape.block_bytes);
                }
                PageEntry::Run { .. } => found += i64::from(pages) * PAGE_BYTES as i64,
                PageEntry::SlabTail { .. } | PageEntry::Log { .. } => {
                    return Err(format!("page {page} is {entry:?} after recovery"));
                }
            }
        }
        *heap.found_bytes.get_mut() = found;
        Ok(heap)
    }

    /// Allocates a block of at least `bytes`; `claims` are the calling lane's.
    #[inline]
    pub fn alloc(&self, claims: &mut Claims, bytes: usize) -> Result<Block, OutOfSpace> {
        if bytes > class::SLAB_BLOCK_BYTES_MAX {
            return self.alloc_run(bytes);
        }
        let class = class::of(bytes);
        let shape = &TABLE[usize::from(class)];
        let claim = &mut claims.0[usize::from(class)];
        if claim.bits == 0 {
            self.refill(class, claim)?;
        }
        let bit = claim.bits & claim.bits.wrapping_neg();
        claim.bits ^= bit;
        let slab = self.geometry.page(claim.page);
        let index = claim.word * 64 + bit.trailing_zeros();
        Ok(Block {
            at: slab.plus(u64::from(shape.data) + u64::from(index) * u64::from(shape.block_bytes)),
            word: slab.plus(8 + u64::from(claim.word) * 8),
            bit,
            extent: PageEntry::Slab { class },
        })
    }

    #[cold]
    #[inline(never)]
    fn refill(&self, class: u8, claim: &mut Claim) -> Result<(), OutOfSpace> {
        loop {
            if claim.page != NO_PAGE {
                // SAFETY: this lane owns the slab.
                let slab = unsafe { self.slabs.at(claim.page) }.expect("an owned slab exists");
                if let Some((word, bits)) = slab.claim(claim.word as usize) {
                    (claim.word, claim.bits) = (word as u32, bits);
                    return Ok(());
                }
                let page = std::mem::replace(&mut claim.page, NO_PAGE);
                self.disown(class, page);
            }
            (claim.page, claim.word) = (self.own_slab(class)?, 0);
            let pages = TABLE[usize::from(class)].pages;
            self.held.fetch_add(pages, Ordering::Relaxed);
        }
    }

    fn class(&self, class: u8) -> MutexGuard<'_, ClassLists> {
        self.classes[usize::from(class)].lock()
    }

    /// Ends a lane's ownership of a slab, of whose blocks it claims none any more.
    fn disown(&self, class: u8, page: u32) {
        let mut lists = self.class(class);
        // SAFETY: the lane owns the slab.
        let slab = unsafe { self.slabs.at(page) }.expect("an owned slab exists");
        lists.set_state(&self.slabs, page, slab, State::Full);
        self.settle_slab(&mut lists, class, page);
        let pages = TABLE[usize::from(class)].pages;
        self.held.fetch_sub(pages, Ordering::Relaxed);
    }

    /// Finds a slab with free blocks for a lane: a good one, a new one, any one.
    fn own_slab(&self, class: u8) -> Result<u32, OutOfSpace> {
        if let Some(page) = self.own_listed(class, State::Ready) {
            return Ok(page);
        }
        match self.new_slab(class) {
            Ok(page) => return Ok(page),
            Err(OutOfSpace) => {
                if let Some(page) = self.own_listed(class, State::Thin) {
                    return Ok(page);
                }
            }
        }
        // The last resort: perhaps there is room in what is being emptied, or has not been indexed yet.
        self.stop_draining();
        while !self.index_step(1024) {
            if let Some(page) = self.own_listed(class, State::Ready) {
                return Ok(page);
            }
        }
        self.own_listed(class, State::Ready)
            .or_else(|| self.own_listed(class, State::Thin))
            .map_or_else(|| self.new_slab(class), Ok)
    }

    fn own_listed(&self, class: u8, state: State) -> Option<u32> {
        let mut lists = self.class(class);
        let page = lists.first(state)?;
        // SAFETY: listed slabs of this class exist while its lock is held.
        let slab = unsafe { self.slabs.at(page) }.expect("a listed slab exists");
        lists.set_state(&self.slabs, page, slab, State::Owned);
        Some(page)
    }

    fn new_slab(&self, class: u8) -> Result<u32, OutOfSpace> {
        let shape = &TABLE[usize::from(class)];
        let page = self.take_pages(shape.pages)?;
        let start = self.geometry.page(page);
        let header_bytes = 8 + shape.bitmap_words() * 8;
        // SAFETY: the pages were just taken, nobody else knows them.
        unsafe {
            self.medium.zero_owned(start, header_bytes);
            self.medium
                .write_words_owned(start, [layout::slab_tag(class)]);
        }
        self.medium.flush(start, header_bytes, Site::Slab);
        self.medium.fence(Site::Slab);
        // Under the lock, so that indexing does not meet a slab that has no twin yet.
        let mut lists = self.class(class);
        for back in 1..shape.pages {
            self.set_entry(page + back, PageEntry::SlabTail { back });
        }
        self.set_entry(page, PageEntry::Slab { class });
        self.medium.fence(Site::PageTable);
        let slab = Slab::new(class, |_| 0);
        lists.set_state(&self.slabs, page, &slab, State::Owned);
        self.slabs.insert(page, slab);
        Ok(page)
    }

    /// Gives a slab that is not owned the state its free blocks ask for, or releases it.
    fn settle_slab(&self, lists: &mut ClassLists, class: u8, page: u32) {
        let shape = &TABLE[usize::from(class)];
        // SAFETY: the caller holds the class lock and has made sure that the slab exists.
        let Some(slab) = (unsafe { self.slabs.at(page) }) else {
            return;
        };
        let free = slab.free();
        let state = match slab.state() {
            State::Owned => return,
            _ if free == shape.blocks && !lists.closed => {
                lists.set_state(&self.slabs, page, slab, State::Full);
                lists.draining.retain(|draining| *draining != page);
                // SAFETY: class lock held, all blocks free.
                unsafe { self.slabs.remove(page) };
                for page in page..page + shape.pages {
                    self.set_entry(page, PageEntry::Free);
                }
                self.medium.fence(Site::PageTable);
                self.pages.lock().give(page, shape.pages);
                return;
            }
            State::Draining => return,
            _ if free >= shape.ready => State::Ready,
            _ if free > 0 => State::Thin,
            _ => State::Full,
        };
        if state != slab.state() {
            lists.set_state(&self.slabs, page, slab, state);
        }
    }

    fn set_entry(&self, page: u32, entry: PageEntry) {
        let at = self.geometry.page_entry(page);
        self.medium.store(at, entry.encode());
        self.medium.flush(at, 8, Site::PageTable);
    }

    fn alloc_run(&self, bytes: usize) -> Result<Block, OutOfSpace> {
        if bytes > super::Pool::BLOCK_BYTES_MAX {
            return Err(OutOfSpace);
        }
        let pages = class::run_pages(bytes);
        let page = match self.take_pages(pages) {
            Ok(page) => page,
            Err(OutOfSpace) => {
                while !self.index_step(1024) {}
                self.take_pages(pages)?
            }
        };
        Ok(Block {
            at: self.geometry.page(page),
            word: self.geometry.page_entry(page),
            bit: 0,
            extent: PageEntry::Run { pages },
        })
    }

    /// Takes a chunk of `pages` pages for a log: its first byte.
    pub fn alloc_log_chunk(&self, pages: u32) -> Result<Offset, OutOfSpace> {
        let page = self.take_pages(pages)?;
        self.set_entry(page, PageEntry::Log { pages });
        self.medium.fence(Site::PageTable);
        Ok(self.geometry.page(page))
    }

    /// Gives a log chunk back.
    pub fn free_log_chunk(&self, at: Offset, pages: u32) {
        let page = self
            .geometry
            .page_of(at)
            .expect("a log chunk lies in the heap");
        self.set_entry(page, PageEntry::Free);
        self.medium.fence(Site::PageTable);
        self.pages.lock().give(page, pages);
    }

    fn take_pages(&self, count: u32) -> Result<u32, OutOfSpace> {
        let mut pages = self.pages.lock();
        let page = pages.find(count);
        let end = page.checked_add(count).ok_or(OutOfSpace)?;
        if end > self.mapped.load(Ordering::Relaxed) {
            self.grow(end)?;
        }
        for (first, count) in pages.hollow_in(page, count) {
            let at = self.geometry.page(first).raw();
            let allocated = self
                .medium
                .map()
                .allocate(at, u64::from(count) * PAGE_BYTES);
            allocated.map_err(|_| OutOfSpace)?;
        }
        if end > pages.frontier() {
            self.medium.store(FRONTIER, u64::from(end));
            self.medium.flush(FRONTIER, 8, Site::Frontier);
            self.medium.fence(Site::Frontier);
        }
        pages.take(page, count);
        Ok(page)
    }

    /// Gives storage of free pages back to the system, at most about `pages_max` pages in one call, as long as more
    /// than `keep` of them have any; whether it gave any.
    pub fn trim_step(&self, keep: u32, pages_max: u32) -> bool {
        let (first, count) = {
            let mut pages = self.pages.lock();
            let excess = pages.solid().saturating_sub(keep).min(pages_max);
            if excess < TRIM_PAGES_MIN {
                return false;
            }
            let Some((first, count)) = pages.find_solid(TRIM_PAGES_MIN, excess) else {
                return false;
            };
            // Nobody gets the pages while the system takes their storage.
            pages.take(first, count);
            (first, count)
        };
        let at = self.geometry.page(first).raw();
        let freed = self.medium.map().discard(at, u64::from(count) * PAGE_BYTES);
        let mut pages = self.pages.lock();
        pages.give(first, count);
        if freed.is_ok() {
            pages.hollow_out(first, count);
        }
        freed.is_ok()
    }

    /// Makes pages below `end` accessible. The caller holds the lock of the page map.
    fn grow(&self, end: u32) -> Result<(), OutOfSpace> {
        let mapped = self.mapped.load(Ordering::Relaxed);
        if end > self.pages_max {
            return Err(OutOfSpace);
        }
        let step = self.medium.map().growth(u64::from(mapped) << PAGE_SHIFT) >> PAGE_SHIFT;
        let wanted = end
            .max(mapped.saturating_add(step as u32))
            .min(self.pages_max);
        // On a nearly full disk a smaller extent may still fit.
        self.extend_to(wanted)
            .or_else(|_| self.extend_to(end))
            .map_err(|_| OutOfSpace)
    }

    fn extend_to(&self, end: u32) -> std::io::Result<()> {
        let mapped = self.mapped.load(Ordering::Relaxed);
        let (from, to) = (
            self.geometry.page(mapped).raw(),
            self.geometry.page(end).raw(),
        );
        let map = self.medium.map();
        allocate_page_table(&self.medium, self.geometry, mapped, end)?;
        map.allocate(from, to - from)?;
        map.map(from, to - from)?;
        self.medium.raise_end(to);
        self.mapped.store(end, Ordering::Release);
        Ok(())
    }

    #[inline]
    fn entry(&self, page: u32) -> Option<PageEntry> {
        entry(&self.medium, self.geometry, page)
    }

    /// The block that begins at `at`. Panics if none can begin there: the caller has followed a
    /// damaged or stale offset.
    #[inline]
    pub fn block(&self, at: Offset) -> Block {
        match locate(&self.medium, self.geometry, at) {
            Some((_, block)) => block,
            None => not_a_block(at),
        }
    }

    /// Like [`Heap::block`], for a block about to be freed: makes sure that its slab has a twin,
    /// so that the bit on the medium may change. Answers whether the medium has it as allocated.
    #[inline]
    pub fn block_to_free(&self, at: Offset) -> (Block, bool) {
        let Some((head, block)) = locate(&self.medium, self.geometry, at) else {
            not_a_block(at)
        };
        if let PageEntry::Slab { class } = block.extent {
            // SAFETY: the block is the caller's, hence busy, hence its slab is not released.
            if unsafe { self.slabs.at(head) }.is_none() {
                self.index_slab(class, head);
            }
        }
        (block, self.is_allocated(&block))
    }

    /// Whether the medium has a block as allocated.
    #[inline]
    pub fn is_allocated(&self, block: &Block) -> bool {
        let word = self.medium.load(block.word, Ordering::Relaxed);
        if block.bit == 0 {
            word == block.extent.encode()
        } else {
            word & block.bit != 0
        }
    }

    /// Sets a block's state on the medium and starts flushing it. Idempotent.
    #[inline]
    pub fn set_allocated(&self, block: &Block, allocated: bool) {
        set_allocated(&self.medium, block, allocated);
    }

    /// Makes a block of a slab available again, after the grace period: that of `bit` in the word of its slab's bitmap
    /// on the medium at `word`.
    ///
    /// Whether it is a block was found out when it was freed, and nothing on the medium is asked again: this runs on
    /// whichever thread the epochs choose, which should have nothing to do with a fault.
    #[inline]
    pub fn release(&self, word: Offset, bit: u64) {
        let (head, index) = self.geometry.bitmap_word(word);
        // SAFETY: the block is busy until the call to `give`, hence its slab is not released.
        let Some(slab) = (unsafe { self.slabs.at(head) }) else {
            return;
        };
        let class = slab.class();
        let shape = &TABLE[usize::from(class)];
        let free = slab.give_one(index, bit);
        if [1, shape.ready, shape.blocks].contains(&(free as u32)) {
            self.settle_given(class, head);
        }
    }

    /// Settles a slab after blocks of it were given back.
    #[cold]
    fn settle_given(&self, class: u8, head: u32) {
        let mut lists = self.class(class);
        // The slab may have been released, and its pages used otherwise, before the lock
        // was ours. While we hold it, the page table's word for this class is stable.
        if self.entry(head) == Some(PageEntry::Slab { class }) {
            self.settle_slab(&mut lists, class, head);
        }
    }

    /// Makes the pages of a run available again, after the grace period.
    pub fn release_run(&self, at: Offset, pages: u32) {
        let page = self
            .geometry
            .page_of(at)
            .expect("a released run lies in the heap");
        self.pages.lock().give(page, pages);
    }

    /// Chooses slabs to be emptied: the sparsest ones of each class, as many as the free blocks of its other slabs can
    /// take the blocks of. Nothing is allocated from them until they are empty, or [`Heap::stop_draining`]. Answers
    /// their number.
    pub fn drain_sparse(&self) -> usize {
        let mut chosen = 0;
        for class in 0..class::CLASSES as u8 {
            let blocks = TABLE[usize::from(class)].blocks;
            let mut lists = self.class(class);
            if lists.closed || !lists.draining.is_empty() {
                continue;
            }
            let mut slabs = lists.listed(&self.slabs, State::Ready);
            slabs.extend(lists.listed(&self.slabs, State::Thin));
            slabs.sort_unstable_by_key(|(_, free)| std::cmp::Reverse(*free));
            let mut room: u64 = slabs.iter().map(|(_, free)| u64::from(*free)).sum();
            let mut moving = 0;
            for (page, free) in slabs {
                room -= u64::from(free);
                moving += u64::from(blocks.saturating_sub(free));
                if moving > room {
                    break;
                }
                // SAFETY: listed slabs of this class exist while its lock is held.
                let slab = unsafe { self.slabs.at(page) }.expect("a listed slab exists");
                lists.set_state(&self.slabs, page, slab, State::Draining);
                lists.draining.push(page);
                chosen += 1;
                // It may have become empty since it was listed.
                self.settle_slab(&mut lists, class, page);
            }
        }
        chosen
    }

    /// Lets blocks be allocated again from the slabs that are not empty yet.
    pub fn stop_draining(&self) {
        for class in 0..class::CLASSES as u8 {
            let mut lists = self.class(class);
            for page in std::mem::take(&mut lists.draining) {
                // SAFETY: the class lock is held; a slab that is released leaves the list.
                let Some(slab) = (unsafe { self.slabs.at(page) }) else {
                    continue;
                };
                lists.set_state(&self.slabs, page, slab, State::Full);
                self.settle_slab(&mut lists, class, page);
            }
        }
    }

    /// Whether an allocated block lies in a slab that is to be emptied.
    pub fn is_draining(&self, at: Offset) -> bool {
        match locate(&self.medium, self.geometry, at) {
            Some((head, block)) if block.bit != 0 => {
                // SAFETY: the caller's block is allocated, hence its slab is not released.
                unsafe { self.slabs.at(head) }.is_some_and(|slab| slab.state() == State::Draining)
            }
            _ => false,
        }
    }

    /// Gives the claims of a lane back, so that other lanes can use them; slabs that are empty go. The caller has the
    /// lane, between two of its transactions, so nobody else takes blocks from these slabs meanwhile, and once they are
    /// not owned any more the lane knows nothing of them.
    pub fn surrender(&self, claims: &mut Claims) {
        for (class, claim) in claims.0.iter_mut().enumerate() {
            let page = std::mem::replace(&mut claim.page, NO_PAGE);
            if page == NO_PAGE {
                continue;
            }
            let bits = std::mem::take(&mut claim.bits);
            if bits != 0 {
                // SAFETY: the lane owns the slab.
                let slab = unsafe { self.slabs.at(page) }.expect("an owned slab exists");
                slab.give(claim.word as usize, bits);
            }
            self.disown(class as u8, page);
        }
    }

    /// Indexes up to `slabs_max` slabs that were found at the start; `true` when none is left.
    pub fn index_step(&self, slabs_max: usize) -> bool {
        let mut next = self.indexed.lock();
        let mut slabs = 0;
        while *next < self.index_end && slabs < slabs_max {
            let page = *next;
            *next += 1;
            if let Some(PageEntry::Slab { class }) = self.entry(page) {
                self.index_slab(class, page);
                slabs += 1;
            }
        }
        *next == self.index_end
    }

    /// Makes the twin of a slab that has none.
    fn index_slab(&self, class: u8, page: u32) {
        let shape = &TABLE[usize::from(class)];
        let mut lists = self.class(class);
        // SAFETY: the class lock is held.
        let known = unsafe { self.slabs.at(page) }.is_some();
        if known || self.entry(page) != Some(PageEntry::Slab { class }) {
            return;
        }
        // Without a twin nobody changes the bitmap on the medium, so it can be read as it is.
        let bitmap = self.geometry.page(page).plus(8);
        let slab = Slab::new(class, |word| {
            self.medium
                .load(bitmap.plus(word as u64 * 8), Ordering::Relaxed)
        });
        let free_bytes = i64::from(slab.free()) * i64::from(shape.block_bytes);
        self.found_bytes.fetch_sub(free_bytes, Ordering::Relaxed);
        self.slabs.insert(page, slab);
        self.settle_slab(&mut lists, class, page);
    }

    /// The busy bits of a slab's bitmap word, if the slab has a twin.
    pub fn busy_bits(&self, class: u8, page: u32, word: usize) -> Option<u64> {
        let _lists = self.class(class);
        // SAFETY: the class lock is held.
        unsafe { self.slabs.at(page) }.map(|slab| slab.busy_bits(word))
    }

    /// Space figures.
    pub fn usage(&self) -> HeapUsage {
        let used = self.pages.lock().used();
        HeapUsage {
            pages_max: self.pages_max,
            mapped: self.mapped.load(Ordering::Relaxed),
            used,
            held: self.held.load(Ordering::Relaxed),
            found_bytes: self.found_bytes.load(Ordering::Relaxed),
            indexed: *self.indexed.lock() == self.index_end,
        }
    }

    /// Stops all changes of the medium that happen outside of transactions.
    pub fn close(&self) {
        for class in &self.classes {
            class.lock().closed = true;
        }
    }
}

#[cold]
#[inline(never)]
fn not_a_block(at: Offset) -> ! {
    panic!("no block of the pool begins at {at:?}");
}

#[inline]
fn entry(medium: &Medium, geometry: Geometry, page: u32) -> Option<PageEntry> {
    PageEntry::decode(medium.load(geometry.page_entry(page), Ordering::Acquire))
}

/// The block that begins at `at`, allocated or not, and the first page of its slab or run.
/// `None` if no block can begin there.
#[inline]
pub fn locate(medium: &Medium, geometry: Geometry, at: Offset) -> Option<(u32, Block)> {
    let page = geometry.page_of(at)?;
    let word = medium.load(geometry.page_entry(page), Ordering::Acquire);
    match layout::slab_class(word) {
        Some(class) => locate_in_slab(geometry, at, page, class),
        None => locate_elsewhere(medium, geometry, at, page, word),
    }
}

/// The same, for an offset that does not lie in the first page of a slab.
fn locate_elsewhere(
    medium: &Medium,
    geometry: Geometry,
    at: Offset,
    page: u32,
    word: u64,
) -> Option<(u32, Block)> {
    match PageEntry::decode(word)? {
        PageEntry::SlabTail { back } => {
            let head = page.checked_sub(back)?;
            match entry(medium, geometry, head)? {
                PageEntry::Slab { class } => locate_in_slab(geometry, at, head, class),
                _ => None,
            }
        }
        extent @ PageEntry::Run { .. } => {
            let block = Block {
                at,
                word: geometry.page_entry(page),
                bit: 0,
                extent,
            };
            (at == geometry.page(page)).then_some((page, block))
        }
        PageEntry::Slab { .. } | PageEntry::Free | PageEntry::Log { .. } => None,
    }
}

/// The same, in the slab of a class that begins with page `head`.
#[inline]
fn locate_in_slab(geometry: Geometry, at: Offset, head: u32, class: u8) -> Option<(u32, Block)> {
    let shape = &TABLE[usize::from(class)];
    let slab = geometry.page(head);
    let inside = (at.raw() - slab.raw()).checked_sub(u64::from(shape.data))? as u32;
    let index = inside / shape.block_bytes;
    if inside != index * shape.block_bytes || index >= shape.blocks {
        return None;
    }
    let block = Block {
        at,
        word: slab.plus(8 + u64::from(index / 64) * 8),
        bit: 1 << (index % 64),
        extent: PageEntry::Slab { class },
    };
    Some((head, block))
}

/// Sets a block's state on the medium and starts flushing it. Idempotent.
#[inline]
pub fn set_allocated(medium: &Medium, block: &Block, allocated: bool) {
    if block.bit == 0 {
        let entry = if allocated {
            block.extent
        } else {
            PageEntry::Free
        };
        medium.store(block.word, entry.encode());
    } else if allocated {
        medium.set_bits(block.word, block.bit);
    } else {
        medium.clear_bits(block.word, block.bit);
    }
    medium.flush(block.word, 8, Site::Bits);
}

/// Allocates storage for the page table's words for pages `from..to`.
pub fn allocate_page_table(
    medium: &Medium,
    geometry: Geometry,
    from: u32,
    to: u32,
) -> std::io::Result<()> {
    const STEP: u64 = 4096;
    let start = geometry.page_entry(from).raw() / STEP * STEP;
    let end = (geometry.page_table() + u64::from(to) * 8).next_multiple_of(STEP);
    medium.map().allocate(start, end - start)
}
