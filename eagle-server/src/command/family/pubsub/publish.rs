//! PUBLISH and SPUBLISH.

use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::forwarding::Forwarding;
use crate::command::spec::{Command, Docs, Flags, KeyFlags, KeySpec};

const FLAGS: &[Flags] = &[
    Flags::PUBSUB,
    Flags::LOADING,
    Flags::STALE,
    Flags::FAST,
    Flags::MAY_REPLICATE,
];

/// PUBLISH channel message -- sends a message to all who listen; how many of them are clients of this node.
pub(super) const PUBLISH: Command = Command::new(
    "publish",
    3,
    publish,
    Docs::new("pubsub", "2.0.0", "Post a message to a channel")
        .complexity(
            "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number \
             of subscribed patterns (by any client).",
        )
        .syntax("channel message"),
)
.flags(FLAGS)
.forwarded(Forwarding::Anywhere);

fn publish(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    publish_as(cx, args, false)
}

/// SPUBLISH shardchannel message -- sends a message to all who listen to a shard channel.
pub(super) const SPUBLISH: Command = Command::new(
    "spublish",
    3,
    spublish,
    Docs::new("pubsub", "7.0.0", "Post a message to a shard channel")
        .complexity(
            "O(N) where N is the number of clients subscribed to the receiving shard channel.",
        )
        .syntax("shardchannel message"),
)
.flags(FLAGS)
.keys(&[KeySpec::index(1, &[KeyFlags::NOT_KEY])]);

fn spublish(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    publish_as(cx, args, true)
}

fn publish_as(cx: &mut Context<'_>, mut args: Args<'_>, sharded: bool) -> Outcome {
    let (channel, message) = (args.word()?, args.word()?);
    let receivers = cx.publish(channel, message, sharded);
    if cx.node.cluster.is_none() {
        // Clients of replicas listen too; in a cluster the bus tells them.
        let word: &[u8] = if sharded { b"SPUBLISH" } else { b"PUBLISH" };
        cx.effects.instead(cx.db(), &[word, channel, message]);
    }
    cx.reply_integer(receivers as i64)
}
