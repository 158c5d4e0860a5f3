//! Commands on streams.

mod add;
mod claim;
mod group;
mod id;
mod info;
mod pending;
mod range;
mod read;
mod reply;
mod trim_options;

use crate::command::errors::CommandError;
use crate::command::spec::Family;
use eagle_core::text::c_string::c_string;

pub const FAMILY: Family = Family {
    name: "stream",
    commands: &[
        &claim::XACK,
        &add::XADD,
        &claim::XAUTOCLAIM,
        &claim::XCLAIM,
        &add::XDEL,
        &group::XGROUP,
        &info::XINFO,
        &range::XLEN,
        &pending::XPENDING,
        &range::XRANGE,
        &read::XREAD,
        &read::XREADGROUP,
        &range::XREVRANGE,
        &add::XSETID,
        &add::XTRIM,
    ],
};

/// No such group; `tail` ends the sentence.
fn no_key_or_group(key: &[u8], group: &[u8], tail: &str) -> CommandError {
    CommandError::quoting(&[
        b"NOGROUP No such key '",
        c_string(key),
        b"' or consumer group '",
        c_string(group),
        b"'",
        tail.as_bytes(),
    ])
}

/// The key is there, the group is not.
fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::quoting(&[
        b"NOGROUP No such consumer group '",
        c_string(group),
        b"' for key name '",
        c_string(key),
        b"'",
    ])
}

/// Arguments of a subcommand that make no sense.
fn subcommand_syntax(container: &str, subcommand: &[u8]) -> CommandError {
    const QUOTED_BYTES_MAX: usize = 128;
    let quoted = c_string(subcommand);
    CommandError::quoting(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        &quoted[..quoted.len().min(QUOTED_BYTES_MAX)],
        b"'. Try ",
        container.as_bytes(),
        b" HELP.",
    ])
}
