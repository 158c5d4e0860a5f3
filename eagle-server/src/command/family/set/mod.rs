//! Commands on sets.

mod algebra;
mod member;
mod random;
mod whole;

use crate::command::spec::Family;

pub const FAMILY: Family = Family {
    name: "set",
    commands: &[
        &member::SADD,
        &whole::SCARD,
        &algebra::SDIFF,
        &algebra::SDIFFSTORE,
        &algebra::SINTER,
        &algebra::SINTERCARD,
        &algebra::SINTERSTORE,
        &member::SISMEMBER,
        &whole::SMEMBERS,
        &member::SMISMEMBER,
        &member::SMOVE,
        &random::SPOP,
        &random::SRANDMEMBER,
        &member::SREM,
        &whole::SSCAN,
        &algebra::SUNION,
        &algebra::SUNIONSTORE,
    ],
};
