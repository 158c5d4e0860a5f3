//! The large form of a hash whose fields may expire: a table of its fields, and a tree of when they do.
//!
//! ```text
//!   header 48 B     { root word, fields, trash link, trash cursor, root word of the tree, due }
//!   each field      a blob whose key is the field's name; if it expires, its record says so and its expiry word when
//!   tree entry      { when, byte offset of the field's blob }, by time and then by name: of each field that expires
//! ```
//!
//! `due` is what the slot's index says of the hash (see [`field_index`](crate::store::field_index)): not later than the
//! first entry of the tree, and 0 if and only if there is none. It may be earlier, so that a field whose time moves does
//! not move the hash in the index each time.
//!
//! Readers without a lock look at the table alone. The tree is changed first, by logged stores that only holders of the
//! lock see; the store in the table (or of the expiry word) is the publish.

use super::member_table::{MemberTable, write};
use crate::store::blob::{Blob, Draft, has_ttl};
use crate::store::btree::{Build, Cursor, Entry, Order, Tree};
use crate::store::dash::layout::{NodeRef, Record};
use crate::store::dash::table::{self, Found};
use crate::store::dash::{Words, WordsMut};
use crate::store::entry::{Encoding, FieldTtl, HashField, Kind};
use crate::store::error::StoreError;
use crate::store::medium::{Reader, Writer};

/// Bytes of the header.
pub(in crate::store) const TIMED_HEADER_BYTES: usize = 48;

/// The tree of a hash's fields, or of a slot's hashes: by time, then by the key of the blob.
pub(in crate::store) struct Dues;

impl Order for Dues {
    const KEYED: bool = true;
    const UNIT: bool = true;

    fn weight(_: u64) -> u64 {
        1
    }
}

/// The place of a time and name in a tree of dues, whether they are there or not.
pub(in crate::store) fn seek(
    tree: Tree<Dues>,
    reader: &Reader<'_>,
    due: u64,
    name: &[u8],
) -> Cursor<Dues> {
    tree.seek(reader, |entry| {
        entry.a < due || entry.a == due && Blob::read(reader, entry.b).key(reader) < name
    })
}

/// Moves a name in a tree of dues from its old time and blob to the new ones, either of which may be missing.
pub(in crate::store) fn move_due(
    tree: Tree<Dues>,
    writer: &mut Writer<'_, '_>,
    name: &[u8],
    old: Option<u64>,
    new: Option<(u64, u64)>,
) -> Result<(), StoreError> {
    let reader = writer.reader();
    let entry = new.map(|(a, b)| Entry { a, b });
    match (old, entry) {
        (Some(old), Some(entry)) if old == entry.a => {
            let here = seek(tree, &reader, old, name);
            tree.replace(writer, &here, entry)
        }
        (old, entry) => {
            if let Some(old) = old {
                let here = seek(tree, &reader, old, name);
                tree.remove(writer, &here)?;
            }
            if let Some(entry) = entry {
                let here = seek(tree, &reader, entry.a, name);
                tree.insert(writer, &here, entry)?;
            }
            Ok(())
        }
    }
}

/// The field of a record.
pub(in crate::store) fn field<'a>(reader: &Reader<'a>, record: Record) -> HashField<'a> {
    let blob = Blob::of(reader, record);
    HashField {
        name: blob.key(reader),
        value: blob.value(reader),
        ttl_at: blob.ttl_at(reader, record),
    }
}

/// A large hash whose fields may expire.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct TimedTable {
    pub(in crate::store) header: u64,
}

/// What a removal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Gone {
    /// There is no such field.
    Absent,
    /// It is gone.
    Removed,
    /// It is the last field: still there, to go with its entry.
    Last,
}

impl TimedTable {
    /// The table whose header an entry's blob names.
    pub(in crate::store) fn read(reader: &Reader<'_>, blob: &Blob) -> TimedTable {
        TimedTable {
            header: blob.value_word(reader),
        }
    }

    /// The value of the entry's blob.
    pub(in crate::store) fn to_bytes(self) -> [u8; 8] {
        self.header.to_le_bytes()
    }

    /// The table of fields by itself.
    pub(in crate::store) fn members(self) -> MemberTable {
        MemberTable::at(self.header)
    }

    /// The tree of when they expire.
    pub(in crate::store) fn dues(self) -> Tree<Dues> {
        Tree::new(self.header + 32)
    }

    fn due_at(self) -> u64 {
        self.header + 40
    }

    /// What the slot's index says: no field expires before.
    pub(in crate::store) fn due<W: Words>(self, words: &W) -> Option<u64> {
        Some(words.load(self.due_at())).filter(|due| *due != 0)
    }

    /// When the first field expires.
    pub(in crate::store) fn earliest<W: Words>(self, words: &W) -> Option<u64> {
        self.dues().first(words).entry(words).map(|entry| entry.a)
    }

    /// Notes what the slot's index says now.
    pub(in crate::store) fn set_due(
        self,
        writer: &mut Writer<'_, '_>,
        due: Option<u64>,
    ) -> Result<(), StoreError> {
        writer.store_apart(self.due_at(), due.unwrap_or(0))
    }

    /// A table of these fields, whose names are distinct.
    pub(in crate::store) fn build<'p>(
        writer: &mut Writer<'_, '_>,
        fields: impl ExactSizeIterator<Item = HashField<'p>>,
    ) -> Result<TimedTable, StoreError> {
        let len = fields.len() as u64;
        let mut records = Vec::with_capacity(fields.len());
        let mut dues = Vec::new();
        for field in fields {
            let record = write_field(writer, field.name, field.value, field.ttl_at)?;
            records.push((writer.hasher.hash(field.name), record));
            if let Some(at) = field.ttl_at {
                dues.push((at, field.name, record.blob()));
            }
        }
        dues.sort_unstable();
        let mut order = Build::<Dues>::default();
        for &(a, _, b) in &dues {
            order.push(writer, Entry { a, b })?;
        }
        let tree = order.finish(writer)?;
        let root = table::build(writer, records.into_iter())?;
        let due = dues.first().map_or(0, |(at, ..)| *at);
        Ok(TimedTable {
            header: writer.alloc_words(&[root.raw(), len, 0, 0, tree, due])?,
        })
    }

    /// A header for the fields of a table in which none expires. That table's header is the caller's to free.
    pub(in crate::store) fn adopt(
        writer: &mut Writer<'_, '_>,
        table: MemberTable,
    ) -> Result<TimedTable, StoreError> {
        let reader = writer.reader();
        let (root, len): (NodeRef, u64) = (table.root(&reader), table.len(&reader));
        Ok(TimedTable {
            header: writer.alloc_words(&[root.raw(), len, 0, 0, 0, 0])?,
        })
    }

    /// A table with the same fields.
    pub(in crate::store) fn duplicate(
        self,
        writer: &mut Writer<'_, '_>,
    ) -> Result<TimedTable, StoreError> {
        let reader = writer.reader();
        let records = self.members().records(&reader).into_iter();
        TimedTable::build(writer, records.map(|record| field(&reader, record)))
    }

    fn lookup<'a>(self, reader: &Reader<'a>, name: &[u8]) -> Option<(Found, HashField<'a>)> {
        let hash = reader.hasher.hash(name);
        let found = self.members().find(reader, hash, name)?;
        Some((found, field(reader, found.record)))
    }

    /// A field, its time come or not.
    #[inline]
    pub(in crate::store) fn find<'a>(
        self,
        reader: &Reader<'a>,
        name: &[u8],
    ) -> Option<HashField<'a>> {
        self.lookup(reader, name).map(|(_, field)| field)
    }

    /// Sets the value of a field, which is added if absent; whether it is new.
    pub(in crate::store) fn set(
        self,
        writer: &mut Writer<'_, '_>,
        name: &[u8],
        value: &[u8],
        ttl: FieldTtl,
    ) -> Result<bool, StoreError> {
        let reader = writer.reader();
        let old = self.lookup(&reader, name);
        let old_at = old.and_then(|(_, field)| field.ttl_at);
        let ttl_at = match ttl {
            FieldTtl::Clear => None,
            FieldTtl::Keep => old_at,
            FieldTtl::At(at) => Some(at),
        };
        let record = write_field(writer, name, value, ttl_at)?;
        let due = ttl_at.map(|at| (at, record.blob()));
        move_due(self.dues(), writer, name, old_at, due)?;
        match old {
            Some((found, _)) => {
                table::replace(writer, &found, record)?;
                writer.free(found.record.blob())?;
                Ok(false)
            }
            None => {
                let hash = writer.hasher.hash(name);
                self.members().insert(writer, hash, record)?;
                Ok(true)
            }
        }
    }

    /// Sets or clears the expiry of a field that is there.
    pub(in crate::store) fn set_ttl(
        self,
        writer: &mut Writer<'_, '_>,
        name: &[u8],
        ttl_at: Option<u64>,
    ) -> Result<(), StoreError> {
        let reader = writer.reader();
        let Some((found, old)) = self.lookup(&reader, name) else {
            return Ok(());
        };
        if old.ttl_at == ttl_at {
            return Ok(());
        }
        let blob = Blob::of(&reader, found.record);
        let Some(word) = blob.ttl_word() else {
            let record = write_field(writer, name, old.value, ttl_at)?;
            let due = ttl_at.map(|at| (at, record.blob()));
            move_due(self.dues(), writer, name, old.ttl_at, due)?;
            table::replace(writer, &found, record)?;
            return writer.free(found.record.blob());
        };
        let due = ttl_at.map(|at| (at, found.record.blob()));
        move_due(self.dues(), writer, name, old.ttl_at, due)?;
        match ttl_at {
            Some(at) if has_ttl(found.record) => writer.publish(word, at),
            _ => {
                if let Some(at) = ttl_at {
                    // Seen only with the record below; but a reader may still hold an older record that had an
                    // expiry here.
                    writer.store(word, at)?;
                }
                let meta = blob.meta(ttl_at.is_some());
                let record = Record::new(found.record.blob(), meta.bits());
                table::replace(writer, &found, record)
            }
        }
    }

    /// Removes a field, unless it is the last one.
    pub(in crate::store) fn remove(
        self,
        writer: &mut Writer<'_, '_>,
        name: &[u8],
    ) -> Result<Gone, StoreError> {
        let reader = writer.reader();
        let Some((found, old)) = self.lookup(&reader, name) else {
            return Ok(Gone::Absent);
        };
        if self.members().len(&reader) == 1 {
            return Ok(Gone::Last);
        }
        move_due(self.dues(), writer, name, old.ttl_at, None)?;
        let hash = writer.hasher.hash(name);
        self.members().remove(writer, hash, &found)?;
        Ok(Gone::Removed)
    }
}

/// Writes the blob of a field.
fn write_field(
    writer: &mut Writer<'_, '_>,
    name: &[u8],
    value: &[u8],
    ttl_at: Option<u64>,
) -> Result<Record, StoreError> {
    if ttl_at.is_none() {
        return write(writer, name, value);
    }
    let draft = Draft {
        kind: Kind::String,
        encoding: Encoding::Raw,
        clock: 0,
        ttl_at,
        key: name,
        value,
    };
    draft.write(writer)
}
