//! The messages of pub/sub as clients see them.

use eagle_core::resp::Writer;

/// The three name spaces one may subscribe in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    Channel,
    Pattern,
    ShardChannel,
}

/// Which kind of message confirms a subscription or its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirmation {
    Subscribed,
    Unsubscribed,
}

impl Topic {
    fn word(self, confirmation: Confirmation) -> &'static str {
        match (self, confirmation) {
            (Topic::Channel, Confirmation::Subscribed) => "subscribe",
            (Topic::Channel, Confirmation::Unsubscribed) => "unsubscribe",
            (Topic::Pattern, Confirmation::Subscribed) => "psubscribe",
            (Topic::Pattern, Confirmation::Unsubscribed) => "punsubscribe",
            (Topic::ShardChannel, Confirmation::Subscribed) => "ssubscribe",
            (Topic::ShardChannel, Confirmation::Unsubscribed) => "sunsubscribe",
        }
    }
}

impl Confirmation {
    /// Confirms for `name` of `topic`, or for nothing at all; `count` subscriptions are left.
    pub fn write(self, out: &mut Writer, topic: Topic, name: Option<&[u8]>, count: usize) {
        out.push(3);
        out.bulk(topic.word(self));
        out.bulk_or_null(name);
        out.integer(count as i64);
    }
}

/// A message of `channel` to one who subscribed to it.
pub(super) fn write_message(out: &mut Writer, topic: Topic, channel: &[u8], payload: &[u8]) {
    out.push(3);
    out.bulk(if topic == Topic::ShardChannel {
        "smessage"
    } else {
        "message"
    });
    out.bulk(channel);
    out.bulk(payload);
}

/// A message of `channel` to one whose `pattern` it matches.
pub(super) fn write_pattern_message(
    out: &mut Writer,
    pattern: &[u8],
    channel: &[u8],
    payload: &[u8],
) {
    out.push(4);
    out.bulk("pmessage");
    out.bulk(pattern);
    out.bulk(channel);
    out.bulk(payload);
}
