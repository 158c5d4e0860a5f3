//! Which heap pages are free: a volatile index, rebuilt from the page table at every start.
//!
//! Free extents are kept by position (to merge neighbours) and by length (best fit). Pages
//! beyond the frontier have never been used; they are taken when nothing below fits.
//!
//! Some free pages are *hollow*: the medium may have no storage for them, because it was given back to the system, or
//! because nobody has asked since the start. Whoever takes them has the medium allocate them first.

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
    /// First page -> length of each range of hollow pages, all of which are free; and their number.
    hollow: BTreeMap<u32, u32>,
    hollow_pages: u32,
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

    /// Takes pages that [`PageMap::find`] or [`PageMap::find_solid`] proposed.
    pub fn take(&mut self, first: u32, count: u32) {
        let extent = self.extents.range(..=first).next_back();
        if let Some((&start, &length)) = extent
            && start + length > first
        {
            self.remove(start, length);
            if start < first {
                self.insert(start, first - start);
            }
            if start + length > first + count {
                self.insert(first + count, start + length - first - count);
            }
        }
        self.fill(first, count);
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

    /// Free pages that are not hollow.
    pub fn solid(&self) -> u32 {
        self.frontier - self.used - self.hollow_pages
    }

    /// The hollow pages among some free ones: first page and length of each range.
    pub fn hollow_in(&self, first: u32, count: u32) -> Vec<(u32, u32)> {
        let before = self.hollow.range(..first).next_back();
        before
            .into_iter()
            .chain(self.hollow.range(first..first + count))
            .filter_map(|(&start, &length)| {
                let from = start.max(first);
                let to = (start + length).min(first + count);
                (from < to).then(|| (from, to - from))
            })
            .collect()
    }

    /// Says that free pages are hollow.
    pub fn hollow_out(&mut self, first: u32, count: u32) {
        self.fill(first, count);
        self.hollow.insert(first, count);
        self.hollow_pages += count;
    }

    /// A long range of free pages that are not hollow, at most `count_max`, out of the longest free extents; `None` if
    /// they have none of `count_min` pages.
    pub fn find_solid(&self, count_min: u32, count_max: u32) -> Option<(u32, u32)> {
        /// Extents that are looked at.
        const EXTENTS_MAX: usize = 64;
        for &(length, first) in self.lengths.iter().rev().take(EXTENTS_MAX) {
            if length < count_min {
                break;
            }
            let mut start = first;
            let end = (first + length, 0);
            for (hole, pages) in self.hollow_in(first, length).into_iter().chain([end]) {
                if hole - start >= count_min {
                    return Some((start, (hole - start).min(count_max)));
                }
                start = hole + pages;
            }
        }
        None
    }

    /// Forgets that pages are hollow.
    fn fill(&mut self, first: u32, count: u32) {
        for (start, length) in self.hollow_in(first, count) {
            let (&whole, &pages) = self
                .hollow
                .range(..=start)
                .next_back()
                .expect("a part lies in a range");
            self.hollow.remove(&whole);
            self.hollow_pages -= length;
            if whole < start {
                self.hollow.insert(whole, start - whole);
            }
            if start + length < whole + pages {
                let rest = start + length;
                self.hollow.insert(rest, whole + pages - rest);
            }
        }
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
        fn extents_never_overlap(steps in prop::collection::vec((0..4u8, 1u32..9), 1..200)) {
            let mut map = PageMap::default();
            let mut taken: Vec<(u32, u32)> = Vec::new();
            let mut hollow: BTreeSet<u32> = BTreeSet::new();
            for (step, number) in steps {
                if step < 2 {
                    let first = map.find(number);
                    let apart = |&(other, count): &(u32, u32)| {
                        first + number <= other || other + count <= first
                    };
                    prop_assert!(taken.iter().all(apart));
                    let pages = (first..first + number).filter(|page| hollow.remove(page));
                    let told = map.hollow_in(first, number).into_iter();
                    prop_assert!(pages.eq(told.flat_map(|(start, length)| start..start + length)));
                    map.take(first, number);
                    taken.push((first, number));
                } else if step == 2 {
                    let solid = map.find_solid(number, 2 * number);
                    let run = |page: u32| (page..page + number).all(|page| {
                        !hollow.contains(&page)
                            && page < map.frontier()
                            && taken.iter().all(|(first, count)| page < *first || page >= first + count)
                    });
                    prop_assert_eq!(solid.is_some(), (0..map.frontier()).any(run));
                    if let Some((first, count)) = solid {
                        prop_assert!(run(first) && (number..=2 * number).contains(&count));
                        map.take(first, count);
                        map.give(first, count);
                        map.hollow_out(first, count);
                        hollow.extend(first..first + count);
                    }
                } else if !taken.is_empty() {
                    let (first, count) = taken.swap_remove(number as usize % taken.len());
                    map.give(first, count);
                }
                let used: u32 = taken.iter().map(|(_, count)| count).sum();
                prop_assert_eq!(map.used(), used);
                prop_assert_eq!(map.free().1 + used, map.frontier());
                prop_assert_eq!(map.solid() as usize + hollow.len(), map.free().1 as usize);
            }
        }
    }
}
