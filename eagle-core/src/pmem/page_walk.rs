//! Reading the page table from page to page, as a start and a check do.

use super::{
    class::TABLE,
    layout::{Geometry, PageEntry},
    medium::Medium,
};
use std::sync::atomic::Ordering;

/// The extents of the page table below the frontier: first page, pages, entry. Tails without a
/// head, which a crash can leave behind, count as free.
pub struct PageWalk<'m> {
    medium: &'m Medium,
    geometry: Geometry,
    next: u32,
    frontier: u32,
}

impl<'m> PageWalk<'m> {
    /// Starts at the first page.
    pub fn new(medium: &'m Medium, geometry: Geometry, frontier: u32) -> PageWalk<'m> {
        PageWalk {
            medium,
            geometry,
            next: 0,
            frontier,
        }
    }
}

impl Iterator for PageWalk<'_> {
    type Item = Result<(u32, u32, PageEntry), String>;

    fn next(&mut self) -> Option<Self::Item> {
        let page = self.next;
        if page >= self.frontier {
            return None;
        }
        let word = self
            .medium
            .load(self.geometry.page_entry(page), Ordering::Relaxed);
        let pages = match PageEntry::decode(word) {
            None => {
                self.next = self.frontier;
                return Some(Err(format!("page table word {word:#x} of page {page}")));
            }
            Some(PageEntry::Free | PageEntry::SlabTail { .. }) => {
                self.next += 1;
                return Some(Ok((page, 1, PageEntry::Free)));
            }
            Some(PageEntry::Slab { class }) => TABLE[usize::from(class)].pages,
            Some(PageEntry::Run { pages } | PageEntry::Log { pages }) => pages,
        };
        let entry = PageEntry::decode(word).expect("decoded above");
        if pages > self.frontier - page {
            self.next = self.frontier;
            return Some(Err(format!(
                "page {page} is {entry:?}, which ends beyond the frontier"
            )));
        }
        self.next += pages;
        Some(Ok((page, pages, entry)))
    }
}
