//! Ranges of sorted sets: by score and by the bytes of members.

use super::encoding::score::order_key;

/// An interval of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: f64,
    /// `min` itself is outside.
    pub min_open: bool,
    pub max: f64,
    /// `max` itself is outside.
    pub max_open: bool,
}

impl ScoreRange {
    /// All scores.
    pub const ALL: ScoreRange = ScoreRange {
        min: f64::NEG_INFINITY,
        min_open: false,
        max: f64::INFINITY,
        max_open: false,
    };

    /// Whether a score of this order key lies below the interval.
    pub(super) fn is_above(&self, key: u64) -> bool {
        let min = order_key(self.min);
        key < min || self.min_open && key == min
    }

    /// Whether a score of this order key lies in the interval or below it.
    pub(super) fn reaches(&self, key: u64) -> bool {
        let max = order_key(self.max);
        key < max || !self.max_open && key == max
    }
}

/// An end of an interval of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'r> {
    /// Before all members.
    Lowest,
    Included(&'r [u8]),
    Excluded(&'r [u8]),
    /// Behind all members.
    Highest,
}

/// An interval of members, which makes sense where all scores are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'r> {
    pub min: LexBound<'r>,
    pub max: LexBound<'r>,
}

impl LexRange<'_> {
    /// Whether no member at all can lie in the interval.
    pub(super) fn is_empty(&self) -> bool {
        use LexBound::{Excluded, Highest, Included, Lowest};
        match (self.min, self.max) {
            (Highest, _) | (_, Lowest) => true,
            (Lowest, _) | (_, Highest) => false,
            (Included(min), Included(max)) => min > max,
            (Included(min) | Excluded(min), Included(max) | Excluded(max)) => min >= max,
        }
    }

    /// Whether a member lies below the interval.
    pub(super) fn is_above(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Lowest => false,
            LexBound::Included(min) => member < min,
            LexBound::Excluded(min) => member <= min,
            LexBound::Highest => true,
        }
    }

    /// Whether a member lies in the interval or below it.
    pub(super) fn reaches(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Lowest => false,
            LexBound::Included(max) => member <= max,
            LexBound::Excluded(max) => member < max,
            LexBound::Highest => true,
        }
    }
}
