//! Hashes: packed while small, a table of field blobs when large.
//!
//! ```text
//!   packed   entry blob: the packed bytes
//!   table    entry blob: byte offset of the header of a member table
//! ```
//!
//! A hash never goes back to the packed form.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::iter;

use super::member_table::{MemberTable, Pair, Removal};
use crate::store::blob::{Blob, Draft};
use crate::store::change::{Change, Contents, Here, Place};
use crate::store::encoding::packed::{self, Packed};
use crate::store::entry::{Encoding, Kind, Ttl};
use crate::store::error::StoreError;
use crate::store::keyspace::Settings;
use crate::store::medium::Reader;

/// A hash in either form.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum HashForm<'a> {
    Packed(Packed<'a>),
    Table(MemberTable),
}

impl<'a> HashForm<'a> {
    /// The hash in an entry's blob.
    pub(in crate::store) fn read(
        reader: &Reader<'a>,
        blob: &Blob,
    ) -> Result<HashForm<'a>, StoreError> {
        match blob.encoding() {
            _ if blob.kind() != Kind::Hash => Err(StoreError::WrongType),
            Encoding::Hashtable => Ok(HashForm::Table(MemberTable::read(reader, blob))),
            _ => Ok(HashForm::Packed(Packed::new(blob.value(reader)))),
        }
    }

    /// Number of fields.
    pub(in crate::store) fn len(&self, reader: &Reader<'_>) -> u64 {
        match self {
            HashForm::Packed(packed) => packed.len() as u64,
            HashForm::Table(table) => table.len(reader),
        }
    }

    /// The value of a field.
    pub(in crate::store) fn find(&self, reader: &Reader<'a>, field: &[u8]) -> Option<&'a [u8]> {
        match self {
            HashForm::Packed(packed) => packed.find(field),
            HashForm::Table(table) => table.value(reader, field),
        }
    }
}

/// Whether a hash with these fields may be packed.
fn fits(settings: &Settings, len: usize, pairs: &[Pair<'_>]) -> bool {
    let value_max = settings.hash_packed_value_max();
    len <= settings.hash_packed_entries_max()
        && pairs
            .iter()
            .all(|(field, value)| field.len() <= value_max && value.len() <= value_max)
}

/// Pairs up to which fields are compared one by one rather than hashed.
const COMPARED_MAX: usize = 8;

/// `known`, whose fields are distinct, with `pairs` merged in: each field once, in the place of its first occurrence,
/// with its last value.
fn merged<'p>(known: impl Iterator<Item = Pair<'p>>, pairs: &[Pair<'p>]) -> Vec<Pair<'p>> {
    let mut all: Vec<Pair<'p>> = known.collect();
    if pairs.len() <= COMPARED_MAX {
        for &(field, value) in pairs {
            match all.iter_mut().find(|pair| pair.0 == field) {
                Some(pair) => pair.1 = value,
                None => all.push((field, value)),
            }
        }
        return all;
    }
    let mut places: HashMap<&[u8], usize> = all
        .iter()
        .enumerate()
        .map(|(i, pair)| (pair.0, i))
        .collect();
    for &(field, value) in pairs {
        match places.entry(field) {
            Slot::Occupied(place) => all[*place.get()].1 = value,
            Slot::Vacant(place) => {
                place.insert(all.len());
                all.push((field, value));
            }
        }
    }
    all
}

impl Change<'_, '_> {
    /// Sets fields of the hash at a place; the number of new ones.
    pub(in crate::store) fn set_fields(
        &mut self,
        place: &Place<'_>,
        pairs: &[Pair<'_>],
    ) -> Result<usize, StoreError> {
        let reader = self.writer.reader();
        let old = match place.live() {
            Some(here) => Some(HashForm::read(&reader, &here.blob)?),
            None => None,
        };
        if pairs.is_empty() {
            return Ok(0);
        }
        match old {
            Some(HashForm::Table(table)) => {
                let new = self.fill_table(table, pairs)?;
                self.note_change(place.db, place.key);
                Ok(new)
            }
            Some(HashForm::Packed(packed)) => {
                let all = merged(packed.iter(), pairs);
                let packable = fits(self.keyspace.settings(), all.len(), pairs);
                self.put_pairs(place, &all, packable, Ttl::Keep)?;
                Ok(all.len() - packed.len())
            }
            None => {
                let all = merged(iter::empty(), pairs);
                let packable = fits(self.keyspace.settings(), all.len(), pairs);
                self.put_pairs(place, &all, packable, Ttl::Clear)?;
                Ok(all.len())
            }
        }
    }

    /// Replaces whatever is at a place by a hash of these fields.
    pub(in crate::store) fn put_hash(
        &mut self,
        place: &Place<'_>,
        pairs: &[Pair<'_>],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        let all = merged(iter::empty(), pairs);
        if all.is_empty() {
            self.remove(place, Contents::Discard)?;
            return Ok(());
        }
        let packable = fits(self.keyspace.settings(), all.len(), &all);
        self.put_pairs(place, &all, packable, ttl)
    }

    /// Puts distinct fields at a place, in the form asked for.
    fn put_pairs(
        &mut self,
        place: &Place<'_>,
        pairs: &[Pair<'_>],
        packable: bool,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        let mut value = Vec::new();
        let encoding = if packable {
            packed::pack(pairs.iter().copied(), &mut value);
            Encoding::Listpack
        } else {
            let table = MemberTable::build(&mut self.writer, pairs.iter().copied())?;
            value.extend_from_slice(&table.to_bytes());
            Encoding::Hashtable
        };
        let draft = Draft {
            kind: Kind::Hash,
            encoding,
            clock: place.clock(),
            ttl_at: place.ttl_after(ttl),
            key: place.key,
            value: &value,
        };
        self.put(place, &draft, Contents::Discard)
    }

    fn fill_table(&mut self, table: MemberTable, pairs: &[Pair<'_>]) -> Result<usize, StoreError> {
        let mut new = 0;
        for (field, value) in pairs {
            self.writer.settle();
            new += usize::from(table.set(&mut self.writer, field, value)?);
        }
        Ok(new)
    }

    /// Removes fields of the hash at a place, and the hash with the last one; the number removed.
    pub(in crate::store) fn remove_fields(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        fields: &[&[u8]],
    ) -> Result<usize, StoreError> {
        let reader = self.writer.reader();
        match HashForm::read(&reader, &here.blob)? {
            HashForm::Packed(packed) => {
                let left: Vec<Pair<'_>> = packed
                    .iter()
                    .filter(|(field, _)| !fields.contains(field))
                    .collect();
                let removed = packed.len() - left.len();
                if left.is_empty() {
                    self.remove(place, Contents::Discard)?;
                } else if removed > 0 {
                    self.put_pairs(place, &left, true, Ttl::Keep)?;
                }
                Ok(removed)
            }
            HashForm::Table(table) => match table.remove_all(&mut self.writer, fields)? {
                Removal::Some(0) => Ok(0),
                Removal::Some(removed) => {
                    self.note_change(place.db, place.key);
                    Ok(removed)
                }
                Removal::All(removed) => {
                    self.remove(place, Contents::Discard)?;
                    Ok(removed)
                }
            },
        }
    }
}
