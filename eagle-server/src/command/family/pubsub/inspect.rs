//! PUBSUB: what channels there are, and how many listen.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Command, Docs, Flags, Handler};

/// PUBSUB -- container.
pub(super) const PUBSUB: Command = Command::new(
    "pubsub",
    -2,
    help,
    Docs::new("pubsub", "2.8.0", "A container for Pub/Sub commands")
        .complexity("Depends on subcommand."),
)
.subcommands(&[
    &CHANNELS,
    &HELP,
    &NUMPAT,
    &NUMSUB,
    &SHARDCHANNELS,
    &SHARDNUMSUB,
]);

const fn row(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs).flags(&[Flags::PUBSUB, Flags::LOADING, Flags::STALE])
}

const CHANNELS: Command = row(
    "channels",
    -2,
    channels,
    Docs::new("pubsub", "2.8.0", "List active channels")
        .complexity(
            "O(N) where N is the number of active channels, and assuming constant time pattern matching (relatively \
             short channels and patterns)",
        )
        .syntax("[pattern]"),
);

fn channels(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    active(cx, args, false)
}

const SHARDCHANNELS: Command = row(
    "shardchannels",
    -2,
    shardchannels,
    Docs::new("pubsub", "7.0.0", "List active shard channels")
        .complexity(
            "O(N) where N is the number of active shard channels, and assuming constant time pattern matching \
             (relatively short shard channels).",
        )
        .syntax("[pattern]"),
);

fn shardchannels(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    active(cx, args, true)
}

fn active(cx: &mut Context<'_>, args: Args<'_>, sharded: bool) -> Outcome {
    if args.len() > 1 {
        return Err(wrong_count(&args));
    }
    let names = cx.node.broker.active(sharded, args.rest().first().copied());
    cx.out.array(names.len());
    for name in names {
        cx.out.bulk(name);
    }
    Ok(Flow::Done)
}

/// A subcommand with more arguments than it takes.
fn wrong_count(args: &Args<'_>) -> CommandError {
    CommandError::quoting(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        args.argv()[1],
        b"'. Try PUBSUB HELP.",
    ])
}

const NUMSUB: Command = row(
    "numsub",
    -2,
    numsub,
    Docs::new(
        "pubsub",
        "2.8.0",
        "Get the count of subscribers for channels",
    )
    .complexity("O(N) for the NUMSUB subcommand, where N is the number of requested channels")
    .syntax("[channel [channel ...]]"),
);

fn numsub(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let broker = &cx.node.broker;
    reply_counts(cx, args, |name| broker.listeners(name))
}

const SHARDNUMSUB: Command = row(
    "shardnumsub",
    -2,
    shardnumsub,
    Docs::new(
        "pubsub",
        "7.0.0",
        "Get the count of subscribers for shard channels",
    )
    .complexity(
        "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
    )
    .syntax("[shardchannel [shardchannel ...]]"),
);

fn shardnumsub(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let broker = &cx.node.broker;
    reply_counts(cx, args, |name| broker.shard_listeners(name))
}

fn reply_counts(cx: &mut Context<'_>, args: Args<'_>, count: impl Fn(&[u8]) -> usize) -> Outcome {
    let names = args.rest();
    cx.out.array(names.len() * 2);
    for name in names {
        cx.out.bulk(name);
        cx.out.integer(count(name) as i64);
    }
    Ok(Flow::Done)
}

const NUMPAT: Command = row(
    "numpat",
    2,
    numpat,
    Docs::new(
        "pubsub",
        "2.8.0",
        "Get the count of unique patterns pattern subscriptions",
    )
    .complexity("O(1)"),
);

fn numpat(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_integer(cx.node.broker.pattern_count() as i64)
}

const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "pubsub",
        "6.2.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE]);

fn help(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.argv().len() != 2 {
        return Err(errors::wrong_arity("pubsub|help"));
    }
    cx.reply_help(&[
        "CHANNELS [<pattern>]",
        "    Return the currently active channels matching a <pattern> (default: '*').",
        "NUMPAT",
        "    Return number of subscriptions to patterns.",
        "NUMSUB [<channel> ...]",
        "    Return the number of subscribers for the specified channels, excluding",
        "    pattern subscriptions(default: no channels).",
        "SHARDCHANNELS [<pattern>]",
        "    Return the currently active shard level channels matching a <pattern> (default: '*').",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Return the number of subscribers for the specified shard level channel(s)",
    ])
}
