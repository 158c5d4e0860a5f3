//! Changing consumer groups: groups, consumers, and what they have not acknowledged.

use crate::store::blob::{Blob, Draft};
use crate::store::dash::layout::NodeRef;
use crate::store::dash::{Words, WordsMut, table};
use crate::store::entry::{Encoding, Kind};
use crate::store::error::StoreError;
use crate::store::medium::Writer;
use crate::store::trash;

use super::edit::StreamEdit;
use super::id::StreamId;
use super::index::Index;
use super::read::{ConsumerRef, GroupRef, Pending};
use super::{
    LAST_AT, LEN_AT, PENDING_CONSUMER_AT, PENDING_WORDS, Part, READ_AT, SEEN_AT, TABLE_AT,
    TABLE_LEN_AT, TREE_AT, alloc_part, store_changed, store_id,
};

/// The blob that names a group or consumer.
pub(super) fn name_draft<'d>(name: &'d [u8], value: &'d [u8]) -> Draft<'d> {
    Draft {
        kind: Kind::String,
        encoding: Encoding::Raw,
        clock: 0,
        ttl_at: None,
        key: name,
        value,
    }
}

/// A group in fresh memory, which nothing refers to yet: the roots of its pendings and consumers, and their numbers.
pub(super) fn make_group(
    writer: &mut Writer<'_, '_>,
    last: StreamId,
    read: Option<u64>,
    pendings: (u64, u64),
    consumers: (u64, u64),
) -> Result<u64, StoreError> {
    let words = [
        (TREE_AT, pendings.0),
        (LEN_AT, pendings.1),
        (TABLE_AT, consumers.0),
        (TABLE_LEN_AT, consumers.1),
        (LAST_AT, last.ms),
        (LAST_AT + 8, last.seq),
        (READ_AT, read.unwrap_or(u64::MAX)),
    ];
    alloc_part(writer, Part::Group, &words)
}

/// A consumer in fresh memory, which nothing refers to yet.
pub(super) fn make_consumer(writer: &mut Writer<'_, '_>, seen_ms: u64) -> Result<u64, StoreError> {
    alloc_part(writer, Part::Consumer, &[(SEEN_AT, seen_ms)])
}

/// A pending in fresh memory.
pub(super) fn make_pending(
    writer: &mut Writer<'_, '_>,
    id: StreamId,
    delivered_ms: u64,
    deliveries: u64,
    consumer_blob: u64,
) -> Result<u64, StoreError> {
    let words: [u64; PENDING_WORDS] = [id.ms, id.seq, delivered_ms, deliveries, consumer_blob];
    writer.alloc_words(&words)
}

/// Adds a name to the table of groups or consumers of `owner`, which does not have it.
fn insert_named(
    writer: &mut Writer<'_, '_>,
    owner: u64,
    name: &[u8],
    block: u64,
) -> Result<(), StoreError> {
    let record = name_draft(name, &block.to_le_bytes()).write(writer)?;
    let hash = writer.hasher.hash(name);
    let len = writer.load(owner + TABLE_LEN_AT);
    writer.store_apart(owner + TABLE_LEN_AT, len + 1)?;
    table::insert(writer, owner + TABLE_AT, hash, record)?;
    writer.settle();
    Ok(())
}

/// Takes a name out of the table of groups or consumers of `owner`.
fn remove_named(writer: &mut Writer<'_, '_>, owner: u64, name: &[u8]) -> Result<(), StoreError> {
    let hash = writer.hasher.hash(name);
    let root = NodeRef::from_raw(writer.load(owner + TABLE_AT));
    let Some(found) = table::find(writer, root, hash, name) else {
        return Ok(());
    };
    let left = writer.load(owner + TABLE_LEN_AT).saturating_sub(1);
    writer.store_apart(owner + TABLE_LEN_AT, left)?;
    table::remove(writer, owner + TABLE_AT, &found, hash, left)?;
    writer.free(found.record.blob())?;
    writer.settle();
    Ok(())
}

/// Adds a pending to the tree of a group or consumer.
fn link(
    writer: &mut Writer<'_, '_>,
    owner: u64,
    id: StreamId,
    pending: u64,
) -> Result<(), StoreError> {
    let len = writer.load(owner + LEN_AT);
    writer.store_apart(owner + LEN_AT, len + 1)?;
    Index::at(owner + TREE_AT).insert(writer, id, pending)
}

/// Takes a pending out of the tree of a group or consumer.
fn unlink(writer: &mut Writer<'_, '_>, owner: u64, id: StreamId) -> Result<(), StoreError> {
    let len = writer.load(owner + LEN_AT);
    writer.store_apart(owner + LEN_AT, len.saturating_sub(1))?;
    Index::at(owner + TREE_AT).remove(writer, id)
}

/// The block of the consumer that a blob names.
fn consumer_of(writer: &Writer<'_, '_>, blob: u64) -> u64 {
    let reader = writer.reader();
    Blob::read(&reader, blob).value_word(&reader)
}

impl<'a> StreamEdit<'_, '_, 'a> {
    /// Makes a group; `false` if there is one of that name.
    pub fn create_group(
        &mut self,
        name: &[u8],
        last: StreamId,
        read: Option<u64>,
    ) -> Result<bool, StoreError> {
        if self.stream().group(name).is_some() {
            return Ok(false);
        }
        let writer = &mut self.change.writer;
        let group = make_group(writer, last, read, (0, 0), (NodeRef::EMPTY.raw(), 0))?;
        insert_named(writer, self.at, name, group)?;
        self.note(1);
        Ok(true)
    }

    /// Removes a group with all it holds; whether there was one.
    pub fn destroy_group(&mut self, name: &[u8]) -> Result<bool, StoreError> {
        let Some(group) = self.stream().group(name) else {
            return Ok(false);
        };
        self.change.discard(trash::Kind::Stream, group.at)?;
        remove_named(&mut self.change.writer, self.at, name)?;
        self.note(1);
        Ok(true)
    }

    /// Sets what a group has been delivered and has read. Counts no change.
    pub fn set_group(
        &mut self,
        group: &GroupRef<'_>,
        last: StreamId,
        read: Option<u64>,
    ) -> Result<(), StoreError> {
        self.settle();
        let writer = &mut self.change.writer;
        store_id(writer, group.at + LAST_AT, last)?;
        store_changed(writer, group.at + READ_AT, read.unwrap_or(u64::MAX))
    }

    /// Makes a consumer, which the group does not have.
    pub fn create_consumer(
        &mut self,
        group: &GroupRef<'a>,
        name: &[u8],
        now_ms: u64,
    ) -> Result<ConsumerRef<'a>, StoreError> {
        self.settle();
        let writer = &mut self.change.writer;
        let consumer = make_consumer(writer, now_ms)?;
        insert_named(writer, group.at, name, consumer)?;
        self.note(1);
        Ok(group.consumer(name).expect("just made"))
    }

    /// Notes when a consumer came. Counts no change.
    pub fn see_consumer(
        &mut self,
        consumer: &ConsumerRef<'_>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.settle();
        store_changed(&mut self.change.writer, consumer.at + SEEN_AT, now_ms)
    }

    /// Removes a consumer, and what it had not acknowledged from its group.
    pub fn delete_consumer(
        &mut self,
        group: &GroupRef<'a>,
        consumer: &ConsumerRef<'a>,
    ) -> Result<(), StoreError> {
        self.settle();
        let pendings: Vec<Pending<'a>> = consumer.pending_from(StreamId::MIN).collect();
        for pending in pendings {
            let writer = &mut self.change.writer;
            unlink(writer, group.at, pending.id)?;
            writer.free(pending.at)?;
        }
        // What is left of the consumer is its tree, whose pendings are gone: the trash does not look at them.
        self.change.discard(trash::Kind::Stream, consumer.at)?;
        remove_named(&mut self.change.writer, group.at, consumer.name())?;
        self.note(1);
        Ok(())
    }

    /// Makes an entry pending for a consumer, whoever it was pending for before. Counts no change.
    pub fn set_pending(
        &mut self,
        group: &GroupRef<'a>,
        consumer: &ConsumerRef<'a>,
        id: StreamId,
        delivered_ms: u64,
        deliveries: u64,
    ) -> Result<(), StoreError> {
        self.settle();
        let writer = &mut self.change.writer;
        let Some(pending) = group.pending(id) else {
            let pending = make_pending(writer, id, delivered_ms, deliveries, consumer.blob_at)?;
            link(writer, group.at, id, pending)?;
            return link(writer, consumer.at, id, pending);
        };
        store_changed(writer, pending.at + 16, delivered_ms)?;
        store_changed(writer, pending.at + 24, deliveries)?;
        if pending.consumer_blob != consumer.blob_at {
            let before = consumer_of(writer, pending.consumer_blob);
            unlink(writer, before, id)?;
            link(writer, consumer.at, id, pending.at)?;
            writer.store_apart(pending.at + PENDING_CONSUMER_AT, consumer.blob_at)?;
        }
        Ok(())
    }

    /// Takes a pending out of its group and consumer. Counts no change.
    pub fn remove_pending(
        &mut self,
        group: &GroupRef<'a>,
        pending: &Pending<'a>,
    ) -> Result<(), StoreError> {
        self.settle();
        let writer = &mut self.change.writer;
        let consumer = consumer_of(writer, pending.consumer_blob);
        unlink(writer, group.at, pending.id)?;
        unlink(writer, consumer, pending.id)?;
        writer.free(pending.at)
    }
}
