//! A run: byte strings one behind the other that can be read from both ends.
//!
//! ```text
//!   element   varint length, bytes, the same varint mirrored
//!   varint    seven bits a byte, low bits first, the top bit says that more follow; mirrored: last byte first
//! ```
//!
//! It is the whole of a small list, and what fills the chunks of a large one. Reading is bounds-checked and stops at
//! the first thing that makes no sense, so damaged bytes cost elements but never a panic.

use smallvec::{Array, SmallVec};

/// Bytes of a varint for any length that a block can have.
const VARINT_BYTES_MAX: usize = 5;

/// Bytes that an element of `len` bytes takes.
pub(crate) fn element_bytes(len: usize) -> usize {
    len + 2 * varint_bytes(len)
}

fn varint_bytes(len: usize) -> usize {
    (usize::BITS - len.leading_zeros()).div_ceil(7).max(1) as usize
}

/// Appends an element.
pub(crate) fn push<A: Array<Item = u8>>(out: &mut SmallVec<A>, element: &[u8]) {
    if element.len() < 0x80 {
        // Most are: the varint is one byte, and the same mirrored.
        let len = element.len() as u8;
        out.reserve(element.len() + 2);
        out.push(len);
        out.extend_from_slice(element);
        return out.push(len);
    }
    let mut varint = [0; VARINT_BYTES_MAX];
    let mut rest = element.len();
    let count = varint_bytes(rest).min(VARINT_BYTES_MAX);
    for byte in &mut varint[..count] {
        *byte = rest as u8 & 0x7f | 0x80;
        rest >>= 7;
    }
    varint[count - 1] &= 0x7f;
    out.extend_from_slice(&varint[..count]);
    out.extend_from_slice(element);
    out.extend(varint[..count].iter().rev().copied());
}

/// The elements of a run, from either end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a>(&'a [u8]);

impl<'a> Run<'a> {
    /// The run of these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Run<'a> {
        Run(bytes)
    }
}

impl<'a> Iterator for Run<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, count) = varint(self.0.iter())?;
        let rest = &self.0[count..];
        let (element, rest) = rest.split_at_checked(len)?;
        self.0 = rest.get(count..)?;
        Some(element)
    }
}

impl<'a> DoubleEndedIterator for Run<'a> {
    fn next_back(&mut self) -> Option<&'a [u8]> {
        let (len, count) = varint(self.0.iter().rev())?;
        let rest = &self.0[..self.0.len() - count];
        let (rest, element) = rest.split_at_checked(rest.len().checked_sub(len)?)?;
        self.0 = rest.get(..rest.len().checked_sub(count)?)?;
        Some(element)
    }
}

fn varint<'b>(bytes: impl Iterator<Item = &'b u8>) -> Option<(usize, usize)> {
    let mut value = 0;
    for (i, &byte) in bytes.enumerate().take(VARINT_BYTES_MAX) {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_ends_give_back_what_was_pushed(elements in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20), turns: Vec<bool>) {
            let mut bytes = SmallVec::<[u8; 64]>::new();
            for element in &elements {
                let before = bytes.len();
                push(&mut bytes, element);
                prop_assert_eq!(bytes.len() - before, element_bytes(element.len()));
            }
            let mut run = Run::new(&bytes);
            let mut expected = elements.iter();
            let turns = turns.into_iter().chain(std::iter::repeat_n(true, elements.len() + 1));
            for front in turns {
                let (got, wanted) = if front { (run.next(), expected.next()) } else { (run.next_back(), expected.next_back()) };
                prop_assert_eq!(got, wanted.map(|element| element.as_slice()));
            }
            prop_assert_eq!(run.0.len(), 0);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes: Vec<u8>) {
            prop_assert!(Run::new(&bytes).count() <= bytes.len());
            prop_assert!(Run::new(&bytes).rev().count() <= bytes.len());
        }
    }
}
