//! Commands on sorted sets.

pub(super) mod add;
mod algebra;
mod blocking;
mod pop;
mod random;
mod range;
mod remove;
pub(super) mod reply;
mod score;
pub(super) mod store;

use crate::command::spec::Family;

pub const FAMILY: Family = Family {
    name: "zset",
    commands: &[
        &blocking::BZMPOP,
        &blocking::BZPOPMAX,
        &blocking::BZPOPMIN,
        &add::ZADD,
        &score::ZCARD,
        &range::ZCOUNT,
        &algebra::ZDIFF,
        &algebra::ZDIFFSTORE,
        &add::ZINCRBY,
        &algebra::ZINTER,
        &algebra::ZINTERCARD,
        &algebra::ZINTERSTORE,
        &range::ZLEXCOUNT,
        &pop::ZMPOP,
        &score::ZMSCORE,
        &pop::ZPOPMAX,
        &pop::ZPOPMIN,
        &random::ZRANDMEMBER,
        &range::ZRANGE,
        &range::ZRANGEBYLEX,
        &range::ZRANGEBYSCORE,
        &range::ZRANGESTORE,
        &score::ZRANK,
        &remove::ZREM,
        &remove::ZREMRANGEBYLEX,
        &remove::ZREMRANGEBYRANK,
        &remove::ZREMRANGEBYSCORE,
        &range::ZREVRANGE,
        &range::ZREVRANGEBYLEX,
        &range::ZREVRANGEBYSCORE,
        &score::ZREVRANK,
        &score::ZSCAN,
        &score::ZSCORE,
        &algebra::ZUNION,
        &algebra::ZUNIONSTORE,
    ],
};
