//! The data step of each type: what a value is in the pool, and how it changes. Knows no wire and no command.

pub(super) mod hash;
pub(super) mod string;
