//! Named members of sets: SADD, SREM, SISMEMBER, SMISMEMBER, SMOVE.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;

/// SADD key member [member ...] -- adds members to a set, which is made if absent; the number of new
/// ones.
pub(super) const SADD: Command = Command::new(
    "sadd",
    -3,
    sadd,
    Docs::new("set", "1.0.0", "Add one or more members to a set")
        .complexity(
            "O(1) for each element added, so O(N) to add N elements when the command is called \
             with multiple arguments.",
        )
        .syntax("key member [member ...]")
        .history(&[("2.4.0", "Accepts multiple `member` arguments.")]),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::SET)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::INSERT])]);

fn sadd(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    let added = cx.view.set_add(db, key, args.rest())?;
    if added > 0 {
        cx.notify(EventClasses::SET, "sadd", key);
    }
    cx.reply_integer(added as i64)
}

/// SREM key member [member ...] -- removes members; their number.
pub(super) const SREM: Command = Command::new(
    "srem",
    -3,
    srem,
    Docs::new("set", "1.0.0", "Remove one or more members from a set")
        .complexity("O(N) where N is the number of members to be removed.")
        .syntax("key member [member ...]")
        .history(&[("2.4.0", "Accepts multiple `member` arguments.")]),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::SET)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::DELETE])]);

fn srem(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    let removed = cx.view.set_remove(db, key, args.rest())?;
    if removed > 0 {
        cx.notify(EventClasses::SET, "srem", key);
        notify_if_gone(cx, key);
    }
    cx.reply_integer(removed as i64)
}

/// Raises the event of a key's end if the last member has taken the set along.
pub(super) fn notify_if_gone(cx: &mut Context<'_>, key: &[u8]) {
    if cx.view.find(cx.db(), key).is_none() {
        cx.notify(EventClasses::GENERIC, "del", key);
    }
}

/// SISMEMBER key member -- whether a member is in a set.
pub(super) const SISMEMBER: Command = Command::new(
    "sismember",
    3,
    sismember,
    Docs::new(
        "set",
        "1.0.0",
        "Determine if a given value is a member of a set",
    )
    .complexity("O(1)")
    .syntax("key member"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::SET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO])]);

fn sismember(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, member) = (args.word()?, args.word()?);
    let set = cx.noted(cx.view.set(cx.db(), key))?;
    let found = set.is_some_and(|set| set.contains(member));
    cx.reply_bool(found)
}

/// SMISMEMBER key member [member ...] -- for each member, whether it is in the set.
pub(super) const SMISMEMBER: Command = Command::new(
    "smismember",
    -3,
    smismember,
    Docs::new(
        "set",
        "6.2.0",
        "Returns the membership associated with the given elements for a set",
    )
    .complexity("O(N) where N is the number of elements being checked for membership")
    .syntax("key member [member ...]"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::SET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn smismember(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let members = args.rest();
    let found = match cx.noted(cx.view.set(cx.db(), key))? {
        Some(set) => set.contains_each(members),
        None => vec![false; members.len()],
    };
    cx.out.array(found.len());
    for found in found {
        cx.out.integer(i64::from(found));
    }
    Ok(Flow::Done)
}

/// SMOVE source destination member -- moves a member from one set to another; whether it was there.
pub(super) const SMOVE: Command = Command::new(
    "smove",
    4,
    smove,
    Docs::new("set", "1.0.0", "Move a member from one set to another")
        .complexity("O(1)")
        .syntax("source destination member"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::SET)
.keys(&[
    KeySpec::index(1, &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE]),
    KeySpec::index(2, &[KeyFlags::RW, KeyFlags::INSERT]),
]);

fn smove(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (from, to, member) = (args.word()?, args.word()?, args.word()?);
    let db = cx.db();
    let (source, target) = (cx.view.set(db, from), cx.view.set(db, to));
    let Some(source) = source? else {
        return cx.reply_bool(false);
    };
    target?;
    if from == to {
        let found = source.contains(member);
        return cx.reply_bool(found);
    }
    if cx.view.set_remove(db, from, &[member])? == 0 {
        return cx.reply_bool(false);
    }
    cx.notify(EventClasses::SET, "srem", from);
    notify_if_gone(cx, from);
    if cx.view.set_add(db, to, &[member])? > 0 {
        cx.notify(EventClasses::SET, "sadd", to);
    }
    cx.reply_bool(true)
}
