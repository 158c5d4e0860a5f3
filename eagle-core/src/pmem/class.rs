//! Size classes: which block sizes slabs come in, and how a slab of each is laid out.
//!
//! Steps of 8 bytes up to 128, then eight classes for each doubling up to 512 bytes, then sixteen up to 32 KiB: there a
//! block is worth the further classes, and a value of a round number of bytes with its key and header wastes little.
//! Rounding up wastes less than an eighth of a block, or a sixteenth of a large one, and some 4 % on average. A
//! slab has as many 64 KiB pages as it takes to keep its tail small. Larger blocks get pages of their own.

use super::layout::{PAGE_BYTES, PAGE_SHIFT};

/// Number of size classes.
pub const CLASSES: usize = 128;

/// The first class of those that come in sixteen steps for each doubling.
const FINE_CLASS: usize = 32;

/// Largest block that lives in a slab, in bytes.
pub const SLAB_BLOCK_BYTES_MAX: usize = 32 * 1024;

/// Blocks begin at a multiple of this within a slab, so that blocks of whole cache lines are
/// aligned to cache lines.
const SLAB_ALIGN_BYTES: u32 = 64;

const SLAB_PAGES_MAX: u32 = 16;

/// One size class and the shape of its slabs.
#[derive(Debug, Clone, Copy)]
pub struct Class {
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Blocks of a slab.
    pub blocks: u32,
    /// Where the first block begins, in bytes from the start of the slab.
    pub data: u32,
    /// Pages of a slab.
    pub pages: u32,
    /// Free blocks from which a slab counts as worth allocating from.
    pub ready: u32,
}

impl Class {
    /// 64-bit words of the slab's allocation bitmap, which begins at byte 8 of the slab.
    pub const fn bitmap_words(&self) -> usize {
        self.blocks.div_ceil(64) as usize
    }

    const fn shape(block_bytes: u32, pages: u32) -> Class {
        let bytes = pages << PAGE_SHIFT;
        let mut blocks = bytes / block_bytes;
        loop {
            let header = 8 + blocks.div_ceil(64) * 8;
            let data = header.next_multiple_of(SLAB_ALIGN_BYTES);
            if data + blocks * block_bytes <= bytes {
                let ready = if blocks >= 32 { blocks / 16 } else { 1 };
                return Class {
                    block_bytes,
                    blocks,
                    data,
                    pages,
                    ready,
                };
            }
            blocks -= 1;
        }
    }

    const fn best(block_bytes: u32) -> Class {
        let mut best = Class::shape(block_bytes, 1);
        let mut pages = 2;
        while pages <= SLAB_PAGES_MAX {
            // Unused bytes above 1/32 of the slab justify a larger one, if that is better.
            let unused = (best.pages << PAGE_SHIFT) - best.blocks * block_bytes;
            if unused <= (best.pages << PAGE_SHIFT) / 32 {
                break;
            }
            let candidate = Class::shape(block_bytes, pages);
            let candidate_unused = (pages << PAGE_SHIFT) - candidate.blocks * block_bytes;
            if candidate_unused * best.pages < unused * pages {
                best = candidate;
            }
            pages += 1;
        }
        best
    }
}

const fn block_bytes(class: usize) -> u32 {
    if class < 16 {
        (class as u32 + 1) * 8
    } else if class >= FINE_CLASS {
        let doubling = (class - FINE_CLASS) as u32 / 16;
        let step = (class - FINE_CLASS) as u32 % 16 + 1;
        (512 << doubling) + step * (32 << doubling)
    } else {
        let doubling = (class as u32 - 16) / 8;
        let step = (class as u32 - 16) % 8 + 1;
        (128 << doubling) + step * (16 << doubling)
    }
}

/// The classes, by number.
pub static TABLE: [Class; CLASSES] = {
    let mut table = [Class::best(8); CLASSES];
    let mut class = 1;
    while class < CLASSES {
        table[class] = Class::best(block_bytes(class));
        class += 1;
    }
    table
};

/// The class for a block of `bytes`, 1..=[`SLAB_BLOCK_BYTES_MAX`].
#[inline]
pub fn of(bytes: usize) -> u8 {
    debug_assert!(bytes <= SLAB_BLOCK_BYTES_MAX);
    if bytes <= 128 {
        (bytes.max(1) as u32).div_ceil(8) as u8 - 1
    } else {
        let last = bytes as u32 - 1;
        let doubling = last.ilog2() - 7;
        if doubling >= 2 {
            let step = (last - (128 << doubling)) >> (doubling + 3);
            return (FINE_CLASS as u32 + (doubling - 2) * 16 + step) as u8;
        }
        let step = (last - (128 << doubling)) >> (doubling + 4);
        (16 + doubling * 8 + step) as u8
    }
}

/// Pages of a block that gets pages of its own.
#[inline]
pub fn run_pages(bytes: usize) -> u32 {
    (bytes as u64).div_ceil(PAGE_BYTES) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_gets_the_smallest_class_that_holds_it() {
        for bytes in 1..=SLAB_BLOCK_BYTES_MAX {
            let class = usize::from(of(bytes));
            assert!(TABLE[class].block_bytes as usize >= bytes, "{bytes}");
            assert!(
                class == 0 || (TABLE[class - 1].block_bytes as usize) < bytes,
                "{bytes}"
            );
        }
        assert_eq!(
            TABLE[CLASSES - 1].block_bytes as usize,
            SLAB_BLOCK_BYTES_MAX
        );
        assert_eq!(of(0), 0);
    }

    #[test]
    fn slabs_are_well_formed_and_waste_little() {
        for class in &TABLE {
            assert!(class.block_bytes.is_multiple_of(8));
            assert!(class.data as usize >= 8 + class.bitmap_words() * 8);
            let used = class.blocks * class.block_bytes;
            let bytes = class.pages << PAGE_SHIFT;
            assert!(class.data + used <= bytes);
            assert!((bytes - used) as f64 / (bytes as f64) < 0.05, "{class:?}");
            assert!(class.ready >= 1 && class.ready < class.blocks.max(2));
        }
    }

    #[test]
    fn mean_waste_stays_below_five_percent() {
        let (mut asked, mut taken) = (0.0, 0.0);
        for bytes in 129..=SLAB_BLOCK_BYTES_MAX {
            let class = TABLE[usize::from(of(bytes))];
            asked += 1.0;
            taken += f64::from(class.pages << PAGE_SHIFT) / f64::from(class.blocks) / bytes as f64;
        }
        assert!(taken / asked < 1.06, "{}", taken / asked);
    }
}
