//! Commands on strings as rows of bits.

mod bit;
mod bitfield;
mod bitop;
mod range;

use crate::command::spec::Family;

pub const FAMILY: Family = Family {
    name: "bitmap",
    commands: &[
        &range::BITCOUNT,
        &bitfield::BITFIELD,
        &bitfield::BITFIELD_RO,
        &bitop::BITOP,
        &range::BITPOS,
        &bit::GETBIT,
        &bit::SETBIT,
    ],
};
