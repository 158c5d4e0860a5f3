//! Where everything lies on the medium. `FORMAT.md` is the prose of this file; the assertions at
//! its foot keep the two from drifting.
//!
//! ```text
//! 0      superblock A   4 KiB
//! 4096   superblock B   4 KiB
//! 8192   pool state     4 KiB    frontier: pages ever handed out; the log ring
//! 12288  root area      4 KiB    belongs to the store layer
//! 16384  lanes          8 KiB each
//! ...    page table     8 B for each page of the capacity, sparse beyond the heap's end
//! ...    heap           64 KiB pages
//! ```
//!
//! All words are little endian and lie at multiples of eight.

use super::{Offset, class};

/// First eight bytes of both superblocks.
pub const MAGIC: [u8; 8] = *b"EAGLPOOL";

/// Version of this layout.
pub const FORMAT_VERSION: u32 = 3;

/// The oldest version that is read, too. In a pool of version 2 each block that a transaction in flight has allocated or
/// given up has a log entry of its own; all else is the same.
pub const FORMAT_VERSION_MIN: u32 = 2;

/// Bytes of a superblock's page; copies begin at 0 and at this offset.
pub const SUPERBLOCK_BYTES: u64 = 4096;

/// The word that holds the frontier: the number of heap pages that were ever in use. The page
/// table is all zeros from there on.
pub const FRONTIER: Offset = Offset::from_raw(2 * SUPERBLOCK_BYTES);

/// The log ring's words, on the same page as the frontier. The head has a line of its own: every
/// transaction that logs writes it.
pub const RING_HEAD: Offset = FRONTIER.plus(64);
/// The first stream byte that the ring still has.
pub const RING_FLOOR: Offset = FRONTIER.plus(128);
/// The ring's block; 0 if there is no ring.
pub const RING_BLOCK: Offset = FRONTIER.plus(136);
/// Bytes of the ring, without its checksums.
pub const RING_BYTES: Offset = FRONTIER.plus(144);
/// The owner's note on the stream.
pub const RING_LABEL: Offset = FRONTIER.plus(192);
/// Bytes of that note.
pub const RING_LABEL_BYTES: usize = 128;

/// The store layer's root area.
pub const ROOT: Offset = Offset::from_raw(3 * SUPERBLOCK_BYTES);

/// Bytes of the root area.
pub const ROOT_BYTES: u64 = 4096;

/// The first lane.
pub const LANES: u64 = ROOT.raw() + ROOT_BYTES;

/// Bytes of a lane: its header and the first chunk of its log.
pub const LANE_BYTES: u64 = 8192;

/// Bytes of a lane's header; word 0 is the generation, the rest is zero.
pub const LANE_HEADER_BYTES: u64 = 64;

/// Most lanes a pool can have. Recovery looks at each of them.
pub const LANES_MAX: usize = 1024;

/// Bytes of a heap page.
pub const PAGE_BYTES: u64 = 1 << PAGE_SHIFT;

/// Binary logarithm of [`PAGE_BYTES`].
pub const PAGE_SHIFT: u32 = 16;

/// Most heap pages: the last granule must have a number of 40 bits. A GiB is kept back for what
/// lies before the heap.
pub const PAGES_MAX: u64 = ((1 << (super::GRANULE_BITS + 3)) - (2 << 30)) / PAGE_BYTES;

/// Positions that depend on the figures in the superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    lanes: usize,
    pages: u64,
    page_table: u64,
    heap: u64,
}

impl Geometry {
    /// The geometry of a pool with `lanes` lanes and a page table for `pages` pages.
    pub const fn new(lanes: usize, pages: u64) -> Geometry {
        let page_table = (LANES + lanes as u64 * LANE_BYTES).next_multiple_of(PAGE_BYTES);
        let heap = (page_table + pages * 8).next_multiple_of(PAGE_BYTES);
        Geometry {
            lanes,
            pages,
            page_table,
            heap,
        }
    }

    /// Number of lanes.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Pages the page table has words for.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Header of a lane.
    #[inline]
    pub fn lane(&self, index: usize) -> Offset {
        debug_assert!(index < self.lanes);
        Offset::from_raw(LANES + index as u64 * LANE_BYTES)
    }

    /// Start of the page table.
    #[inline]
    pub fn page_table(&self) -> u64 {
        self.page_table
    }

    /// Start of the heap.
    #[inline]
    pub fn heap(&self) -> u64 {
        self.heap
    }

    /// The page table's word for a page.
    #[inline]
    pub fn page_entry(&self, page: u32) -> Offset {
        Offset::from_raw(self.page_table + u64::from(page) * 8)
    }

    /// The first page of a slab, and the number of the word in its bitmap that lies at `word`.
    #[inline]
    pub fn bitmap_word(&self, word: Offset) -> (u32, usize) {
        // The heap begins at a multiple of the page size, and a bitmap lies in its slab's first page, behind the tag.
        let page = (word.raw() - self.heap) >> PAGE_SHIFT;
        let index = word.raw() % PAGE_BYTES / 8 - 1;
        (page as u32, index as usize)
    }

    /// Start of a page.
    #[inline]
    pub fn page(&self, page: u32) -> Offset {
        Offset::from_raw(self.heap + (u64::from(page) << PAGE_SHIFT))
    }

    /// The page an offset lies in, whether it is in use or not.
    #[inline]
    pub fn page_of(&self, at: Offset) -> Option<u32> {
        let page = at.raw().checked_sub(self.heap)? >> PAGE_SHIFT;
        (page < self.pages).then_some(page as u32)
    }
}

/// A word of the page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEntry {
    /// Not in use, or inside a run or log chunk.
    Free,
    /// First page of a slab of a size class.
    Slab { class: u8 },
    /// A further page of a slab, `back` pages behind its first one.
    SlabTail { back: u32 },
    /// First page of a block that has pages of its own.
    Run { pages: u32 },
    /// First page of an extension of a lane's log.
    Log { pages: u32 },
}

const KIND_SLAB: u64 = 1;
const KIND_SLAB_TAIL: u64 = 2;
const KIND_RUN: u64 = 3;
const KIND_LOG: u64 = 4;

impl PageEntry {
    /// The word on the medium: kind in bits 0..8, class in 8..16, a page count in 32..64.
    #[inline]
    pub fn encode(self) -> u64 {
        match self {
            PageEntry::Free => 0,
            PageEntry::Slab { class } => KIND_SLAB | u64::from(class) << 8,
            PageEntry::SlabTail { back } => KIND_SLAB_TAIL | u64::from(back) << 32,
            PageEntry::Run { pages } => KIND_RUN | u64::from(pages) << 32,
            PageEntry::Log { pages } => KIND_LOG | u64::from(pages) << 32,
        }
    }

    /// Reads a word, or `None` if it is not one that [`PageEntry::encode`] makes.
    #[inline]
    pub fn decode(word: u64) -> Option<PageEntry> {
        let count = (word >> 32) as u32;
        let class = (word >> 8) as u8;
        let entry = match word & 0xff {
            0 => PageEntry::Free,
            KIND_SLAB if usize::from(class) < class::CLASSES => PageEntry::Slab { class },
            KIND_SLAB_TAIL if count > 0 => PageEntry::SlabTail { back: count },
            KIND_RUN if count > 0 => PageEntry::Run { pages: count },
            KIND_LOG if count > 0 => PageEntry::Log { pages: count },
            _ => return None,
        };
        (entry.encode() == word).then_some(entry)
    }
}

/// The class of the slab whose first page's word this is; `None` for any other word. What [`PageEntry::decode`] says, for
/// who looks for nothing else.
#[inline]
pub fn slab_class(word: u64) -> Option<u8> {
    let class = (word >> 8) as u8;
    let is_slab = word & !0xff00 == KIND_SLAB && usize::from(class) < class::CLASSES;
    is_slab.then_some(class)
}

/// Tag in the first word of a slab; the class is in its low byte.
const SLAB_TAG: u64 = 0x4541_474c_534c_4100;

/// The first word of a slab's header. The allocation bitmap follows it.
#[inline]
pub fn slab_tag(class: u8) -> u64 {
    SLAB_TAG | u64::from(class)
}

const _: () = {
    assert!(
        cfg!(target_endian = "little"),
        "the medium is little endian"
    );
    assert!(FRONTIER.raw() == 8192);
    assert!(ROOT.raw() == 12288);
    assert!(LANES == 16384);
    assert!(LANES.is_multiple_of(4096) && LANE_BYTES.is_multiple_of(4096));
    assert!(PAGE_BYTES == 65536);
    assert!(class::CLASSES <= 256);
    assert!(PAGES_MAX <= u32::MAX as u64);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_entries_round_trip() {
        for entry in [
            PageEntry::Free,
            PageEntry::Slab { class: 0 },
            PageEntry::Slab {
                class: class::CLASSES as u8 - 1,
            },
            PageEntry::SlabTail { back: 3 },
            PageEntry::Run { pages: 9600 },
            PageEntry::Log { pages: 1 },
        ] {
            assert_eq!(PageEntry::decode(entry.encode()), Some(entry));
            let class = match entry {
                PageEntry::Slab { class } => Some(class),
                _ => None,
            };
            assert_eq!(slab_class(entry.encode()), class);
        }
        for word in [
            5,
            KIND_RUN,
            KIND_SLAB | 0xff00,
            KIND_SLAB | 1 << 40,
            1 << 33,
        ] {
            assert_eq!(PageEntry::decode(word), None, "{word:#x}");
            assert_eq!(slab_class(word), None, "{word:#x}");
        }
    }

    /// Whoever changes one of these figures changes the format, and must raise its version.
    #[test]
    fn the_format_is_pinned() {
        let geometry = Geometry::new(64, 1 << 24);
        assert_eq!(geometry.lane(63).raw(), 0x4000 + 63 * 8192);
        assert_eq!(
            (geometry.page_table(), geometry.heap()),
            (0x90000, 0x8090000)
        );
        assert_eq!(PageEntry::Slab { class: 5 }.encode(), 0x501);
        assert_eq!(PageEntry::SlabTail { back: 2 }.encode(), 0x2_0000_0002);
        assert_eq!(PageEntry::Run { pages: 3 }.encode(), 0x3_0000_0003);
        assert_eq!(PageEntry::Log { pages: 4 }.encode(), 0x4_0000_0004);
        assert_eq!(slab_tag(5), 0x4541_474c_534c_4105);
        let shapes: Vec<u8> = class::TABLE
            .iter()
            .flat_map(|shape| [shape.block_bytes, shape.blocks, shape.data, shape.pages])
            .flat_map(u32::to_le_bytes)
            .collect();
        assert_eq!(crc32c::crc32c(&shapes), 0xac43_fdb9);
    }

    #[test]
    fn areas_do_not_overlap() {
        let geometry = Geometry::new(3, 70_000);
        assert!(geometry.lane(2).raw() + LANE_BYTES <= geometry.page_table());
        assert!(geometry.page_entry(69_999).raw() + 8 <= geometry.heap());
        assert_eq!(geometry.page(1).raw() - geometry.page(0).raw(), PAGE_BYTES);
        let largest = Geometry::new(LANES_MAX, PAGES_MAX);
        assert!((largest.heap() + PAGES_MAX * PAGE_BYTES) / 8 <= 1 << 40);
    }
}
