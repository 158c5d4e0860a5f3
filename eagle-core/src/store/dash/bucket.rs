//! One group of records under one control word: the 64-B and 128-B nodes, and the bucket.
//!
//! ```text
//!   Small   word 0  ctl: byte 0 = 7 allocation bits, bytes 1..8 = 7 fingerprints
//!           1..8    records
//!   Medium  word 0  ctl: bits 0..14 allocation, bytes 2..8 = fingerprints 0..6
//!           word 1  fingerprints 6..14
//!           2..16   records
//!   Bucket  word 0  ctl: bits 0..27 allocation, 27..54 foreign
//!           1..5    27 fingerprints, 5 bytes spare
//!           5..32   records
//! ```
//!
//! A record is *foreign* if the bucket before this one is its home. Invariants: a record whose allocation bit
//! is clear is unused, and its record word and fingerprint may be anything; a set bit means both are right.
//! Hence an insert writes those first and the control word last, and a removal writes the control word alone.

use super::layout::Record;
use super::{Words, WordsMut};
use crate::store::error::StoreError;
// Never loom's: see `Words::run`.
use std::sync::atomic::Ordering;

/// Records of a bucket.
pub(crate) const BUCKET_RECORDS: u32 = if cfg!(loom) { 2 } else { 27 };
/// Records of the 64-B node.
pub(crate) const SMALL_RECORDS: u32 = if cfg!(loom) { 1 } else { 7 };
/// Records of the 128-B node.
pub(crate) const MEDIUM_RECORDS: u32 = if cfg!(loom) { 2 } else { 14 };
/// Bytes of a bucket.
pub(crate) const BUCKET_BYTES: u64 = if cfg!(loom) { 64 } else { 256 };

const FOREIGN_SHIFT: u32 = 27;

const _: () = assert!(FOREIGN_SHIFT >= BUCKET_RECORDS && FOREIGN_SHIFT + BUCKET_RECORDS <= 64);

/// The layout of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Small,
    Medium,
    Bucket,
}

impl Shape {
    /// Records it has room for.
    #[inline]
    pub(crate) fn records(self) -> u32 {
        match self {
            Shape::Small => SMALL_RECORDS,
            Shape::Medium => MEDIUM_RECORDS,
            Shape::Bucket => BUCKET_RECORDS,
        }
    }

    /// Words it occupies.
    pub(crate) fn words(self) -> usize {
        match self {
            Shape::Small => 8,
            Shape::Medium => 16,
            Shape::Bucket => BUCKET_BYTES as usize / 8,
        }
    }

    /// Index of the word of record `i`.
    #[inline]
    pub(crate) fn record_word(self, i: u32) -> u32 {
        i + match self {
            Shape::Small => 1,
            Shape::Medium => 2,
            Shape::Bucket => 5,
        }
    }

    /// Byte position of fingerprint `i` in the group: word index and shift.
    #[inline]
    pub(crate) fn fingerprint_place(self, i: u32) -> (u32, u32) {
        let byte = i + match self {
            Shape::Small => 1,
            Shape::Medium => 2,
            Shape::Bucket => 8,
        };
        (byte / 8, byte % 8 * 8)
    }

    /// The allocation bits of a control word.
    #[inline]
    pub(crate) fn allocated(self, ctl: u64) -> u32 {
        ctl as u32 & ((1 << self.records()) - 1)
    }

    /// The foreign bits of a control word.
    #[inline]
    pub(crate) fn foreign(self, ctl: u64) -> u32 {
        match self {
            Shape::Small | Shape::Medium => 0,
            Shape::Bucket => (ctl >> FOREIGN_SHIFT) as u32 & ((1 << BUCKET_RECORDS) - 1),
        }
    }
}

/// Which records of a group a probe looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those whose home is this bucket.
    Native,
    /// Those whose home is the bucket before.
    Foreign,
}

impl Which {
    /// The records of this kind, as a bit set.
    #[inline]
    pub(crate) fn select(self, shape: Shape, ctl: u64) -> u32 {
        match self {
            Which::Native => shape.allocated(ctl) & !shape.foreign(ctl),
            Which::Foreign => shape.allocated(ctl) & shape.foreign(ctl),
        }
    }
}

/// A group at a byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) at: u64,
    pub(crate) shape: Shape,
}

impl Group {
    /// Byte offset of record `i`.
    #[inline]
    pub(crate) fn record_at(self, i: u32) -> u64 {
        self.at + 8 * u64::from(self.shape.record_word(i))
    }

    /// The control word.
    #[inline]
    pub(crate) fn ctl<W: Words>(self, words: &W) -> u64 {
        words.load(self.at)
    }

    /// Number of records.
    pub(crate) fn len<W: Words>(self, words: &W) -> u32 {
        self.shape.allocated(self.ctl(words)).count_ones()
    }

    /// The records whose fingerprint is `fingerprint`, as a bit set; unused records may be among them.
    #[inline]
    pub(crate) fn candidates<W: Words>(self, words: &W, ctl: u64, fingerprint: u8) -> u32 {
        match self.shape {
            Shape::Small => bytes_equal(ctl, fingerprint) >> 1,
            Shape::Medium => {
                bytes_equal(ctl, fingerprint) >> 2
                    | bytes_equal(words.load(self.at + 8), fingerprint) << 6
            }
            Shape::Bucket => {
                let word = |i: u64| words.load(self.at + 8 + 8 * i);
                bytes_equal_in_four([word(0), word(1), word(2), word(3)], fingerprint)
            }
        }
    }

    /// Record `i` if it is in use, read so that a concurrent writer of the slot cannot pass off a record that
    /// was never, or is not yet, in use: the word was there while the bit was set.
    ///
    /// The loop ends: each turn means that a writer has published another record here.
    #[inline]
    pub(crate) fn record<W: Words>(self, words: &W, i: u32) -> Option<Record> {
        let mut word = words.load(self.record_at(i));
        loop {
            if self.shape.allocated(self.ctl(words)) & 1 << i == 0 {
                return None;
            }
            let again = words.load(self.record_at(i));
            if again == word {
                return Some(Record::from_raw(word));
            }
            word = again;
        }
    }

    /// Fingerprint of record `i`.
    #[cfg(not(loom))]
    pub(crate) fn fingerprint<W: Words>(self, words: &W, i: u32) -> u8 {
        let (word, shift) = self.shape.fingerprint_place(i);
        (words.load(self.at + 8 * u64::from(word)) >> shift) as u8
    }

    /// Visits all records, each with its number and fingerprint. For a writer: what others store meanwhile may be
    /// mixed up.
    pub(crate) fn each<W: Words>(self, words: &W, mut visit: impl FnMut(u32, Record, u8)) {
        words.run(self.at, self.shape.words(), |run| {
            let word = |i: u32| run[i as usize].load(Ordering::Acquire);
            let mut set = self.shape.allocated(word(0));
            while set != 0 {
                let i = set.trailing_zeros();
                set &= set - 1;
                let record = Record::from_raw(word(self.shape.record_word(i)));
                let (at, shift) = self.shape.fingerprint_place(i);
                visit(i, record, (word(at) >> shift) as u8);
            }
        });
    }

    /// Inserts into an unused record; `false` if there is none.
    pub(crate) fn insert<M: WordsMut>(
        self,
        words: &mut M,
        which: Which,
        fingerprint: u8,
        record: Record,
    ) -> Result<bool, StoreError> {
        let ctl = self.ctl(words);
        let i = self.shape.allocated(ctl).trailing_ones();
        if i >= self.shape.records() {
            return Ok(false);
        }
        words.store_hidden(self.record_at(i), record.raw())?;
        let (word, shift) = self.shape.fingerprint_place(i);
        let mut ctl = ctl | 1 << i;
        if word == 0 {
            ctl = with_byte(ctl, shift, fingerprint);
        } else {
            let at = self.at + 8 * u64::from(word);
            let old = words.load(at);
            let new = with_byte(old, shift, fingerprint);
            if new != old {
                words.store_hidden(at, new)?;
            }
        }
        if self.shape == Shape::Bucket {
            let foreign = 1 << (i + FOREIGN_SHIFT);
            ctl = match which {
                Which::Native => ctl & !foreign,
                Which::Foreign => ctl | foreign,
            };
        }
        words.publish(self.at, ctl)?;
        Ok(true)
    }

    /// Removes record `i`.
    pub(crate) fn remove<M: WordsMut>(self, words: &mut M, i: u32) -> Result<(), StoreError> {
        let ctl = self.ctl(words);
        words.publish(self.at, ctl & !(1 << i))
    }
}

/// Sets the control word, fingerprint and record of record `i` in the image of a fresh group.
pub(crate) fn place(
    image: &mut [u64],
    shape: Shape,
    i: u32,
    which: Which,
    fingerprint: u8,
    record: Record,
) {
    image[shape.record_word(i) as usize] = record.raw();
    let (word, shift) = shape.fingerprint_place(i);
    image[word as usize] = with_byte(image[word as usize], shift, fingerprint);
    image[0] |= 1 << i;
    if which == Which::Foreign {
        image[0] |= 1 << (i + FOREIGN_SHIFT);
    }
}

#[inline]
fn with_byte(word: u64, shift: u32, byte: u8) -> u64 {
    word & !(0xff << shift) | u64::from(byte) << shift
}

/// Which bytes of `word` equal `byte`, as a set of eight bits. Exact: no carry runs between bytes.
#[inline]
fn bytes_equal(word: u64, byte: u8) -> u32 {
    const LOW7: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let x = word ^ (u64::from(byte) * 0x0101_0101_0101_0101);
    let zero = !(((x & LOW7) + LOW7) | x | LOW7);
    // Gathers the top bits of the eight bytes into one byte.
    ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
}

/// The same for the bytes of four words, as a set of 32 bits.
#[inline]
fn bytes_equal_in_four(words: [u64; 4], byte: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has SSE2, and no memory is accessed.
    unsafe {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
        let wanted = _mm_set1_epi8(byte as i8);
        let half = |low: u64, high: u64| {
            let equal = _mm_cmpeq_epi8(_mm_set_epi64x(high as i64, low as i64), wanted);
            _mm_movemask_epi8(equal) as u32
        };
        half(words[0], words[1]) | half(words[2], words[3]) << 16
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let sets = words.map(|word| bytes_equal(word, byte));
        sets[0] | sets[1] << 8 | sets[2] << 16 | sets[3] << 24
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_comparison_is_exact() {
        let word = 0x0100_ff80_7f01_0001u64;
        for byte in 0..=255u8 {
            let expected = word
                .to_le_bytes()
                .iter()
                .enumerate()
                .fold(0, |set, (i, &b)| set | u32::from(b == byte) << i);
            assert_eq!(bytes_equal(word, byte), expected, "byte {byte:#x}");
            let words = [word, !word, 0, word.rotate_left(8)];
            let sets = words.map(|word| bytes_equal(word, byte));
            let expected = sets[0] | sets[1] << 8 | sets[2] << 16 | sets[3] << 24;
            assert_eq!(bytes_equal_in_four(words, byte), expected, "byte {byte:#x}");
        }
    }

    #[cfg(not(loom))]
    #[test]
    fn every_group_fills_its_lines_exactly() {
        for (shape, words) in [(Shape::Small, 8), (Shape::Medium, 16), (Shape::Bucket, 32)] {
            assert_eq!(shape.words(), words);
            assert_eq!(shape.record_word(shape.records()), words as u32);
            let (word, _) = shape.fingerprint_place(shape.records() - 1);
            assert!(word < shape.record_word(0));
            // In the line of the control word, whose flush takes them along.
            assert!(word < 8);
        }
    }
}
