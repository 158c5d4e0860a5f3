//! The large form of a hash or a set: a table of its members, known by a header.
//!
//! ```text
//!   header 32 B     { root word, members, trash link, trash cursor }
//!   each member     a blob whose key is the field (or member), and whose value is the field's value (or nothing)
//! ```
//!
//! The header is what changes; the entry blob that names it may be rewritten (RENAME, EXPIRE) at any time. A table in
//! use has at least one member: with the last one the entry goes, and takes the table to the trash as it is.

use crate::store::blob::{Blob, Draft, write_lean};
use crate::store::dash::hash::Hash;
use crate::store::dash::layout::{NodeRef, Record};
use crate::store::dash::table::{self, Found};
use crate::store::dash::{Words, WordsMut, walk};
use crate::store::entry::{Encoding, Kind};
use crate::store::error::StoreError;
use crate::store::medium::{Reader, Writer};
use crate::store::trash::HEADER_BYTES;

/// A member's name and value.
pub(in crate::store) type Pair<'p> = (&'p [u8], &'p [u8]);

/// A large hash or set.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct MemberTable {
    header: u64,
}

impl MemberTable {
    /// The table whose header an entry's blob names.
    pub(in crate::store) fn read(reader: &Reader<'_>, blob: &Blob) -> MemberTable {
        MemberTable {
            header: blob.value_word(reader),
        }
    }

    /// A table of these members, whose names are distinct.
    pub(in crate::store) fn build<'p>(
        writer: &mut Writer<'_, '_>,
        members: impl ExactSizeIterator<Item = Pair<'p>>,
    ) -> Result<MemberTable, StoreError> {
        let len = members.len() as u64;
        let mut records = Vec::with_capacity(members.len());
        for (name, value) in members {
            records.push((writer.hasher.hash(name), write(writer, name, value)?));
        }
        let root = table::build(writer, records.into_iter())?;
        let mut header = [0; HEADER_BYTES / 8];
        header[..2].copy_from_slice(&[root.raw(), len]);
        Ok(MemberTable {
            header: writer.alloc_words(&header)?,
        })
    }

    /// A table with the same members.
    pub(in crate::store) fn duplicate(
        self,
        writer: &mut Writer<'_, '_>,
    ) -> Result<MemberTable, StoreError> {
        let reader = writer.reader();
        let records = self.records(&reader).into_iter();
        MemberTable::build(writer, records.map(|record| pair(&reader, record)))
    }

    /// The value of the entry's blob.
    pub(in crate::store) fn to_bytes(self) -> [u8; 8] {
        self.header.to_le_bytes()
    }

    fn len_at(self) -> u64 {
        self.header + 8
    }

    /// Number of members.
    pub(in crate::store) fn len(self, reader: &Reader<'_>) -> u64 {
        reader.load(self.len_at())
    }

    /// The root word of the table.
    pub(in crate::store) fn root(self, reader: &Reader<'_>) -> NodeRef {
        NodeRef::from_raw(reader.load(self.header))
    }

    /// The table with this header.
    pub(super) fn at(header: u64) -> MemberTable {
        MemberTable { header }
    }

    /// Byte offset of the header.
    pub(super) fn header(self) -> u64 {
        self.header
    }

    /// The record of a member.
    #[inline]
    pub(super) fn find(self, reader: &Reader<'_>, hash: Hash, name: &[u8]) -> Option<Found> {
        table::find(reader, self.root(reader), hash, name)
    }

    /// Whether there is a member of this name.
    pub(in crate::store) fn contains(self, reader: &Reader<'_>, name: &[u8]) -> bool {
        self.find(reader, reader.hasher.hash(name), name).is_some()
    }

    /// The value of a member.
    pub(in crate::store) fn value<'a>(self, reader: &Reader<'a>, name: &[u8]) -> Option<&'a [u8]> {
        let (hash, read) = (reader.hasher.hash(name), |record| {
            Blob::of_key(reader, record, name)
        });
        let (_, blob) = table::find_by(reader, self.root(reader), hash, read)?;
        Some(blob.value(reader))
    }

    /// All records, in hash order.
    pub(in crate::store) fn records(self, reader: &Reader<'_>) -> Vec<Record> {
        let mut records = Vec::new();
        walk::for_each(reader, self.root(reader), &mut |record| {
            records.push(record);
            true
        });
        records
    }

    /// The records of the bucket that `position` belongs to, and the position after it.
    pub(in crate::store) fn scan_step(
        self,
        reader: &Reader<'_>,
        position: u64,
    ) -> (Vec<Record>, Option<u64>) {
        let mut records = Vec::new();
        let next = walk::scan(reader, self.root(reader), position, &mut |record| {
            records.push(record);
        });
        (records, next)
    }

    /// The name and value of a member drawn uniformly.
    pub(in crate::store) fn random<'a>(
        self,
        reader: &Reader<'a>,
        rng: &mut dyn FnMut() -> u64,
    ) -> Option<Pair<'a>> {
        walk::random(reader, self.root(reader), rng).map(|record| pair(reader, record))
    }

    /// Sets the value of a member, which is added if absent; whether it is new.
    pub(in crate::store) fn set(
        self,
        writer: &mut Writer<'_, '_>,
        name: &[u8],
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let record = write(writer, name, value)?;
        let hash = writer.hasher.hash(name);
        let reader = writer.reader();
        match self.find(&reader, hash, name) {
            Some(found) => {
                table::replace(writer, &found, record)?;
                writer.free(found.record.blob())?;
                Ok(false)
            }
            None => {
                self.insert(writer, hash, record)?;
                Ok(true)
            }
        }
    }

    /// Adds a member without a value; whether it is new.
    pub(in crate::store) fn add(
        self,
        writer: &mut Writer<'_, '_>,
        name: &[u8],
    ) -> Result<bool, StoreError> {
        let hash = writer.hasher.hash(name);
        if self.find(&writer.reader(), hash, name).is_some() {
            return Ok(false);
        }
        let record = write(writer, name, b"")?;
        self.insert(writer, hash, record)?;
        Ok(true)
    }

    /// Adds the record of a member that is not there.
    pub(super) fn insert(
        self,
        writer: &mut Writer<'_, '_>,
        hash: Hash,
        record: Record,
    ) -> Result<(), StoreError> {
        let len = self.len(&writer.reader());
        writer.store(self.len_at(), len + 1)?;
        table::insert(writer, self.header, hash, record)
    }

    /// Removes the members of these names, up to the last but one: the last member is never removed, because its
    /// entry goes with it.
    pub(in crate::store) fn remove_all(
        self,
        writer: &mut Writer<'_, '_>,
        names: &[&[u8]],
    ) -> Result<Removal, StoreError> {
        let mut removed = 0;
        for name in names {
            writer.settle();
            let reader = writer.reader();
            let hash = writer.hasher.hash(name);
            let Some(found) = self.find(&reader, hash, name) else {
                continue;
            };
            removed += 1;
            if self.len(&reader) == 1 {
                return Ok(Removal::All(removed));
            }
            self.remove(writer, hash, &found)?;
        }
        Ok(Removal::Some(removed))
    }

    /// Removes a member, which must not be the last one.
    pub(super) fn remove(
        self,
        writer: &mut Writer<'_, '_>,
        hash: Hash,
        found: &Found,
    ) -> Result<(), StoreError> {
        let left = self.len(&writer.reader()) - 1;
        writer.store(self.len_at(), left)?;
        table::remove(writer, self.header, found, hash, left)?;
        writer.free(found.record.blob())
    }
}

/// What a removal from a table came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Removal {
    /// So many members are gone.
    Some(usize),
    /// So many were to go that none would be left; the last one is still there.
    All(usize),
}

/// The name and value of a record's blob.
pub(in crate::store) fn pair<'a>(reader: &Reader<'a>, record: Record) -> (&'a [u8], &'a [u8]) {
    let blob = Blob::of(reader, record);
    (blob.key(reader), blob.value(reader))
}

/// Writes the blob of a member that does not expire.
pub(super) fn write(
    writer: &mut Writer<'_, '_>,
    name: &[u8],
    value: &[u8],
) -> Result<Record, StoreError> {
    if value.is_empty() {
        return write_lean(writer, name);
    }
    let draft = Draft {
        kind: Kind::String,
        encoding: Encoding::Raw,
        clock: 0,
        ttl_at: None,
        key: name,
        value,
    };
    draft.write(writer)
}
