//! Generated commands, sent to two servers whose replies must be the same.

mod compare;
mod generate;
mod grammar;
mod run;

pub use compare::{Compare, same};
pub use generate::Generator;
pub use grammar::{GRAMMAR, Rule};
pub use run::{Mismatch, Pair, Step};
