//! Commands on HyperLogLogs, which are strings.

mod count;
mod debug;

use crate::command::spec::Family;

pub const FAMILY: Family = Family {
    name: "hyperloglog",
    commands: &[
        &count::PFADD,
        &count::PFCOUNT,
        &debug::PFDEBUG,
        &count::PFMERGE,
        &debug::PFSELFTEST,
    ],
};
