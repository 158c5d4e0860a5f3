//! Commands on lists.

mod edit;
mod pop;
mod push;
mod read;
mod transfer;
mod wait;

use crate::command::spec::Family;

pub const FAMILY: Family = Family {
    name: "list",
    commands: &[
        &transfer::BLMOVE,
        &wait::BLMPOP,
        &wait::BLPOP,
        &wait::BRPOP,
        &transfer::BRPOPLPUSH,
        &read::LINDEX,
        &edit::LINSERT,
        &read::LLEN,
        &transfer::LMOVE,
        &pop::LMPOP,
        &pop::LPOP,
        &read::LPOS,
        &push::LPUSH,
        &push::LPUSHX,
        &read::LRANGE,
        &edit::LREM,
        &edit::LSET,
        &edit::LTRIM,
        &pop::RPOP,
        &transfer::RPOPLPUSH,
        &push::RPUSH,
        &push::RPUSHX,
    ],
};
