//! Reading from a byte slice that may lie about itself.
//!
//! Invariant: nothing is handed out, and so nothing is allocated by a caller, that the slice does
//! not hold. Every other module of the decoder reads through this one.

use super::DecodeError;

/// A position in a byte slice.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
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
        let len = usize::try_from(len)
            .ok()
            .filter(|&len| len <= self.rest.len());
        let (taken, rest) = self.rest.split_at(len.ok_or(TRUNCATED)?);
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes, for integers of fixed width.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*array)
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
}
