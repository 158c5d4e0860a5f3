//! Hashes: packed while small, a table of field blobs when large.
//!
//! ```text
//!   packed         entry blob: the packed bytes
//!   packed timed   entry blob: the packed bytes, with when each field expires
//!   table          entry blob: byte offset of the header of a member table
//!   timed          entry blob: byte offset of the header of a timed table
//! ```
//!
//! A hash never goes back to the packed form, and one in which a field has once had an expiry stays timed.

use super::{PACKED_BYTES_MAX, PackedIf};
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::iter;

use super::member_table::{MemberTable, Pair, Removal};
use super::timed_table::{Gone, TimedTable};
use crate::store::blob::Blob;
use crate::store::change::{Change, Contents, Here, Place};
use crate::store::encoding::packed::{self, Packed};
use crate::store::encoding::packed_timed::{self, PackedTimed};
use crate::store::entry::{Encoding, FieldTtl, HashField, Kind, Ttl};
use crate::store::error::StoreError;
use crate::store::keyspace::Settings;
use crate::store::medium::Reader;

/// A hash in one of its forms.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum HashForm<'a> {
    Packed(Packed<'a>),
    PackedTimed(PackedTimed<'a>),
    Table(MemberTable),
    Timed(TimedTable),
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
            Encoding::HashtableEx => Ok(HashForm::Timed(TimedTable::read(reader, blob))),
            Encoding::ListpackEx => Ok(HashForm::PackedTimed(PackedTimed::new(blob.value(reader)))),
            _ => Ok(HashForm::Packed(Packed::new(blob.value(reader)))),
        }
    }

    /// Number of fields, those whose time has come included.
    pub(in crate::store) fn len(&self, reader: &Reader<'_>) -> u64 {
        match self {
            HashForm::Packed(packed) => packed.len() as u64,
            HashForm::PackedTimed(packed) => packed.len() as u64,
            HashForm::Table(table) => table.len(reader),
            HashForm::Timed(table) => table.members().len(reader),
        }
    }

    /// The value of a field, and when it expires; its time may have come.
    #[inline]
    pub(in crate::store) fn find(
        &self,
        reader: &Reader<'a>,
        name: &[u8],
    ) -> Option<(&'a [u8], Option<u64>)> {
        let timed = |field: HashField<'a>| (field.value, field.ttl_at);
        match self {
            HashForm::Packed(packed) => packed.find(name).map(|value| (value, None)),
            HashForm::Table(table) => table.value(reader, name).map(|value| (value, None)),
            HashForm::PackedTimed(packed) => packed.find(name).map(timed),
            HashForm::Timed(table) => table.find(reader, name).map(timed),
        }
    }

    /// No field expires before.
    pub(in crate::store) fn due(&self, reader: &Reader<'_>) -> Option<u64> {
        match self {
            HashForm::Packed(_) | HashForm::Table(_) => None,
            HashForm::PackedTimed(packed) => packed.due(),
            HashForm::Timed(table) => table.due(reader),
        }
    }

    /// The fields of a packed hash.
    fn packed_fields(&self) -> Vec<HashField<'a>> {
        match self {
            HashForm::Packed(packed) => packed.iter().map(untimed).collect(),
            HashForm::PackedTimed(packed) => packed.iter().collect(),
            HashForm::Table(_) | HashForm::Timed(_) => Vec::new(),
        }
    }
}

/// A field that does not expire.
fn untimed<'p>((name, value): Pair<'p>) -> HashField<'p> {
    HashField {
        name,
        value,
        ttl_at: None,
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

/// `known`, whose fields are distinct, with `more` merged in: each field once, in the place of its first occurrence,
/// with what `replace` makes of it.
fn merged<'p, T: Copy>(
    known: impl Iterator<Item = T>,
    more: impl ExactSizeIterator<Item = T>,
    name: impl Fn(&T) -> &'p [u8],
    replace: impl Fn(&mut T, T),
) -> Vec<T> {
    let mut all: Vec<T> = known.collect();
    if more.len() <= COMPARED_MAX {
        for item in more {
            match all.iter_mut().find(|old| name(old) == name(&item)) {
                Some(old) => replace(old, item),
                None => all.push(item),
            }
        }
        return all;
    }
    let mut places: HashMap<&[u8], usize> = all
        .iter()
        .enumerate()
        .map(|(i, item)| (name(item), i))
        .collect();
    for item in more {
        match places.entry(name(&item)) {
            Slot::Occupied(place) => replace(&mut all[*place.get()], item),
            Slot::Vacant(place) => {
                place.insert(all.len());
                all.push(item);
            }
        }
    }
    all
}

/// The same of pairs: each with its last value.
fn merged_pairs<'p>(known: impl Iterator<Item = Pair<'p>>, pairs: &[Pair<'p>]) -> Vec<Pair<'p>> {
    let more = pairs.iter().copied();
    merged(known, more, |pair| pair.0, |old, new| *old = new)
}

/// The same of fields that may expire.
fn merged_fields<'p>(
    known: Vec<HashField<'p>>,
    pairs: &[Pair<'p>],
    ttl: FieldTtl,
) -> Vec<HashField<'p>> {
    let more = pairs.iter().map(|&(name, value)| HashField {
        name,
        value,
        ttl_at: match ttl {
            FieldTtl::At(at) => Some(at),
            FieldTtl::Clear | FieldTtl::Keep => None,
        },
    });
    let keep = |old: &mut HashField<'p>, new: HashField<'p>| match ttl {
        FieldTtl::Keep => old.value = new.value,
        _ => *old = new,
    };
    merged(known.into_iter(), more, |field| field.name, keep)
}

impl Change<'_, '_> {
    /// Sets fields of the hash at a place; the number of new ones.
    pub(in crate::store) fn set_fields(
        &mut self,
        place: &Place<'_>,
        pairs: &[Pair<'_>],
        ttl: FieldTtl,
    ) -> Result<usize, StoreError> {
        let reader = self.writer.reader();
        let old = match place.live() {
            Some(here) => Some(HashForm::read(&reader, &here.blob)?),
            None => None,
        };
        if pairs.is_empty() {
            return Ok(0);
        }
        let times = matches!(ttl, FieldTtl::At(_));
        match old {
            Some(HashForm::Timed(table)) => self.fill_timed(place, table, pairs, ttl),
            Some(HashForm::Table(table)) if times => {
                let (place, table) = self.time_table(place, table)?;
                self.fill_timed(&place, table, pairs, ttl)
            }
            Some(HashForm::Table(table)) => {
                let new = self.fill_table(table, pairs)?;
                self.note_change(place.db, place.key);
                Ok(new)
            }
            Some(HashForm::Packed(packed)) if !times => {
                let all = merged_pairs(packed.iter(), pairs);
                let packable = fits(self.keyspace.settings(), all.len(), pairs);
                self.put_pairs(place, &all, packable, Ttl::Keep)?;
                Ok(all.len() - packed.len())
            }
            None if !times => {
                let all = merged_pairs(iter::empty(), pairs);
                let packable = fits(self.keyspace.settings(), all.len(), pairs);
                self.put_pairs(place, &all, packable, Ttl::Clear)?;
                Ok(all.len())
            }
            Some(HashForm::Packed(_) | HashForm::PackedTimed(_)) | None => {
                let known = old.map_or(Vec::new(), |form| form.packed_fields());
                let len = known.len();
                let all = merged_fields(known, pairs, ttl);
                let packable = fits(self.keyspace.settings(), all.len(), pairs);
                let key_ttl = if old.is_some() { Ttl::Keep } else { Ttl::Clear };
                self.put_fields(place, &all, packable, key_ttl)?;
                Ok(all.len() - len)
            }
        }
    }

    /// Replaces whatever is at a place by a hash of these fields.
    pub(in crate::store) fn put_hash(
        &mut self,
        place: &Place<'_>,
        fields: &[HashField<'_>],
        packed_if: PackedIf,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        if fields.is_empty() {
            self.remove(place, Contents::Discard)?;
            return Ok(());
        }
        let more = fields.iter().copied();
        let all = merged(
            iter::empty(),
            more,
            |field| field.name,
            |old, new| *old = new,
        );
        let pairs: Vec<Pair<'_>> = all.iter().map(|field| (field.name, field.value)).collect();
        let settings = self.keyspace.settings();
        let packable = match packed_if {
            PackedIf::Small => fits(settings, pairs.len(), &pairs),
            PackedIf::Few => {
                let bytes = pairs.iter().map(|(name, value)| name.len() + value.len());
                pairs.len() <= settings.hash_packed_entries_max()
                    && bytes.sum::<usize>() <= PACKED_BYTES_MAX
            }
        };
        if all.iter().any(|field| field.ttl_at.is_some()) {
            return self.put_fields(place, &all, packable, ttl);
        }
        self.put_pairs(place, &pairs, packable, ttl)
    }

    /// Puts distinct fields that may expire at a place, in the form asked for.
    pub(super) fn put_fields(
        &mut self,
        place: &Place<'_>,
        fields: &[HashField<'_>],
        packable: bool,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        let mut value = Vec::new();
        let encoding = if packable {
            packed_timed::pack(fields, &mut value);
            Encoding::ListpackEx
        } else {
            let table = TimedTable::build(&mut self.writer, fields.iter().copied())?;
            value.extend_from_slice(&table.to_bytes());
            Encoding::HashtableEx
        };
        self.put_value(place, (Kind::Hash, encoding), &value, ttl)
    }

    /// Puts distinct fields at a place, in the form asked for.
    pub(super) fn put_pairs(
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
        self.put_value(place, (Kind::Hash, encoding), &value, ttl)
    }

    fn fill_table(&mut self, table: MemberTable, pairs: &[Pair<'_>]) -> Result<usize, StoreError> {
        let mut new = 0;
        for (field, value) in pairs {
            self.writer.settle();
            new += usize::from(table.set(&mut self.writer, field, value)?);
        }
        Ok(new)
    }

    fn fill_timed(
        &mut self,
        place: &Place<'_>,
        table: TimedTable,
        pairs: &[Pair<'_>],
        ttl: FieldTtl,
    ) -> Result<usize, StoreError> {
        let mut new = 0;
        for (field, value) in pairs {
            self.writer.settle();
            new += usize::from(table.set(&mut self.writer, field, value, ttl)?);
        }
        self.settle_due(place, table, false)?;
        self.note_change(place.db, place.key);
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
            HashForm::PackedTimed(packed) => {
                let left: Vec<HashField<'_>> = packed
                    .iter()
                    .filter(|field| !fields.contains(&field.name))
                    .collect();
                let removed = packed.len() - left.len();
                if left.is_empty() {
                    self.remove(place, Contents::Discard)?;
                } else if removed > 0 {
                    self.put_fields(place, &left, true, Ttl::Keep)?;
                }
                Ok(removed)
            }
            HashForm::Timed(table) => {
                let mut removed = 0;
                for name in fields {
                    self.writer.settle();
                    match table.remove(&mut self.writer, name)? {
                        Gone::Absent => {}
                        Gone::Removed => removed += 1,
                        Gone::Last => {
                            self.remove(place, Contents::Discard)?;
                            return Ok(removed + 1);
                        }
                    }
                }
                if removed > 0 {
                    self.settle_due(place, table, false)?;
                    self.note_change(place.db, place.key);
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
