//! ZADD and ZINCRBY.

use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::store::{AddRule, Added};
use smallvec::SmallVec;

pub(in crate::command::family) const NX_WITH_XX: CommandError =
    CommandError::new("ERR XX and NX options at the same time are not compatible");
const CONTRADICTION: CommandError =
    CommandError::new("ERR GT, LT, and/or NX options at the same time are not compatible");
const ONE_INCREMENT: CommandError =
    CommandError::new("ERR INCR option supports a single increment-element pair");
const NOT_A_NUMBER: CommandError = CommandError::new("ERR resulting score is not a number (NaN)");

/// ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...] -- adds members, or gives them other
/// scores; the number of new ones, with CH also of changed ones, with INCR the new score.
pub(super) const ZADD: Command = Command::new(
    "zadd",
    -4,
    zadd,
    Docs::new(
        "sorted-set",
        "1.2.0",
        "Add one or more members to a sorted set, or update its score if it already exists",
    )
    .complexity(
        "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
    )
    .syntax(
        "key condition=[NX | XX]{3.0.2} comparison=[GT | LT]{6.2.0} [change=CH]{3.0.2} \
         [increment=INCR]{3.0.2} score_member=<score member ...>",
    )
    .history(&[
        ("2.4.0", "Accepts multiple elements."),
        ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
        ("6.2.0", "Added the `GT` and `LT` options."),
    ]),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])])
.replies_first();

fn zadd(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    add(cx, args, AddRule::default())
}

/// ZINCRBY key increment member -- adds to a score; the new score.
pub(super) const ZINCRBY: Command = Command::new(
    "zincrby",
    4,
    zincrby,
    Docs::new(
        "sorted-set",
        "1.2.0",
        "Increment the score of a member in a sorted set",
    )
    .complexity("O(log(N)) where N is the number of elements in the sorted set.")
    .syntax("key increment member"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)])
.replies_first();

fn zincrby(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let rule = AddRule {
        increment: true,
        ..AddRule::default()
    };
    add(cx, args, rule)
}

fn add(cx: &mut Context<'_>, mut args: Args<'_>, mut rule: AddRule) -> Outcome {
    let key = args.word()?;
    let mut count_changed = false;
    // Most scores begin with a digit, and then there is no option.
    while args
        .peek()
        .is_some_and(|word| word.first().is_some_and(u8::is_ascii_alphabetic))
    {
        if args.accept("NX") {
            rule.absent = true;
        } else if args.accept("XX") {
            rule.present = true;
        } else if args.accept("CH") {
            count_changed = true;
        } else if args.accept("INCR") {
            rule.increment = true;
        } else if args.accept("GT") {
            rule.greater = true;
        } else if args.accept("LT") {
            rule.less = true;
        } else {
            break;
        }
    }
    let (pairs, []) = args.rest().as_chunks::<2>() else {
        return Err(errors::SYNTAX);
    };
    if pairs.is_empty() {
        return Err(errors::SYNTAX);
    }
    if rule.absent && rule.present {
        return Err(NX_WITH_XX);
    }
    if rule.absent && (rule.greater || rule.less) || rule.greater && rule.less {
        return Err(CONTRADICTION);
    }
    if rule.increment && pairs.len() > 1 {
        return Err(ONE_INCREMENT);
    }
    // Not `with_capacity`, which makes it elsewhere and moves it here.
    let mut members: SmallVec<[(&[u8], f64); 8]> = SmallVec::new();
    members.reserve(pairs.len());
    while !args.is_empty() {
        let score = args.double()?;
        members.push((args.word()?, score));
    }
    let done = add_members(cx, key, &members, rule)?;
    if !rule.increment {
        let changed = if count_changed { done.updated } else { 0 };
        return cx.reply_integer((done.added + changed) as i64);
    }
    match done.score {
        Some(score) => {
            cx.out.double(score);
            Ok(crate::command::context::Flow::Done)
        }
        None => cx.reply_null(),
    }
}

/// Adds members, with the event that goes with it.
pub(in crate::command::family) fn add_members(
    cx: &mut Context<'_>,
    key: &[u8],
    members: &[(&[u8], f64)],
    rule: AddRule,
) -> Result<Added, CommandError> {
    let done = cx.view.zset_add(cx.session.db, key, members, rule)?;
    if done.not_a_number {
        return Err(NOT_A_NUMBER);
    }
    if done.changed() {
        let event = if rule.increment { "zincr" } else { "zadd" };
        cx.notify(EventClasses::ZSET, event, key);
    }
    Ok(done)
}
