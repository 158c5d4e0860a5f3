//! The packed form of a small hash: all fields and values in one run of bytes, in insertion order.
//!
//! ```text
//!   varint fields, then for each field: varint length, field, varint length, value
//!   varint: seven bits a byte, low bits first, the top bit says that more follow
//! ```
//!
//! A packed value is never changed in place; a new one is built and replaces it. Reading is bounds-checked and
//! stops at the first thing that makes no sense, so damaged bytes cost fields but never a panic.

/// A packed hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<'a> {
    len: usize,
    rest: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Reads the header.
    pub(crate) fn new(bytes: &'a [u8]) -> Packed<'a> {
        let (len, rest) = varint(bytes).unwrap_or((0, b""));
        Packed { len, rest }
    }

    /// Number of fields.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Fields and values in order.
    pub(crate) fn iter(&self) -> PackedIter<'a> {
        PackedIter { rest: self.rest }
    }

    /// The value of a field.
    pub(crate) fn find(&self, field: &[u8]) -> Option<&'a [u8]> {
        self.iter()
            .find(|(name, _)| *name == field)
            .map(|(_, value)| value)
    }
}

/// Iterator over the fields and values of a packed hash.
#[derive(Clone, Debug)]
pub(crate) struct PackedIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for PackedIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (field, rest) = string(self.rest)?;
        let (value, rest) = string(rest)?;
        self.rest = rest;
        Some((field, value))
    }
}

/// Packs pairs, whose fields are distinct.
pub(crate) fn pack<'p>(
    pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])>,
    out: &mut Vec<u8>,
) {
    out.clear();
    push_varint(out, pairs.len());
    for (field, value) in pairs {
        push_varint(out, field.len());
        out.extend_from_slice(field);
        push_varint(out, value.len());
        out.extend_from_slice(value);
    }
}

pub(super) fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

pub(super) fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = varint(bytes)?;
    rest.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn unpacking_gives_back_what_was_packed(pairs in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..40)) {
            let mut bytes = Vec::new();
            pack(pairs.iter().map(|(f, v)| (f.as_slice(), v.as_slice())), &mut bytes);
            let packed = Packed::new(&bytes);
            prop_assert_eq!(packed.len(), pairs.len());
            let unpacked: Vec<_> = packed.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(&unpacked, &pairs);
            for (field, _) in &pairs {
                let first = pairs.iter().find(|(f, _)| f == field).map(|(_, v)| v.as_slice());
                prop_assert_eq!(packed.find(field), first);
            }
        }

        #[test]
        fn damaged_bytes_never_panic(bytes: Vec<u8>) {
            let packed = Packed::new(&bytes);
            prop_assert!(packed.iter().count() <= bytes.len());
        }
    }
}
