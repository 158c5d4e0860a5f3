//! Taking elements off the ends of lists: LPOP, RPOP, LMPOP.

use crate::command::args::Args;
use crate::command::args::parse_integer;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::resp::Writer;
use eagle_core::store::End;
use eagle_core::store::{ListRef, Popped};

/// LPOP key [count] -- takes the first element off, or so many.
pub(super) const LPOP: Command = Command::new(
    "lpop",
    -2,
    lpop,
    Docs::new(
        "list",
        "1.0.0",
        "Remove and get the first elements in a list",
    )
    .complexity("O(N) where N is the number of elements returned")
    .syntax("key [count]{6.2.0}")
    .history(&[("6.2.0", "Added the `count` argument.")]),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::LIST)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.replies_first();

fn lpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop(cx, args, End::Head)
}

/// RPOP key [count] -- takes the last element off, or so many.
pub(super) const RPOP: Command = Command::new(
    "rpop",
    -2,
    rpop,
    Docs::new(
        "list",
        "1.0.0",
        "Remove and get the last elements in a list",
    )
    .complexity("O(N) where N is the number of elements returned")
    .syntax("key [count]{6.2.0}")
    .history(&[("6.2.0", "Added the `count` argument.")]),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::LIST)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.replies_first();

fn rpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop(cx, args, End::Tail)
}

fn pop(cx: &mut Context<'_>, mut args: Args<'_>, end: End) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    if args.len() > 1 {
        return Err(errors::wrong_arity(&cx.entry.full_name));
    }
    let count = match args.peek() {
        None => None,
        Some(word) => {
            let count = parse_integer(word).ok().and_then(|n| u64::try_from(n).ok());
            Some(count.ok_or(errors::NOT_POSITIVE)?)
        }
    };
    let Some(count) = count else {
        return pop_one(cx, key, end);
    };
    let Some(list) = cx.view.list(db, key)? else {
        cx.out.null_array();
        return Ok(Flow::Done);
    };
    reply_elements(cx.out, &list, end, count);
    drop_elements(cx, key, end, count)?;
    Ok(Flow::Done)
}

/// Replies the outermost element and takes it off: what queues do all day, hence with one look for the key.
fn pop_one(cx: &mut Context<'_>, key: &[u8], end: End) -> Outcome {
    let db = cx.db();
    let out = &mut *cx.out;
    let popped = cx
        .view
        .list_pop_one(db, key, end, |element| out.bulk(element))?;
    match popped {
        Some(popped) => notify_popped(cx, key, end, popped),
        None => {
            // A read, so that an expired key is met.
            cx.view.list(db, key)?;
            cx.out.null();
        }
    }
    Ok(Flow::Done)
}

/// Position of the outermost element.
pub(super) fn index_of(end: End) -> i64 {
    match end {
        End::Head => 0,
        End::Tail => -1,
    }
}

/// Replies up to `count` elements from an end on.
pub(super) fn reply_elements(out: &mut Writer, list: &ListRef<'_>, end: End, count: u64) {
    let len = list.len();
    let count = count.min(len);
    out.array(count as usize);
    let elements = match end {
        End::Head => list.iter(),
        End::Tail => list.iter_back_from(len - 1),
    };
    elements
        .take(count as usize)
        .for_each(|element| out.bulk(element));
}

/// Takes up to `count` elements off the list at `key`, which exists, and raises the events of that.
pub(super) fn drop_elements(
    cx: &mut Context<'_>,
    key: &[u8],
    end: End,
    count: u64,
) -> Result<(), CommandError> {
    let db = cx.db();
    if count == 0 {
        return Ok(());
    }
    let popped = cx.view.list_pop(db, key, count, end)?;
    notify_popped(cx, key, end, popped);
    Ok(())
}

/// Raises the events of taking elements off.
fn notify_popped(cx: &mut Context<'_>, key: &[u8], end: End, popped: Popped) {
    cx.notify(EventClasses::LIST, pop_event(end), key);
    if popped.key_gone {
        cx.notify(EventClasses::GENERIC, "del", key);
    }
}

/// The event of taking off an end.
pub(super) fn pop_event(end: End) -> &'static str {
    match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    }
}

/// Raises `del` if a list has gone with its last element.
pub(super) fn note_if_gone(cx: &mut Context<'_>, key: &[u8]) {
    if cx.view.find(cx.db(), key).is_none() {
        cx.notify(EventClasses::GENERIC, "del", key);
    }
}

/// The word LEFT or RIGHT.
pub(super) fn parse_end(word: &[u8]) -> Result<End, CommandError> {
    if word.eq_ignore_ascii_case(b"left") {
        Ok(End::Head)
    } else if word.eq_ignore_ascii_case(b"right") {
        Ok(End::Tail)
    } else {
        Err(errors::SYNTAX)
    }
}

/// LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count] -- takes elements off the first of the lists that has some.
pub(super) const LMPOP: Command = Command::new(
    "lmpop",
    -4,
    lmpop,
    Docs::new("list", "7.0.0", "Pop elements from a list")
        .complexity("O(N+M) where N is the number of provided keys and M is the number of elements returned.")
        .syntax("numkeys key [key ...] where=<LEFT | RIGHT> [COUNT count]"),
)
.flags(&[Flags::WRITE, Flags::MOVABLE_KEYS])
.family(Categories::LIST)
.keys(&[KeySpec::key_num(1, &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE])]).replies_first();

fn lmpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let several = Several::parse(args)?;
    let db = cx.db();
    for key in several.keys {
        if cx.view.list(db, key)?.is_some() {
            return take_some(cx, key, several.end, several.count);
        }
    }
    cx.out.null_array();
    Ok(Flow::Done)
}

/// `numkeys key [key ...] <LEFT | RIGHT> [COUNT count]`.
pub(super) struct Several<'a> {
    pub(super) keys: &'a [&'a [u8]],
    pub(super) end: End,
    pub(super) count: u64,
}

impl<'a> Several<'a> {
    pub(super) fn parse(mut args: Args<'a>) -> Result<Several<'a>, CommandError> {
        const NO_KEYS: CommandError = CommandError::new("ERR numkeys should be greater than 0");
        const NO_COUNT: CommandError = CommandError::new("ERR count should be greater than 0");
        let positive = |word: &[u8], error: CommandError| match parse_integer(word) {
            Ok(value @ 1..) => Ok(value as u64),
            _ => Err(error),
        };
        let numkeys = positive(args.word()?, NO_KEYS)?;
        let rest = args.rest();
        let (keys, options) = usize::try_from(numkeys)
            .ok()
            .and_then(|numkeys| rest.split_at_checked(numkeys))
            .ok_or(errors::SYNTAX)?;
        let (end, options) = options.split_first().ok_or(errors::SYNTAX)?;
        let end = parse_end(end)?;
        let count = match options {
            [] => 1,
            [word, count] if word.eq_ignore_ascii_case(b"count") => positive(count, NO_COUNT)?,
            // The first COUNT is read before what follows it is found to be too much.
            [word, count, ..] if word.eq_ignore_ascii_case(b"count") => {
                positive(count, NO_COUNT)?;
                return Err(errors::SYNTAX);
            }
            _ => return Err(errors::SYNTAX),
        };
        Ok(Several { keys, end, count })
    }
}

/// Replies the key and up to `count` of its elements, and takes them off.
pub(super) fn take_some(cx: &mut Context<'_>, key: &[u8], end: End, count: u64) -> Outcome {
    let db = cx.db();
    let Some(list) = cx.view.list(db, key)? else {
        return cx.reply_null();
    };
    let taken = count.min(list.len());
    cx.out.array(2);
    cx.out.bulk(key);
    reply_elements(cx.out, &list, end, taken);
    drop_elements(cx, key, end, taken)?;
    let number = taken.to_string();
    cx.effects
        .instead(db, &[pop_word(end), key, number.as_bytes()]);
    Ok(Flow::Done)
}

/// The command that takes off an end.
pub(super) fn pop_word(end: End) -> &'static [u8] {
    match end {
        End::Head => b"LPOP",
        End::Tail => b"RPOP",
    }
}
