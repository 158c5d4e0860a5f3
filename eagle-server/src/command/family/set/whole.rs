//! Sets as a whole: SCARD, SMEMBERS, SSCAN.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::lookup::write_text;
use crate::command::scan::{ScanOptions, parse_cursor};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};

/// SCARD key -- number of members, 0 if there is no set.
pub(super) const SCARD: Command = Command::new(
    "scard",
    2,
    scard,
    Docs::new("set", "1.0.0", "Get the number of members in a set")
        .complexity("O(1)")
        .syntax("key"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::SET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO])]);

fn scard(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let len = cx
        .noted(cx.view.set(cx.db(), key))?
        .map_or(0, |set| set.len());
    cx.reply_integer(len as i64)
}

/// SMEMBERS key -- all members.
pub(super) const SMEMBERS: Command = Command::new(
    "smembers",
    2,
    smembers,
    Docs::new("set", "1.0.0", "Get all the members in a set")
        .complexity("O(N) where N is the set cardinality.")
        .syntax("key"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::SET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output_order"]);

fn smembers(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let set = cx.noted(cx.view.set(cx.db(), key))?;
    cx.out.set(set.map_or(0, |set| set.len() as usize));
    for member in set.iter().flat_map(|set| set.iter()) {
        write_text(cx.out, member);
    }
    Ok(Flow::Done)
}

/// SSCAN key cursor [MATCH pattern] [COUNT count] -- some members, and the cursor to go on with.
pub(super) const SSCAN: Command = Command::new(
    "sscan",
    -3,
    sscan,
    Docs::new("set", "2.8.0", "Incrementally iterate Set elements")
        .complexity(
            "O(1) for every call. O(N) for a complete iteration, including enough command \
             calls for the cursor to return back to 0. N is the number of elements inside the \
             collection..",
        )
        .syntax("key cursor [MATCH pattern] [COUNT count]"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::SET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output"]);

fn sscan(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, cursor) = (args.word()?, parse_cursor(args.word()?)?);
    let mut next = 0;
    let mut members = Vec::new();
    // Without a set the options are not looked at, as in Redis.
    if let Some(set) = cx.noted(cx.view.set(cx.db(), key))? {
        let options = ScanOptions::parse(args, false)?;
        let mut buffer = itoa::Buffer::new();
        next = set.scan(cursor, options.count, &mut |member| {
            if options.matches(member.as_bytes(&mut buffer)) {
                members.push(member);
            }
        });
    }
    cx.out.array(2);
    cx.out.bulk_display(next);
    cx.out.array(members.len());
    members
        .iter()
        .for_each(|member| write_text(cx.out, *member));
    Ok(Flow::Done)
}
