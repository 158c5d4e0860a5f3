//! A stream as a view sees it, with the slot locked.

use crate::store::blob::Blob;
use crate::store::dash::Words;
use crate::store::dash::layout::NodeRef;
use crate::store::dash::{table, walk};
use crate::store::medium::Reader;

use super::id::StreamId;
use super::index::{Index, Walk};
use super::node::{Live, Node, NodeEntry, StreamEntry};
use super::{
    ADDED_AT, FIRST_AT, LAST_AT, LEN_AT, MAX_DELETED_AT, PENDING_CONSUMER_AT, READ_AT, SEEN_AT,
    TABLE_AT, TABLE_LEN_AT, TREE_AT, load_id,
};

/// A stream. Wants the slot locked, and is valid until the stream changes.
#[derive(Clone, Copy)]
pub struct StreamRef<'a> {
    pub(super) reader: Reader<'a>,
    pub(in crate::store) at: u64,
}

impl<'a> StreamRef<'a> {
    pub(in crate::store) fn new(reader: Reader<'a>, at: u64) -> StreamRef<'a> {
        StreamRef { reader, at }
    }

    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.reader.load(self.at + LEN_AT)
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last id that was given to an entry, or set.
    pub fn last_id(&self) -> StreamId {
        load_id(&self.reader, self.at + LAST_AT)
    }

    /// The first entry's id as it was noted; `0-0` in an empty stream.
    pub fn first_id(&self) -> StreamId {
        load_id(&self.reader, self.at + FIRST_AT)
    }

    /// The highest id that XDEL removed.
    pub fn max_deleted_id(&self) -> StreamId {
        load_id(&self.reader, self.at + MAX_DELETED_AT)
    }

    /// Entries that were ever added.
    pub fn entries_added(&self) -> u64 {
        self.reader.load(self.at + ADDED_AT)
    }

    pub(super) fn nodes(&self) -> Index {
        Index::at(self.at + TREE_AT)
    }

    /// Number of nodes.
    pub fn node_count(&self) -> u64 {
        self.nodes().len(&self.reader)
    }

    /// The nodes, first to last.
    pub fn iter_nodes(&self) -> impl Iterator<Item = StreamNode<'a>> + use<'a> {
        let reader = self.reader;
        let mut walk = self.nodes().from(&reader, StreamId::MIN);
        std::iter::from_fn(move || {
            let at = walk.next(&reader)?;
            Some(StreamNode(Node::read(&reader, at)))
        })
    }

    /// The entries from `from` to `to`, first to last.
    pub fn range(
        &self,
        from: StreamId,
        to: StreamId,
    ) -> impl Iterator<Item = StreamEntry<'a>> + use<'a> {
        let reader = self.reader;
        let mut walk = self.nodes().behind(&reader, from);
        // The node that `from` falls in begins before it, unless all begin behind it.
        walk.previous(&reader);
        let mut node: Option<Live<'a>> = None;
        let mut ended = from > to;
        std::iter::from_fn(move || {
            while !ended {
                let Some(entries) = &mut node else {
                    let Some(at) = walk.next(&reader) else { break };
                    node = Some(Node::read(&reader, at).live());
                    continue;
                };
                match entries.next() {
                    Some(entry) if entry.id > to => ended = true,
                    Some(entry) if entry.id < from => {}
                    Some(entry) => return Some(shown(&entry)),
                    None => node = None,
                }
            }
            None
        })
    }

    /// The entries from `to` back to `from`, last to first.
    pub fn range_back(
        &self,
        from: StreamId,
        to: StreamId,
    ) -> impl Iterator<Item = StreamEntry<'a>> + use<'a> {
        let reader = self.reader;
        let mut walk: Walk = self.nodes().behind(&reader, to);
        let mut entries: Vec<StreamEntry<'a>> = Vec::new();
        let mut ended = from > to;
        std::iter::from_fn(move || {
            loop {
                if let Some(entry) = entries.pop() {
                    return Some(entry);
                }
                if ended {
                    return None;
                }
                let node = Node::read(&reader, walk.previous(&reader)?);
                ended = node.first <= from;
                let range = from..=to;
                let found = node.live().map(|entry| shown(&entry));
                entries.extend(found.filter(|entry| range.contains(&entry.id)));
            }
        })
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'a>> {
        let at = self.nodes().floor(&self.reader, id)?;
        let entry = Node::read(&self.reader, at).find(id)?;
        Some(shown(&entry))
    }

    /// The id of the first entry there is.
    pub fn first_entry_id(&self) -> Option<StreamId> {
        self.range(StreamId::MIN, StreamId::MAX)
            .next()
            .map(|entry| entry.id)
    }

    /// The id of the last entry there is.
    pub fn last_entry_id(&self) -> Option<StreamId> {
        self.range_back(StreamId::MIN, StreamId::MAX)
            .next()
            .map(|entry| entry.id)
    }

    /// Number of groups.
    pub fn group_count(&self) -> u64 {
        self.reader.load(self.at + TABLE_LEN_AT)
    }

    /// The groups, by name.
    pub fn groups(&self) -> Vec<GroupRef<'a>> {
        named(&self.reader, self.at)
            .into_iter()
            .map(|(_, name, at)| GroupRef {
                reader: self.reader,
                at,
                name,
            })
            .collect()
    }

    /// The group called `name`.
    pub fn group(&self, name: &[u8]) -> Option<GroupRef<'a>> {
        let blob = find_named(&self.reader, self.at, name)?;
        Some(GroupRef {
            reader: self.reader,
            at: blob.value_word(&self.reader),
            name: blob.key(&self.reader),
        })
    }

    /// Whether an entry was deleted by XDEL, as far as the stream knows, at `from` or later and before the end.
    pub fn has_tombstones_from(&self, from: StreamId) -> bool {
        let max_deleted = self.max_deleted_id();
        !self.is_empty()
            && !max_deleted.is_zero()
            && self.first_id() <= max_deleted
            && from <= max_deleted
    }

    /// How many entries were ever added up to and including `id`, if that can be told.
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        let (added, len, first) = (self.entries_added(), self.len(), self.first_id());
        if added == 0 {
            return Some(0);
        }
        let last = self.last_id();
        if len == 0 && id <= last || id == last {
            return Some(added);
        }
        if id > last {
            return None;
        }
        let max_deleted = self.max_deleted_id();
        if max_deleted.is_zero() || max_deleted < first {
            if id < first {
                return Some(added.wrapping_sub(len));
            }
            if id == first {
                return Some(added.wrapping_sub(len).wrapping_add(1));
            }
        }
        None
    }
}

fn shown<'a>(entry: &NodeEntry<'a>) -> StreamEntry<'a> {
    StreamEntry {
        id: entry.id,
        fields: entry.fields,
    }
}

/// A node of a stream: entries that are stored together, deleted ones included.
#[derive(Clone, Copy)]
pub struct StreamNode<'a>(Node<'a>);

impl<'a> StreamNode<'a> {
    pub(super) fn node(&self) -> &Node<'a> {
        &self.0
    }

    /// The id that the node goes by: of the first entry it was made for.
    pub fn id(&self) -> StreamId {
        self.0.first
    }

    /// Entries that live, and that are deleted.
    pub fn counts(&self) -> (u32, u32) {
        (self.0.state.live, self.0.state.deleted)
    }

    /// Bytes that are used of the node's block.
    pub fn bytes(&self) -> u64 {
        self.0.state.used as u64
    }

    /// The field names that entries share.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.names()
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = NodeEntry<'a>> + use<'a> {
        self.0.entries()
    }
}

/// A consumer group.
#[derive(Clone, Copy)]
pub struct GroupRef<'a> {
    pub(super) reader: Reader<'a>,
    pub(in crate::store) at: u64,
    name: &'a [u8],
}

impl<'a> GroupRef<'a> {
    /// The name.
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// The last id delivered.
    pub fn last_id(&self) -> StreamId {
        load_id(&self.reader, self.at + LAST_AT)
    }

    /// How many entries the group has read, if that is known.
    pub fn entries_read(&self) -> Option<u64> {
        Some(self.reader.load(self.at + READ_AT)).filter(|&read| read != u64::MAX)
    }

    /// How many entries the group has not read yet, if that can be told.
    pub fn lag(&self, stream: &StreamRef<'_>) -> Option<i64> {
        let added = stream.entries_added();
        if added == 0 {
            return Some(0);
        }
        let read = self
            .entries_read()
            .filter(|_| !stream.has_tombstones_from(self.last_id()))
            .or_else(|| stream.entries_up_to(self.last_id()))?;
        Some(added.wrapping_sub(read) as i64)
    }

    /// Number of entries delivered and not acknowledged.
    pub fn pending_len(&self) -> u64 {
        self.reader.load(self.at + LEN_AT)
    }

    /// The pending with this id.
    pub fn pending(&self, id: StreamId) -> Option<Pending<'a>> {
        let at = Index::at(self.at + TREE_AT).get(&self.reader, id)?;
        Some(Pending::read(&self.reader, at))
    }

    /// The pendings from `from` on, first to last.
    pub fn pending_from(&self, from: StreamId) -> impl Iterator<Item = Pending<'a>> + use<'a> {
        pending_from(self.reader, self.at, from)
    }

    /// The last pending.
    pub fn last_pending(&self) -> Option<Pending<'a>> {
        let at = Index::at(self.at + TREE_AT).last(&self.reader)?;
        Some(Pending::read(&self.reader, at))
    }

    /// Number of consumers.
    pub fn consumer_count(&self) -> u64 {
        self.reader.load(self.at + TABLE_LEN_AT)
    }

    /// The consumers, by name.
    pub fn consumers(&self) -> Vec<ConsumerRef<'a>> {
        named(&self.reader, self.at)
            .into_iter()
            .map(|(blob_at, name, at)| ConsumerRef {
                reader: self.reader,
                at,
                blob_at,
                name,
            })
            .collect()
    }

    /// The consumer called `name`.
    pub fn consumer(&self, name: &[u8]) -> Option<ConsumerRef<'a>> {
        let reader = &self.reader;
        let root = NodeRef::from_raw(reader.load(self.at + TABLE_AT));
        let found = table::find(reader, root, reader.hasher.hash(name), name)?;
        let blob_at = found.record.blob();
        let blob = Blob::read(reader, blob_at);
        Some(ConsumerRef {
            reader: self.reader,
            at: blob.value_word(reader),
            blob_at,
            name: blob.key(reader),
        })
    }
}

/// A consumer of a group.
#[derive(Clone, Copy)]
pub struct ConsumerRef<'a> {
    reader: Reader<'a>,
    pub(in crate::store) at: u64,
    pub(super) blob_at: u64,
    name: &'a [u8],
}

impl<'a> ConsumerRef<'a> {
    /// The name.
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// When it last came, Unix milliseconds.
    pub fn seen_ms(&self) -> u64 {
        self.reader.load(self.at + SEEN_AT)
    }

    /// Number of entries delivered to it and not acknowledged.
    pub fn pending_len(&self) -> u64 {
        self.reader.load(self.at + LEN_AT)
    }

    /// Its pendings from `from` on, first to last.
    pub fn pending_from(&self, from: StreamId) -> impl Iterator<Item = Pending<'a>> + use<'a> {
        pending_from(self.reader, self.at, from)
    }
}

/// An entry delivered to a consumer and not acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Pending<'a> {
    pub id: StreamId,
    /// When it was delivered last, Unix milliseconds.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// The name of the consumer it was delivered to.
    pub consumer: &'a [u8],
    pub(super) at: u64,
    pub(super) consumer_blob: u64,
}

impl<'a> Pending<'a> {
    fn read(reader: &Reader<'a>, at: u64) -> Pending<'a> {
        let consumer_blob = reader.load(at + PENDING_CONSUMER_AT);
        Pending {
            id: load_id(reader, at),
            delivered_ms: reader.load(at + 16),
            deliveries: reader.load(at + 24),
            consumer: Blob::read(reader, consumer_blob).key(reader),
            at,
            consumer_blob,
        }
    }
}

fn pending_from<'a>(
    reader: Reader<'a>,
    owner: u64,
    from: StreamId,
) -> impl Iterator<Item = Pending<'a>> + use<'a> {
    let mut walk = Index::at(owner + TREE_AT).from(&reader, from);
    std::iter::from_fn(move || {
        let at = walk.next(&reader)?;
        Some(Pending::read(&reader, at))
    })
}

/// The groups of a stream or the consumers of a group by name: blob, name and block of each.
fn named<'a>(reader: &Reader<'a>, owner: u64) -> Vec<(u64, &'a [u8], u64)> {
    let root = NodeRef::from_raw(reader.load(owner + TABLE_AT));
    let mut all = Vec::new();
    walk::for_each(reader, root, &mut |record| {
        let blob = Blob::read(reader, record.blob());
        all.push((record.blob(), blob.key(reader), blob.value_word(reader)));
        true
    });
    all.sort_unstable_by_key(|&(_, name, _)| name);
    all
}

pub(super) fn find_named(reader: &Reader<'_>, owner: u64, name: &[u8]) -> Option<Blob> {
    let root = NodeRef::from_raw(reader.load(owner + TABLE_AT));
    let found = table::find(reader, root, reader.hasher.hash(name), name)?;
    Some(Blob::read(reader, found.record.blob()))
}
