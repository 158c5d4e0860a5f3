//! Hashes: packed while small, a table of field blobs when large.
//!
//! ```text
//!   packed   entry blob: the packed bytes
//!   table    entry blob: byte offset of the header
//!            header 32 B: { root word, fields, trash link, trash cursor }
//!            each field: a blob whose key is the field
//! ```
//!
//! The header is what changes; the entry blob that names it may be rewritten (RENAME, EXPIRE) at any time. A hash
//! never goes back to the packed form.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::iter;

use crate::store::blob::{Blob, Draft};
use crate::store::change::{Change, Contents, Here, Place};
use crate::store::dash::hash::Hash;
use crate::store::dash::layout::NodeRef;
use crate::store::dash::table::{self, Found};
use crate::store::dash::{Words, WordsMut, walk};
use crate::store::encoding::packed::{self, Packed};
use crate::store::entry::{Encoding, Kind, Ttl};
use crate::store::error::StoreError;
use crate::store::keyspace::Settings;
use crate::store::medium::{Reader, Writer};
use crate::store::trash::HEADER_BYTES;

/// A field and its value.
pub(in crate::store) type Pair<'p> = (&'p [u8], &'p [u8]);

/// A hash in either form.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum HashForm<'a> {
    Packed(Packed<'a>),
    Table(Table),
}

impl<'a> HashForm<'a> {
    /// The hash in an entry's blob.
    pub(in crate::store) fn read(
        reader: &Reader<'a>,
        blob: &Blob,
    ) -> Result<HashForm<'a>, StoreError> {
        match blob.encoding() {
            _ if blob.kind() != Kind::Hash => Err(StoreError::WrongType),
            Encoding::Hashtable => Ok(HashForm::Table(Table {
                header: blob.value_word(reader),
            })),
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
            HashForm::Table(table) => {
                let found = table.find(reader, reader.hasher.hash(field), field)?;
                Some(Blob::read(reader, found.record.blob()).value(reader))
            }
        }
    }
}

/// A large hash, known by its header.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Table {
    header: u64,
}

impl Table {
    fn len_at(self) -> u64 {
        self.header + 8
    }

    /// Number of fields.
    pub(in crate::store) fn len(self, reader: &Reader<'_>) -> u64 {
        reader.load(self.len_at())
    }

    /// The root word of the table.
    pub(in crate::store) fn root(self, reader: &Reader<'_>) -> NodeRef {
        NodeRef::from_raw(reader.load(self.header))
    }

    fn find(self, reader: &Reader<'_>, hash: Hash, field: &[u8]) -> Option<Found> {
        table::find(reader, self.root(reader), hash, field)
    }

    /// A table of these fields, which are distinct.
    fn of<'p>(
        writer: &mut Writer<'_, '_>,
        pairs: impl ExactSizeIterator<Item = Pair<'p>>,
    ) -> Result<Table, StoreError> {
        let len = pairs.len() as u64;
        let mut records = Vec::with_capacity(pairs.len());
        for (field, value) in pairs {
            records.push((
                writer.hasher.hash(field),
                member(field, value).write(writer)?,
            ));
        }
        let root = table::build(writer, records.into_iter())?;
        let mut header = [0; HEADER_BYTES / 8];
        header[..2].copy_from_slice(&[root.raw(), len]);
        Ok(Table {
            header: writer.alloc_words(&header)?,
        })
    }

    /// Sets a field; whether it is new.
    fn set(
        self,
        writer: &mut Writer<'_, '_>,
        field: &[u8],
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let record = member(field, value).write(writer)?;
        let hash = writer.hasher.hash(field);
        let reader = writer.reader();
        match self.find(&reader, hash, field) {
            Some(found) => {
                table::replace(writer, &found, record)?;
                writer.free(found.record.blob())?;
                Ok(false)
            }
            None => {
                writer.store(self.len_at(), self.len(&reader) + 1)?;
                table::insert(writer, self.header, hash, record)?;
                Ok(true)
            }
        }
    }

    /// Removes a field, which must not be the last one; whether it was there.
    fn remove(self, writer: &mut Writer<'_, '_>, field: &[u8]) -> Result<bool, StoreError> {
        let reader = writer.reader();
        let hash = writer.hasher.hash(field);
        let Some(found) = self.find(&reader, hash, field) else {
            return Ok(false);
        };
        let left = self.len(&reader) - 1;
        writer.store(self.len_at(), left)?;
        table::remove(writer, self.header, &found, hash, left)?;
        writer.free(found.record.blob())?;
        Ok(true)
    }
}

/// The blob of a field.
fn member<'d>(field: &'d [u8], value: &'d [u8]) -> Draft<'d> {
    Draft {
        kind: Kind::String,
        encoding: Encoding::Raw,
        clock: 0,
        ttl_at: None,
        key: field,
        value,
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
            let table = Table::of(&mut self.writer, pairs.iter().copied())?;
            value.extend_from_slice(&table.header.to_le_bytes());
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

    fn fill_table(&mut self, table: Table, pairs: &[Pair<'_>]) -> Result<usize, StoreError> {
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
            HashForm::Table(table) => {
                let mut removed = 0;
                for field in fields {
                    self.writer.settle();
                    let reader = self.writer.reader();
                    let hash = reader.hasher.hash(field);
                    if table.len(&reader) > 1 {
                        removed += usize::from(table.remove(&mut self.writer, field)?);
                    } else if table.find(&reader, hash, field).is_some() {
                        // The table goes to the trash with its last field in it.
                        self.remove(place, Contents::Discard)?;
                        return Ok(removed + 1);
                    }
                }
                if removed > 0 {
                    self.note_change(place.db, place.key);
                }
                Ok(removed)
            }
        }
    }

    /// Copies what a blob's value refers to, for another key: the value of the copy's blob.
    pub(in crate::store) fn copied_value(&mut self, blob: &Blob) -> Result<Vec<u8>, StoreError> {
        let reader = self.writer.reader();
        if blob.encoding() == Encoding::Stream {
            return self.copied_stream(blob);
        }
        if blob.encoding() != Encoding::Hashtable {
            return Ok(blob.value(&reader).to_vec());
        }
        let HashForm::Table(source) = HashForm::read(&reader, blob)? else {
            return Ok(blob.value(&reader).to_vec());
        };
        let mut pairs = Vec::new();
        walk::for_each(&reader, source.root(&reader), &mut |record| {
            let field = Blob::read(&reader, record.blob());
            pairs.push((field.key(&reader), field.value(&reader)));
            true
        });
        let table = Table::of(&mut self.writer, pairs.into_iter())?;
        Ok(table.header.to_le_bytes().to_vec())
    }
}
