//! Changing lists in the middle: LSET, LINSERT, LREM, LTRIM.

use super::pop::note_if_gone;
use super::read::range;
use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::store::End;

/// LSET key index element -- replaces the element at a position.
pub(super) const LSET: Command = Command::new(
    "lset",
    4,
    lset,
    Docs::new("list", "1.0.0", "Set the value of an element in a list by its index")
        .complexity("O(N) where N is the length of the list. Setting either the first or the last element of the list is O(1).")
        .syntax("key index element"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::LIST)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])]).replies_first();

fn lset(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    let Some(list) = cx.view.list(db, key)? else {
        return Err(errors::NO_SUCH_KEY);
    };
    let len = list.len() as i64;
    let index = args.integer()?;
    let index = if index < 0 {
        len.saturating_add(index)
    } else {
        index
    };
    if !(0..len).contains(&index) {
        return Err(errors::INDEX_OUT_OF_RANGE);
    }
    cx.view.list_set(db, key, index as u64, args.word()?)?;
    cx.notify(EventClasses::LIST, "lset", key);
    cx.reply_ok()
}

/// LINSERT key <BEFORE | AFTER> pivot element -- puts an element beside the first one that equals the pivot; the length then, or -1.
pub(super) const LINSERT: Command = Command::new(
    "linsert",
    5,
    linsert,
    Docs::new("list", "2.2.0", "Insert an element before or after another element in a list")
        .complexity("O(N) where N is the number of elements to traverse before seeing the value pivot. This means that inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on the right end (tail) is O(N).")
        .syntax("key where=<BEFORE | AFTER> pivot element"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::LIST)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::INSERT])]);

fn linsert(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    let behind = if args.accept("AFTER") {
        true
    } else if args.accept("BEFORE") {
        false
    } else {
        return Err(errors::SYNTAX);
    };
    let (pivot, element) = (args.word()?, args.word()?);
    let Some(list) = cx.view.list(db, key)? else {
        return cx.reply_integer(0);
    };
    let len = list.len();
    let Some(found) = list.iter().position(|other| other == pivot) else {
        return cx.reply_integer(-1);
    };
    let index = found as u64 + u64::from(behind);
    if index == len {
        cx.view.list_push(db, key, &[element], End::Tail)?;
    } else {
        cx.view.list_insert(db, key, index, element)?;
    }
    cx.notify(EventClasses::LIST, "linsert", key);
    cx.reply_integer(len as i64 + 1)
}

/// LREM key count element -- removes elements that equal one: so many from the head, or from the tail if negative, or all if zero.
pub(super) const LREM: Command = Command::new(
    "lrem",
    4,
    lrem,
    Docs::new("list", "1.0.0", "Remove elements from a list")
        .complexity(
            "O(N+M) where N is the length of the list and M is the number of elements removed.",
        )
        .syntax("key count element"),
)
.flags(&[Flags::WRITE])
.family(Categories::LIST)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::DELETE])]);

fn lrem(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, count, element) = (args.word()?, args.integer()?, args.word()?);
    let db = cx.db();
    if cx.view.list(db, key)?.is_none() {
        return cx.reply_integer(0);
    }
    let from = if count < 0 { End::Tail } else { End::Head };
    let count_max = match count.unsigned_abs() {
        0 => u64::MAX,
        count => count,
    };
    let removed = cx.view.list_remove(db, key, element, count_max, from)?;
    if removed > 0 {
        cx.notify(EventClasses::LIST, "lrem", key);
        note_if_gone(cx, key);
    }
    cx.reply_integer(removed as i64)
}

/// LTRIM key start stop -- leaves only the elements from one position to another.
pub(super) const LTRIM: Command = Command::new(
    "ltrim",
    4,
    ltrim,
    Docs::new("list", "1.0.0", "Trim a list to the specified range")
        .complexity("O(N) where N is the number of elements to be removed by the operation.")
        .syntax("key start stop:integer"),
)
.flags(&[Flags::WRITE])
.family(Categories::LIST)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::DELETE])]);

fn ltrim(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, start, stop) = (args.word()?, args.integer()?, args.integer()?);
    let db = cx.db();
    let Some(list) = cx.view.list(db, key)? else {
        return cx.reply_ok();
    };
    let (start, kept) = range(start, stop, list.len());
    if cx.view.list_trim(db, key, start, kept)? == 0 {
        // It counts as a change to those who watch or cache the key even so.
        cx.view.note_touched(db, key);
    }
    cx.notify(EventClasses::LIST, "ltrim", key);
    note_if_gone(cx, key);
    cx.reply_ok()
}
