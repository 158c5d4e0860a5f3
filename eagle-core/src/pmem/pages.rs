//! Which heap pages are free: a volatile index, rebuilt from the page table at every start.
//!
//! Free extents are kept by position (to merge neighbours) and by length (best fit). Pages
//! beyond the frontier have never been used; they are taken when nothing below fits.

use std::collections::{BTreeMap, BTreeSet};

/// Free pages below the frontier, and the frontier.
#[derive(Debug, Default)]
pub struct PageMap {
    /// Pages ever handed out.
    frontier: u32,
    /// Pages in use.
    used: u32,
    /// First page -> length of each free extent.
    extents: BTreeMap<u32, u32>,
    /// The same extents as (length, first page).
    lengths: BTreeSet<(u32, u32)>,
}

impl PageMap {
    /// A map in which all pages below `frontier` are in use.
    pub fn new(frontier: u32) -> PageMap {
        PageMap {
            frontier,
            used: frontier,
            ..PageMap::default()
        }
    }

    /// Pages ever handed out.
    pub fn frontier(&self) -> u32 {
        self.frontier
    }

    /// Pages in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Where `count` pages could be taken: the best fit below the frontier, else at the
    /// frontier together with the free pages that end there. May exceed any limit; the caller
    /// looks at the answer before it calls [`PageMap::take`].
    pub fn find(&self, count: u32) -> u32 {
        if let Some(&(_, first)) = self.lengths.range((count, 0)..).next() {
            return first;
        }
        match self.extents.last_key_value() {
            Some((&first, &length)) if first + length == self.frontier => first,
            _ => self.frontier,
        }
    }

    /// Takes pages that [`PageMap::find`] proposed.
    pub fn take(&mut self, first: u32, count: u32) {
        if let Some(length) = self.extents.remove(&first) {
            self.lengths.remove(&(length, first));
            if length > count {
                self.insert(first + count, length - count);
            }
        }
        self.frontier = self.frontier.max(first + count);
        self.used += count;
    }

    /// Gives pages back and merges them with free neighbours.
    pub fn give(&mut self, first: u32, count: u32) {
        debug_assert!(first + count <= self.frontier && count <= self.used);
        self.used -= count;
        let (mut first, mut count) = (first, count);
        if let Some((&before, &length)) = self.extents.range(..first).next_back() {
            debug_assert!(before + length <= first, "pages given back twice");
            if before + length == first {
                self.remove(before, length);
                first = before;
                count += length;
            }
        }
        if let Some(&length) = self.extents.get(&(first + count)) {
            self.remove(first + count, length);
            count += length;
        }
        self.insert(first, count);
    }

    /// Number of free extents and the pages in them.
    #[cfg(test)]
    fn free(&self) -> (usize, u32) {
        (self.extents.len(), self.extents.values().sum())
    }

    fn insert(&mut self, first: u32, length: u32) {
        self.extents.insert(first, length);
        self.lengths.insert((length, first));
    }

    fn remove(&mut self, first: u32, length: u32) {
        self.extents.remove(&first);
        self.lengths.remove(&(length, first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_merge_and_the_tail_grows() {
        let mut map = PageMap::default();
        for page in 0..10 {
            assert_eq!(map.find(1), page);
            map.take(page, 1);
        }
        map.give(3, 1);
        map.give(5, 1);
        map.give(4, 1);
        assert_eq!(map.free(), (1, 3));
        assert_eq!(map.find(3), 3);
        map.give(9, 1);
        assert_eq!(map.find(5), 9, "a run may begin in the free tail");
        map.take(9, 5);
        assert_eq!((map.frontier(), map.used()), (14, 11));
        assert_eq!(map.find(1), 3);
    }

    proptest! {
        #[test]
        fn extents_never_overlap(steps in prop::collection::vec((any::<bool>(), 1u32..9), 1..200)) {
            let mut map = PageMap::default();
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for (take, number) in steps {
                if take {
                    let first = map.find(number);
                    let apart = |&(other, count): &(u32, u32)| {
                        first + number <= other || other + count <= first
                    };
                    prop_assert!(taken.iter().all(apart));
                    map.take(first, number);
                    taken.push((first, number));
                } else if !taken.is_empty() {
                    let (first, count) = taken.swap_remove(number as usize % taken.len());
                    map.give(first, count);
                }
                let used: u32 = taken.iter().map(|(_, count)| count).sum();
                prop_assert_eq!(map.used(), used);
                prop_assert_eq!(map.free().1 + used, map.frontier());
            }
        }
    }
}
