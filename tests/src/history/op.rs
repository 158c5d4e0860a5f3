//! The commands of a writer: what they are called, and what they do to a model of its keys.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::model::{Group, Key, Model, Stream, Value};
use crate::Reply;

/// The consumer group of every stream that has one.
pub(super) const GROUP: &str = "group";
/// Its only consumer.
const CONSUMER: &str = "consumer";

/// A command, or a transaction of several.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Set(String, String),
    Append(String, String),
    SetRange(String, usize, String),
    Incr(String),
    Del(String),
    ExpireAt(String, u64),
    Rename(String, String),
    HSet(String, String, String),
    HDel(String, String),
    /// At the head or at the tail.
    Push(bool, String, Vec<String>),
    Pop(bool, String),
    /// Keeps so many elements at the tail.
    Trim(String, usize),
    /// From the head of the first to the tail of the second.
    Move(String, String),
    SAdd(String, Vec<String>),
    SRem(String, Vec<String>),
    ZAdd(String, Vec<(i64, String)>),
    ZIncr(String, i64, String),
    ZRem(String, String),
    ZPopMin(String),
    /// Removes the members of lowest score, so many of them.
    ZRemLowest(String, usize),
    XAdd(String, u64, String),
    XDel(String, u64),
    /// Keeps so many entries.
    XTrim(String, usize),
    XGroup(String),
    /// Delivers so many entries to the consumer.
    XRead(String, usize),
    XAck(String, u64),
    /// All of them or none.
    Multi(Vec<Op>),
}

impl Op {
    /// What is sent.
    pub(super) fn commands(&self) -> Vec<Vec<String>> {
        let one = |words: &[&str]| vec![words.iter().map(|&word| word.to_owned()).collect()];
        let many = |words: &[&str], rest: &[String]| {
            let mut command: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            command.extend_from_slice(rest);
            vec![command]
        };
        let end = |head, at_head: &'static str, at_tail| if head { at_head } else { at_tail };
        match self {
            Op::Set(key, value) => one(&["SET", key, value]),
            Op::Append(key, value) => one(&["APPEND", key, value]),
            Op::SetRange(key, at, value) => one(&["SETRANGE", key, &at.to_string(), value]),
            Op::Incr(key) => one(&["INCR", key]),
            Op::Del(key) => one(&["DEL", key]),
            Op::ExpireAt(key, at_ms) => one(&["PEXPIREAT", key, &at_ms.to_string()]),
            Op::Rename(from, to) => one(&["RENAME", from, to]),
            Op::HSet(key, field, value) => one(&["HSET", key, field, value]),
            Op::HDel(key, field) => one(&["HDEL", key, field]),
            Op::Push(head, key, values) => many(&[end(*head, "LPUSH", "RPUSH"), key], values),
            Op::Pop(head, key) => one(&[end(*head, "LPOP", "RPOP"), key]),
            Op::Trim(key, keep) => one(&["LTRIM", key, &format!("-{keep}"), "-1"]),
            Op::Move(from, to) => one(&["LMOVE", from, to, "LEFT", "RIGHT"]),
            Op::SAdd(key, members) => many(&["SADD", key], members),
            Op::SRem(key, members) => many(&["SREM", key], members),
            Op::ZAdd(key, members) => {
                let pair = |(score, member): &(i64, String)| [score.to_string(), member.clone()];
                let pairs: Vec<String> = members.iter().flat_map(pair).collect();
                many(&["ZADD", key], &pairs)
            }
            Op::ZIncr(key, by, member) => one(&["ZINCRBY", key, &by.to_string(), member]),
            Op::ZRem(key, member) => one(&["ZREM", key, member]),
            Op::ZPopMin(key) => one(&["ZPOPMIN", key]),
            Op::ZRemLowest(key, count) => {
                one(&["ZREMRANGEBYRANK", key, "0", &(count - 1).to_string()])
            }
            Op::XAdd(key, id, value) => one(&["XADD", key, &entry_id(*id), "field", value]),
            Op::XDel(key, id) => one(&["XDEL", key, &entry_id(*id)]),
            Op::XTrim(key, keep) => one(&["XTRIM", key, "MAXLEN", "=", &keep.to_string()]),
            Op::XGroup(key) => one(&["XGROUP", "CREATE", key, GROUP, "0", "MKSTREAM"]),
            Op::XRead(key, count) => {
                let count = count.to_string();
                let reader = ["XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", &count];
                one(&[&reader[..], &["STREAMS", key, ">"]].concat())
            }
            Op::XAck(key, id) => one(&["XACK", key, GROUP, &entry_id(*id)]),
            Op::Multi(ops) => {
                let inner = ops.iter().flat_map(Op::commands);
                let begin = one(&["MULTI"]).into_iter();
                begin.chain(inner).chain(one(&["EXEC"])).collect()
            }
        }
    }

    /// Changes the model as the command changes the server; returns the server's reply.
    pub(super) fn apply(&self, model: &mut Model) -> Reply {
        let reply = match self {
            Op::Set(key, value) => {
                model.remove(key);
                *string_at(model, key) = value.clone();
                ok()
            }
            Op::Append(key, value) => {
                let text = string_at(model, key);
                text.push_str(value);
                int(text.len())
            }
            Op::SetRange(key, at, value) => {
                let text = string_at(model, key);
                let len = text.len().max(at + value.len());
                text.extend(std::iter::repeat_n('\0', len - text.len()));
                text.replace_range(*at..at + value.len(), value);
                int(len)
            }
            Op::Incr(key) => {
                let text = string_at(model, key);
                let next = text.parse::<i64>().unwrap_or(0) + 1;
                *text = next.to_string();
                Reply::Int(next)
            }
            Op::Del(key) => int(usize::from(model.remove(key).is_some())),
            Op::ExpireAt(key, at_ms) => {
                let key = model.get_mut(key);
                let exists = key.is_some();
                key.into_iter()
                    .for_each(|key| key.expires_at = Some(*at_ms));
                int(usize::from(exists))
            }
            Op::Rename(from, to) => match model.remove(from) {
                Some(key) => {
                    model.insert(to.clone(), key);
                    ok()
                }
                None => error("ERR no such key"),
            },
            Op::HSet(key, field, value) => {
                let before = hash_at(model, key).insert(field.clone(), value.clone());
                int(usize::from(before.is_none()))
            }
            Op::HDel(key, field) => int(usize::from(hash_at(model, key).remove(field).is_some())),
            Op::Push(head, key, values) => {
                let list = list_at(model, key);
                for value in values {
                    match head {
                        true => list.push_front(value.clone()),
                        false => list.push_back(value.clone()),
                    }
                }
                int(list.len())
            }
            Op::Pop(head, key) => {
                let list = list_at(model, key);
                let popped = if *head {
                    list.pop_front()
                } else {
                    list.pop_back()
                };
                popped.map_or(Reply::NilBulk, bulk)
            }
            Op::Trim(key, keep) => {
                let list = list_at(model, key);
                list.drain(..list.len().saturating_sub(*keep));
                ok()
            }
            Op::Move(from, to) => match list_at(model, from).pop_front() {
                Some(value) => {
                    list_at(model, to).push_back(value.clone());
                    bulk(value)
                }
                None => Reply::NilBulk,
            },
            Op::SAdd(key, members) => {
                let set = set_at(model, key);
                int(members
                    .iter()
                    .filter(|member| set.insert((*member).clone()))
                    .count())
            }
            Op::SRem(key, members) => {
                let set = set_at(model, key);
                int(members.iter().filter(|member| set.remove(*member)).count())
            }
            Op::ZAdd(key, members) => {
                let zset = zset_at(model, key);
                let added = |(score, member): &&(i64, String)| {
                    zset.insert(member.clone(), *score).is_none()
                };
                int(members.iter().filter(added).count())
            }
            Op::ZIncr(key, by, member) => {
                let score = zset_at(model, key).entry(member.clone()).or_insert(0);
                *score += by;
                bulk(score.to_string())
            }
            Op::ZRem(key, member) => int(usize::from(zset_at(model, key).remove(member).is_some())),
            Op::ZPopMin(key) => {
                let popped = remove_lowest(zset_at(model, key), 1);
                let pair = |(score, member): (i64, String)| [bulk(member), bulk(score.to_string())];
                Reply::Array(popped.into_iter().flat_map(pair).collect())
            }
            Op::ZRemLowest(key, count) => int(remove_lowest(zset_at(model, key), *count).len()),
            Op::XAdd(key, id, value) => {
                stream_at(model, key).entries.insert(*id, value.clone());
                bulk(entry_id(*id))
            }
            Op::XDel(key, id) => {
                let removed = existing_stream(model, key).and_then(|s| s.entries.remove(id));
                int(usize::from(removed.is_some()))
            }
            Op::XTrim(key, keep) => {
                let Some(stream) = existing_stream(model, key) else {
                    return int(0);
                };
                let excess = stream.entries.len().saturating_sub(*keep);
                (0..excess).for_each(|_| drop(stream.entries.pop_first()));
                int(excess)
            }
            Op::XGroup(key) => {
                let group = &mut stream_at(model, key).group;
                if group.is_some() {
                    return error("BUSYGROUP Consumer Group name already exists");
                }
                *group = Some(Group::default());
                ok()
            }
            Op::XRead(key, count) => deliver(model, key, *count),
            Op::XAck(key, id) => {
                let group = existing_stream(model, key).and_then(|stream| stream.group.as_mut());
                let removed = group.and_then(|group| group.pending.remove(id));
                int(usize::from(removed.is_some()))
            }
            Op::Multi(ops) => Reply::Array(ops.iter().map(|op| op.apply(model)).collect()),
        };
        // What a command has emptied, or only looked at, is gone.
        model.retain(|_, key| !key.value.is_gone());
        reply
    }
}

/// The id of an entry, as the writer numbers them.
fn entry_id(number: u64) -> String {
    format!("{number}-0")
}

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn int(value: usize) -> Reply {
    Reply::Int(value as i64)
}

fn bulk(text: String) -> Reply {
    Reply::Bulk(text.into_bytes())
}

fn error(text: &str) -> Reply {
    Reply::Error(text.as_bytes().to_vec())
}

/// Hands the next entries of a stream to the consumer.
fn deliver(model: &mut Model, key: &str, count: usize) -> Reply {
    let stream = existing_stream(model, key);
    let Some((entries, group)) =
        stream.and_then(|stream| Some((&stream.entries, stream.group.as_mut()?)))
    else {
        return error(&format!(
            "NOGROUP No such key '{key}' or consumer group '{GROUP}' in XREADGROUP with GROUP option"
        ));
    };
    let mut delivered = Vec::new();
    for (&id, value) in entries.range(group.delivered + 1..).take(count) {
        group.delivered = id;
        group.pending.insert(id, 1);
        let fields = Reply::Array(vec![bulk("field".to_owned()), bulk(value.clone())]);
        delivered.push(Reply::Array(vec![bulk(entry_id(id)), fields]));
    }
    if delivered.is_empty() {
        return Reply::NilArray;
    }
    let of_stream = Reply::Array(vec![bulk(key.to_owned()), Reply::Array(delivered)]);
    Reply::Array(vec![of_stream])
}

fn remove_lowest(zset: &mut BTreeMap<String, i64>, count: usize) -> Vec<(i64, String)> {
    let mut ranked: Vec<(i64, String)> = zset
        .iter()
        .map(|(member, score)| (*score, member.clone()))
        .collect();
    ranked.sort_unstable();
    ranked.truncate(count);
    for (_, member) in &ranked {
        zset.remove(member);
    }
    ranked
}

/// The value at a key, made if there is none. Names tell the types apart.
macro_rules! value_at {
    ($name:ident, $variant:ident, $type:ty) => {
        fn $name<'a>(model: &'a mut Model, key: &str) -> &'a mut $type {
            let key = model
                .entry(key.to_owned())
                .or_insert_with(|| Key::new(Value::$variant(<$type>::default())));
            match &mut key.value {
                Value::$variant(value) => value,
                other => unreachable!("names tell the types apart: {other:?}"),
            }
        }
    };
}

value_at!(string_at, Str, String);
value_at!(hash_at, Hash, BTreeMap<String, String>);
value_at!(list_at, List, VecDeque<String>);
value_at!(set_at, Set, BTreeSet<String>);
value_at!(zset_at, Zset, BTreeMap<String, i64>);
value_at!(stream_at, Stream, Stream);

fn existing_stream<'a>(model: &'a mut Model, key: &str) -> Option<&'a mut Stream> {
    model.contains_key(key).then(|| stream_at(model, key))
}
