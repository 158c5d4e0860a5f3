//! Members drawn at random: SPOP, SRANDMEMBER.

use super::member::notify_if_gone;
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors;
use crate::command::lookup::write_text;
use crate::command::sample::{
    COUNT_OUT_OF_RANGE, Plan, REPLY_BYTES_MAX, REPLY_TOO_LONG, distinct, plan, shuffle_front,
};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use crate::config::special::EventClasses;
use eagle_core::store::{SetRef, Text, Ttl};

/// SPOP key [count] -- removes a member drawn at random, or several.
pub(super) const SPOP: Command = Command::new(
    "spop",
    -2,
    spop,
    Docs::new(
        "set",
        "1.0.0",
        "Remove and return one or multiple random members from a set",
    )
    .complexity(
        "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.",
    )
    .syntax("key [count]{3.2.0}")
    .history(&[("3.2.0", "Added the `count` argument.")]),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::SET)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.tips(&["nondeterministic_output"])
.replies_first();

fn spop(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    if !args.is_empty() {
        return spop_count(cx, key, args);
    }
    let Some(set) = cx.view.set(db, key)? else {
        return cx.reply_null();
    };
    let member = set.random(&mut rand::random::<u64>);
    let mut buffer = itoa::Buffer::new();
    let member = member.as_bytes(&mut buffer);
    cx.view.set_remove(db, key, &[member])?;
    cx.notify(EventClasses::SET, "spop", key);
    cx.effects.instead(db, &[b"SREM", key, member]);
    notify_if_gone(cx, key);
    cx.reply_bulk(member)
}

fn spop_count(cx: &mut Context<'_>, key: &[u8], mut args: Args<'_>) -> Outcome {
    /// A set is made anew of what remains once the removed are so many times as much.
    const REBUILD_RATIO: usize = 5;
    if args.len() > 1 {
        return Err(errors::SYNTAX);
    }
    let count = args
        .integer()
        .ok()
        .and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(errors::NOT_POSITIVE)?;
    let db = cx.db();
    let Some(set) = cx.view.set(db, key)?.filter(|_| count > 0) else {
        cx.out.set(0);
        return Ok(Flow::Done);
    };
    let len = set.len() as usize;
    let (popped, left) = draw(&set, count.min(len));
    cx.notify(EventClasses::SET, "spop", key);
    if popped.len() == len {
        cx.view.remove(db, key)?;
        cx.notify(EventClasses::GENERIC, "del", key);
        cx.effects.instead(db, &[b"DEL", key]);
    } else {
        let members: Vec<_> = popped.iter().map(Text::to_cow).collect();
        let left = left.filter(|left| left.len() * REBUILD_RATIO <= popped.len());
        match left {
            Some(left) => cx.view.set_set(db, key, &left, Ttl::Keep)?,
            None => {
                let members: Vec<&[u8]> = members.iter().map(AsRef::as_ref).collect();
                cx.view.set_remove(db, key, &members)?;
            }
        }
        for member in &members {
            cx.effects.instead(db, &[b"SREM", key, member]);
        }
    }
    cx.out.set(popped.len());
    popped.iter().for_each(|member| write_text(cx.out, *member));
    Ok(Flow::Done)
}

/// `count` different members, and those left if it took to collect all.
fn draw<'a>(set: &SetRef<'_, 'a>, count: usize) -> (Vec<Text<'a>>, Option<Vec<Text<'a>>>) {
    let rng = &mut rand::random::<u64>;
    match plan(count, set.len() as usize) {
        Plan::Whole => (set.iter().collect(), Some(Vec::new())),
        Plan::Shuffle => {
            let mut members: Vec<_> = set.iter().collect();
            shuffle_front(&mut members, count, rng);
            let left = members.split_off(count);
            (members, Some(left))
        }
        Plan::Redraw => {
            let mut members = Vec::with_capacity(count);
            distinct(
                count,
                || set.random(rng),
                |member| *member,
                |member| members.push(member),
            );
            (members, None)
        }
    }
}

/// SRANDMEMBER key [count] -- a member drawn at random, or several; with repetition if the count is
/// negative.
pub(super) const SRANDMEMBER: Command = Command::new(
    "srandmember",
    -2,
    srandmember,
    Docs::new(
        "set",
        "1.0.0",
        "Get one or multiple random members from a set",
    )
    .complexity(
        "Without the count argument O(1), otherwise O(N) where N is the absolute value of the \
         passed count.",
    )
    .syntax("key [count]{2.6.0}")
    .history(&[("2.6.0", "Added the optional `count` argument.")]),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::SET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output"]);

fn srandmember(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let rng = &mut rand::random::<u64>;
    if args.is_empty() {
        let set = cx.noted(cx.view.set(cx.db(), key))?;
        return cx.reply_text(set.map(|set| set.random(rng)));
    }
    if args.len() > 1 {
        return Err(errors::SYNTAX);
    }
    let count = args.integer_in(-i64::MAX..=i64::MAX, COUNT_OUT_OF_RANGE)?;
    let Some(set) = cx.noted(cx.view.set(cx.db(), key))? else {
        cx.out.array(0);
        return Ok(Flow::Done);
    };
    let wanted = count.unsigned_abs() as usize;
    if count >= 0 {
        let (members, _) = draw(&set, wanted.min(set.len() as usize));
        cx.out.array(members.len());
        members
            .iter()
            .for_each(|member| write_text(cx.out, *member));
        return Ok(Flow::Done);
    }
    let start = cx.out.len();
    cx.out.array(wanted);
    for _ in 0..wanted {
        write_text(cx.out, set.random(rng));
        if cx.out.has_overflowed() {
            break;
        }
        if cx.out.len() - start > REPLY_BYTES_MAX {
            return Err(REPLY_TOO_LONG);
        }
    }
    Ok(Flow::Done)
}
