//! Why bytes could not be decoded. Each variant is a case in which a caller acts differently.

use std::fmt;

/// A value that cannot be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No writer produces these bytes. The text says what is wrong, for the log.
    Corrupt(&'static str),
    /// The type byte is not of a type this server holds; where the value ends is not known.
    UnsupportedType(u8),
    /// A collection without elements: well formed and consumed to its end, so that a file loader
    /// may pass over the key, but a value that cannot exist.
    EmptyCollection,
    /// The value goes on behind the bytes at hand; only a cursor over a part of a file says so.
    Incomplete,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Corrupt(what) => write!(f, "integrity check failed: {what}"),
            DecodeError::UnsupportedType(byte) => write!(f, "unsupported value type {byte}"),
            DecodeError::EmptyCollection => f.write_str("empty collection"),
            DecodeError::Incomplete => f.write_str("the value goes on"),
        }
    }
}

impl std::error::Error for DecodeError {}
