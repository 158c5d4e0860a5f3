//! The packed form of a small hash whose fields may expire.
//!
//! ```text
//!   u64     when the first field expires, Unix milliseconds; 0 if none does
//!   varint  fields, then for each field:
//!           varint length, name, varint length, value
//!           varint 0, or when it expires, less when the first one does, plus 1
//! ```
//!
//! In insertion order. As with other hashes, a packed value is replaced whole, and damaged bytes cost fields but never
//! a panic.

use super::varint;
use crate::store::entry::HashField;

/// A packed hash whose fields may expire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedTimed<'a> {
    due: u64,
    len: usize,
    rest: &'a [u8],
}

impl<'a> PackedTimed<'a> {
    /// Reads the header.
    pub(crate) fn new(bytes: &'a [u8]) -> PackedTimed<'a> {
        let Some((due, mut rest)) = bytes.split_first_chunk() else {
            return PackedTimed {
                due: 0,
                len: 0,
                rest: b"",
            };
        };
        let len = varint::take(&mut rest).unwrap_or(0);
        PackedTimed {
            due: u64::from_le_bytes(*due),
            len: usize::try_from(len).unwrap_or(0),
            rest,
        }
    }

    /// When the first field expires.
    pub(crate) fn due(&self) -> Option<u64> {
        (self.due != 0).then_some(self.due)
    }

    /// Number of fields.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Fields in order.
    pub(crate) fn iter(&self) -> PackedTimedIter<'a> {
        PackedTimedIter {
            due: self.due,
            rest: self.rest,
        }
    }

    /// A field, its time come or not.
    pub(crate) fn find(&self, name: &[u8]) -> Option<HashField<'a>> {
        self.iter().find(|field| field.name == name)
    }

    /// Whether the bytes are a packed hash and nothing else.
    pub(crate) fn is_sound(bytes: &[u8]) -> bool {
        let mut all = PackedTimed::new(bytes).iter();
        let fields: Vec<_> = all.by_ref().collect();
        bytes.len() > 8
            && fields.len() == PackedTimed::new(bytes).len
            && all.rest.is_empty()
            && earliest(&fields) == PackedTimed::new(bytes).due()
    }
}

/// Iterator over the fields of a packed hash.
#[derive(Clone, Debug)]
pub(crate) struct PackedTimedIter<'a> {
    due: u64,
    rest: &'a [u8],
}

impl<'a> Iterator for PackedTimedIter<'a> {
    type Item = HashField<'a>;

    fn next(&mut self) -> Option<HashField<'a>> {
        let mut rest = self.rest;
        let name = varint::take_bytes(&mut rest)?;
        let value = varint::take_bytes(&mut rest)?;
        let ttl_at = match varint::take(&mut rest)? {
            0 => None,
            after => Some(self.due.wrapping_add(after - 1)),
        };
        self.rest = rest;
        Some(HashField {
            name,
            value,
            ttl_at,
        })
    }
}

/// When the first of these fields expires.
pub(crate) fn earliest(fields: &[HashField<'_>]) -> Option<u64> {
    fields.iter().filter_map(|field| field.ttl_at).min()
}

/// Packs fields, whose names are distinct.
pub(crate) fn pack(fields: &[HashField<'_>], out: &mut Vec<u8>) {
    let due = earliest(fields).unwrap_or(0);
    out.clear();
    out.extend_from_slice(&due.to_le_bytes());
    varint::push(out, fields.len() as u64);
    for field in fields {
        varint::push_bytes(out, field.name);
        varint::push_bytes(out, field.value);
        varint::push(out, field.ttl_at.map_or(0, |at| at - due + 1));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn unpacking_gives_back_what_was_packed(
            fields in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>(), prop::option::of(1..1u64 << 48)), 0..40)
        ) {
            let fields: Vec<HashField<'_>> = fields
                .iter()
                .map(|(name, value, ttl_at)| HashField { name, value, ttl_at: *ttl_at })
                .collect();
            let mut bytes = Vec::new();
            pack(&fields, &mut bytes);
            let packed = PackedTimed::new(&bytes);
            prop_assert!(PackedTimed::is_sound(&bytes));
            prop_assert_eq!(packed.len(), fields.len());
            prop_assert_eq!(packed.due(), fields.iter().filter_map(|field| field.ttl_at).min());
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), fields.clone());
            for field in &fields {
                let first = fields.iter().find(|other| other.name == field.name).copied();
                prop_assert_eq!(packed.find(field.name), first);
            }
            bytes.push(0);
            prop_assert!(!PackedTimed::is_sound(&bytes));
        }

        #[test]
        fn damaged_bytes_never_panic(bytes: Vec<u8>) {
            let packed = PackedTimed::new(&bytes);
            prop_assert!(packed.iter().count() <= bytes.len());
            let _ = PackedTimed::is_sound(&bytes);
        }
    }
}
