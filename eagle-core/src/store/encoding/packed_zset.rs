//! The packed form of a small sorted set: members with their scores in one run of bytes, in order.
//!
//! ```text
//!   varint members, then for each, by score and then by bytes: f64 score, varint length, member
//! ```
//!
//! As with hashes, a packed value is replaced whole, and damaged bytes cost members but never a panic.

use super::packed::{push_varint, string, varint};

/// A member and its score.
pub(crate) type Scored<'a> = (&'a [u8], f64);

/// A packed sorted set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedZset<'a> {
    len: usize,
    rest: &'a [u8],
}

impl<'a> PackedZset<'a> {
    /// Reads the header.
    pub(crate) fn new(bytes: &'a [u8]) -> PackedZset<'a> {
        let (len, rest) = varint(bytes).unwrap_or((0, b""));
        PackedZset { len, rest }
    }

    /// Number of members.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Members in order.
    pub(crate) fn iter(&self) -> PackedZsetIter<'a> {
        PackedZsetIter { rest: self.rest }
    }

    /// The score of a member.
    pub(crate) fn find(&self, member: &[u8]) -> Option<f64> {
        self.iter()
            .find(|(name, _)| *name == member)
            .map(|(_, score)| score)
    }
}

/// Iterator over the members of a packed sorted set.
#[derive(Clone, Debug)]
pub(crate) struct PackedZsetIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for PackedZsetIter<'a> {
    type Item = Scored<'a>;

    fn next(&mut self) -> Option<Scored<'a>> {
        let (score, rest) = self.rest.split_first_chunk()?;
        let (member, rest) = string(rest)?;
        self.rest = rest;
        Some((member, f64::from_le_bytes(*score)))
    }
}

/// Packs members, which are distinct and in order.
pub(crate) fn pack(members: &[Scored<'_>], out: &mut Vec<u8>) {
    out.clear();
    push_varint(out, members.len());
    for (member, score) in members {
        // The sign of a zero is lost, as it is in the packed form of Redis.
        out.extend_from_slice(&(score + 0.0).to_le_bytes());
        push_varint(out, member.len());
        out.extend_from_slice(member);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn unpacking_gives_back_what_was_packed(members in prop::collection::vec((any::<Vec<u8>>(), any::<f64>()), 0..40)) {
            let scored: Vec<Scored<'_>> = members.iter().map(|(m, s)| (m.as_slice(), *s)).collect();
            let mut bytes = Vec::new();
            pack(&scored, &mut bytes);
            let packed = PackedZset::new(&bytes);
            prop_assert_eq!(packed.len(), members.len());
            let bits = |scored: Vec<Scored<'_>>| -> Vec<(Vec<u8>, u64)> {
                scored.iter().map(|(m, s)| (m.to_vec(), (s + 0.0).to_bits())).collect()
            };
            prop_assert_eq!(bits(packed.iter().collect()), bits(scored));
        }

        #[test]
        fn damaged_bytes_never_panic(bytes: Vec<u8>) {
            let packed = PackedZset::new(&bytes);
            prop_assert!(packed.iter().count() <= bytes.len());
        }
    }
}
