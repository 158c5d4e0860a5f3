//! The end of a view.

use super::notes::{Lapsed, Rare, Readied};
use super::slot::Locks;

/// The slots of a view that has ended, still locked.
#[must_use = "the slots are locked as long as this lives"]
pub struct Committed<'a> {
    pub(super) rare: Option<Box<Rare>>,
    /// The head of the log ring after the record, if one was added.
    pub ring_head: Option<u64>,
    pub(super) _locks: Locks<'a>,
}

impl Committed<'_> {
    /// See [`View::expired`](super::View::expired).
    pub fn expired(&self) -> &[(u8, Box<[u8]>)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.expired)
    }

    /// See [`View::touched`](super::View::touched).
    #[inline]
    pub fn touched(&self) -> &[(u8, Box<[u8]>)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.touched)
    }

    /// Which of those nobody asked for: they, or fields of them, were removed because their time had come. Ascending.
    pub fn unasked(&self) -> &[usize] {
        self.rare.as_ref().map_or(&[], |rare| &rare.unasked)
    }

    /// See [`View::readied`](super::View::readied).
    #[inline]
    pub fn readied(&self) -> &[Readied] {
        self.rare.as_ref().map_or(&[], |rare| &rare.readied)
    }

    /// See [`View::lost`](super::View::lost).
    #[inline]
    pub fn lost(&self) -> &[(u8, Box<[u8]>)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.lost)
    }

    /// See [`View::lapsed`](super::View::lapsed).
    pub fn lapsed(&self) -> &[Lapsed] {
        self.rare.as_ref().map_or(&[], |rare| &rare.lapsed)
    }
}
