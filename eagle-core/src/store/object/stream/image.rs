//! A whole stream outside the pool: what RESTORE and COPY make a stream of.

use crate::store::blob::Blob;
use crate::store::btree::{Build, Entry};
use crate::store::change::{Change, Place};
use crate::store::dash::table;
use crate::store::entry::Ttl;
use crate::store::error::StoreError;
use crate::store::medium::Writer;

use super::group::{make_consumer, make_group, make_pending, name_draft};
use super::id::StreamId;
use super::index::ById;
use super::node::NodeDraft;
use super::read::{GroupRef, StreamNode, StreamRef};
use super::{
    ADDED_AT, FIRST_AT, LAST_AT, LEN_AT, MAX_DELETED_AT, Part, TABLE_AT, TABLE_LEN_AT, TREE_AT,
    alloc_part,
};

/// A stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamImage {
    /// In id order, each with an entry at least.
    pub nodes: Vec<NodeImage>,
    pub last_id: StreamId,
    pub first_id: StreamId,
    pub max_deleted_id: StreamId,
    pub entries_added: u64,
    /// With distinct names.
    pub groups: Vec<GroupImage>,
}

/// A node of a stream, written entry by entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeImage(NodeDraft);

impl NodeImage {
    /// A node that goes by `id` and whose entries may share these field names.
    pub fn new<'n>(id: StreamId, names: impl ExactSizeIterator<Item = &'n [u8]>) -> NodeImage {
        NodeImage(NodeDraft::new(id, names))
    }

    /// A node of a stream that is there.
    pub fn copy_of(node: &StreamNode<'_>) -> NodeImage {
        NodeImage(NodeDraft::copy_of(node.node()))
    }

    /// Appends an entry, whose id is higher than those before it and not below the node's. `fields` are names and
    /// values in turn; `same_names`: the names are the node's.
    pub fn push(&mut self, id: StreamId, fields: &[&[u8]], same_names: bool, deleted: bool) {
        self.0.push(id, fields, same_names, deleted);
    }

    /// The id that the node goes by.
    pub fn id(&self) -> StreamId {
        self.0.first()
    }

    /// Entries that live.
    pub fn live(&self) -> u64 {
        self.0.live()
    }
}

/// A consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupImage {
    pub name: Vec<u8>,
    pub last_id: StreamId,
    pub entries_read: Option<u64>,
    /// With distinct names.
    pub consumers: Vec<ConsumerImage>,
    /// In id order, each id once.
    pub pendings: Vec<PendingImage>,
}

/// A consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerImage {
    pub name: Vec<u8>,
    pub seen_ms: u64,
}

/// An entry delivered and not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PendingImage {
    pub id: StreamId,
    pub delivered_ms: u64,
    pub deliveries: u64,
    /// Whose it is: index of the consumer in its group.
    pub consumer: usize,
}

impl StreamImage {
    /// A stream that is there.
    pub fn copy_of(stream: &StreamRef<'_>) -> StreamImage {
        StreamImage {
            nodes: stream
                .iter_nodes()
                .map(|node| NodeImage::copy_of(&node))
                .collect(),
            last_id: stream.last_id(),
            first_id: stream.first_id(),
            max_deleted_id: stream.max_deleted_id(),
            entries_added: stream.entries_added(),
            groups: stream.groups().iter().map(GroupImage::copy_of).collect(),
        }
    }

    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.nodes.iter().map(NodeImage::live).sum()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the stream to fresh memory; its header.
    pub(in crate::store) fn write(&self, writer: &mut Writer<'_, '_>) -> Result<u64, StoreError> {
        let mut nodes = Build::<ById>::default();
        for NodeImage(node) in &self.nodes {
            let a = node.first().ms;
            let b = node.clone().write(writer, 0)?;
            nodes.push(writer, Entry { a, b })?;
        }
        let root = nodes.finish(writer)?;
        let mut groups = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let block = group.write(writer)?;
            let record = name_draft(&group.name, &block.to_le_bytes()).write(writer)?;
            groups.push((writer.hasher.hash(&group.name), record));
        }
        let group_count = groups.len() as u64;
        let table = table::build(writer, groups.into_iter())?;
        let words = [
            (TREE_AT, root),
            (LEN_AT, self.len()),
            (TABLE_AT, table.raw()),
            (TABLE_LEN_AT, group_count),
            (LAST_AT, self.last_id.ms),
            (LAST_AT + 8, self.last_id.seq),
            (ADDED_AT, self.entries_added),
            (MAX_DELETED_AT, self.max_deleted_id.ms),
            (MAX_DELETED_AT + 8, self.max_deleted_id.seq),
            (FIRST_AT, self.first_id.ms),
            (FIRST_AT + 8, self.first_id.seq),
        ];
        alloc_part(writer, Part::Header, &words)
    }
}

impl GroupImage {
    fn copy_of(group: &GroupRef<'_>) -> GroupImage {
        let consumers = group.consumers();
        let index_of = |name: &[u8]| {
            let found = consumers.binary_search_by_key(&name, |consumer| consumer.name());
            found.unwrap_or(0)
        };
        GroupImage {
            name: group.name().to_vec(),
            last_id: group.last_id(),
            entries_read: group.entries_read(),
            pendings: group
                .pending_from(StreamId::MIN)
                .map(|pending| PendingImage {
                    id: pending.id,
                    delivered_ms: pending.delivered_ms,
                    deliveries: pending.deliveries,
                    consumer: index_of(pending.consumer),
                })
                .collect(),
            consumers: consumers
                .iter()
                .map(|consumer| ConsumerImage {
                    name: consumer.name().to_vec(),
                    seen_ms: consumer.seen_ms(),
                })
                .collect(),
        }
    }

    fn write(&self, writer: &mut Writer<'_, '_>) -> Result<u64, StoreError> {
        let mut consumers = Vec::with_capacity(self.consumers.len());
        let mut records = Vec::with_capacity(self.consumers.len());
        for consumer in &self.consumers {
            let block = make_consumer(writer, consumer.seen_ms)?;
            let record = name_draft(&consumer.name, &block.to_le_bytes()).write(writer)?;
            consumers.push((block, record.blob(), Build::<ById>::default(), 0));
            records.push((writer.hasher.hash(&consumer.name), record));
        }
        let mut all = Build::<ById>::default();
        for pending in &self.pendings {
            let (_, blob, own, count) = &mut consumers[pending.consumer];
            let b = make_pending(
                writer,
                pending.id,
                pending.delivered_ms,
                pending.deliveries,
                *blob,
            )?;
            let entry = Entry {
                a: pending.id.ms,
                b,
            };
            all.push(writer, entry)?;
            own.push(writer, entry)?;
            *count += 1;
        }
        let root = all.finish(writer)?;
        let consumer_count = consumers.len() as u64;
        for (block, _, own, count) in consumers {
            let root = own.finish(writer)?;
            writer.fill_word(block + TREE_AT, root);
            writer.fill_word(block + LEN_AT, count);
        }
        let table = table::build(writer, records.into_iter())?;
        make_group(
            writer,
            self.last_id,
            self.entries_read,
            (root, self.pendings.len() as u64),
            (table.raw(), consumer_count),
        )
    }
}

impl Change<'_, '_> {
    /// Replaces whatever is at a place by a stream.
    pub(in crate::store) fn put_stream(
        &mut self,
        place: &Place<'_>,
        image: &StreamImage,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        let header = image.write(&mut self.writer)?;
        self.put_header(place, header, ttl)
    }

    /// Copies the stream of a blob for another key: the value of the copy's blob.
    pub(in crate::store) fn copied_stream(&mut self, blob: &Blob) -> Result<Vec<u8>, StoreError> {
        let reader = self.writer.reader();
        let stream = StreamRef::new(reader, blob.value_word(&reader));
        let header = StreamImage::copy_of(&stream).write(&mut self.writer)?;
        Ok(header.to_le_bytes().to_vec())
    }
}
