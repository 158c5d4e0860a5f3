//! Reading from a byte slice that may lie about itself.
//!
//! Invariant: nothing is handed out, and so nothing is allocated by a caller, that the slice does
//! not hold. Every other module of the decoder reads through this one.
//!
//! The slice may be the part of a file that was read so far ([`Cursor::partial`]). Then a value that goes on behind it
//! is no damage yet, and the caller comes again with a longer slice.

use super::DecodeError;

/// A position in a byte slice.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    /// Bytes that follow the slice and are not read yet.
    behind: u64,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor::partial(bytes, 0)
    }

    /// The same, where `behind` more bytes follow that are not at hand.
    pub fn partial(bytes: &'a [u8], behind: u64) -> Cursor<'a> {
        Cursor {
            rest: bytes,
            behind,
        }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether every byte was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: u64) -> Result<&'a [u8], DecodeError> {
        let at_hand = usize::try_from(len).ok();
        match at_hand.filter(|&len| len <= self.rest.len()) {
            Some(len) => {
                let (taken, rest) = self.rest.split_at(len);
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.short_of(len)),
        }
    }

    /// Why `len` bytes can not be had: they are not at hand, or do not exist.
    pub fn short_of(&self, len: u64) -> DecodeError {
        let there = (self.rest.len() as u64).saturating_add(self.behind);
        if len <= there {
            DecodeError::Incomplete
        } else {
            TRUNCATED
        }
    }

    /// The next `N` bytes, for integers of fixed width.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(*array)
            }
            None => Err(self.short_of(N as u64)),
        }
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }
}

const TRUNCATED: DecodeError = DecodeError::Corrupt("the value ends too early");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_beyond_the_end_is_handed_out() {
        let mut cursor = Cursor::new(b"abcd");
        assert_eq!(cursor.byte(), Ok(b'a'));
        assert_eq!(cursor.array(), Ok(*b"bc"));
        assert_eq!(cursor.take(2), Err(TRUNCATED));
        assert_eq!(cursor.take(u64::MAX), Err(TRUNCATED));
        assert_eq!(cursor.take(1), Ok(&b"d"[..]));
        assert!(cursor.is_empty());
        assert_eq!(cursor.byte(), Err(TRUNCATED));
    }

    #[test]
    fn what_follows_the_slice_is_not_missing() {
        let mut cursor = Cursor::partial(b"ab", 2);
        assert_eq!(cursor.take(4), Err(DecodeError::Incomplete));
        assert_eq!(cursor.array::<3>(), Err(DecodeError::Incomplete));
        assert_eq!(cursor.take(5), Err(TRUNCATED));
        assert_eq!(cursor.take(2), Ok(&b"ab"[..]));
        assert_eq!(cursor.byte(), Err(DecodeError::Incomplete));
    }
}
