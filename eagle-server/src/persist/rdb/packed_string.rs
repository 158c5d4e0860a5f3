//! Long compressed strings: checked where they lie, and unpacked piece by piece into what they become.
//!
//! A string of a few bytes is simply decompressed. For one of a hundred megabytes that would take its length of memory
//! beside the payload it came in and the pool it goes to; what unpacking needs is the last few kilobytes that it made.

use super::DecodeError;
use super::lzf::{self, DISTANCE_MAX, Step};

/// Strings from this length on are unpacked piece by piece.
pub(super) const LONG_BYTES_MIN: u64 = 1 << 20;

/// A compressed string that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedString<'a> {
    packed: &'a [u8],
    len: u64,
}

impl<'a> PackedString<'a> {
    /// The string of `len` bytes that `packed` stands for, if it does.
    pub(super) fn check(packed: &'a [u8], len: u64) -> Result<PackedString<'a>, DecodeError> {
        lzf::walk(packed, len, |_, _| {})?;
        let packed = if len == 0 { &[] } else { packed };
        Ok(PackedString { packed, len })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Begins to unpack it.
    pub fn unpack(&self) -> Unpacking<'a> {
        Unpacking {
            rest: self.packed,
            recent: Vec::new(),
            next: 0,
        }
    }
}

/// A string on its way out.
#[derive(Clone, Debug)]
pub struct Unpacking<'a> {
    rest: &'a [u8],
    /// The last bytes that were made, as many as are referred to at least.
    recent: Vec<u8>,
    /// The first of them that was not passed on.
    next: usize,
}

impl Unpacking<'_> {
    /// Bytes that are kept at most, but for one step.
    const RECENT_MAX: usize = 8 * DISTANCE_MAX;

    /// Appends the next `len` bytes, or all that are left.
    pub fn append(&mut self, len: usize, out: &mut Vec<u8>) {
        let mut missing = len;
        while missing > 0 {
            let ready = &self.recent[self.next..];
            let part = ready.len().min(missing);
            out.extend_from_slice(&ready[..part]);
            self.next += part;
            missing -= part;
            if missing > 0 && !self.make() {
                return;
            }
        }
    }

    /// Makes some more bytes, all earlier ones being passed on; whether there are more.
    fn make(&mut self) -> bool {
        if self.recent.len() >= Self::RECENT_MAX {
            self.recent.drain(..self.recent.len() - DISTANCE_MAX);
            self.next = DISTANCE_MAX;
        }
        // It was checked, so that no step fails.
        let Ok(Some(step)) = Step::split_off(&mut self.rest) else {
            return false;
        };
        step.append_to(&mut self.recent);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn unpacking_gives_what_decompressing_gives(
            words in proptest::collection::vec(prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                (any::<u8>(), 1..20_000usize).prop_map(|(byte, len)| vec![byte; len]),
                Just(b"a fixed phrase that returns".to_vec()),
            ], 0..30),
            pieces in proptest::collection::vec(1..30_000usize, 1..8),
        ) {
            let plain = words.concat();
            let mut packed = Vec::new();
            lzf::compress(&mut packed, &plain[..], usize::MAX).unwrap();
            let string = PackedString::check(&packed, plain.len() as u64).unwrap();
            let (mut unpacking, mut out) = (string.unpack(), Vec::new());
            for piece in pieces.iter().cycle() {
                let before = out.len();
                unpacking.append(*piece, &mut out);
                prop_assert!(unpacking.recent.len() <= Unpacking::RECENT_MAX + 264);
                if out.len() - before < *piece {
                    break;
                }
            }
            prop_assert_eq!(out, plain);
        }

        #[test]
        fn what_passes_is_what_can_be_decompressed(bytes in proptest::collection::vec(any::<u8>(), 0..200), len in 0..5000u64) {
            let checked = PackedString::check(&bytes, len).map(|_| ());
            prop_assert_eq!(checked, lzf::decompress(&bytes, len).map(|_| ()));
        }
    }
}
