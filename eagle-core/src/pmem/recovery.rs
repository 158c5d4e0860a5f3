//! Recovery: brings every lane's log to an end, forwards or backwards.
//!
//! A log that holds no valid entry is finished. Otherwise its transaction was in flight:
//!
//! - it has a RING entry: it had committed if the log ring's head has reached what that says.
//! - its last entry is a PUBLISH and the word has the published value: it had committed.
//!
//! A transaction that had committed is carried out: what it says of blocks, and its publish, in order.
//!
//! - anything else: it had not. Its entries are undone in reverse order; allocations become free
//!   and frees become allocated.
//!
//! Either way the log is then truncated. Every step sets a word or bit to a value that the log
//! alone determines, hence a crash during recovery is followed by the same recovery. Logs of
//! different lanes touch different words, because the words of a slot belong to whoever holds
//! the slot's lock, and different blocks, because a block is not handed out while a log knows it;
//! so the order of lanes does not matter.
//!
//! All logs are read and checked before the first change: a damaged pool stays as it is.

use super::{
    Offset,
    alloc::{Block, locate, set_allocated},
    layout::{
        self, FRONTIER, Geometry, LANE_BYTES, LANE_HEADER_BYTES, PAGE_BYTES, PageEntry, RING_HEAD,
        ROOT,
    },
    log::{self, Entry, Identity, Kind, Name},
    medium::{Medium, Site},
    page_walk::PageWalk,
};
use std::sync::atomic::Ordering;

/// A log as recovery reads it.
#[derive(Debug)]
pub struct LaneLog {
    lane: Offset,
    generation: u64,
    entries: Vec<(Entry, Offset)>,
    committed: bool,
}

impl LaneLog {
    /// Whether there is anything to recover.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether its transaction had committed.
    pub fn is_committed(&self) -> bool {
        self.committed
    }
}

/// Reads and checks the logs of all lanes and the page table. Changes nothing.
pub fn read_logs(
    medium: &Medium,
    geometry: Geometry,
    hash_seed: &[u8; 16],
) -> Result<Vec<LaneLog>, String> {
    let frontier = medium.load(FRONTIER, Ordering::Relaxed);
    if frontier > geometry.pages() {
        return Err(format!("frontier {frontier} beyond the page table"));
    }
    for extent in PageWalk::new(medium, geometry, frontier as u32) {
        extent?;
    }
    (0..geometry.lanes())
        .map(|lane| read_log(medium, geometry, hash_seed, lane))
        .collect()
}

fn read_log(
    medium: &Medium,
    geometry: Geometry,
    hash_seed: &[u8; 16],
    lane_index: usize,
) -> Result<LaneLog, String> {
    let lane = geometry.lane(lane_index);
    let generation = medium.load(lane, Ordering::Relaxed);
    let identity = Identity::new(hash_seed, lane_index, generation);
    let mut position = lane.plus(LANE_HEADER_BYTES);
    let mut end = lane.plus(LANE_BYTES);
    let mut seq = 0;
    let mut entries = Vec::new();
    while let Some((entry, number)) = log::read(medium, identity, position, end, seq) {
        seq = number;
        check_entry(medium, geometry, entry, position)
            .ok_or_else(|| format!("log of lane {lane_index}: {entry:?}"))?;
        if entry.kind == Kind::Link {
            (position, end) = (entry.at, entry.at.plus(entry.value));
        } else {
            entries.push((entry, position));
            position = position.plus(log::entry_bytes(entry.len as usize));
        }
    }
    let ring = entries.iter().find(|(entry, _)| entry.kind == Kind::Ring);
    let committed = match (ring, entries.last()) {
        (Some((entry, _)), _) => medium.load(RING_HEAD, Ordering::Relaxed) >= entry.value,
        (None, Some((entry, _))) => {
            entry.kind == Kind::Publish && medium.load(entry.at, Ordering::Relaxed) == entry.value
        }
        (None, None) => false,
    };
    Ok(LaneLog {
        lane,
        generation,
        entries,
        committed,
    })
}

/// Whether an entry can be applied: everything it refers to exists.
fn check_entry(medium: &Medium, geometry: Geometry, entry: Entry, position: Offset) -> Option<()> {
    let reachable = |len: u64| {
        let ring_end = layout::RING_LABEL.plus(layout::RING_LABEL_BYTES as u64);
        let outside_tables = (ROOT..ROOT.plus(layout::ROOT_BYTES)).contains(&entry.at)
            || (RING_HEAD..ring_end).contains(&entry.at)
            || entry.at.raw() >= geometry.heap();
        outside_tables
            && entry
                .at
                .raw()
                .checked_add(len)
                .is_some_and(|end| end <= medium.end())
    };
    let names_exist = || named(medium, geometry, entry, position).all(|block| block.is_some());
    let valid = match entry.kind {
        Kind::UndoWord => reachable(8) && entry.at.raw().is_multiple_of(8),
        Kind::Publish => reachable(8) && entry.at.raw().is_multiple_of(8) && names_exist(),
        Kind::Blocks => names_exist(),
        Kind::UndoBytes => reachable(u64::from(entry.len)),
        Kind::Alloc | Kind::Free => block(medium, geometry, entry).is_some(),
        Kind::Ring => entry.at == RING_HEAD,
        Kind::Link => {
            let page = geometry.page_of(entry.at)?;
            let pages = u32::try_from(entry.value / PAGE_BYTES).ok()?;
            entry.at == geometry.page(page)
                && entry.value.is_multiple_of(PAGE_BYTES)
                && reachable(entry.value)
                && PageEntry::decode(medium.load(geometry.page_entry(page), Ordering::Relaxed))
                    == Some(PageEntry::Log { pages })
        }
    };
    valid.then_some(())
}

/// The block of an ALLOC or FREE entry.
fn block(medium: &Medium, geometry: Geometry, entry: Entry) -> Option<Block> {
    match PageEntry::decode(entry.value)? {
        extent @ PageEntry::Slab { .. } => {
            let (_, block) = locate(medium, geometry, entry.at)?;
            (block.extent == extent).then_some(block)
        }
        extent @ PageEntry::Run { pages } => {
            // The page table's word may say "free" just now, so the entry itself has to do.
            let page = geometry.page_of(entry.at)?;
            let end = geometry.page(page).plus(u64::from(pages) * PAGE_BYTES);
            let block = Block {
                at: entry.at,
                word: geometry.page_entry(page),
                bit: 0,
                extent,
            };
            (entry.at == geometry.page(page) && end.raw() <= medium.end()).then_some(block)
        }
        _ => None,
    }
}

/// The blocks that a PUBLISH or BLOCKS entry names, and whether they are given up; `None` for a name that is none of a
/// block. Of any other entry there are none.
fn named(
    medium: &Medium,
    geometry: Geometry,
    entry: Entry,
    position: Offset,
) -> impl DoubleEndedIterator<Item = Option<(Block, bool)>> {
    let bytes = match entry.kind {
        Kind::Publish | Kind::Blocks => entry.len as usize,
        _ => 0,
    };
    (0..bytes.div_ceil(8) as u64).map(move |i| {
        let at = position.plus(log::ENTRY_BYTES + 8 * i);
        let name = Name::decode(medium.load(at, Ordering::Relaxed))?;
        let (_, block) = locate(medium, geometry, name.at)?;
        let is_it = block.extent == PageEntry::Slab { class: name.class };
        is_it.then_some((block, name.freed))
    })
}

/// Ends all transactions in flight and gives orphaned log chunks back.
pub fn recover(medium: &Medium, geometry: Geometry, logs: &[LaneLog]) {
    for log in logs.iter().filter(|log| !log.is_empty()) {
        if log.committed {
            for (entry, position) in &log.entries {
                for (block, freed) in named(medium, geometry, *entry, *position).flatten() {
                    set_allocated(medium, &block, !freed);
                }
                match entry.kind {
                    Kind::Alloc | Kind::Free => {
                        mark(medium, geometry, *entry, entry.kind == Kind::Alloc);
                    }
                    Kind::Publish => {
                        // After the ring's head the published word may not have been stored.
                        medium.store(entry.at, entry.value);
                        medium.flush(entry.at, 8, Site::Rollback);
                    }
                    _ => {}
                }
            }
        } else {
            for (entry, position) in log.entries.iter().rev() {
                undo(medium, geometry, *entry, *position);
            }
        }
        medium.fence(Site::Rollback);
        medium.store(log.lane, log.generation + 1);
        medium.flush(log.lane, 8, Site::Generation);
        medium.fence(Site::Generation);
    }
    let frontier = medium.load(FRONTIER, Ordering::Relaxed) as u32;
    let orphans: Vec<u32> = PageWalk::new(medium, geometry, frontier)
        .flatten()
        .filter(|(_, _, entry)| matches!(entry, PageEntry::Log { .. }))
        .map(|(page, _, _)| page)
        .collect();
    if orphans.is_empty() {
        return;
    }
    for page in orphans {
        let at = geometry.page_entry(page);
        medium.store(at, PageEntry::Free.encode());
        medium.flush(at, 8, Site::PageTable);
    }
    medium.fence(Site::PageTable);
}

fn undo(medium: &Medium, geometry: Geometry, entry: Entry, position: Offset) {
    for (block, freed) in named(medium, geometry, entry, position).flatten().rev() {
        set_allocated(medium, &block, freed);
    }
    match entry.kind {
        Kind::UndoWord => {
            medium.store(entry.at, entry.value);
            medium.flush(entry.at, 8, Site::Rollback);
        }
        Kind::UndoBytes => {
            let mut old = vec![0; entry.len as usize];
            medium.read_shared(position.plus(log::ENTRY_BYTES), &mut old);
            medium.write_shared(entry.at, &old);
            medium.flush(entry.at, old.len(), Site::Rollback);
        }
        Kind::Alloc | Kind::Free => mark(medium, geometry, entry, entry.kind == Kind::Free),
        Kind::Publish | Kind::Link | Kind::Ring | Kind::Blocks => {}
    }
}

fn mark(medium: &Medium, geometry: Geometry, entry: Entry, allocated: bool) {
    if let Some(block) = block(medium, geometry, entry) {
        set_allocated(medium, &block, allocated);
    }
}
