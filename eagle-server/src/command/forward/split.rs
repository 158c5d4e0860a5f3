//! Commands with keys of several slots: split by slot, run part by part, and their replies merged.
//!
//! A node refuses several slots in one command even if it serves them all. Each part takes the path of any command, here
//! or to another node. As with any client that splits for itself, the whole is not atomic: if a part fails its error is the
//! reply and the other parts have taken effect.

use super::{WAIT_MILLIS, by_ref, dialect};
use crate::cluster::proxy::Order;
use crate::command::call::{Batch, execute};
use crate::command::context::Flow;
use crate::command::forwarding::{Forwarding, Merge};
use crate::command::keys;
use crate::command::table::Entry;
use crate::node::Thread;
use crate::session::{Routing, Session};
use bytes::{Bytes, BytesMut};
use eagle_core::resp::{Protocol, ReplyLimits, ReplyScanner, ReplyStep, Writer};
use eagle_core::store::key_slot;
use eagle_core::text::integer;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

type Pending = Pin<Box<dyn Future<Output = Bytes>>>;

/// One slot's share of a command.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    argv: Vec<Bytes>,
    /// Which of the command's keys these are.
    keys: Vec<usize>,
}

/// Splits by slot, and by key where a slot is open: some of its keys may be here and others gone.
/// `None` if there is but one part. A command that cannot be taken apart evenly is left to its
/// handler, which refuses it.
fn parts_of(argv: &[&[u8]], words: usize, is_open: impl Fn(u16) -> bool) -> Option<Vec<Part>> {
    let name = argv.first()?;
    let rest = &argv[1..];
    if !rest.len().is_multiple_of(words) {
        return None;
    }
    let mut parts: BTreeMap<(u16, &[u8]), Part> = BTreeMap::new();
    for (index, group) in rest.chunks(words).enumerate() {
        let slot = key_slot(group[0]);
        let place = (slot, if is_open(slot) { group[0] } else { b"" });
        let part = parts.entry(place).or_insert_with(|| Part {
            argv: vec![Bytes::copy_from_slice(name)],
            keys: Vec::new(),
        });
        part.keys.push(index);
        part.argv
            .extend(group.iter().map(|word| Bytes::copy_from_slice(word)));
    }
    (parts.len() > 1).then(|| parts.into_values().collect())
}

/// Runs a command with keys of several slots, or of one that is open, part by part; `None` if it is
/// no such command.
pub(in crate::command) fn split(
    batch: &mut Batch<'_>,
    session: &mut Session,
    out: &mut Writer,
    entry: &'static Entry,
    argv: &[&[u8]],
) -> Option<Flow> {
    let Forwarding::Split { words, merge } = entry.command.forwarding() else {
        return None;
    };
    let found = keys::find(entry, argv);
    if found.len() < 2 {
        return None;
    }
    let slots = keys::slots(&found, argv);
    let topology = batch.thread.node.cluster.as_ref()?.topology();
    let is_open = |slot| topology.is_open(slot);
    if slots.len() < 2 && !is_open(slots[0]) {
        return None;
    }
    let parts = parts_of(argv, words, is_open)?;
    drop(topology);
    let protocol = out.protocol();
    let keys: Vec<Vec<usize>> = parts.iter().map(|part| part.keys.clone()).collect();
    let mut replies: Vec<Pending> = Vec::new();
    let mut is_ready = true;
    let mut scratch = Writer::new(protocol);
    let mut parts = parts.into_iter();
    let mut late = Vec::new();
    for part in parts.by_ref() {
        let words: Vec<&[u8]> = part.argv.iter().map(|word| &word[..]).collect();
        match execute(batch, session, &mut scratch, entry, &words) {
            Flow::Done => replies.push(Box::pin(std::future::ready(scratch.take()))),
            Flow::Forwarded(reply) => {
                is_ready = false;
                replies.push(reply);
            }
            Flow::Later(reply) => {
                is_ready = false;
                replies.push(Box::pin(async { Bytes::from(reply.await) }));
            }
            Flow::Blocked(blocked) => {
                is_ready = false;
                replies.push(Box::pin(async {
                    Bytes::from(blocked.answer().await.reply)
                }));
            }
            Flow::Replica(_) => unreachable!("only SYNC and PSYNC make replicas"),
            // Nothing has happened yet, so the whole may be run again.
            Flow::Paused { wait_ms } if replies.is_empty() => {
                return Some(Flow::Paused { wait_ms });
            }
            Flow::Paused { .. } => {
                late.push(part);
                break;
            }
        }
    }
    late.extend(parts);
    let merged = merge_all(protocol, merge, keys);
    if is_ready && late.is_empty() {
        // Every part was this node's own.
        let done: Vec<Bytes> = replies.into_iter().filter_map(ready).collect();
        out.raw(&merged(&done));
        return Some(Flow::Done);
    }
    let late = (!late.is_empty()).then(|| run_late(batch, session, protocol, entry, late));
    Some(Flow::Forwarded(Box::pin(async move {
        let mut done = Vec::with_capacity(replies.len());
        for reply in replies {
            done.push(reply.await);
        }
        if let Some(late) = late {
            done.extend(late.await);
        }
        merged(&done)
    })))
}

fn ready(reply: Pending) -> Option<Bytes> {
    let mut reply = reply;
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match reply.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(bytes) => Some(bytes),
        std::task::Poll::Pending => None,
    }
}

/// Runs the parts that had to wait when their turn came, after everything the client sent before.
fn run_late(
    batch: &Batch<'_>,
    session: &Session,
    protocol: Protocol,
    entry: &'static Entry,
    parts: Vec<Part>,
) -> Pin<Box<dyn Future<Output = Vec<Bytes>>>> {
    let thread: Rc<Thread> = batch.thread.clone();
    let order: Rc<Order> = session.order.clone();
    let ticket = order.ticket(0, dialect(session, protocol));
    ticket.disturb();
    // A session of its own: the client's goes on, and waits for the ticket.
    let db = session.db;
    let mut session = Session::new(session.info.clone(), &session.user);
    session.db = db;
    session.authenticated = true;
    session.routing = Some(Routing::Proxy);
    let task = tokio::task::spawn_local(async move {
        while order.under_way() > 1 {
            tokio::time::sleep(Duration::from_millis(WAIT_MILLIS)).await;
        }
        let mut replies = Vec::with_capacity(parts.len());
        for part in parts {
            replies.push(run_alone(&thread, &mut session, protocol, entry, &part.argv).await);
        }
        drop(ticket);
        replies
    });
    Box::pin(async {
        task.await.unwrap_or_else(|_| {
            vec![Bytes::from_static(
                b"-ERR a part of the command was broken off\r\n",
            )]
        })
    })
}

/// Runs a command in a session of its own, as often as it takes.
pub(super) async fn run_alone(
    thread: &Rc<Thread>,
    session: &mut Session,
    protocol: Protocol,
    entry: &'static Entry,
    argv: &[Bytes],
) -> Bytes {
    let words = by_ref(argv);
    loop {
        let mut out = Writer::new(protocol);
        // The pin of the epoch must not outlast a wait.
        let flow = {
            let guard = thread.node.keyspace.pin();
            let mut batch = Batch::new(thread, &guard);
            execute(&mut batch, session, &mut out, entry, &words)
        };
        match flow {
            Flow::Done => return out.take(),
            Flow::Forwarded(reply) => return reply.await,
            Flow::Later(reply) => return Bytes::from(reply.await),
            Flow::Blocked(blocked) => return Bytes::from(blocked.answer().await.reply),
            Flow::Replica(_) => unreachable!("only SYNC and PSYNC make replicas"),
            Flow::Paused { wait_ms } => {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
        }
    }
}

/// The reply made from the parts' replies; `keys` says for each part which keys it had.
fn merge_all(
    protocol: Protocol,
    merge: Merge,
    keys: Vec<Vec<usize>>,
) -> impl FnOnce(&[Bytes]) -> Bytes {
    move |replies| {
        if let Some(error) = replies.iter().find(|reply| reply.starts_with(b"-")) {
            return error.clone();
        }
        let merged = match merge {
            Merge::Ok => replies
                .iter()
                .all(|reply| &reply[..] == b"+OK\r\n")
                .then(|| Bytes::from_static(b"+OK\r\n")),
            Merge::Sum => sum(protocol, replies),
            Merge::Elements => elements(replies, &keys),
        };
        merged.unwrap_or_else(|| {
            Bytes::from_static(b"-ERR a node's reply to a part of the command makes no sense\r\n")
        })
    }
}

fn sum(protocol: Protocol, replies: &[Bytes]) -> Option<Bytes> {
    let mut total = 0i64;
    for reply in replies {
        let digits = reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
        total = total.checked_add(integer::parse_i64(digits)?)?;
    }
    let mut out = Writer::new(protocol);
    out.integer(total);
    Some(out.take())
}

fn elements(replies: &[Bytes], keys: &[Vec<usize>]) -> Option<Bytes> {
    let count = keys.iter().map(Vec::len).sum();
    let mut found: Vec<Bytes> = vec![Bytes::new(); count];
    for (reply, keys) in replies.iter().zip(keys) {
        let head = memchr::memchr(b'\n', reply)? + 1;
        let digits = reply[..head].strip_prefix(b"*")?.strip_suffix(b"\r\n")?;
        if integer::parse_i64(digits)? != keys.len() as i64 {
            return None;
        }
        let mut at = head;
        for key in keys {
            let step = ReplyScanner::new().next(&reply[at..], &ReplyLimits::default());
            let Ok(ReplyStep::Whole { len }) = step else {
                return None;
            };
            found[*key] = reply.slice(at..at + len);
            at += len;
        }
    }
    let mut merged = BytesMut::with_capacity(found.iter().map(Bytes::len).sum::<usize>() + 16);
    merged.extend_from_slice(format!("*{count}\r\n").as_bytes());
    for element in &found {
        if element.is_empty() {
            return None;
        }
        merged.extend_from_slice(element);
    }
    Some(merged.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_by_slot() {
        let closed = |_| false;
        assert_eq!(parts_of(&[b"DEL", b"{a}1", b"{a}2"], 1, closed), None);
        assert_eq!(parts_of(&[b"MSET", b"foo", b"1", b"bar"], 2, closed), None);
        let argv: [&[u8]; 7] = [b"MSET", b"foo", b"1", b"bar", b"2", b"foo", b"3"];
        let parts = parts_of(&argv, 2, closed).expect("two slots");
        let words = |list: &[&'static [u8]]| list.iter().map(|w| Bytes::from_static(w)).collect();
        let expected = [
            Part {
                argv: words(&[b"MSET", b"bar", b"2"]),
                keys: vec![1],
            },
            Part {
                argv: words(&[b"MSET", b"foo", b"1", b"foo", b"3"]),
                keys: vec![0, 2],
            },
        ];
        assert_eq!(parts, expected);
        let open: [&[u8]; 4] = [b"DEL", b"{a}1", b"{a}2", b"{a}1"];
        let parts = parts_of(&open, 1, |_| true).expect("two keys");
        let keys: Vec<_> = parts.iter().map(|part| &part.keys[..]).collect();
        assert_eq!(keys, [&[0, 2][..], &[1]]);
    }

    fn merged(merge: Merge, keys: &[&[usize]], replies: &[&'static str]) -> String {
        let keys = keys.iter().map(|keys| keys.to_vec()).collect();
        let replies: Vec<Bytes> = replies.iter().map(|text| Bytes::from(*text)).collect();
        let bytes = merge_all(Protocol::Resp2, merge, keys)(&replies);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn replies_are_merged_in_the_order_of_the_keys() {
        let keys: [&[usize]; 2] = [&[1], &[0, 2]];
        assert_eq!(
            merged(
                Merge::Elements,
                &keys,
                &["*1\r\n$-1\r\n", "*2\r\n$1\r\na\r\n$2\r\n\r\n\r\n"]
            ),
            "*3\r\n$1\r\na\r\n$-1\r\n$2\r\n\r\n\r\n"
        );
        assert_eq!(merged(Merge::Sum, &keys, &[":1\r\n", ":41\r\n"]), ":42\r\n");
        assert_eq!(merged(Merge::Ok, &keys, &["+OK\r\n", "+OK\r\n"]), "+OK\r\n");
    }

    #[test]
    fn the_first_error_wins_and_nonsense_is_one() {
        let keys: [&[usize]; 2] = [&[0], &[1]];
        for merge in [Merge::Elements, Merge::Sum, Merge::Ok] {
            let first = merged(merge, &keys, &["-ONE\r\n", "-TWO\r\n"]);
            assert_eq!(first, "-ONE\r\n");
            for nonsense in ["+NO\r\n", "*2\r\n:1\r\n:2\r\n", "*1\r\n", ":x\r\n", ""] {
                let text = merged(merge, &keys, &[nonsense, nonsense]);
                assert!(text.starts_with("-ERR a node's reply"), "{merge:?} {text}");
            }
        }
    }
}
