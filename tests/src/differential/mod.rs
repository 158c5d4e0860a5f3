//! Generated commands, sent to two servers whose replies must be the same.
//!
//! ```text
//!   docs      the command table of the reference, with the syntax of each command
//!   policy    commands that are not generated like all others, and why
//!   grammar   hand-written rules, where the syntax does not say enough
//!   depth     rules for large values, many elements, keys that expire soon
//!   pools     the values of arguments
//!   cluster   sequences for nodes of clusters, that redirect or forward
//!   script    commands inside scripts and functions
//!   generate  steps from all of these
//!   spoil     commands that are almost right
//!   payloads  values as the reference dumps them
//!   run       steps on two servers, over several connections
//!   side      the connections to one of them
//!   crossing  what one has dumped, restored by the other
//!   compare   when two replies are the same
//!   coverage  what has been generated
//! ```

mod cluster;
mod compare;
mod coverage;
mod crossing;
mod depth;
pub mod docs;
mod generate;
mod grammar;
pub mod payloads;
mod policy;
mod pools;
mod run;
mod script;
mod side;
mod spoil;

pub use cluster::{COMING, Kinds, LEAVING, OWNED_ELSEWHERE, forwarded, redirected};
pub use compare::{Compare, same};
pub use coverage::Coverage;
pub use depth::{DEEP, EXPIRING, FINDING};
pub use generate::Generator;
pub use grammar::{BLOCKING, GRAMMAR, LISTENING, Rule};
pub use policy::{POLICIES, Policy};
pub use run::{AUDITOR, BLOCKER, Heard, Mismatch, Pair, Party, SUBSCRIBER, Step};
pub use side::default_settings;
