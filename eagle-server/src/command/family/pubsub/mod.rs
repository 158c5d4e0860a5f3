//! Publish and subscribe: SUBSCRIBE, PUBLISH, PUBSUB and their kin for patterns and shard channels.

mod inspect;
mod publish;
mod subscribe;

use crate::command::spec::Family;

pub const FAMILY: Family = Family {
    name: "pubsub",
    commands: &[
        &subscribe::SUBSCRIBE,
        &subscribe::UNSUBSCRIBE,
        &subscribe::PSUBSCRIBE,
        &subscribe::PUNSUBSCRIBE,
        &subscribe::SSUBSCRIBE,
        &subscribe::SUNSUBSCRIBE,
        &publish::PUBLISH,
        &publish::SPUBLISH,
        &inspect::PUBSUB,
    ],
};
