//! Byte strings as Redis reads and prints them: numbers, patterns, quoting, sizes, times.
//!
//! Pure functions of their arguments that depend on nothing else in this crate. Where C's library
//! shapes what a client sees (`%.17g`, `strtold`), its rules are written out here.

pub mod c_string;
pub mod double;
pub mod glob;
pub mod human_bytes;
pub mod integer;
pub mod long_double;
pub mod memory_size;
pub mod split_args;
pub mod unix_time;

mod c_float;
