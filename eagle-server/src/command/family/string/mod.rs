//! Commands on strings.

mod compare;
mod counter;
mod lcs;
mod many;
mod range;
mod read;
mod set_options;
mod write;

use crate::command::spec::Family;

pub const FAMILY: Family = Family {
    name: "string",
    commands: &[
        &range::APPEND,
        &counter::DECR,
        &counter::DECRBY,
        &compare::DELEX,
        &compare::DELIFEQ,
        &compare::DIGEST,
        &read::GET,
        &write::GETDEL,
        &write::GETEX,
        &range::GETRANGE,
        &write::GETSET,
        &counter::INCR,
        &counter::INCRBY,
        &counter::INCRBYFLOAT,
        &lcs::LCS,
        &read::MGET,
        &many::MSET,
        &many::MSETEX,
        &many::MSETNX,
        &write::PSETEX,
        &write::SET,
        &write::SETEX,
        &write::SETNX,
        &range::SETRANGE,
        &read::STRLEN,
        &range::SUBSTR,
    ],
};
