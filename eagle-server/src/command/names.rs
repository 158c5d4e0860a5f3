//! Command names up to sixteen bytes, found in any case with a few machine words.
//!
//! A name is two words and its length: its first and its last bytes, which overlap if it is short. They tell names of one
//! length apart. The table is open addressed and never more than a quarter full.

/// Names up to this length are held.
const BYTES_MAX: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Name {
    first: u64,
    last: u64,
    len: usize,
}

impl Name {
    /// Nobody's: names have bytes.
    const NONE: Name = Name {
        first: 0,
        last: 0,
        len: 0,
    };

    /// `word` in lower case, unless it is too long or empty.
    #[inline]
    fn of(word: &[u8]) -> Option<Name> {
        let len = word.len();
        let (first, last) =
            if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
                (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
            } else if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
                let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
                (first.into(), last.into())
            } else {
                let (first, last) = (word.first()?, word.last()?);
                (
                    u64::from(*first) | u64::from(word[len / 2]) << 8,
                    (*last).into(),
                )
            };
        (len <= BYTES_MAX).then_some(Name {
            first: lower(first),
            last: lower(last),
            len,
        })
    }

    #[inline]
    fn hash(self) -> usize {
        const A: u64 = 0x9e37_79b9_7f4a_7c15;
        const B: u64 = 0xd1b5_4a32_d192_ed03;
        let mixed = self.first.wrapping_mul(A) ^ self.last.wrapping_mul(B) ^ self.len as u64;
        (mixed ^ mixed >> 32).wrapping_mul(A) as usize >> 32
    }
}

/// Eight bytes with the letters of ASCII made small.
#[inline]
fn lower(bytes: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = 0x80 * ONES;
    let low = bytes & !HIGH;
    // The high bit of each byte tells, none of these sums leaves its byte.
    let above_z = low + (0x7f - u64::from(b'Z')) * ONES;
    let from_a = low + (0x80 - u64::from(b'A')) * ONES;
    bytes | (from_a & !above_z & !bytes & HIGH) >> 2
}

#[derive(Debug, Default)]
pub(super) struct Names {
    /// A power of two of them.
    places: Box<[(Name, usize)]>,
}

impl Names {
    /// The table of these names, which are in lower case. Those that are too long are left out.
    pub(super) fn of<'n>(names: impl Iterator<Item = (&'n [u8], usize)>) -> Names {
        let names: Vec<(Name, usize)> = names
            .filter_map(|(word, id)| Some((Name::of(word)?, id)))
            .collect();
        let size = (4 * names.len()).next_power_of_two();
        let mut places = vec![(Name::NONE, 0); size].into_boxed_slice();
        for (name, id) in names {
            let mut at = name.hash() % size;
            while places[at].0 != Name::NONE {
                at = (at + 1) % size;
            }
            places[at] = (name, id);
        }
        Names { places }
    }

    /// Whether a name like this would be in the table.
    pub(super) fn holds(word: &[u8]) -> bool {
        Name::of(word).is_some()
    }

    /// What belongs to the name `word`, in any case.
    #[inline]
    pub(super) fn find(&self, word: &[u8]) -> Option<usize> {
        let name = Name::of(word)?;
        let mask = self.places.len().wrapping_sub(1);
        let mut at = name.hash() & mask;
        loop {
            let (other, id) = self.places.get(at)?;
            if *other == name {
                return Some(*id);
            }
            if *other == Name::NONE {
                return None;
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_lowered_as_the_standard_library_does() {
        for byte in 0..=u8::MAX {
            let bytes = [byte, b'A', byte, b'z', 0, byte, 0xff, b'Z'];
            let lowered = bytes.map(|byte| byte.to_ascii_lowercase());
            assert_eq!(
                lower(u64::from_le_bytes(bytes)),
                u64::from_le_bytes(lowered)
            );
        }
    }

    #[test]
    fn names_of_all_lengths_are_told_apart() {
        // Every length, and words that differ from it in one place or in their length.
        let words: Vec<Vec<u8>> = (1..=17)
            .map(|len| (0..len).map(|i| b'a' + i).collect())
            .collect();
        let names = Names::of(words.iter().enumerate().map(|(id, word)| (&**word, id)));
        for (id, word) in words.iter().enumerate() {
            let found = (word.len() <= BYTES_MAX).then_some(id);
            assert_eq!(names.find(word), found);
            assert_eq!(names.find(&word.to_ascii_uppercase()), found);
            for place in 0..word.len() {
                let mut other = word.clone();
                other[place] = b'_';
                assert_eq!(names.find(&other), None, "{}", other.escape_ascii());
            }
            assert_eq!(names.find(&[word, &b"\0"[..]].concat()), None);
        }
        assert_eq!(names.find(b""), None);
        assert_eq!(Names::default().find(b"get"), None);
    }
}
