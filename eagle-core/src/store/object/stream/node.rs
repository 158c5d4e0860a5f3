//! A node of a stream: entries in id order, in one block.
//!
//! ```text
//!   0    u64   ms of the first id          8    u64   its sequence number
//!   16   u32   bytes used, from offset 0   20   u32   bytes of the same node as a listpack of Redis
//!   24   u32   entries that live           28   u32   entries that are deleted
//!   32   u32   head: offset of the first entry that is not trimmed      36   u32   zero
//!   40         names: varint count, then each with its length in front
//!              entries
//!
//!   entry      byte     0 deleted | 1 same names as above | 6..2 low bits of ms - first ms | 7 the rest follows
//!              varint   (ms - first ms) >> 5, if it follows
//!              varint   sequence number; less that of the first id if ms is the same
//!              varint   count, unless the names are the same
//!              values, each with its length in front; with its name before it unless the names are the same
//! ```
//!
//! Bytes that are used never change: an entry is appended behind them, and only the words in front say that it is
//! there. Trimming moves the head, behind which all entries count as deleted. Deleting an entry in the middle writes
//! the node anew.
//!
//! Where a node ends shows (`XTRIM ~` removes whole nodes, `XINFO` counts them), and `stream-node-max-bytes` bounds a
//! listpack. So each node knows how large Redis's listpack of it would be.

use crate::store::dash::{Words, WordsMut};
use crate::store::encoding::varint;
use crate::store::error::StoreError;
use crate::store::medium::{Reader, Writer};
use crate::text::integer;

use super::id::StreamId;

/// Bytes in front of the names.
pub(in crate::store) const HEADER_BYTES: usize = 40;

const DELETED: u8 = 1;
const SAME_NAMES: u8 = 2;
const MS_SHIFT: u32 = 2;
const MS_LOW_BITS: u32 = 5;
const MORE: u8 = 0x80;

/// The most bytes of field names and values that one entry may have, and that a node is allowed to grow to.
pub(in crate::store) const NODE_BYTES_MAX: u64 = 1 << 30;

/// The fields of an entry: names and values, in the order they were given.
#[derive(Clone, Copy, Debug)]
pub struct StreamFields<'a> {
    len: usize,
    /// The names, if they do not stand before the values.
    names: Option<&'a [u8]>,
    values: &'a [u8],
}

impl<'a> Iterator for StreamFields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.len = self.len.checked_sub(1)?;
        let name = match &mut self.names {
            Some(names) => varint::take_bytes(names)?,
            None => varint::take_bytes(&mut self.values)?,
        };
        Some((name, varint::take_bytes(&mut self.values)?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl ExactSizeIterator for StreamFields<'_> {}

/// An entry of a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamEntry<'a> {
    pub id: StreamId,
    pub fields: StreamFields<'a>,
}

/// An entry as it stands in a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeEntry<'a> {
    pub id: StreamId,
    /// Marked as deleted: readers do not see it.
    pub deleted: bool,
    /// Written without names, being those of the node.
    pub same_names: bool,
    pub fields: StreamFields<'a>,
    /// Where the entry begins in the node.
    pub(in crate::store) at: usize,
}

/// The words of a node that change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct State {
    pub(in crate::store) used: usize,
    pub(in crate::store) listpack_bytes: u64,
    pub(in crate::store) live: u32,
    pub(in crate::store) deleted: u32,
    pub(in crate::store) head: usize,
}

impl State {
    fn words(&self) -> [u64; 3] {
        let listpack_bytes = self.listpack_bytes.min(u64::from(u32::MAX));
        [
            self.used as u64 | listpack_bytes << 32,
            u64::from(self.live) | u64::from(self.deleted) << 32,
            self.head as u64,
        ]
    }

    /// Counts `count` entries as deleted, as Redis's listpack would.
    pub(in crate::store) fn delete(&mut self, count: u32) {
        self.change_counts(self.live.saturating_sub(count), self.deleted + count);
    }

    fn change_counts(&mut self, live: u32, deleted: u32) {
        let bytes =
            |state: &State| listpack_int(state.live.into()) + listpack_int(state.deleted.into());
        let before = bytes(self);
        (self.live, self.deleted) = (live, deleted);
        self.listpack_bytes = self.listpack_bytes + bytes(self) - before;
    }
}

/// A node, its header read.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Node<'a> {
    pub(in crate::store) at: u64,
    pub(in crate::store) first: StreamId,
    pub(in crate::store) state: State,
    /// The node from offset 0 to what is used; the words that change are to be taken from `state`.
    bytes: &'a [u8],
    names_len: usize,
    names: &'a [u8],
    /// Where the entries begin.
    entries_at: usize,
}

impl<'a> Node<'a> {
    /// Reads the node at byte offset `at`.
    pub(in crate::store) fn read(reader: &Reader<'a>, at: u64) -> Node<'a> {
        let word = |i: u64| reader.load(at + 8 * i);
        let (used, counts) = (word(2), word(3));
        let state = State {
            used: used as u32 as usize,
            listpack_bytes: used >> 32,
            live: counts as u32,
            deleted: (counts >> 32) as u32,
            head: word(4) as u32 as usize,
        };
        Node::of(
            at,
            StreamId::new(word(0), word(1)),
            state,
            reader.bytes(at, state.used),
        )
    }

    fn of(at: u64, first: StreamId, state: State, bytes: &'a [u8]) -> Node<'a> {
        let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let names_len = varint::take(&mut rest).unwrap_or(0) as usize;
        let names_start = rest;
        for _ in 0..names_len {
            if varint::take_bytes(&mut rest).is_none() {
                break;
            }
        }
        Node {
            at,
            first,
            state,
            bytes,
            names_len,
            names: &names_start[..names_start.len() - rest.len()],
            entries_at: bytes.len() - rest.len(),
        }
    }

    /// Entries, deleted ones included.
    pub(in crate::store) fn len(&self) -> u64 {
        u64::from(self.state.live) + u64::from(self.state.deleted)
    }

    /// The names that entries share.
    pub(in crate::store) fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.names;
        std::iter::from_fn(move || varint::take_bytes(&mut rest))
    }

    /// All entries, first to last.
    pub(in crate::store) fn entries(&self) -> Entries<'a> {
        Entries {
            first: self.first,
            head: self.state.head,
            names_len: self.names_len,
            names: self.names,
            at: self.entries_at,
            rest: self.bytes.get(self.entries_at..).unwrap_or_default(),
        }
    }

    /// The entries that are not trimmed. Those before them are all deleted.
    pub(in crate::store) fn untrimmed(&self) -> Entries<'a> {
        let mut entries = self.entries();
        if let Some(rest) = self.bytes.get(self.state.head..)
            && self.state.head > self.entries_at
        {
            (entries.at, entries.rest) = (self.state.head, rest);
        }
        entries
    }

    /// The entries that are not deleted.
    pub(in crate::store) fn live(&self) -> Live<'a> {
        Live(self.untrimmed())
    }

    /// The id of the last entry, deleted or not.
    pub(in crate::store) fn last(&self) -> StreamId {
        self.entries().last().map_or(self.first, |entry| entry.id)
    }

    /// The entry with this id, if it lives.
    pub(in crate::store) fn find(&self, id: StreamId) -> Option<NodeEntry<'a>> {
        self.live()
            .take_while(|entry| entry.id <= id)
            .find(|entry| entry.id == id)
    }

    /// Whether Redis would put no further entry of `value_bytes` bytes of names and values in the node.
    pub(in crate::store) fn is_full(&self, limits: Limits, value_bytes: u64) -> bool {
        let bytes_max = match limits.bytes_max {
            0 => NODE_BYTES_MAX,
            bytes_max => bytes_max.min(NODE_BYTES_MAX),
        };
        self.state.listpack_bytes + value_bytes >= bytes_max
            || limits.entries_max > 0 && self.len() >= limits.entries_max
    }

    /// The entry as bytes to append, and the state of the node after it.
    pub(in crate::store) fn appended(
        &self,
        id: StreamId,
        fields: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> State {
        let same = fields.len() / 2 == self.names_len
            && self.names().eq(fields.iter().step_by(2).copied());
        let begin = out.len();
        let mut state = self.state;
        state.listpack_bytes += encode(self.first, id, fields, same, false, out);
        state.change_counts(state.live + 1, state.deleted);
        state.used += out.len() - begin;
        state
    }

    /// The node's bytes with other words in front.
    pub(in crate::store) fn with_state(&self, state: State) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        for (i, word) in state.words().into_iter().enumerate() {
            bytes[16 + 8 * i..24 + 8 * i].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The node's bytes with one more entry marked as deleted.
    pub(in crate::store) fn without(&self, entry: &NodeEntry<'_>) -> Vec<u8> {
        let mut state = self.state;
        state.delete(1);
        let mut bytes = self.with_state(state);
        bytes[entry.at] |= DELETED;
        bytes
    }
}

/// Iterator over the entries of a node.
#[derive(Clone, Debug)]
pub(in crate::store) struct Entries<'a> {
    first: StreamId,
    head: usize,
    names_len: usize,
    names: &'a [u8],
    at: usize,
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Where the entry after the last one that was taken begins.
    pub(in crate::store) fn at(&self) -> usize {
        self.at
    }

    fn take(&mut self) -> Option<NodeEntry<'a>> {
        let begin = self.rest;
        let (&flags, rest) = self.rest.split_first()?;
        self.rest = rest;
        let mut ms = u64::from(flags >> MS_SHIFT) & ((1 << MS_LOW_BITS) - 1);
        if flags & MORE != 0 {
            ms |= varint::take(&mut self.rest)? << MS_LOW_BITS;
        }
        let seq = varint::take(&mut self.rest)?;
        let id = match ms {
            0 => StreamId::new(self.first.ms, self.first.seq.wrapping_add(seq)),
            ms => StreamId::new(self.first.ms.wrapping_add(ms), seq),
        };
        let same_names = flags & SAME_NAMES != 0;
        let len = match same_names {
            true => self.names_len,
            false => varint::take(&mut self.rest)? as usize,
        };
        let values = self.rest;
        for _ in 0..if same_names {
            len
        } else {
            len.saturating_mul(2)
        } {
            varint::take_bytes(&mut self.rest)?;
        }
        let at = self.at;
        self.at += begin.len() - self.rest.len();
        Some(NodeEntry {
            id,
            deleted: flags & DELETED != 0 || at < self.head,
            same_names,
            fields: StreamFields {
                len,
                names: same_names.then_some(self.names),
                values: &values[..values.len() - self.rest.len()],
            },
            at,
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = NodeEntry<'a>;

    fn next(&mut self) -> Option<NodeEntry<'a>> {
        let entry = self.take();
        if entry.is_none() {
            self.rest = b"";
        }
        entry
    }
}

/// Iterator over the entries of a node that are not deleted.
#[derive(Clone, Debug)]
pub(in crate::store) struct Live<'a>(Entries<'a>);

impl<'a> Iterator for Live<'a> {
    type Item = NodeEntry<'a>;

    fn next(&mut self) -> Option<NodeEntry<'a>> {
        self.0.find(|entry| !entry.deleted)
    }
}

/// Up to where a node takes further entries (`stream-node-max-bytes`, `stream-node-max-entries`); zero: no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Limits {
    pub(in crate::store) bytes_max: u64,
    pub(in crate::store) entries_max: u64,
}

/// Appends an entry; the bytes of the same entry in a listpack.
fn encode(
    first: StreamId,
    id: StreamId,
    fields: &[&[u8]],
    same: bool,
    deleted: bool,
    out: &mut Vec<u8>,
) -> u64 {
    let ms = id.ms.wrapping_sub(first.ms);
    let mut flags = u8::from(deleted) | u8::from(same) << 1;
    flags |= ((ms & ((1 << MS_LOW_BITS) - 1)) as u8) << MS_SHIFT;
    let more = ms >> MS_LOW_BITS;
    flags |= if more > 0 { MORE } else { 0 };
    out.push(flags);
    if more > 0 {
        varint::push(out, more);
    }
    let seq = match ms {
        0 => id.seq.wrapping_sub(first.seq),
        _ => id.seq,
    };
    varint::push(out, seq);
    let count = fields.len() as u64 / 2;
    let mut listpack_bytes = listpack_int(0)
        + listpack_int(ms as i64)
        + listpack_int(id.seq.wrapping_sub(first.seq) as i64);
    let mut elements = 3 + count;
    if !same {
        varint::push(out, count);
        listpack_bytes += listpack_int(count as i64);
        elements += 1 + count;
    }
    for (i, field) in fields.iter().enumerate() {
        if !same || i % 2 == 1 {
            varint::push_bytes(out, field);
            listpack_bytes += listpack_string(field);
        }
    }
    listpack_bytes + listpack_int(elements as i64)
}

/// A node to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct NodeDraft {
    bytes: Vec<u8>,
    first: StreamId,
    state: State,
}

impl NodeDraft {
    /// A node without entries whose shared names are `names`.
    pub(in crate::store) fn new<'n>(
        first: StreamId,
        names: impl ExactSizeIterator<Item = &'n [u8]>,
    ) -> NodeDraft {
        /// Header and end mark.
        const LISTPACK_FRAME_BYTES: u64 = 7;
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&first.ms.to_le_bytes());
        bytes.extend_from_slice(&first.seq.to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        varint::push(&mut bytes, names.len() as u64);
        let mut listpack_bytes =
            LISTPACK_FRAME_BYTES + 3 * listpack_int(0) + listpack_int(names.len() as i64);
        for name in names {
            varint::push_bytes(&mut bytes, name);
            listpack_bytes += listpack_string(name);
        }
        let state = State {
            used: bytes.len(),
            listpack_bytes,
            live: 0,
            deleted: 0,
            head: 0,
        };
        NodeDraft {
            bytes,
            first,
            state,
        }
    }

    /// Appends an entry; `fields` are names and values in turn.
    pub(in crate::store) fn push(
        &mut self,
        id: StreamId,
        fields: &[&[u8]],
        same: bool,
        deleted: bool,
    ) {
        self.state.listpack_bytes += encode(self.first, id, fields, same, deleted, &mut self.bytes);
        let (live, gone) = (self.state.live, self.state.deleted);
        self.state
            .change_counts(live + u32::from(!deleted), gone + u32::from(deleted));
        self.state.used = self.bytes.len();
    }

    /// A node that is there already.
    pub(in crate::store) fn copy_of(node: &Node<'_>) -> NodeDraft {
        NodeDraft {
            bytes: node.bytes.to_vec(),
            first: node.first,
            state: node.state,
        }
    }

    /// The first id.
    pub(in crate::store) fn first(&self) -> StreamId {
        self.first
    }

    /// Entries that live.
    pub(in crate::store) fn live(&self) -> u64 {
        self.state.live.into()
    }

    /// Writes the node to a fresh block with room for `capacity` bytes at least.
    pub(in crate::store) fn write(
        mut self,
        writer: &mut Writer<'_, '_>,
        capacity: usize,
    ) -> Result<u64, StoreError> {
        for (i, word) in self.state.words().into_iter().enumerate() {
            self.bytes[16 + 8 * i..24 + 8 * i].copy_from_slice(&word.to_le_bytes());
        }
        write_block(writer, &[&self.bytes], capacity)
    }
}

/// Writes bytes one after another to a fresh block.
pub(in crate::store) fn write_block(
    writer: &mut Writer<'_, '_>,
    parts: &[&[u8]],
    capacity: usize,
) -> Result<u64, StoreError> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    if u32::try_from(len).is_err() {
        return Err(StoreError::OutOfSpace);
    }
    let at = writer.alloc(capacity.max(len))?;
    let mut end = at;
    for part in parts {
        writer.fill(end, part);
        end += part.len() as u64;
    }
    Ok(at)
}

/// Stores the words of a node that change.
pub(in crate::store) fn store_state(
    writer: &mut Writer<'_, '_>,
    at: u64,
    old: &State,
    new: &State,
) -> Result<(), StoreError> {
    for (i, (old, new)) in old.words().into_iter().zip(new.words()).enumerate() {
        if old != new {
            writer.store_apart(at + 16 + 8 * i as u64, new)?;
        }
    }
    Ok(())
}

/// Bytes of an integer in a listpack, back length included.
fn listpack_int(value: i64) -> u64 {
    match value {
        0..=127 => 2,
        -4096..=4095 => 3,
        -32768..=32767 => 4,
        -8_388_608..=8_388_607 => 5,
        -2_147_483_648..=2_147_483_647 => 6,
        _ => 10,
    }
}

/// Bytes of a string in a listpack, back length included.
fn listpack_string(text: &[u8]) -> u64 {
    if text.len() <= integer::I64_CHARS_MAX
        && let Some(value) = integer::parse_i64(text)
    {
        return listpack_int(value);
    }
    let len = text.len() as u64;
    let bytes = match len {
        0..64 => 1 + len,
        64..4096 => 2 + len,
        _ => 5 + len,
    };
    bytes
        + match bytes {
            0..=127 => 1,
            128..=16382 => 2,
            16383..=2_097_150 => 3,
            2_097_151..=268_435_454 => 4,
            _ => 5,
        }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Plain = (StreamId, Vec<Vec<u8>>, bool);

    fn plain(node: &Node<'_>) -> Vec<Plain> {
        node.entries()
            .map(|entry| {
                let fields = entry
                    .fields
                    .flat_map(|(name, value)| [name.to_vec(), value.to_vec()]);
                (entry.id, fields.collect(), entry.deleted)
            })
            .collect()
    }

    fn node_of(draft: &NodeDraft) -> Node<'_> {
        Node::of(0, draft.first, draft.state, &draft.bytes)
    }

    fn ids() -> impl Strategy<Value = StreamId> {
        prop_oneof![
            (1000..1100u64, 0..5u64),
            (1000..100_000u64, any::<u64>()),
            (any::<u64>(), any::<u64>()),
        ]
        .prop_map(|(ms, seq)| StreamId::new(ms, seq))
    }

    proptest! {
        #[test]
        fn entries_come_back(
            ids in prop::collection::btree_set(ids(), 1..20),
            lists in prop::collection::vec(prop::collection::vec("[a-c]{0,2}|[0-9]{1,6}", 1..4), 20),
            deleted: u32,
        ) {
            let words = |i: usize| -> Vec<Vec<u8>> {
                lists[i].iter().flat_map(|word| [word.clone().into_bytes(), b"value".to_vec()]).collect()
            };
            let first = *ids.first().unwrap();
            let names = words(0);
            let mut draft = NodeDraft::new(first, names.iter().step_by(2).map(|name| &name[..]).collect::<Vec<_>>().into_iter());
            let mut expected = Vec::new();
            for (i, id) in ids.iter().enumerate() {
                let fields = words(i);
                let slices: Vec<&[u8]> = fields.iter().map(|field| &field[..]).collect();
                let gone = deleted >> i & 1 == 1;
                let same = fields.iter().step_by(2).eq(names.iter().step_by(2));
                if gone {
                    draft.push(*id, &slices, same, true);
                } else {
                    let mut bytes = Vec::new();
                    let state = node_of(&draft).appended(*id, &slices, &mut bytes);
                    draft.bytes.extend_from_slice(&bytes);
                    draft.state = state;
                }
                expected.push((*id, fields, gone));
            }
            let node = node_of(&draft);
            prop_assert_eq!(plain(&node), expected.clone());
            prop_assert_eq!(node.len(), expected.len() as u64);
            prop_assert_eq!(node.last(), *ids.last().unwrap());
            for (id, _, gone) in &expected {
                prop_assert_eq!(node.find(*id).is_some(), !gone);
            }
            // Deleting in the middle, and trimming by moving the head.
            if let Some(entry) = node.live().last() {
                let bytes = node.without(&entry);
                let word = |i: usize| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().unwrap());
                let state = State { listpack_bytes: word(2) >> 32, live: word(3) as u32, deleted: (word(3) >> 32) as u32, ..node.state };
                let copy = Node::of(0, first, state, &bytes);
                prop_assert!(copy.find(entry.id).is_none());
                prop_assert_eq!(copy.live().count() + 1, node.live().count());
                let mut state = node.state;
                state.head = entry.at;
                let trimmed = Node::of(0, first, state, &draft.bytes);
                prop_assert_eq!(trimmed.live().map(|entry| entry.id).collect::<Vec<_>>(), vec![entry.id]);
                prop_assert_eq!(trimmed.entries().filter(|entry| !entry.deleted).count(), 1);
            }
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), head: u32) {
            let state = State { used: bytes.len(), listpack_bytes: 0, live: 1, deleted: 0, head: head as usize };
            let node = Node::of(0, StreamId::MIN, state, &bytes);
            prop_assert!(node.entries().count() <= bytes.len());
            node.live().for_each(|entry| entry.fields.for_each(drop));
            node.names().for_each(drop);
        }
    }

    #[test]
    fn elements_have_the_size_that_a_listpack_gives_them() {
        for (text, bytes) in [
            (&b""[..], 2),
            (b"abc", 5),
            (b"127", 2),
            (b"128", 3),
            (b"-1", 3),
            (b"-4097", 4),
            (b"32768", 5),
            (b"8388608", 6),
            (b"2147483648", 10),
            (b"01", 4),
            (&[b'x'; 63], 65),
            (&[b'x'; 64], 67),
            (&[b'x'; 125], 128),
            (&[b'x'; 126], 130),
            (&[b'x'; 4095], 4099),
            (&[b'x'; 4096], 4103),
        ] {
            assert_eq!(listpack_string(text), bytes, "{} bytes", text.len());
        }
    }
}
