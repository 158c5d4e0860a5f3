//! Streams.
//!
//! ```text
//! nodes: count, (string with 16 bytes: ms, seq of the node, big-endian; string with a listpack)
//! entries . last ms, seq . since 2: first ms, seq; highest deleted ms, seq; entries ever added
//! groups: count, (name; last ms, seq; since 2: entries read, 2^64-1 if not known;
//!         pendings: count, (16 bytes id; u64 delivery; deliveries);
//!         consumers: count, (name; u64 seen; since 3: u64 active; pendings: count, 16 bytes id each))
//!
//! listpack: entries, deleted, names, name ..., 0, then for each entry:
//!           flags (1 deleted, 2 same names); ms, seq less the node's; unless the names are the same, their number;
//!           values, or names and values; number of elements of the entry
//! ```

use std::borrow::Cow;
use std::collections::HashMap;

use eagle_core::store::{
    ConsumerImage, GroupImage, GroupRef, NodeImage, PendingImage, StreamId, StreamImage,
    StreamNode, StreamRef,
};

use super::cursor::Cursor;
use super::element::Element;
use super::string::{self, Compression};
use super::{DecodeError, integer, length, listpack};

const DELETED: i64 = 1;
const SAME_NAMES: i64 = 2;

/// Versions of the encoding, which have a type byte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Redis 5.0.
    First,
    /// Redis 7.0: with what the stream knows of its past.
    Second,
    /// Redis 7.2: with the time a consumer was active last.
    Third,
}

/// Appends a stream in the second form.
pub fn write(out: &mut Vec<u8>, stream: &StreamRef<'_>, compression: Compression) {
    length::write(out, stream.node_count());
    for node in stream.iter_nodes() {
        string::write(out, &node.id().to_be_bytes(), Compression::Off);
        string::write(out, &packed(&node), compression);
    }
    length::write(out, stream.len());
    for id in [stream.last_id(), stream.first_id(), stream.max_deleted_id()] {
        write_id(out, id);
    }
    length::write(out, stream.entries_added());
    let groups = stream.groups();
    length::write(out, groups.len() as u64);
    groups
        .iter()
        .for_each(|group| write_group(out, group, compression));
}

fn write_id(out: &mut Vec<u8>, id: StreamId) {
    length::write(out, id.ms);
    length::write(out, id.seq);
}

fn write_group(out: &mut Vec<u8>, group: &GroupRef<'_>, compression: Compression) {
    string::write(out, group.name(), compression);
    write_id(out, group.last_id());
    length::write(out, group.entries_read().unwrap_or(u64::MAX));
    length::write(out, group.pending_len());
    for pending in group.pending_from(StreamId::MIN) {
        out.extend_from_slice(&pending.id.to_be_bytes());
        out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
        length::write(out, pending.deliveries);
    }
    let consumers = group.consumers();
    length::write(out, consumers.len() as u64);
    for consumer in consumers {
        string::write(out, consumer.name(), compression);
        out.extend_from_slice(&consumer.seen_ms().to_le_bytes());
        length::write(out, consumer.pending_len());
        for pending in consumer.pending_from(StreamId::MIN) {
            out.extend_from_slice(&pending.id.to_be_bytes());
        }
    }
}

/// The listpack of a node.
fn packed(node: &StreamNode<'_>) -> Vec<u8> {
    let mut out = listpack::Writer::default();
    let (live, deleted) = node.counts();
    let names: Vec<&[u8]> = node.names().collect();
    push(&mut out, live.into());
    push(&mut out, deleted.into());
    push(&mut out, names.len() as i64);
    names.iter().for_each(|name| out.push(name));
    push(&mut out, 0);
    let first = node.id();
    for entry in node.entries() {
        let fields = entry.fields.len() as i64;
        let mut flags = if entry.deleted { DELETED } else { 0 };
        flags |= if entry.same_names { SAME_NAMES } else { 0 };
        push(&mut out, flags);
        push(&mut out, entry.id.ms.wrapping_sub(first.ms) as i64);
        push(&mut out, entry.id.seq.wrapping_sub(first.seq) as i64);
        let mut elements = 3 + fields;
        if !entry.same_names {
            push(&mut out, fields);
            elements += 1 + fields;
        }
        for (name, value) in entry.fields {
            if !entry.same_names {
                out.push(name);
            }
            out.push(value);
        }
        push(&mut out, elements);
    }
    out.finish()
}

fn push(out: &mut listpack::Writer, value: i64) {
    out.push(itoa::Buffer::new().format(value).as_bytes());
}

/// Reads a stream.
pub fn read(cursor: &mut Cursor<'_>, form: Form) -> Result<StreamImage, DecodeError> {
    /// Of a node: its id with the length, and a string.
    const NODE_BYTES_MIN: usize = 17 + 1;
    /// Of a group: a name and five numbers.
    const GROUP_BYTES_MIN: usize = 6;
    let mut image = StreamImage::default();
    let (mut after, mut first) = (None, None);
    for _ in 0..length::read_count(cursor, NODE_BYTES_MIN)? {
        let id = <[u8; 16]>::try_from(&*string::read(cursor)?)
            .map_err(|_| DecodeError::Corrupt("stream node with an id of another size"))?;
        let node = read_node(
            StreamId::from_be_bytes(id),
            &string::read(cursor)?,
            &mut after,
            &mut first,
        )?;
        image.nodes.push(node);
    }
    let entries = length::read_plain(cursor)?;
    if entries != image.len() {
        return Err(DecodeError::Corrupt(
            "stream of another length than it says",
        ));
    }
    image.last_id = read_id(cursor)?;
    if after.is_some_and(|last| last > image.last_id) {
        return Err(DecodeError::Corrupt(
            "stream with an entry behind its last id",
        ));
    }
    if form >= Form::Second {
        image.first_id = read_id(cursor)?;
        image.max_deleted_id = read_id(cursor)?;
        image.entries_added = length::read_plain(cursor)?;
    } else {
        image.first_id = first.unwrap_or_default();
        image.entries_added = entries;
    }
    let mut names = HashMap::new();
    for _ in 0..length::read_count(cursor, GROUP_BYTES_MIN)? {
        let group = read_group(cursor, form, &image)?;
        if names.insert(group.name.clone(), ()).is_some() {
            return Err(DecodeError::Corrupt("stream with a group twice"));
        }
        image.groups.push(group);
    }
    Ok(image)
}

fn read_id(cursor: &mut Cursor<'_>) -> Result<StreamId, DecodeError> {
    Ok(StreamId::new(
        length::read_plain(cursor)?,
        length::read_plain(cursor)?,
    ))
}

/// Unpacks a node. `after` is the last entry read before, `first` the first one that lives.
fn read_node(
    id: StreamId,
    blob: &[u8],
    after: &mut Option<StreamId>,
    first: &mut Option<StreamId>,
) -> Result<NodeImage, DecodeError> {
    let mut elements = Elements(listpack::elements(blob)?.uncounted());
    let (live, deleted) = (elements.int()?, elements.int()?);
    let names = elements.strings()?;
    if elements.int()? != 0 {
        return Err(DecodeError::Corrupt(
            "stream node without the end of its names",
        ));
    }
    let mut node = NodeImage::new(id, names.iter().map(AsRef::as_ref));
    let (mut live_found, mut deleted_found) = (0, 0);
    while let Some(flags) = elements.next_int()? {
        let (ms, seq) = (elements.int()? as u64, elements.int()? as u64);
        let entry = StreamId::new(id.ms.wrapping_add(ms), id.seq.wrapping_add(seq));
        if entry < id || after.is_some_and(|after| entry <= after) {
            return Err(DecodeError::Corrupt("stream entries out of order"));
        }
        let same_names = flags & SAME_NAMES != 0;
        let mut fields: Vec<Cow<'_, [u8]>> = Vec::new();
        let mut expected = 3;
        if same_names {
            for name in &names {
                fields.push(Cow::Borrowed(name));
                fields.push(elements.text()?);
                expected += 1;
            }
        } else {
            let count = elements.int()?;
            expected += 1;
            for _ in 0..count {
                fields.push(elements.text()?);
                fields.push(elements.text()?);
                expected += 2;
            }
        }
        if elements.int()? != expected {
            return Err(DecodeError::Corrupt(
                "stream entry of another length than it says",
            ));
        }
        let is_deleted = flags & DELETED != 0;
        *if is_deleted {
            &mut deleted_found
        } else {
            &mut live_found
        } += 1;
        let slices: Vec<&[u8]> = fields.iter().map(AsRef::as_ref).collect();
        node.push(entry, &slices, same_names, is_deleted);
        *after = Some(entry);
        if !is_deleted && first.is_none() {
            *first = Some(entry);
        }
    }
    if (live, deleted) != (live_found, deleted_found) {
        return Err(DecodeError::Corrupt(
            "stream node with other entries than it says",
        ));
    }
    if live_found + deleted_found == 0 {
        return Err(DecodeError::Corrupt("stream node without entries"));
    }
    Ok(node)
}

/// The elements of a node's listpack.
struct Elements<'a>(listpack::Elements<'a>);

impl<'a> Elements<'a> {
    fn element(&mut self) -> Result<Element<'a>, DecodeError> {
        self.0
            .next()
            .unwrap_or(Err(DecodeError::Corrupt("stream node ends too early")))
    }

    fn text(&mut self) -> Result<Cow<'a, [u8]>, DecodeError> {
        self.element().map(Element::text)
    }

    fn int(&mut self) -> Result<i64, DecodeError> {
        int_of(self.element()?)
    }

    /// An integer, or `None` at the end.
    fn next_int(&mut self) -> Result<Option<i64>, DecodeError> {
        self.0.next().transpose()?.map(int_of).transpose()
    }

    /// A count and as many strings.
    fn strings(&mut self) -> Result<Vec<Cow<'a, [u8]>>, DecodeError> {
        let count = self.int()?;
        if count < 0 {
            return Err(DecodeError::Corrupt("stream node with a negative count"));
        }
        // Grown as they come: the count alone proves nothing.
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.text()?);
        }
        Ok(all)
    }
}

fn int_of(element: Element<'_>) -> Result<i64, DecodeError> {
    match element {
        Element::Int(value) => Ok(value),
        Element::Bytes(text) => {
            integer::canonical(text).ok_or(DecodeError::Corrupt("stream node without a number"))
        }
    }
}

fn read_group(
    cursor: &mut Cursor<'_>,
    form: Form,
    stream: &StreamImage,
) -> Result<GroupImage, DecodeError> {
    const PENDING_BYTES_MIN: usize = 16 + 8 + 1;
    const CONSUMER_BYTES_MIN: usize = 1 + 8 + 1;
    /// Nobody's yet.
    const NOBODY: usize = usize::MAX;
    let name = string::read(cursor)?.into_owned();
    let last_id = read_id(cursor)?;
    let entries_read = match form {
        Form::First => entries_up_to(stream, last_id),
        _ => Some(length::read_plain(cursor)?).filter(|&read| read != u64::MAX),
    };
    let mut group = GroupImage {
        name,
        last_id,
        entries_read,
        ..GroupImage::default()
    };
    let mut index = HashMap::new();
    for at in 0..length::read_count(cursor, PENDING_BYTES_MIN)? {
        let pending = PendingImage {
            id: StreamId::from_be_bytes(cursor.array()?),
            delivered_ms: u64::from_le_bytes(cursor.array()?),
            deliveries: length::read_plain(cursor)?,
            consumer: NOBODY,
        };
        if group
            .pendings
            .last()
            .is_some_and(|last| last.id >= pending.id)
        {
            return Err(DecodeError::Corrupt("pendings of a group out of order"));
        }
        index.insert(pending.id, at);
        group.pendings.push(pending);
    }
    let mut names = HashMap::new();
    for number in 0..length::read_count(cursor, CONSUMER_BYTES_MIN)? {
        let name = string::read(cursor)?.into_owned();
        let seen_ms = u64::from_le_bytes(cursor.array()?);
        if form >= Form::Third {
            let _active_ms: [u8; 8] = cursor.array()?;
        }
        for _ in 0..length::read_count(cursor, 16)? {
            let id = StreamId::from_be_bytes(cursor.array()?);
            let Some(&at) = index.get(&id) else {
                return Err(DecodeError::Corrupt("pending that its group does not have"));
            };
            let owner = &mut group.pendings[at].consumer;
            if *owner != NOBODY {
                return Err(DecodeError::Corrupt("pending of two consumers"));
            }
            *owner = number;
        }
        if names.insert(name.clone(), ()).is_some() {
            return Err(DecodeError::Corrupt("Duplicate stream consumer detected"));
        }
        group.consumers.push(ConsumerImage { name, seen_ms });
    }
    if group
        .pendings
        .iter()
        .any(|pending| pending.consumer == NOBODY)
    {
        return Err(DecodeError::Corrupt("pending of no consumer"));
    }
    Ok(group)
}

/// How many entries were added up to `id`, as far as a stream tells that does not know its past.
fn entries_up_to(stream: &StreamImage, id: StreamId) -> Option<u64> {
    let (added, len) = (stream.entries_added, stream.len());
    match () {
        () if added == 0 => Some(0),
        () if id == stream.last_id || len == 0 && id < stream.last_id => Some(added),
        () if id > stream.last_id => None,
        () if id < stream.first_id => Some(added - len),
        () if id == stream.first_id => Some(added - len + 1),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_blob(first_flags: i64, expected: i64) -> Vec<u8> {
        let mut out = listpack::Writer::default();
        for value in [1, 0, 1] {
            push(&mut out, value);
        }
        out.push(b"name");
        for value in [0, first_flags, 0, 0] {
            push(&mut out, value);
        }
        out.push(b"value");
        push(&mut out, expected);
        out.finish()
    }

    fn stream_bytes(blob: &[u8], entries: u64) -> Vec<u8> {
        let mut out = Vec::new();
        length::write(&mut out, 1);
        string::write(
            &mut out,
            &StreamId::new(5, 1).to_be_bytes(),
            Compression::Off,
        );
        string::write(&mut out, blob, Compression::Off);
        length::write(&mut out, entries);
        write_id(&mut out, StreamId::new(5, 1));
        out
    }

    #[test]
    fn a_stream_of_the_first_form_is_completed() {
        let mut bytes = stream_bytes(&node_blob(SAME_NAMES, 4), 1);
        // One group with a consumer that has the entry.
        length::write(&mut bytes, 1);
        string::write(&mut bytes, b"group", Compression::Off);
        write_id(&mut bytes, StreamId::new(5, 1));
        length::write(&mut bytes, 1);
        bytes.extend_from_slice(&StreamId::new(5, 1).to_be_bytes());
        bytes.extend_from_slice(&77u64.to_le_bytes());
        length::write(&mut bytes, 3);
        length::write(&mut bytes, 1);
        string::write(&mut bytes, b"consumer", Compression::Off);
        bytes.extend_from_slice(&88u64.to_le_bytes());
        length::write(&mut bytes, 1);
        bytes.extend_from_slice(&StreamId::new(5, 1).to_be_bytes());
        let image = read(&mut Cursor::new(&bytes), Form::First).unwrap();
        assert_eq!((image.len(), image.entries_added), (1, 1));
        assert_eq!(image.first_id, StreamId::new(5, 1));
        let group = &image.groups[0];
        assert_eq!(group.entries_read, Some(1));
        assert_eq!(group.pendings[0].deliveries, 3);
        assert_eq!(group.consumers[0].seen_ms, 88);
        for cut in 0..bytes.len() {
            assert!(read(&mut Cursor::new(&bytes[..cut]), Form::First).is_err());
        }
    }

    #[test]
    fn a_node_is_read_whatever_count_its_head_announces() {
        let mut blob = node_blob(SAME_NAMES, 4);
        blob[4] ^= 1;
        assert!(
            listpack::elements(&blob)
                .unwrap()
                .any(|element| element.is_err())
        );
        let mut bytes = stream_bytes(&blob, 1);
        length::write(&mut bytes, 0);
        let image = read(&mut Cursor::new(&bytes), Form::First).unwrap();
        assert_eq!(image.len(), 1);
    }

    #[test]
    fn entries_that_contradict_themselves_are_refused() {
        for (blob, entries) in [
            (node_blob(SAME_NAMES, 5), 1),
            (node_blob(SAME_NAMES | DELETED, 4), 0),
            (node_blob(0, 4), 1),
            (node_blob(SAME_NAMES, 4), 2),
        ] {
            let mut bytes = stream_bytes(&blob, entries);
            length::write(&mut bytes, 0);
            assert!(read(&mut Cursor::new(&bytes), Form::First).is_err());
        }
    }
}
