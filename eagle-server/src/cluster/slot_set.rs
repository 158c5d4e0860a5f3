//! A set of hash slots as the bus knows it: 16384 bits, 2048 bytes, slot `n` at byte `n / 8`, mask `1 << (n & 7)`.
//!
//! In memory the bits lie in little-endian 64-bit words, which is the same order of bits, so that comparison,
//! union and counting run over 256 words and the wire form is a plain copy.

use std::fmt;

/// Number of hash slots of a cluster.
pub const SLOT_COUNT: u16 = 16384;

const WORDS: usize = SLOT_COUNT as usize / 64;

/// A set of hash slots. A slot outside `0..SLOT_COUNT` is never a member and cannot be inserted.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet {
    words: Box<[u64; WORDS]>,
}

impl SlotSet {
    /// Size of the wire form in bytes.
    pub const WIRE_BYTES: usize = SLOT_COUNT as usize / 8;

    /// The empty set.
    pub fn new() -> Self {
        Self {
            words: Box::new([0; WORDS]),
        }
    }

    /// All 16384 slots.
    pub fn full() -> Self {
        Self {
            words: Box::new([u64::MAX; WORDS]),
        }
    }

    /// Reads the wire form.
    pub fn from_wire(bytes: &[u8; Self::WIRE_BYTES]) -> Self {
        let mut set = Self::new();
        for (word, chunk) in set.words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        set
    }

    /// Writes the wire form.
    pub fn to_wire(&self, out: &mut [u8; Self::WIRE_BYTES]) {
        for (chunk, word) in out.as_chunks_mut::<8>().0.iter_mut().zip(self.words.iter()) {
            *chunk = word.to_le_bytes();
        }
    }

    /// Whether `slot` is a member.
    pub fn contains(&self, slot: u16) -> bool {
        slot < SLOT_COUNT && self.words[usize::from(slot / 64)] & (1 << (slot % 64)) != 0
    }

    /// Adds `slot`; says whether it was new. A slot out of range changes nothing.
    pub fn insert(&mut self, slot: u16) -> bool {
        if slot >= SLOT_COUNT || self.contains(slot) {
            return false;
        }
        self.words[usize::from(slot / 64)] |= 1 << (slot % 64);
        true
    }

    /// Removes `slot`; says whether it was a member.
    pub fn remove(&mut self, slot: u16) -> bool {
        if !self.contains(slot) {
            return false;
        }
        self.words[usize::from(slot / 64)] &= !(1 << (slot % 64));
        true
    }

    /// Adds every slot from `first` to `last`, both included.
    pub fn insert_range(&mut self, first: u16, last: u16) {
        for slot in first..=last.min(SLOT_COUNT - 1) {
            self.insert(slot);
        }
    }

    /// Removes all members.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Whether some slot is a member of both sets.
    pub fn intersects(&self, other: &Self) -> bool {
        self.words
            .iter()
            .zip(other.words.iter())
            .any(|(a, b)| a & b != 0)
    }

    /// Adds all members of `other`.
    pub fn union_with(&mut self, other: &Self) {
        for (a, b) in self.words.iter_mut().zip(other.words.iter()) {
            *a |= b;
        }
    }

    /// Removes all members of `other`.
    pub fn subtract(&mut self, other: &Self) {
        for (a, b) in self.words.iter_mut().zip(other.words.iter()) {
            *a &= !b;
        }
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                if bit == 64 {
                    return None;
                }
                rest &= rest - 1;
                Some(index as u16 * 64 + bit as u16)
            })
        })
    }

    /// The members as maximal runs `(first, last)`, both included, in ascending order.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let first = self.next_with(from, true)?;
            let end = self.next_with(first, false).unwrap_or(SLOT_COUNT);
            from = end;
            Some((first, end - 1))
        })
    }

    /// The first slot, `from` or later, that is a member if `member`, or is none if not.
    fn next_with(&self, from: u16, member: bool) -> Option<u16> {
        let mut skipped = u64::MAX << (from % 64);
        for index in usize::from(from / 64)..WORDS {
            let word = if member {
                self.words[index]
            } else {
                !self.words[index]
            };
            if word & skipped != 0 {
                return Some(index as u16 * 64 + (word & skipped).trailing_zeros() as u16);
            }
            skipped = u64::MAX;
        }
        None
    }
}

impl Default for SlotSet {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<u16> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u16>>(slots: I) -> Self {
        let mut set = Self::new();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ranges()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn wire_form_is_least_significant_bit_first() {
        let set: SlotSet = [0, 9, 16383].into_iter().collect();
        let mut wire = [0; SlotSet::WIRE_BYTES];
        set.to_wire(&mut wire);
        assert_eq!((wire[0], wire[1], wire[2047]), (0x01, 0x02, 0x80));
        assert_eq!(wire.iter().map(|byte| byte.count_ones()).sum::<u32>(), 3);
        assert_eq!(SlotSet::from_wire(&wire), set);
    }

    #[test]
    fn slots_out_of_range_are_refused() {
        let mut set = SlotSet::new();
        assert!(!set.insert(SLOT_COUNT));
        assert!(!set.remove(u16::MAX));
        assert!(!SlotSet::full().contains(SLOT_COUNT));
        set.insert_range(16380, u16::MAX);
        assert_eq!(set.ranges().collect::<Vec<_>>(), [(16380, 16383)]);
        assert_eq!(SlotSet::full().ranges().collect::<Vec<_>>(), [(0, 16383)]);
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(
            inserted in prop::collection::vec(0u16..16400, 0..200),
            removed in prop::collection::vec(0u16..200, 0..50),
            other in prop::collection::btree_set(0u16..300, 0..50),
        ) {
            let mut set = SlotSet::new();
            let mut model = BTreeSet::new();
            for &slot in &inserted {
                prop_assert_eq!(set.insert(slot), slot < SLOT_COUNT && model.insert(slot));
            }
            for slot in &removed {
                prop_assert_eq!(set.remove(*slot), model.remove(slot));
            }
            prop_assert_eq!(set.len(), model.len());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert!(set.iter().eq(model.iter().copied()));
            let from_ranges: BTreeSet<u16> = set.ranges().flat_map(|(first, last)| first..=last).collect();
            prop_assert_eq!(&from_ranges, &model);
            let second: SlotSet = other.iter().copied().collect();
            prop_assert_eq!(set.intersects(&second), !model.is_disjoint(&other));
            let mut union = set.clone();
            union.union_with(&second);
            prop_assert!(union.iter().eq(model.union(&other).copied()));
            set.subtract(&second);
            prop_assert!(set.iter().eq(model.difference(&other).copied()));
        }
    }
}
