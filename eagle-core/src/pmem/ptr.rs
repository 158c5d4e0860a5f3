//! Offsets: how everything in the pool refers to everything else.
//!
//! The pool is mapped at another address in every process, so no address is ever written to the
//! medium (architecture, invariant 2). An offset that is *stored* is a multiple of eight and
//! below 8 TiB, so that its granule number fits the 40 bits which a table's slot word has for it.

use std::fmt;

/// Bytes per granule, the unit of stored offsets.
pub const GRANULE: u64 = 8;

/// Bits of a granule number.
pub const GRANULE_BITS: u32 = 40;

/// A byte position in the pool; 0 is null.
///
/// Blocks begin at multiples of [`GRANULE`]; positions inside a block may be any byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Offset(u64);

impl Offset {
    /// Refers to nothing.
    pub const NULL: Offset = Offset(0);

    /// The position `raw` bytes from the start of the pool. Any value is accepted here; the
    /// pool checks bounds at each access.
    #[inline]
    pub const fn from_raw(raw: u64) -> Offset {
        Offset(raw)
    }

    /// The position of a granule, as kept in 40 bits of a slot word.
    #[inline]
    pub const fn from_granule(granule: u64) -> Offset {
        Offset(granule * GRANULE)
    }

    /// Bytes from the start of the pool.
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The granule number. The offset must be a multiple of eight.
    #[inline]
    pub const fn granule(self) -> u64 {
        debug_assert!(self.0.is_multiple_of(GRANULE));
        self.0 / GRANULE
    }

    /// Whether this refers to nothing.
    #[inline]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The position `bytes` further on.
    #[inline]
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Offset {
        Offset(self.0 + bytes)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granules_and_bytes_agree() {
        let at = Offset::from_raw(8 * 77);
        assert_eq!(at.granule(), 77);
        assert_eq!(Offset::from_granule(77), at);
        assert_eq!(at.plus(8), Offset::from_granule(78));
        assert!(Offset::NULL.is_null() && !at.is_null());
        assert_eq!(format!("{at:?}"), "@0x268");
    }
}
