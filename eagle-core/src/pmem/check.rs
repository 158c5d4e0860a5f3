//! The pool's half of an offline checker: given all blocks that the store layer can reach, is
//! every block accounted for exactly once?
//!
//! The pool must be at rest: no transaction in flight, no writer. Readers do not matter.

use super::{
    Offset, Pool,
    alloc::locate,
    class::TABLE,
    layout::{self, FRONTIER, PageEntry},
    page_walk::PageWalk,
    recovery, ring,
};
use std::{collections::HashMap, sync::atomic::Ordering};

/// Of each kind of finding at most this many are listed; all are counted.
pub const FINDINGS_MAX: usize = 100;

/// Offsets with a common fault: all counted, the first [`FINDINGS_MAX`] listed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Offset>,
}

impl Findings {
    fn add(&mut self, at: Offset) {
        self.count += 1;
        if self.first.len() < FINDINGS_MAX {
            self.first.push(at);
        }
    }
}

/// What [`check`] has found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Allocated blocks and their bytes.
    pub blocks: u64,
    pub bytes: u64,
    /// Slabs, page runs and free pages.
    pub slabs: u64,
    pub runs: u64,
    pub pages_free: u64,
    /// Allocated, but nobody refers to them.
    pub leaked: Findings,
    /// Referred to, but not allocated.
    pub dangling: Findings,
    /// Referred to more than once.
    pub shared: Findings,
    /// Contradictions within the allocator and the logs, in words.
    pub faults: Vec<String>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.leaked.count == 0
            && self.dangling.count == 0
            && self.shared.count == 0
            && self.faults.is_empty()
    }
}

/// Compares the allocator's books with the blocks that are reachable, each named once.
pub fn check(pool: &Pool, reachable: impl IntoIterator<Item = Offset>) -> CheckReport {
    let heap = pool.heap();
    let (medium, geometry) = (&heap.medium, heap.geometry);
    let mut report = CheckReport::default();
    // By word of a bitmap, or of the page table for a run: the blocks that were reached.
    let mut reached: HashMap<Offset, u64> = HashMap::new();
    let ring_block = pool.ring_block().map(|(at, _)| at);
    for at in reachable.into_iter().chain(ring_block) {
        match locate(medium, geometry, at) {
            Some((_, block)) if heap.is_allocated(&block) => {
                let bit = block.bit.max(1);
                let bits = reached.entry(block.word).or_default();
                if *bits & bit != 0 {
                    report.shared.add(at);
                }
                *bits |= bit;
            }
            _ => report.dangling.add(at),
        }
    }
    match recovery::read_logs(medium, geometry, &pool.hash_seed()) {
        Err(fault) => report.faults.push(fault),
        Ok(logs) => {
            let pending = logs.iter().filter(|log| !log.is_empty()).count();
            if pending > 0 {
                report
                    .faults
                    .push(format!("{pending} logs are not truncated"));
            }
        }
    }
    report.faults.extend(ring::check(pool));
    let frontier = medium.load(FRONTIER, Ordering::Relaxed) as u32;
    for extent in PageWalk::new(medium, geometry, frontier) {
        match extent {
            Err(fault) => report.faults.push(fault),
            Ok((_, pages, PageEntry::Free)) => report.pages_free += u64::from(pages),
            Ok((page, pages, PageEntry::Run { .. })) => {
                report.runs += 1;
                report.blocks += 1;
                report.bytes += u64::from(pages) * layout::PAGE_BYTES;
                if reached.remove(&geometry.page_entry(page)).is_none() {
                    report.leaked.add(geometry.page(page));
                }
            }
            Ok((page, _, PageEntry::Slab { class })) => {
                report.slabs += 1;
                check_slab(pool, &mut report, &mut reached, page, class);
            }
            Ok((page, _, entry)) => report.faults.push(format!("page {page} is {entry:?}")),
        }
    }
    let unused = (frontier..heap.usage().mapped)
        .map(|page| medium.load(geometry.page_entry(page), Ordering::Relaxed));
    if unused.into_iter().any(|word| word != 0) {
        report
            .faults
            .push("the page table is not zero beyond the frontier".into());
    }
    if !reached.is_empty() {
        report.faults.push(format!(
            "{} bitmap words lie beyond the frontier",
            reached.len()
        ));
    }
    report
}

/// Bytes of the heap that are no allocated block's: what a transaction may find anything in. The pool is at rest and sound.
#[cfg(test)]
pub(crate) fn free_ranges(pool: &Pool) -> Vec<std::ops::Range<u64>> {
    let heap = pool.heap();
    let (medium, geometry) = (&heap.medium, heap.geometry);
    let frontier = medium.load(FRONTIER, Ordering::Relaxed) as u32;
    let page_at = |page| geometry.page(page).raw();
    let mut free = Vec::new();
    for extent in PageWalk::new(medium, geometry, frontier) {
        let (page, pages, entry) = extent.expect("a sound page table");
        match entry {
            PageEntry::Free => free.push(page_at(page)..page_at(page + pages)),
            PageEntry::Slab { class } => {
                let shape = &TABLE[usize::from(class)];
                for block in 0..u64::from(shape.blocks) {
                    let word = geometry.page(page).plus(8 + block / 64 * 8);
                    if medium.load(word, Ordering::Relaxed) >> (block % 64) & 1 == 0 {
                        let bytes = u64::from(shape.block_bytes);
                        let at = page_at(page) + u64::from(shape.data) + block * bytes;
                        free.push(at..at + bytes);
                    }
                }
            }
            _ => {}
        }
    }
    free.push(page_at(frontier)..u64::MAX);
    free
}

fn check_slab(
    pool: &Pool,
    report: &mut CheckReport,
    reached: &mut HashMap<Offset, u64>,
    page: u32,
    class: u8,
) {
    let heap = pool.heap();
    let (medium, geometry) = (&heap.medium, heap.geometry);
    let shape = &TABLE[usize::from(class)];
    let start = geometry.page(page);
    if medium.load(start, Ordering::Relaxed) != layout::slab_tag(class) {
        report
            .faults
            .push(format!("slab at page {page} has a wrong tag"));
    }
    let tails = (1..shape.pages).all(|back| {
        let word = medium.load(geometry.page_entry(page + back), Ordering::Relaxed);
        PageEntry::decode(word) == Some(PageEntry::SlabTail { back })
    });
    let mut allocated_blocks = 0;
    for word in 0..shape.bitmap_words() {
        let at = start.plus(8 + word as u64 * 8);
        let allocated = medium.load(at, Ordering::Relaxed);
        let used = shape.blocks as usize - word * 64;
        let beyond = if used >= 64 { 0 } else { !0 << used };
        if allocated & beyond != 0 {
            report.faults.push(format!(
                "slab at page {page} has bits beyond its last block"
            ));
        }
        if heap
            .busy_bits(class, page, word)
            .is_some_and(|busy| allocated & !busy != 0)
        {
            report.faults.push(format!(
                "slab at page {page} would hand out allocated blocks"
            ));
        }
        let mut leaked = allocated & !beyond & !reached.remove(&at).unwrap_or(0);
        while leaked != 0 {
            let index = word as u64 * 64 + u64::from(leaked.trailing_zeros());
            report
                .leaked
                .add(start.plus(u64::from(shape.data) + index * u64::from(shape.block_bytes)));
            leaked &= leaked - 1;
        }
        allocated_blocks += u64::from((allocated & !beyond).count_ones());
    }
    // A crash may leave an empty slab behind whose making or release was cut off.
    if !tails && allocated_blocks > 0 {
        report
            .faults
            .push(format!("slab at page {page} has lost its tail"));
    }
    report.blocks += allocated_blocks;
    report.bytes += allocated_blocks * u64::from(shape.block_bytes);
}
