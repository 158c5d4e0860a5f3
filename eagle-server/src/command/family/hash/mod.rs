//! Commands on hashes.

mod counter;
mod field;
mod random;
mod whole;

use crate::command::spec::Family;

pub const FAMILY: Family = Family {
    name: "hash",
    commands: &[
        &field::HDEL,
        &field::HEXISTS,
        &field::HGET,
        &whole::HGETALL,
        &counter::HINCRBY,
        &counter::HINCRBYFLOAT,
        &whole::HKEYS,
        &whole::HLEN,
        &field::HMGET,
        &field::HMSET,
        &random::HRANDFIELD,
        &whole::HSCAN,
        &field::HSET,
        &field::HSETNX,
        &field::HSTRLEN,
        &whole::HVALS,
    ],
};
