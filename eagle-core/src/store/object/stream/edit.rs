//! Changing a stream: adding and removing entries, and setting its ids.

use crate::pmem::{Offset, Pool};
use crate::store::change::{Change, Contents, Place};
use crate::store::dash::WordsMut;
use crate::store::entry::{Encoding, Kind, Ttl};
use crate::store::error::StoreError;

use super::id::StreamId;
use super::index::Index;
use super::node::{self, Node, NodeDraft};
use super::read::StreamRef;
use super::{
    ADDED_AT, FIRST_AT, LAST_AT, LEN_AT, MAX_DELETED_AT, Part, TREE_AT, alloc_part, header_of,
    store_changed, store_id,
};

/// A stream being changed.
pub struct StreamEdit<'e, 'v, 'a> {
    pub(super) change: &'e mut Change<'v, 'a>,
    pub(super) at: u64,
    db: u8,
    key: &'e [u8],
    /// Making the stream counted as a change, which its first entry or group then does not.
    made: bool,
}

impl<'v, 'a> Change<'v, 'a> {
    /// Opens the stream at a place; makes it if `make` says so.
    pub(in crate::store) fn edit_stream<'e>(
        &'e mut self,
        place: &Place<'e>,
        make: bool,
    ) -> Result<Option<StreamEdit<'e, 'v, 'a>>, StoreError> {
        let (at, made) = match place.live() {
            Some(here) => (header_of(&self.writer.reader(), &here.blob)?, false),
            None if make => (self.put_empty_stream(place)?, true),
            None => {
                self.remove(place, Contents::Discard)?;
                return Ok(None);
            }
        };
        Ok(Some(StreamEdit {
            change: self,
            at,
            db: place.db,
            key: place.key,
            made,
        }))
    }

    fn put_empty_stream(&mut self, place: &Place<'_>) -> Result<u64, StoreError> {
        let header = alloc_part(&mut self.writer, Part::Header, &[])?;
        self.put_header(place, header, Ttl::Clear)?;
        Ok(header)
    }

    /// Puts an entry that names a header at a place.
    pub(super) fn put_header(
        &mut self,
        place: &Place<'_>,
        header: u64,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.put_value(
            place,
            (Kind::Stream, Encoding::Stream),
            &header.to_le_bytes(),
            ttl,
        )
    }
}

impl<'a> StreamEdit<'_, '_, 'a> {
    /// The stream as it is now; valid until the next change.
    pub fn stream(&mut self) -> StreamRef<'a> {
        self.settle();
        StreamRef::new(self.change.writer.reader(), self.at)
    }

    /// Counts changes (Redis's `dirty`).
    pub fn note(&mut self, changes: u64) {
        let counted = u64::from(std::mem::take(&mut self.made));
        self.change.notes.dirty += changes.saturating_sub(counted);
    }

    /// Tells those who watch the key.
    pub(super) fn touch(&mut self) {
        let dirty = self.change.notes.dirty;
        self.change.note_change(self.db, self.key);
        self.change.notes.dirty = dirty;
    }

    pub(super) fn settle(&mut self) {
        self.change.writer.settle();
    }

    pub(super) fn nodes(&self) -> Index {
        Index::at(self.at + TREE_AT)
    }

    /// Appends an entry, whose id is higher than the last one's; `fields` are names and values in turn.
    pub fn add(&mut self, id: StreamId, fields: &[&[u8]]) -> Result<(), StoreError> {
        let stream = self.stream();
        debug_assert!(id > stream.last_id());
        let len = stream.len();
        self.append(id, fields)?;
        let added = stream.entries_added().wrapping_add(1);
        let (at, writer) = (self.at, &mut self.change.writer);
        store_id(writer, at + LAST_AT, id)?;
        store_changed(writer, at + ADDED_AT, added)?;
        if len == 0 {
            store_id(writer, at + FIRST_AT, id)?;
        }
        writer.publish(at + LEN_AT, len + 1)?;
        self.note(1);
        self.touch();
        self.change.note_readied(self.db, self.key, Kind::Stream);
        Ok(())
    }

    /// Puts an entry behind all others: in the last node, or in a new one.
    fn append(&mut self, id: StreamId, fields: &[&[u8]]) -> Result<(), StoreError> {
        let limits = self.change.keyspace.settings().stream_limits();
        let reader = self.change.writer.reader();
        let nodes = self.nodes();
        let writer = &mut self.change.writer;
        let mut capacity = 0;
        if let Some(at) = nodes.last(&reader) {
            let node = Node::read(&reader, at);
            let value_bytes: u64 = fields.iter().map(|field| field.len() as u64).sum();
            let room = writer.pool.usable_size(Offset::from_raw(at));
            if !node.is_full(limits, value_bytes) {
                let mut bytes = Vec::with_capacity(value_bytes as usize + 4 * fields.len() + 16);
                let state = node.appended(id, fields, &mut bytes);
                if state.used <= room {
                    writer.append(at + node.state.used as u64, &bytes);
                    return node::store_state(writer, at, &node.state, &state);
                }
                let expected = match limits.bytes_max {
                    0 => 2 * state.used,
                    bytes_max => (2 * state.used).min(bytes_max as usize),
                };
                let grown =
                    node::write_block(writer, &[&node.with_state(state), &bytes], expected)?;
                nodes.replace(writer, node.first, grown)?;
                return writer.free(at);
            }
            // The node stays as it is now: give back what it has no use for. The next one is likely to become as
            // large.
            capacity = node.state.used;
            if Pool::size_class(capacity) < room {
                let bytes = node.with_state(node.state);
                let cut = node::write_block(writer, &[&bytes], capacity)?;
                nodes.replace(writer, node.first, cut)?;
                writer.free(at)?;
            }
        }
        let mut draft = NodeDraft::new(id, fields.iter().step_by(2).copied());
        draft.push(id, fields, true, false);
        let block = draft.write(writer, capacity)?;
        nodes.insert(writer, id, block)
    }

    /// Deletes entries; their number.
    pub fn delete(&mut self, ids: &[StreamId]) -> Result<u64, StoreError> {
        let stream = self.stream();
        let (mut len, first) = (stream.len(), stream.first_id());
        let mut max_deleted = stream.max_deleted_id();
        let (mut deleted, mut first_deleted) = (0, false);
        for &id in ids {
            if self.delete_one(id)? {
                deleted += 1;
                len = len.saturating_sub(1);
                first_deleted |= id == first;
                max_deleted = max_deleted.max(id);
            }
        }
        if deleted > 0 {
            store_id(
                &mut self.change.writer,
                self.at + MAX_DELETED_AT,
                max_deleted,
            )?;
            self.store_len(len, first_deleted || len == 0)?;
            self.note(deleted);
            self.touch();
        }
        Ok(deleted)
    }

    fn delete_one(&mut self, id: StreamId) -> Result<bool, StoreError> {
        let reader = self.change.writer.reader();
        let nodes = self.nodes();
        let writer = &mut self.change.writer;
        let Some(node) = nodes.floor(&reader, id).map(|at| Node::read(&reader, at)) else {
            return Ok(false);
        };
        let Some(entry) = node.find(id) else {
            return Ok(false);
        };
        if node.state.live == 1 {
            nodes.remove(writer, node.first)?;
            writer.free(node.at)?;
            return Ok(true);
        }
        let mut entries = node.untrimmed();
        if entries.find(|entry| !entry.deleted).map(|first| first.at) == Some(entry.at) {
            // The first one that lives: as if it had been trimmed.
            let mut state = node.state;
            state.delete(1);
            state.head = entries.at();
            node::store_state(writer, node.at, &node.state, &state)?;
            return Ok(true);
        }
        let room = writer.pool.usable_size(Offset::from_raw(node.at));
        let copy = node::write_block(writer, &[&node.without(&entry)], room)?;
        nodes.replace(writer, node.first, copy)?;
        writer.free(node.at)?;
        Ok(true)
    }

    /// Stores the number of entries after some were removed, and the first id if it may have changed.
    pub(super) fn store_len(&mut self, len: u64, first_changed: bool) -> Result<(), StoreError> {
        if first_changed {
            let stream = StreamRef::new(self.change.writer.reader(), self.at);
            let first = match len {
                0 => StreamId::MIN,
                _ => stream.first_entry_id().unwrap_or_default(),
            };
            store_id(&mut self.change.writer, self.at + FIRST_AT, first)?;
        }
        self.change.writer.publish(self.at + LEN_AT, len)
    }

    /// Sets the last id, and what else is given.
    pub fn set_ids(
        &mut self,
        last: StreamId,
        added: Option<u64>,
        max_deleted: Option<StreamId>,
    ) -> Result<(), StoreError> {
        self.settle();
        let (at, writer) = (self.at, &mut self.change.writer);
        store_id(writer, at + LAST_AT, last)?;
        if let Some(added) = added {
            store_changed(writer, at + ADDED_AT, added)?;
        }
        if let Some(max_deleted) = max_deleted {
            store_id(writer, at + MAX_DELETED_AT, max_deleted)?;
        }
        self.note(1);
        Ok(())
    }
}
