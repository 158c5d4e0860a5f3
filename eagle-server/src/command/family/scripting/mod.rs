//! Scripts and functions: EVAL and its kin, SCRIPT, FUNCTION, FCALL.

mod eval;
mod function;
mod library;
mod script;

pub use library::load_libraries;

use crate::command::spec::{Family, KeyFlags, KeySpec};

pub const FAMILY: Family = Family {
    name: "scripting",
    commands: &[
        &eval::EVAL,
        &eval::EVALSHA,
        &eval::EVAL_RO,
        &eval::EVALSHA_RO,
        &script::SCRIPT,
        &function::FCALL,
        &function::FCALL_RO,
        &library::FUNCTION,
    ],
};

const KEYS: &[KeySpec] = &[KeySpec::key_num(
    2,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)];
const KEYS_NOTED: &[KeySpec] =
    &[KEYS[0]
        .notes("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE")];
const KEYS_RO: &[KeySpec] = &[KeySpec::key_num(2, &[KeyFlags::RO, KeyFlags::ACCESS])];
const KEYS_RO_NOTED: &[KeySpec] = &[KEYS_RO[0]
    .notes("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS")];
