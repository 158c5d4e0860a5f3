//! Commands on hashes.

mod counter;
mod expiry;
mod field;
mod random;
mod timed;
mod whole;

use crate::command::spec::Family;

pub const FAMILY: Family = Family {
    name: "hash",
    commands: &[
        &field::HDEL,
        &field::HEXISTS,
        &expiry::HEXPIRE,
        &expiry::HEXPIREAT,
        &expiry::HEXPIRETIME,
        &field::HGET,
        &whole::HGETALL,
        &timed::HGETDEL,
        &timed::HGETEX,
        &counter::HINCRBY,
        &counter::HINCRBYFLOAT,
        &whole::HKEYS,
        &whole::HLEN,
        &field::HMGET,
        &field::HMSET,
        &expiry::HPERSIST,
        &expiry::HPEXPIRE,
        &expiry::HPEXPIREAT,
        &expiry::HPEXPIRETIME,
        &expiry::HPTTL,
        &random::HRANDFIELD,
        &whole::HSCAN,
        &field::HSET,
        &timed::HSETEX,
        &field::HSETNX,
        &field::HSTRLEN,
        &expiry::HTTL,
        &whole::HVALS,
    ],
};
