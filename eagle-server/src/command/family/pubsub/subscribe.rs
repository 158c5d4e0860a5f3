//! SUBSCRIBE, UNSUBSCRIBE, and the same for patterns and shard channels.
//!
//! A command of this file replies one confirmation for each channel. Confirmations are messages: they come even
//! to a client that wants no replies (CLIENT REPLY).

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::CommandError;
use crate::command::follow_slots;
use crate::command::forwarding::Forwarding;
use crate::command::spec::{Command, Docs, Flags, Handler, KeyFlags, KeySpec};
use crate::pubsub::{Confirmation, Topic};
use crate::session::ReplyMode;
use eagle_core::resp::Writer;
use eagle_core::store::key_slot;
use std::sync::atomic::Ordering;

const FLAGS: &[Flags] = &[Flags::PUBSUB, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE];

const SHARD_CHANNELS: &[KeySpec] = &[KeySpec::range(1, -1, 1, &[KeyFlags::NOT_KEY])];

const fn row(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs).flags(FLAGS)
}

/// SUBSCRIBE channel [channel ...] -- listens to channels.
pub(super) const SUBSCRIBE: Command = row(
    "subscribe",
    -2,
    subscribe,
    Docs::new(
        "pubsub",
        "2.0.0",
        "Listen for messages published to the given channels",
    )
    .complexity("O(N) where N is the number of channels to subscribe to.")
    .syntax("channel [channel ...]"),
);

fn subscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    subscribe_to(cx, Topic::Channel, args.rest())
}

/// UNSUBSCRIBE [channel ...] -- listens no more, to these channels or to any.
pub(super) const UNSUBSCRIBE: Command = row(
    "unsubscribe",
    -1,
    unsubscribe,
    Docs::new(
        "pubsub",
        "2.0.0",
        "Stop listening for messages posted to the given channels",
    )
    .complexity("O(N) where N is the number of clients already subscribed to a channel.")
    .syntax("[channel [channel ...]]"),
);

fn unsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    unsubscribe_from(cx, Topic::Channel, args.rest())
}

/// PSUBSCRIBE pattern [pattern ...] -- listens to all channels that match.
pub(super) const PSUBSCRIBE: Command = row(
    "psubscribe",
    -2,
    psubscribe,
    Docs::new(
        "pubsub",
        "2.0.0",
        "Listen for messages published to channels matching the given patterns",
    )
    .complexity("O(N) where N is the number of patterns the client is already subscribed to.")
    .syntax("<pattern ...>"),
);

fn psubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    subscribe_to(cx, Topic::Pattern, args.rest())
}

/// PUNSUBSCRIBE [pattern ...] -- ends these patterns, or all.
pub(super) const PUNSUBSCRIBE: Command = row(
    "punsubscribe",
    -1,
    punsubscribe,
    Docs::new(
        "pubsub",
        "2.0.0",
        "Stop listening for messages posted to channels matching the given patterns",
    )
    .complexity(
        "O(N+M) where N is the number of patterns the client is already subscribed and M is the number of total \
         patterns subscribed in the system (by any client).",
    )
    .syntax("[pattern [pattern ...]]"),
);

fn punsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    unsubscribe_from(cx, Topic::Pattern, args.rest())
}

/// SSUBSCRIBE shardchannel [shardchannel ...] -- listens to channels that belong to a hash slot.
pub(super) const SSUBSCRIBE: Command = row(
    "ssubscribe",
    -2,
    ssubscribe,
    Docs::new(
        "pubsub",
        "7.0.0",
        "Listen for messages published to the given shard channels",
    )
    .complexity("O(N) where N is the number of shard channels to subscribe to.")
    .syntax("shardchannel [shardchannel ...]"),
)
.keys(SHARD_CHANNELS)
.forwarded(Forwarding::Listen);

fn ssubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if cx.session.in_exec {
        return Err(CommandError::new(
            "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client",
        ));
    }
    let channels = args.rest();
    if cx.forwards() {
        cx.session.info.follows_slots.store(true, Ordering::Relaxed);
    }
    subscribe_to(cx, Topic::ShardChannel, channels)?;
    if let Some(cluster) = &cx.node.cluster {
        // The slot may have left since the gates looked, and with it those who were subscribed then.
        let topology = cluster.topology();
        let is_lost = |slot: u16| {
            !topology.is_my_shards(slot) && channels.iter().any(|channel| key_slot(channel) == slot)
        };
        if channels.iter().any(|channel| is_lost(key_slot(channel))) {
            follow_slots(cx.node, is_lost);
        }
    }
    Ok(Flow::Done)
}

/// SUNSUBSCRIBE [shardchannel ...] -- ends these shard channels, or all.
pub(super) const SUNSUBSCRIBE: Command = row(
    "sunsubscribe",
    -1,
    sunsubscribe,
    Docs::new(
        "pubsub",
        "7.0.0",
        "Stop listening for messages posted to the given shard channels",
    )
    .complexity("O(N) where N is the number of clients already subscribed to a shard channel.")
    .syntax("[shardchannel [shardchannel ...]]"),
)
.keys(SHARD_CHANNELS)
.forwarded(Forwarding::Unlisten);

fn sunsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    unsubscribe_from(cx, Topic::ShardChannel, args.rest())?;
    if cx.session.info.follows_slots.load(Ordering::Relaxed) {
        cx.node.relay.look();
    }
    Ok(Flow::Done)
}

fn subscribe_to(cx: &mut Context<'_>, topic: Topic, names: &[&[u8]]) -> Outcome {
    let info = cx.session.info.clone();
    for name in names {
        let count = cx.node.broker.subscribe(&info, topic, name);
        confirm(cx, Confirmation::Subscribed, topic, Some(name), count);
    }
    info.subscriptions.set_subscribed();
    Ok(Flow::Done)
}

fn unsubscribe_from(cx: &mut Context<'_>, topic: Topic, names: &[&[u8]]) -> Outcome {
    let info = cx.session.info.clone();
    let broker = &cx.node.broker;
    let all: Vec<Box<[u8]>>;
    let names: Vec<&[u8]> = if names.is_empty() {
        all = broker.names(&info, topic);
        all.iter().map(|name| &**name).collect()
    } else {
        names.to_vec()
    };
    for name in &names {
        let count = broker.unsubscribe(&info, topic, name);
        confirm(cx, Confirmation::Unsubscribed, topic, Some(name), count);
    }
    if names.is_empty() {
        let subscriptions = &info.subscriptions;
        let count = match topic {
            Topic::Channel | Topic::Pattern => subscriptions.channels() + subscriptions.patterns(),
            Topic::ShardChannel => subscriptions.shard_channels(),
        };
        let count = count as usize;
        confirm(cx, Confirmation::Unsubscribed, topic, None, count);
    }
    info.subscriptions.set_subscribed();
    Ok(Flow::Done)
}

fn confirm(
    cx: &mut Context<'_>,
    confirmation: Confirmation,
    topic: Topic,
    name: Option<&[u8]>,
    count: usize,
) {
    if cx.session.reply == ReplyMode::On {
        // A message must not come after its channel's end.
        cx.take_mail();
        confirmation.write(cx.out, topic, name, count);
    } else {
        let mut out = Writer::new(cx.out.protocol());
        confirmation.write(&mut out, topic, name, count);
        cx.node.send(&cx.session.info, out.take());
    }
}
