//! One element of a packed blob: the blob keeps integers as integers, clients see their text.

use std::borrow::Cow;

use super::integer;

/// An element as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'a> {
    /// A string, a part of the blob.
    Bytes(&'a [u8]),
    /// An integer; its decimal text is the value.
    Int(i64),
}

impl<'a> Element<'a> {
    /// The value as clients see it, borrowed from the blob where possible.
    pub fn text(self) -> Cow<'a, [u8]> {
        match self {
            Element::Bytes(bytes) => Cow::Borrowed(bytes),
            Element::Int(value) => Cow::Owned(integer::text(value)),
        }
    }
}
