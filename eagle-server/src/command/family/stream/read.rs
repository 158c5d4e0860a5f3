//! XREAD and XREADGROUP: new entries of several streams, for one client or for the consumers of a group.

use super::claim::{Group, arrive};
use super::{id, no_key_or_group, reply};
use crate::command::args::{Args, parse_integer};
use crate::command::blocking::{self, Block, Nothing, Served};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::forwarding::{Forwarding, Timeout};
use crate::command::keys::{KeyRef, KeyRefs};
use crate::command::spec::{
    BeginSearch, Categories, Command, Docs, FindKeys, Flags, KeyFlags, KeySpec, Scope,
};
use crate::config::special::EventClasses;
use crate::session::Awaited;
use eagle_core::resp::Protocol;
use eagle_core::store::{Kind, StoreError, StreamEntry, StreamId};

const UNBALANCED: CommandError = CommandError::new(
    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
);
const GROUP_OF_XREAD: CommandError = CommandError::new(
    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
);
const NOACK_OF_XREAD: CommandError = CommandError::new(
    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
);
const NO_GROUP_OPTION: CommandError = CommandError::new("ERR Missing GROUP option for XREADGROUP");
const LAST_OF_GROUP: CommandError = CommandError::new(
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
     specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
);
const NEW_OF_XREAD: CommandError = CommandError::new(
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
);

const GROUP_GONE: CommandError =
    CommandError::new("NOGROUP the consumer group this client was blocked on no longer exists");
const KEY_GONE: CommandError = CommandError::new("UNBLOCKED the stream key no longer exists");

const KEY_FLAGS: KeyFlags = KeyFlags::all(&[KeyFlags::RO, KeyFlags::ACCESS]);

/// The first half of the words behind STREAMS.
const fn streams(start: i16) -> KeySpec {
    KeySpec {
        begin: BeginSearch::Keyword {
            keyword: "STREAMS",
            start,
        },
        find: FindKeys::Range {
            last: -1,
            step: 1,
            limit: 2,
        },
        flags: KEY_FLAGS,
        notes: "",
    }
}

/// The keys of a request whose options are in order. A request that will be refused has none, so that the error, not a
/// redirection, is the reply.
fn stream_keys(argv: &[&[u8]]) -> KeyRefs {
    let mut at = 1;
    loop {
        match argv
            .get(at)
            .map(|word| word.to_ascii_lowercase())
            .as_deref()
        {
            Some(b"block" | b"count") => at += 2,
            Some(b"group") => at += 3,
            Some(b"noack") => at += 1,
            Some(b"streams") => break,
            _ => return KeyRefs::new(),
        }
    }
    let words = argv.len() - at - 1;
    if !words.is_multiple_of(2) {
        return KeyRefs::new();
    }
    (at + 1..at + 1 + words / 2)
        .map(|position| KeyRef {
            position,
            flags: KEY_FLAGS,
        })
        .collect()
}

/// XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...] -- entries behind these ids.
pub(super) const XREAD: Command = Command::new(
    "xread",
    -4,
    xread,
    Docs::new("stream", "5.0.0", "Return never seen elements in multiple streams, with IDs greater than the ones reported by the caller for each stream. Can block.")
    .complexity("For each stream mentioned: O(N) with N being the number of elements being returned, it means that XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK option is used, XADD will pay O(M) time in order to serve the M clients blocked on the stream getting new data.")
    .syntax("[COUNT count] [BLOCK milliseconds] STREAMS streams=<key [key ...] id [id ...]>"),
)
.flags(&[Flags::BLOCKING, Flags::READONLY, Flags::MOVABLE_KEYS])
.scope(Scope::Keys)
.family(Categories::STREAM)
.keys(&[streams(1)])
.find_keys(stream_keys)
.forwarded(Forwarding::Wait(Timeout::Block));

fn xread(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    read(cx, args, false)
}

/// XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...] -- entries
/// that the group has not been given yet (`>`), or what the consumer has not acknowledged.
pub(super) const XREADGROUP: Command = Command::new(
    "xreadgroup",
    -7,
    xreadgroup,
    Docs::new("stream", "5.0.0", "Return new entries from a stream using a consumer group, or access the history of the pending entries for a given consumer. Can block.")
    .complexity("For each stream mentioned: O(M) with M being the number of elements returned. If M is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) time in order to serve the N clients blocked on the stream getting new data.")
    .syntax("GROUP <group consumer> [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS streams=<key [key ...] id [id ...]>"),
)
.flags(&[Flags::BLOCKING, Flags::WRITE, Flags::MOVABLE_KEYS])
.family(Categories::STREAM)
.keys(&[streams(4)])
.find_keys(stream_keys)
.forwarded(Forwarding::Wait(Timeout::Block));

fn xreadgroup(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    read(cx, args, true)
}

/// On whose behalf a group is read.
#[derive(Clone, Copy, Debug)]
struct Consumer<'k> {
    group: &'k [u8],
    name: &'k [u8],
    no_ack: bool,
}

/// What is asked for.
#[derive(Debug)]
struct Request<'k> {
    consumer: Option<Consumer<'k>>,
    /// Most entries of each stream; 0: all.
    count: usize,
    /// Until when to wait for something, if at all.
    block: Option<Option<u64>>,
    keys: &'k [&'k [u8]],
    ids: &'k [&'k [u8]],
}

impl<'k> Request<'k> {
    fn parse(
        mut args: Args<'k>,
        is_group: bool,
        in_script: bool,
        now_ms: u64,
    ) -> Result<Request<'k>, CommandError> {
        let (mut group, mut no_ack, mut count, mut block) = (None, false, 0, None);
        loop {
            let more = args.len().saturating_sub(1);
            if more > 0 && args.accept("block") {
                if in_script {
                    return Err(CommandError::quoting(&[
                        b"ERR ",
                        args.argv()[0],
                        b" command is not allowed with BLOCK option from scripts",
                    ]));
                }
                block = Some(blocking::milliseconds(args.word()?, now_ms)?);
            } else if more > 0 && args.accept("count") {
                count = parse_integer(args.word()?)?.max(0) as usize;
            } else if more > 0 && args.accept("streams") {
                break;
            } else if more > 1 && args.accept("group") {
                if !is_group {
                    return Err(GROUP_OF_XREAD);
                }
                group = Some((args.word()?, args.word()?));
            } else if args.accept("noack") {
                if !is_group {
                    return Err(NOACK_OF_XREAD);
                }
                no_ack = true;
            } else {
                return Err(errors::SYNTAX);
            }
        }
        let words = args.rest();
        if !words.len().is_multiple_of(2) {
            return Err(UNBALANCED);
        }
        if is_group && group.is_none() {
            return Err(NO_GROUP_OPTION);
        }
        let (keys, ids) = words.split_at(words.len() / 2);
        Ok(Request {
            consumer: group.map(|(group, name)| Consumer {
                group,
                name,
                no_ack,
            }),
            count,
            block,
            keys,
            ids,
        })
    }

    /// Behind which id each stream is read; the last id there is stands for `>`.
    fn starts(&self, cx: &Context<'_>) -> Result<Vec<StreamId>, CommandError> {
        let mut starts = Vec::with_capacity(self.ids.len());
        for (key, id) in self.keys.iter().zip(self.ids) {
            let stream = cx.noted(cx.view.stream(cx.db(), key))?;
            if let Some(consumer) = &self.consumer
                && stream.is_none_or(|stream| stream.group(consumer.group).is_none())
            {
                let tail = " in XREADGROUP with GROUP option";
                return Err(no_key_or_group(key, consumer.group, tail));
            }
            starts.push(match *id {
                b"$" if self.consumer.is_some() => return Err(LAST_OF_GROUP),
                b"$" => stream.map_or(StreamId::MIN, |stream| stream.last_id()),
                b">" if self.consumer.is_none() => return Err(NEW_OF_XREAD),
                b">" => StreamId::MAX,
                id => id::strict(id, 0)?,
            });
        }
        Ok(starts)
    }
}

fn read(cx: &mut Context<'_>, args: Args<'_>, is_group: bool) -> Outcome {
    let request = Request::parse(args, is_group, cx.session.in_script, cx.now_ms)?;
    let starts = request.starts(cx)?;
    cx.effects.none();
    let mut header = None;
    let mut served = 0;
    for (key, &start) in request.keys.iter().zip(&starts) {
        let Some(stream) = cx.view.stream(cx.db(), key)? else {
            continue;
        };
        let mut after = start;
        let is_new = is_group && start == StreamId::MAX;
        if !is_group || is_new {
            if let Some(consumer) = request.consumer.filter(|_| is_new) {
                let group = stream.group(consumer.group);
                after = group.map_or(StreamId::MAX, |group| group.last_id());
            }
            if stream.last_entry_id().is_none_or(|last| last <= after) {
                continue;
            }
        }
        header.get_or_insert_with(|| cx.out.deferred());
        served += 1;
        if cx.out.protocol() == Protocol::Resp2 {
            cx.out.array(2);
        }
        cx.out.bulk(key);
        match request.consumer {
            None => plain(cx, key, after, request.count)?,
            Some(consumer) => deliver(cx, key, consumer, after, request.count, !is_new)?,
        }
    }
    if let Some(header) = header {
        match cx.out.protocol() {
            Protocol::Resp2 => cx.out.finish_array(header, served),
            Protocol::Resp3 => cx.out.finish_map(header, served),
        }
        return Ok(Flow::Done);
    }
    match request.block {
        Some(deadline_ms) => wait(cx, &args, &request, &starts, deadline_ms),
        None => {
            cx.out.null_array();
            Ok(Flow::Done)
        }
    }
}

/// Replies the entries behind an id.
fn plain(
    cx: &mut Context<'_>,
    key: &[u8],
    after: StreamId,
    count: usize,
) -> Result<(), CommandError> {
    let stream = cx.view.stream(cx.db(), key)?;
    let from = after.next().unwrap_or(StreamId::MIN);
    let count = if count == 0 { usize::MAX } else { count };
    let found = stream.map(|stream| stream.range(from, StreamId::MAX));
    reply::entries(cx.out, found.into_iter().flatten().take(count));
    Ok(())
}

/// Replies entries to a consumer: those behind an id, which become pending, or of its history what is still pending.
fn deliver(
    cx: &mut Context<'_>,
    key: &[u8],
    consumer: Consumer<'_>,
    after: StreamId,
    count: usize,
    is_history: bool,
) -> Result<(), CommandError> {
    let (db, now_ms) = (cx.db(), cx.now_ms);
    let from = after.next().unwrap_or(StreamId::MIN);
    let count = if count == 0 { usize::MAX } else { count };
    let name = Group {
        db,
        key,
        name: consumer.group,
    };
    let (out, effects) = (&mut *cx.out, &mut *cx.effects);
    let joined = cx.view.edit_stream(db, key, false, |stream| {
        let Some(group) = stream.stream().group(consumer.group) else {
            return Ok(false);
        };
        let (owner, joined) = arrive(stream, &group, consumer.name, now_ms)?;
        if joined && consumer.no_ack {
            name.joined(effects, consumer.name);
        }
        stream.note(1);
        if is_history {
            let pendings: Vec<_> = owner.pending_from(from).take(count).collect();
            out.array(pendings.len());
            for pending in pendings {
                match stream.stream().get(pending.id) {
                    Some(entry) => {
                        reply::entry(out, &entry);
                        let deliveries = pending.deliveries + 1;
                        stream.set_pending(&group, &owner, pending.id, now_ms, deliveries)?;
                    }
                    None => {
                        out.array(2);
                        reply::id(out, pending.id);
                        out.null_array();
                    }
                }
            }
            return Ok(joined);
        }
        let current = stream.stream();
        let entries: Vec<StreamEntry<'_>> =
            current.range(from, StreamId::MAX).take(count).collect();
        let (mut last, mut read, mut moved) = (group.last_id(), group.entries_read(), false);
        out.array(entries.len());
        for entry in &entries {
            reply::entry(out, entry);
            let id = entry.id;
            if id > last {
                if read.is_some() && !current.has_tombstones_from(id) {
                    read = read.map(|read| read + 1);
                } else if current.entries_added() > 0 {
                    read = current.entries_up_to(id);
                }
                (last, moved) = (id, true);
            }
            if !consumer.no_ack {
                stream.set_pending(&group, &owner, id, now_ms, 1)?;
                name.delivered(effects, id, consumer.name, now_ms, 1, last);
            }
        }
        if moved {
            stream.set_group(&group, last, read)?;
            if consumer.no_ack {
                name.moved(effects, last, read);
            }
        }
        Ok::<_, StoreError>(joined)
    })?;
    if joined == Some(true) {
        cx.notify(EventClasses::STREAM, "xgroup-createconsumer", key);
    }
    Ok(())
}

/// Group and name of a consumer, and whether it acknowledges by reading.
type OwnedConsumer = (Box<[u8]>, Box<[u8]>, bool);

/// What a client waits for that nothing could be given.
struct Wait {
    keys: Vec<(Box<[u8]>, StreamId)>,
    consumer: Option<OwnedConsumer>,
    count: usize,
}

/// Waits for entries behind these ids.
fn wait(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    request: &Request<'_>,
    starts: &[StreamId],
    deadline_ms: Option<u64>,
) -> Outcome {
    /// A low id given by mistake must not make a wait end with a whole large stream.
    const COUNT_DEFAULT: usize = 1000;
    let keys = request.keys.iter().zip(starts);
    let wait = Wait {
        keys: keys.map(|(key, start)| (Box::from(*key), *start)).collect(),
        consumer: request.consumer.map(|consumer| {
            let Consumer {
                group,
                name,
                no_ack,
            } = consumer;
            (group.into(), name.into(), no_ack)
        }),
        count: match request.count {
            0 => COUNT_DEFAULT,
            count => count,
        },
    };
    let block = Block {
        keys: request.keys,
        awaited: Awaited {
            kind: Kind::Stream,
            loss: request.consumer.is_some(),
        },
        deadline_ms,
        also_locked: &[],
        nothing: Nothing::NullArray,
        serve: Box::new(move |cx, key| wait.serve(cx, key)),
    };
    cx.block(args.argv(), block)
}

impl Wait {
    /// Gives the client what has come, if it is for it.
    fn serve(&self, cx: &mut Context<'_>, key: &[u8]) -> Result<Served, CommandError> {
        cx.effects.none();
        let Some(stream) = cx.view.stream(cx.db(), key).ok().flatten() else {
            return Err(KEY_GONE);
        };
        let after = match &self.consumer {
            Some((group, ..)) => stream.group(group).ok_or(GROUP_GONE)?.last_id(),
            None => {
                let start = self.keys.iter().find(|(name, _)| **name == *key);
                start.map_or(StreamId::MAX, |(_, start)| *start)
            }
        };
        if stream.last_id() <= after {
            return Ok(Served::Waits);
        }
        match cx.out.protocol() {
            Protocol::Resp2 => {
                cx.out.array(1);
                cx.out.array(2);
            }
            Protocol::Resp3 => cx.out.map(1),
        }
        cx.out.bulk(key);
        match &self.consumer {
            None => plain(cx, key, after, self.count)?,
            Some((group, name, no_ack)) => {
                let consumer = Consumer {
                    group,
                    name,
                    no_ack: *no_ack,
                };
                deliver(cx, key, consumer, after, self.count, false)?;
            }
        }
        Ok(Served::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn mistakes_are_refused() {
        for (line, is_group, error) in [
            ("streams a", false, UNBALANCED),
            ("group g c streams a 0", false, GROUP_OF_XREAD),
            ("noack streams a 0", false, NOACK_OF_XREAD),
            ("streams a 0", true, NO_GROUP_OPTION),
            ("count x streams a 0", false, errors::NOT_INTEGER),
            ("what streams a 0", false, errors::SYNTAX),
            ("count 1", false, errors::SYNTAX),
            ("streams", false, errors::SYNTAX),
        ] {
            let words = words(line);
            let parsed = Request::parse(Args::new(&words, 0), is_group, false, 1);
            assert_eq!(parsed.err(), Some(error), "{line}");
        }
    }
}
