//! The packed form of a small set of integers: sorted, of one width, as Redis packs it too.
//!
//! ```text
//!   u32 width of a member in bytes (2, 4, 8), u32 members, then the members in ascending order; little endian
//! ```
//!
//! The width is that of the widest member the set ever had: it grows with a member that needs it and never shrinks.
//! An intset is never changed in place; a new one is built and replaces it. Reading is bounds-checked, so damaged
//! bytes cost members but never a panic.

use std::cmp::Ordering;

/// Bytes before the members.
const HEADER_BYTES: usize = 8;

/// An intset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intset<'a> {
    bytes: &'a [u8],
    width: usize,
    members: &'a [u8],
}

impl<'a> Intset<'a> {
    /// The intset without members.
    pub(crate) const EMPTY: Intset<'static> = Intset {
        bytes: b"\x02\0\0\0\0\0\0\0",
        width: 2,
        members: b"",
    };

    /// Reads the header.
    pub(crate) fn new(bytes: &'a [u8]) -> Intset<'a> {
        Intset::checked(bytes).unwrap_or(Intset::EMPTY)
    }

    /// The intset in `bytes`, if its header agrees with their number.
    fn checked(bytes: &'a [u8]) -> Option<Intset<'a>> {
        let (header, members) = bytes.split_at_checked(HEADER_BYTES)?;
        let (width, len) = header.split_first_chunk()?;
        let width = u32::from_le_bytes(*width) as usize;
        let len = u32::from_le_bytes(len.try_into().ok()?) as usize;
        let fits = matches!(width, 2 | 4 | 8) && len.checked_mul(width)? == members.len();
        fits.then_some(Intset {
            bytes,
            width,
            members,
        })
    }

    /// Whether `bytes` are an intset as it should be: of the size it says, and in order.
    pub(crate) fn is_sound(bytes: &[u8]) -> bool {
        Intset::checked(bytes).is_some_and(|set| set.iter().is_sorted_by(|a, b| a < b))
    }

    /// The intset as it is packed.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of members.
    pub(crate) fn len(&self) -> usize {
        self.members.len() / self.width
    }

    /// The member at a position below [`Intset::len`].
    pub(crate) fn get(&self, at: usize) -> Option<i64> {
        self.members.chunks_exact(self.width).nth(at).map(decode)
    }

    /// The members in ascending order.
    pub(crate) fn iter(&self) -> IntsetIter<'a> {
        IntsetIter {
            width: self.width,
            rest: self.members,
        }
    }

    /// Whether `member` is in the set.
    pub(crate) fn contains(&self, member: i64) -> bool {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).map(|found| found.cmp(&member)) {
                Some(Ordering::Less) => low = middle + 1,
                Some(Ordering::Greater) => high = middle,
                Some(Ordering::Equal) => return true,
                None => return false,
            }
        }
        false
    }

    /// The set with `more`, which are ascending and not in it.
    pub(crate) fn with(&self, more: &[i64]) -> Vec<u8> {
        let width = more
            .iter()
            .map(|&member| width_of(member))
            .fold(self.width, usize::max);
        let mut more = more.iter().copied().peekable();
        let mut bytes = header(width, self.len() + more.len());
        for member in self.iter() {
            while let Some(new) = more.next_if(|new| *new < member) {
                encode(&mut bytes, width, new);
            }
            encode(&mut bytes, width, member);
        }
        more.for_each(|new| encode(&mut bytes, width, new));
        bytes
    }

    /// The set without the members that `is_gone` picks; `None` if there are none of these.
    pub(crate) fn without(&self, is_gone: impl Fn(i64) -> bool) -> Option<Vec<u8>> {
        let left: Vec<i64> = self.iter().filter(|&member| !is_gone(member)).collect();
        if left.len() == self.len() {
            return None;
        }
        let mut bytes = header(self.width, left.len());
        left.iter()
            .for_each(|&member| encode(&mut bytes, self.width, member));
        Some(bytes)
    }
}

/// Iterator over the members of an intset.
#[derive(Clone, Debug)]
pub(crate) struct IntsetIter<'a> {
    width: usize,
    rest: &'a [u8],
}

impl Iterator for IntsetIter<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        let (member, rest) = self.rest.split_at_checked(self.width)?;
        self.rest = rest;
        Some(decode(member))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.rest.len() / self.width;
        (len, Some(len))
    }
}

fn width_of(member: i64) -> usize {
    if i16::try_from(member).is_ok() {
        2
    } else if i32::try_from(member).is_ok() {
        4
    } else {
        8
    }
}

fn header(width: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + width * len);
    bytes.extend_from_slice(&(width as u32).to_le_bytes());
    bytes.extend_from_slice(&(len as u32).to_le_bytes());
    bytes
}

fn encode(bytes: &mut Vec<u8>, width: usize, member: i64) {
    bytes.extend_from_slice(&member.to_le_bytes()[..width]);
}

/// A member of two, four or eight bytes.
fn decode(bytes: &[u8]) -> i64 {
    let mut word = [0; 8];
    word[8 - bytes.len()..].copy_from_slice(bytes);
    // The bytes stand at the top, so that the shift brings the sign along.
    i64::from_le_bytes(word) >> (64 - 8 * bytes.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![
            -5..40i64,
            any::<i16>().prop_map(i64::from),
            any::<i32>().prop_map(i64::from),
            any::<i64>()
        ]
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        let set = Intset::EMPTY.with(&[-1, 5]);
        assert_eq!(set, b"\x02\0\0\0\x02\0\0\0\xff\xff\x05\0");
        let wide = Intset::new(&set).with(&[70_000]);
        assert_eq!(
            wide,
            b"\x04\0\0\0\x03\0\0\0\xff\xff\xff\xff\x05\0\0\0\x70\x11\x01\0"
        );
        let left = Intset::new(&wide)
            .without(|member| member == 70_000)
            .unwrap();
        assert_eq!(left[..8], b"\x04\0\0\0\x02\0\0\0"[..], "the width stays");
        assert_eq!(Intset::new(&left).without(|member| member == 6), None);
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_set(steps in prop::collection::vec((any::<bool>(), prop::collection::vec(number(), 0..6)), 0..20)) {
            let mut model = BTreeSet::new();
            let mut bytes = Intset::EMPTY.with(&[]);
            for (add, members) in steps {
                let set = Intset::new(&bytes);
                if add {
                    let new: BTreeSet<i64> = members.iter().copied().filter(|&member| !set.contains(member)).collect();
                    let next = set.with(&new.into_iter().collect::<Vec<_>>());
                    bytes = next;
                    model.extend(members);
                } else {
                    let next = set.without(|member| members.contains(&member));
                    let known = model.len();
                    model.retain(|member| !members.contains(member));
                    prop_assert_eq!(next.is_some(), model.len() < known);
                    bytes = next.unwrap_or(bytes);
                }
                prop_assert!(Intset::is_sound(&bytes));
                let set = Intset::new(&bytes);
                prop_assert_eq!(set.len(), model.len());
                prop_assert!(set.iter().eq(model.iter().copied()));
                prop_assert!(model.iter().enumerate().all(|(at, &member)| set.contains(member) && set.get(at) == Some(member)));
            }
        }

        #[test]
        fn damaged_bytes_never_panic(bytes: Vec<u8>, member: i64) {
            let set = Intset::new(&bytes);
            prop_assert!(set.iter().count() <= bytes.len());
            let _ = (set.contains(member), set.with(&[member]), Intset::is_sound(&bytes));
        }
    }
}
