//! What a writer knows of its keys, and how that is read back from a server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::op::GROUP;
use crate::Reply;

/// All keys of a writer.
pub(super) type Model = BTreeMap<String, Key>;

/// A key that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) value: Value,
    /// Unix milliseconds.
    pub(super) expires_at: Option<u64>,
}

impl Key {
    /// A key that stays.
    pub(super) fn new(value: Value) -> Key {
        Key {
            value,
            expires_at: None,
        }
    }

    /// Whether this is `other`, but for an expiry that is at most `drift_ms` later.
    fn is(&self, other: &Key, drift_ms: u64) -> bool {
        let is_time = match (self.expires_at, other.expires_at) {
            (Some(found), Some(expected)) => (expected..=expected + drift_ms).contains(&found),
            (found, expected) => found == expected,
        };
        is_time && self.value == other.value
    }
}

/// A value of any type. Scores are whole numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Str(String),
    Hash(BTreeMap<String, String>),
    List(VecDeque<String>),
    Set(BTreeSet<String>),
    Zset(BTreeMap<String, i64>),
    Stream(Stream),
}

impl Value {
    /// Whether a key of this value does not exist. Streams stay when they are empty, and no writer makes an
    /// empty string.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Value::Str(_) | Value::Stream(_) => false,
            Value::Hash(fields) => fields.is_empty(),
            Value::List(elements) => elements.is_empty(),
            Value::Set(members) => members.is_empty(),
            Value::Zset(members) => members.is_empty(),
        }
    }
}

/// A stream whose ids are whole numbers and whose entries have one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) entries: BTreeMap<u64, String>,
    pub(super) group: Option<Group>,
}

/// The group of a stream, which has one consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Id delivered last.
    pub(super) delivered: u64,
    /// How often an entry was delivered, by its id.
    pub(super) pending: BTreeMap<u64, u64>,
}

/// The types of keys, which their names tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Str,
    Hash,
    List,
    Set,
    Zset,
    Stream,
}

/// Reads a key back; `None` if it does not exist. Groups are read if the writer makes any.
pub(super) fn read_key(
    call: &mut impl FnMut(&[&str]) -> Reply,
    kind: Kind,
    key: &str,
    groups: bool,
) -> Option<Key> {
    let expires_at = match call(&["PEXPIRETIME", key]).int() {
        -2 => return None,
        -1 => None,
        at_ms => Some(at_ms as u64),
    };
    let value = match kind {
        Kind::Str => Value::Str(call(&["GET", key]).text()),
        Kind::Hash => Value::Hash(unique_pairs(&call(&["HGETALL", key]), key)),
        Kind::List => {
            let elements = call(&["LRANGE", key, "0", "-1"]);
            assert_eq!(
                call(&["LLEN", key]).int(),
                elements.items().len() as i64,
                "{key}"
            );
            Value::List(elements.items().iter().map(Reply::text).collect())
        }
        Kind::Set => {
            let reply = call(&["SMEMBERS", key]);
            let members: BTreeSet<String> = reply.items().iter().map(Reply::text).collect();
            assert_eq!(
                members.len(),
                reply.items().len(),
                "{key} has a member twice"
            );
            assert_eq!(call(&["SCARD", key]).int(), members.len() as i64, "{key}");
            Value::Set(members)
        }
        Kind::Zset => {
            let reply = call(&["ZRANGE", key, "0", "-1", "WITHSCORES"]);
            let scores = unique_pairs(&reply, key);
            let number = |(member, score): (String, String)| {
                (member, score.parse().expect("a whole number"))
            };
            let scores: BTreeMap<String, i64> = scores.into_iter().map(number).collect();
            let ranks: Vec<(i64, String)> = reply
                .items()
                .chunks(2)
                .map(|pair| (scores[&pair[0].text()], pair[0].text()))
                .collect();
            assert!(ranks.is_sorted(), "{key} is in no order: {ranks:?}");
            Value::Zset(scores)
        }
        Kind::Stream => Value::Stream(read_stream(call, key, groups)),
    };
    Some(Key { value, expires_at })
}

fn read_stream(call: &mut impl FnMut(&[&str]) -> Reply, key: &str, groups: bool) -> Stream {
    let entry = |entry: &Reply| {
        let [id, fields] = entry.items() else {
            panic!("{key}: an entry is {entry:?}");
        };
        (number(&id.text()), fields.items()[1].text())
    };
    let reply = call(&["XRANGE", key, "-", "+"]);
    let entries: BTreeMap<u64, String> = reply.items().iter().map(entry).collect();
    assert_eq!(call(&["XLEN", key]).int(), entries.len() as i64, "{key}");
    let mut stream = Stream {
        entries,
        group: None,
    };
    if groups {
        let found = call(&["XINFO", "GROUPS", key]);
        stream.group = found.items().first().map(|group| Group {
            delivered: number(&field_of(group, "last-delivered-id").text()),
            pending: read_pending(call, key),
        });
    }
    stream
}

fn read_pending(call: &mut impl FnMut(&[&str]) -> Reply, key: &str) -> BTreeMap<u64, u64> {
    let reply = call(&["XPENDING", key, GROUP, "-", "+", "100000"]);
    let entry = |entry: &Reply| {
        let [id, _consumer, _idle, deliveries] = entry.items() else {
            panic!("{key}: a pending entry is {entry:?}");
        };
        (number(&id.text()), deliveries.int() as u64)
    };
    reply.items().iter().map(entry).collect()
}

/// The value of a field in a flat list of names and values.
fn field_of<'a>(reply: &'a Reply, name: &str) -> &'a Reply {
    let mut pairs = reply.items().chunks(2);
    let pair = pairs.find(|pair| pair[0].text() == name);
    &pair.unwrap_or_else(|| panic!("no {name} in {reply:?}"))[1]
}

/// The number that an entry's id is.
fn number(id: &str) -> u64 {
    let (ms, seq) = id.split_once('-').expect("an id has two parts");
    assert_eq!(seq, "0", "no writer has made {id}");
    ms.parse().expect("a number")
}

fn unique_pairs(reply: &Reply, key: &str) -> BTreeMap<String, String> {
    let pairs = reply.items().chunks(2);
    let found: BTreeMap<String, String> =
        pairs.map(|pair| (pair[0].text(), pair[1].text())).collect();
    assert_eq!(
        found.len() * 2,
        reply.items().len(),
        "{key} has something twice"
    );
    found
}

/// The first key in which two models differ, with both values cut short. Keys may expire up to `drift_ms` later than expected.
pub(super) fn difference(expected: &Model, found: &Model, drift_ms: u64) -> Option<String> {
    let differs = |key: &&String| match (found.get(*key), expected.get(*key)) {
        (Some(found), Some(expected)) => !found.is(expected, drift_ms),
        (found, expected) => found.is_some() || expected.is_some(),
    };
    let key = expected.keys().chain(found.keys()).find(differs)?;
    let [found, expected] = [found, expected].map(|model| format!("{:?}", model.get(key)));
    // Values are long and alike: from shortly before the first difference on.
    let same = found.bytes().zip(expected.bytes());
    let at = same.take_while(|(a, b)| a == b).count().saturating_sub(60);
    let short = |text: &str| format!("{:.400} ({} bytes)", &text[at..], text.len());
    Some(format!(
        "{key} is, from {at}, {} and should be {}",
        short(&found),
        short(&expected)
    ))
}
