//! The cluster as one node sees it, and the rules by which that view changes.
//!
//! [`ClusterState`] is a state machine without sockets, clock, files or entropy of its own. The caller tells it what
//! happened (a tick, a frame, a link up or down, an administrator's command), each time with the present time, and
//! then takes the [`Effect`]s to carry out, in their order. The same calls with the same seed give the same effects,
//! so whole clusters run in a simulation.
//!
//! ```text
//!  tick, on_frame, on_accept, ...                       effects, in this order
//!  ---------------------------->  ClusterState  ----->  1. SaveConfig   (votes, epochs, claims are durable ...)
//!                                                       2. Topology     (... and routing follows them ...)
//!                                                       3. everything else: Connect, Close, Send, ...
//! ```
//! Several calls may be made before the effects are taken; they are then saved once.
//!
//! Invariants:
//! 1. `current_epoch` never falls but by `CLUSTER RESET HARD`, and is at least every known `config_epoch`.
//! 2. A vote, an epoch or a slot claim of this node leaves only after it was saved with fsync.
//! 3. A slot changes its owner only for a claim with a greater epoch, for want of a claimant, or by an administrator.
//! 4. Every node key in the slot table, in links, in replica lists and in failure reports names a known node.
//! 5. A message that bears this node's own name changes nothing.
//!
//! Departures from Redis 7.0.15, each towards the strict side or taken from its successors:
//! a) A config epoch is learnt only from senders that say they are primaries.
//! b) Only primaries with slots count as voters when a node is declared failed, as they do in every other quorum;
//!    a lone voter declares a failure without waiting for gossip.
//! c) The identity of the peer on a settled link is checked before anything else of its message is used.
//! d) `current_epoch` is saved when it rises, so it does not fall by a crash.
//! e) Votes are counted per voter.
//! f) A losing owner forgets its MIGRATING mark together with the slot.

mod admin;
mod cron;
mod effect;
mod election;
mod epochs;
mod failure;
mod gossip;
mod handshake;
mod health;
mod links;
mod node;
mod open;
mod receive;
mod replicas;
mod report;
mod slots;
#[cfg(test)]
mod tests;
mod vote;

pub use admin::{AdminError, SetSlot};
pub use effect::{Effect, LinkId, LogLevel};
pub use links::Direction;
pub use open::{ClusterState, Config, PreferredEndpoint, ReplicationView};
pub use report::{
    Health, LinkReport, NodeEndpoint, ShardNode, ShardReport, SlotRange, SlotsReport,
};
