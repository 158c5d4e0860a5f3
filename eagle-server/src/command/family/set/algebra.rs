//! Sets made of sets: SINTER, SUNION, SDIFF, their storing forms, and SINTERCARD.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::lookup::write_text;
use crate::command::spec::{Categories, Command, Docs, Flags, Handler, KeyFlags, KeySpec, Scope};
use crate::config::special::EventClasses;
use eagle_core::store::set_algebra::{difference, intersection, union};
use eagle_core::store::{SetRef, Text, Ttl};

const SOURCES_FROM_1: &[KeySpec] = &[KeySpec::range(1, -1, 1, &[KeyFlags::RO, KeyFlags::ACCESS])];
const SOURCES_FROM_2: KeySpec = KeySpec::range(2, -1, 1, &[KeyFlags::RO, KeyFlags::ACCESS]);

/// What the rows share that reply the members.
const fn replying(name: &'static str, handler: Handler, docs: Docs) -> Command {
    Command::new(name, -2, handler, docs.syntax("key [key ...]"))
        .flags(&[Flags::READONLY])
        .scope(Scope::Keys)
        .family(Categories::SET)
        .keys(SOURCES_FROM_1)
        .tips(&["nondeterministic_output_order"])
}

/// What the rows share that store them.
const fn storing(name: &'static str, handler: Handler, docs: Docs) -> Command {
    Command::new(name, -3, handler, docs.syntax("destination key [key ...]"))
        .flags(&[Flags::WRITE, Flags::DENYOOM])
        .family(Categories::SET)
        .keys(
            const {
                &[
                    KeySpec::index(1, &[KeyFlags::OW, KeyFlags::UPDATE]),
                    SOURCES_FROM_2,
                ]
            },
        )
}

/// SINTER key [key ...] -- the members that all sets have.
pub(super) const SINTER: Command = replying(
    "sinter",
    sinter,
    Docs::new("set", "1.0.0", "Intersect multiple sets").complexity(
        "O(N*M) worst case where N is the cardinality of the smallest set and M is the number \
             of sets.",
    ),
);

fn sinter(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let members = all_common(cx, args.rest())?;
    reply_members(cx, &members)
}

/// SINTERCARD numkeys key [key ...] [LIMIT limit] -- how many members all sets have, counted up to
/// the limit.
pub(super) const SINTERCARD: Command = Command::new(
    "sintercard",
    -3,
    sintercard,
    Docs::new(
        "set",
        "7.0.0",
        "Intersect multiple sets and return the cardinality of the result",
    )
    .complexity(
        "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of \
         sets.",
    )
    .syntax("numkeys key [key ...] [LIMIT limit]"),
)
.flags(&[Flags::READONLY, Flags::MOVABLE_KEYS])
.scope(Scope::Keys)
.family(Categories::SET)
.keys(&[KeySpec::key_num(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn sintercard(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const NO_KEYS: CommandError = CommandError::new("ERR numkeys should be greater than 0");
    const TOO_MANY_KEYS: CommandError =
        CommandError::new("ERR Number of keys can't be greater than number of args");
    const NEGATIVE_LIMIT: CommandError = CommandError::new("ERR LIMIT can't be negative");
    // Redis gives this text for what is no number too.
    let numkeys = args.integer().map_err(|_| NO_KEYS)?;
    let numkeys = usize::try_from(numkeys).ok().filter(|keys| *keys > 0);
    let numkeys = numkeys.ok_or(NO_KEYS)?;
    if numkeys > args.len() {
        return Err(TOO_MANY_KEYS);
    }
    let keys = &args.rest()[..numkeys];
    for _ in keys {
        args.word()?;
    }
    let mut limit = 0;
    while !args.is_empty() {
        if args.len() < 2 || !args.accept("LIMIT") {
            return Err(errors::SYNTAX);
        }
        let given = args.integer().map_err(|_| NEGATIVE_LIMIT)?;
        limit = usize::try_from(given).map_err(|_| NEGATIVE_LIMIT)?;
    }
    let sets = operands(cx, keys)?;
    let mut count = 0;
    let limit = if limit == 0 { usize::MAX } else { limit };
    intersection(&sets, limit, &mut |_| count += 1);
    cx.reply_integer(count)
}

/// SINTERSTORE destination key [key ...] -- stores the members that all sets have; their number.
pub(super) const SINTERSTORE: Command = Command::new(
    "sinterstore",
    -3,
    sinterstore,
    Docs::new(
        "set",
        "1.0.0",
        "Intersect multiple sets and store the resulting set in a key",
    )
    .complexity(
        "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of \
         sets.",
    )
    .syntax("destination key [key ...]"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::SET)
.keys(&[
    KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE]),
    SOURCES_FROM_2,
]);

fn sinterstore(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let target = args.word()?;
    let members = all_common(cx, args.rest())?;
    store(cx, target, &members, "sinterstore")
}

/// SUNION key [key ...] -- the members that any set has.
pub(super) const SUNION: Command = replying(
    "sunion",
    sunion,
    Docs::new("set", "1.0.0", "Add multiple sets")
        .complexity("O(N) where N is the total number of elements in all given sets."),
);

fn sunion(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let members = union(&operands(cx, args.rest())?, intset_entries_max(cx));
    reply_members(cx, &members)
}

/// SUNIONSTORE destination key [key ...] -- stores the members that any set has; their number.
pub(super) const SUNIONSTORE: Command = storing(
    "sunionstore",
    sunionstore,
    Docs::new(
        "set",
        "1.0.0",
        "Add multiple sets and store the resulting set in a key",
    )
    .complexity("O(N) where N is the total number of elements in all given sets."),
);

fn sunionstore(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let target = args.word()?;
    let members = union(&operands(cx, args.rest())?, intset_entries_max(cx));
    store(cx, target, &members, "sunionstore")
}

/// SDIFF key [key ...] -- the members of the first set that no other one has.
pub(super) const SDIFF: Command = replying(
    "sdiff",
    sdiff,
    Docs::new("set", "1.0.0", "Subtract multiple sets")
        .complexity("O(N) where N is the total number of elements in all given sets."),
);

fn sdiff(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let members = difference(&operands(cx, args.rest())?, intset_entries_max(cx));
    reply_members(cx, &members)
}

/// SDIFFSTORE destination key [key ...] -- stores the members of the first set that no other one
/// has; their number.
pub(super) const SDIFFSTORE: Command = storing(
    "sdiffstore",
    sdiffstore,
    Docs::new(
        "set",
        "1.0.0",
        "Subtract multiple sets and store the resulting set in a key",
    )
    .complexity("O(N) where N is the total number of elements in all given sets."),
);

fn sdiffstore(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let target = args.word()?;
    let members = difference(&operands(cx, args.rest())?, intset_entries_max(cx));
    store(cx, target, &members, "sdiffstore")
}

/// The sets at `keys`; nothing where there is no key.
fn operands<'v, 'a>(
    cx: &'v Context<'a>,
    keys: &[&'v [u8]],
) -> Result<Vec<Option<SetRef<'v, 'a>>>, CommandError> {
    let set = |key: &&'v [u8]| cx.noted(cx.view.set(cx.db(), key));
    keys.iter().map(set).collect()
}

fn all_common<'a>(cx: &Context<'a>, keys: &[&[u8]]) -> Result<Vec<Text<'a>>, CommandError> {
    let sets = operands(cx, keys)?;
    let mut members = Vec::new();
    intersection(&sets, usize::MAX, &mut |member| members.push(member));
    Ok(members)
}

fn intset_entries_max(cx: &Context<'_>) -> usize {
    cx.node.keyspace.settings().set_intset_entries_max()
}

fn reply_members(cx: &mut Context<'_>, members: &[Text<'_>]) -> Outcome {
    cx.out.set(members.len());
    members
        .iter()
        .for_each(|member| write_text(cx.out, *member));
    Ok(Flow::Done)
}

/// Replaces what is at `target` by a set of these members, or by nothing; replies their number.
fn store(
    cx: &mut Context<'_>,
    target: &[u8],
    members: &[Text<'_>],
    event: &'static str,
) -> Outcome {
    let db = cx.db();
    let existed = members.is_empty() && cx.view.find(db, target).is_some();
    cx.view.set_set(db, target, members, Ttl::Clear)?;
    if existed {
        cx.notify(EventClasses::GENERIC, "del", target);
    } else if !members.is_empty() {
        cx.notify(EventClasses::SET, event, target);
    }
    cx.reply_integer(members.len() as i64)
}
