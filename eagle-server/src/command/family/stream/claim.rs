//! Entries delivered and not acknowledged: XACK, XCLAIM, XAUTOCLAIM; and how such deliveries are propagated.

use super::reply::IdText;
use super::{id, no_key_or_group, reply};
use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::effect::Effects;
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::store::{ConsumerRef, GroupRef, StoreError, StreamEdit, StreamId};

/// A group that deliveries are made in, for their effects.
#[derive(Clone, Copy)]
pub(super) struct Group<'k> {
    pub(super) db: u8,
    pub(super) key: &'k [u8],
    pub(super) name: &'k [u8],
}

impl Group<'_> {
    /// Propagates what a group has to know of an entry delivered: an XCLAIM that any state of a replica takes.
    pub(super) fn delivered(
        &self,
        effects: &mut Effects,
        id: StreamId,
        consumer: &[u8],
        delivered_ms: u64,
        deliveries: u64,
        last_id: StreamId,
    ) {
        if !effects.are_wanted() {
            return;
        }
        let (id, last_id) = (IdText::of(id), IdText::of(last_id));
        let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        let words: [&[u8]; 14] = [
            b"XCLAIM",
            self.key,
            self.name,
            consumer,
            b"0",
            id.as_bytes(),
            b"TIME",
            time.format(delivered_ms as i64).as_bytes(),
            b"RETRYCOUNT",
            count.format(deliveries as i64).as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            last_id.as_bytes(),
        ];
        effects.instead(self.db, &words);
    }

    /// Propagates what a group was delivered last.
    pub(super) fn moved(&self, effects: &mut Effects, last_id: StreamId, read: Option<u64>) {
        let read = read.map_or(-1, |read| read as i64);
        let (last_id, mut digits) = (IdText::of(last_id), itoa::Buffer::new());
        let words: [&[u8]; 7] = [
            b"XGROUP",
            b"SETID",
            self.key,
            self.name,
            last_id.as_bytes(),
            b"ENTRIESREAD",
            digits.format(read).as_bytes(),
        ];
        effects.instead(self.db, &words);
    }

    /// Propagates that there is a consumer.
    pub(super) fn joined(&self, effects: &mut Effects, consumer: &[u8]) {
        let words: [&[u8]; 5] = [b"XGROUP", b"CREATECONSUMER", self.key, self.name, consumer];
        effects.instead(self.db, &words);
    }
}

/// The consumer called `name`, seen now; whether it was made for that.
pub(super) fn arrive<'a>(
    stream: &mut StreamEdit<'_, '_, 'a>,
    group: &GroupRef<'a>,
    name: &[u8],
    now_ms: u64,
) -> Result<(ConsumerRef<'a>, bool), StoreError> {
    match group.consumer(name) {
        Some(consumer) => {
            stream.see_consumer(&consumer, now_ms)?;
            Ok((consumer, false))
        }
        None => Ok((stream.create_consumer(group, name, now_ms)?, true)),
    }
}

/// XACK key group id [id ...] -- takes entries out of what the group has to acknowledge; their number.
pub(super) const XACK: Command = Command::new(
    "xack",
    -4,
    xack,
    Docs::new("stream", "5.0.0", "Marks a pending message as correctly processed, effectively removing it from the pending entries list of the consumer group. Return value of the command is the number of messages successfully acknowledged, that is, the IDs we were actually able to resolve in the PEL.")
    .complexity("O(1) for each message ID processed.")
    .syntax("key group id [id ...]"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::STREAM)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])]);

fn xack(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, name, db) = (args.word()?, args.word()?, cx.db());
    let stream = cx.noted(cx.view.stream(db, key))?;
    if stream.is_none_or(|stream| stream.group(name).is_none()) {
        return cx.reply_integer(0);
    }
    let ids = id::all(args.rest())?;
    let acknowledged = cx.view.edit_stream(db, key, false, |stream| {
        let Some(group) = stream.stream().group(name) else {
            return Ok(0);
        };
        let mut acknowledged = 0;
        for id in ids {
            if let Some(pending) = group.pending(id) {
                stream.remove_pending(&group, &pending)?;
                acknowledged += 1;
            }
        }
        stream.note(acknowledged);
        Ok(acknowledged)
    })?;
    cx.reply_integer(acknowledged.unwrap_or(0) as i64)
}

/// The options of XCLAIM.
#[derive(Clone, Copy, Debug, Default)]
struct Claim {
    force: bool,
    just_id: bool,
    delivered_ms: Option<i64>,
    deliveries: Option<i64>,
    last_id: StreamId,
}

impl Claim {
    /// Reads the words behind the ids.
    fn parse(args: &mut Args<'_>, now_ms: u64) -> Result<Claim, CommandError> {
        let mut claim = Claim::default();
        while let Some(word) = args.peek() {
            let more = args.len() > 1;
            if args.accept("force") {
                claim.force = true;
            } else if args.accept("justid") {
                claim.just_id = true;
            } else if more && args.accept("idle") {
                let idle = figure(args, "ERR Invalid IDLE option argument for XCLAIM")?;
                claim.delivered_ms = Some((now_ms as i64).wrapping_sub(idle));
            } else if more && args.accept("time") {
                let at = figure(args, "ERR Invalid TIME option argument for XCLAIM")?;
                claim.delivered_ms = Some(at);
            } else if more && args.accept("retrycount") {
                let count = figure(args, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                claim.deliveries = Some(count);
            } else if more && args.accept("lastid") {
                claim.last_id = id::strict(args.word()?, 0)?;
            } else {
                return Err(CommandError::quoting(&[
                    b"ERR Unrecognized XCLAIM option '",
                    super::c_string(word),
                    b"'",
                ]));
            }
        }
        Ok(claim)
    }
}

/// The next word as an integer, else this error.
fn figure(args: &mut Args<'_>, error: &'static str) -> Result<i64, CommandError> {
    parse_integer(args.word()?).map_err(|_| CommandError::new(error))
}

/// XCLAIM key group consumer min-idle-time id [id ...] [options] -- makes entries that were delivered to others pending
/// for this consumer; the entries.
pub(super) const XCLAIM: Command = Command::new(
    "xclaim",
    -6,
    xclaim,
    Docs::new("stream", "5.0.0", "Changes (or acquires) ownership of a message in a consumer group, as if the message was delivered to the specified consumer.")
    .complexity("O(log N) with N being the number of messages in the PEL of the consumer group.")
    .syntax("key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::STREAM)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])])
.tips(&["nondeterministic_output"]);

fn xclaim(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, name, consumer_name) = (args.word()?, args.word()?, args.word()?);
    let (db, now_ms) = (cx.db(), cx.now_ms);
    let stream = cx.noted(cx.view.stream(db, key))?;
    if stream.is_none_or(|stream| stream.group(name).is_none()) {
        return Err(no_key_or_group(key, name, ""));
    }
    let min_idle = figure(&mut args, "ERR Invalid min-idle-time argument for XCLAIM")?;
    let mut ids = Vec::new();
    while let Some(Ok(id)) = args.peek().map(|word| id::strict(word, 0)) {
        ids.push(id);
        args.word()?;
    }
    let claim = Claim::parse(&mut args, now_ms)?;
    let delivered_ms = match claim.delivered_ms {
        // Minus one is what stands for no time given.
        Some(at) if at >= 0 && at <= now_ms as i64 => at as u64,
        _ => now_ms,
    };
    let group_name = Group { db, key, name };
    let (out, effects) = (&mut *cx.out, &mut *cx.effects);
    effects.none();
    let mut joined = false;
    cx.view.edit_stream(db, key, false, |stream| {
        let Some(group) = stream.stream().group(name) else {
            return Ok(());
        };
        let (mut last_id, mut moved) = (group.last_id(), false);
        if claim.last_id > last_id {
            (last_id, moved) = (claim.last_id, true);
            stream.set_group(&group, last_id, group.entries_read())?;
        }
        let mut consumer = None;
        let header = out.deferred();
        let mut count = 0;
        for id in ids {
            let pending = group.pending(id);
            let Some(entry) = stream.stream().get(id) else {
                if let Some(pending) = pending {
                    group_name.delivered(
                        effects,
                        id,
                        pending.consumer,
                        pending.delivered_ms,
                        pending.deliveries,
                        last_id,
                    );
                    moved = false;
                    stream.remove_pending(&group, &pending)?;
                    stream.note(1);
                }
                continue;
            };
            if pending.is_none() && !claim.force {
                continue;
            }
            if let Some(pending) = &pending
                && min_idle > 0
                && (now_ms as i64).wrapping_sub(pending.delivered_ms as i64) < min_idle
            {
                continue;
            }
            let owner = match consumer {
                Some(owner) => owner,
                None => {
                    let (owner, is_new) = arrive(stream, &group, consumer_name, now_ms)?;
                    joined |= is_new;
                    consumer = Some(owner);
                    owner
                }
            };
            // What FORCE makes begins as delivered once.
            let before = pending.map_or(1, |pending| pending.deliveries);
            let deliveries = match claim.deliveries {
                Some(count) if count >= 0 => count as u64,
                _ => before + u64::from(!claim.just_id),
            };
            stream.set_pending(&group, &owner, id, delivered_ms, deliveries)?;
            if claim.just_id {
                reply::id(out, id);
            } else {
                reply::entry(out, &entry);
            }
            count += 1;
            group_name.delivered(effects, id, owner.name(), delivered_ms, deliveries, last_id);
            moved = false;
            stream.note(1);
        }
        if moved {
            group_name.moved(effects, last_id, group.entries_read());
            stream.note(1);
        }
        out.finish_array(header, count);
        Ok(())
    })?;
    if joined {
        cx.notify(EventClasses::STREAM, "xgroup-createconsumer", key);
    }
    Ok(Flow::Done)
}

/// Pendings that XAUTOCLAIM looks at for each one it may claim.
const ATTEMPTS_FACTOR: u64 = 10;

/// XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID] -- claims what has been pending for so long;
/// from where to go on, the entries, and the ids of those that are no longer there.
pub(super) const XAUTOCLAIM: Command = Command::new(
    "xautoclaim",
    -6,
    xautoclaim,
    Docs::new("stream", "6.2.0", "Changes (or acquires) ownership of messages in a consumer group, as if the messages were delivered to the specified consumer.")
    .complexity("O(1) if COUNT is small.")
    .syntax("key group consumer min-idle-time:string start:string [COUNT count] [JUSTID]")
    .history(&[("7.0.0", "Added an element to the reply array, containing deleted entries the command cleared from the PEL")]),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::STREAM)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::DELETE])])
.tips(&["nondeterministic_output"]);

fn xautoclaim(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const COUNT_RANGE: CommandError = CommandError::new("ERR COUNT must be > 0");
    const COUNT_MAX: i64 = i64::MAX / 16;
    let (key, name, consumer_name) = (args.word()?, args.word()?, args.word()?);
    let (db, now_ms) = (cx.db(), cx.now_ms);
    let min_idle = figure(
        &mut args,
        "ERR Invalid min-idle-time argument for XAUTOCLAIM",
    )?;
    let start = id::interval_start(args.word()?)?;
    let (mut count, mut just_id) = (100, false);
    while !args.is_empty() {
        if args.len() > 1 && args.accept("count") {
            count = match args.integer() {
                Ok(count @ 1..=COUNT_MAX) => count as u64,
                _ => return Err(COUNT_RANGE),
            };
        } else if args.accept("justid") {
            just_id = true;
        } else {
            return Err(errors::SYNTAX);
        }
    }
    let stream = cx.noted(cx.view.stream(db, key))?;
    if stream.is_none_or(|stream| stream.group(name).is_none()) {
        return Err(no_key_or_group(key, name, ""));
    }
    let group_name = Group { db, key, name };
    let (out, effects) = (&mut *cx.out, &mut *cx.effects);
    effects.none();
    let mut joined = false;
    cx.view.edit_stream(db, key, false, |stream| {
        let Some(group) = stream.stream().group(name) else {
            return Ok(());
        };
        let last_id = group.last_id();
        let mut attempts = count.saturating_mul(ATTEMPTS_FACTOR);
        let mut next = Some(start);
        let (mut claimed, mut gone) = (Vec::new(), Vec::new());
        let mut consumer = None;
        let mut more = None;
        while let Some(from) = next {
            // The tree changes with each step: find the place anew.
            let Some(pending) = group.pending_from(from).next() else {
                break;
            };
            if attempts == 0 || count == 0 {
                more = Some(pending.id);
                break;
            }
            attempts -= 1;
            let id = pending.id;
            next = id.next();
            let Some(entry) = stream.stream().get(id) else {
                group_name.delivered(
                    effects,
                    id,
                    pending.consumer,
                    pending.delivered_ms,
                    pending.deliveries,
                    last_id,
                );
                stream.remove_pending(&group, &pending)?;
                stream.note(1);
                gone.push(id);
                count -= 1;
                continue;
            };
            if min_idle > 0 && (now_ms as i64).wrapping_sub(pending.delivered_ms as i64) < min_idle
            {
                continue;
            }
            let owner = match consumer {
                Some(owner) => owner,
                None => {
                    let (owner, is_new) = arrive(stream, &group, consumer_name, now_ms)?;
                    joined |= is_new;
                    consumer = Some(owner);
                    owner
                }
            };
            let deliveries = pending.deliveries + u64::from(!just_id);
            stream.set_pending(&group, &owner, id, now_ms, deliveries)?;
            claimed.push(entry);
            count -= 1;
            group_name.delivered(effects, id, owner.name(), now_ms, deliveries, last_id);
            stream.note(1);
        }
        out.array(3);
        reply::id(out, more.unwrap_or(StreamId::MIN));
        out.array(claimed.len());
        for entry in &claimed {
            if just_id {
                reply::id(out, entry.id);
            } else {
                reply::entry(out, entry);
            }
        }
        out.array(gone.len());
        for id in gone {
            reply::id(out, id);
        }
        Ok(())
    })?;
    if joined {
        cx.notify(EventClasses::STREAM, "xgroup-createconsumer", key);
    }
    Ok(Flow::Done)
}
