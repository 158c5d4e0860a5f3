//! The way of forwarded requests to other nodes: pooled, pipelined connections and raw replies back.
//!
//! ```text
//!   command::forward -- submit --> Pool -- by address, version, number --> Lane == socket ==> node
//!         ^                          ^                                      |
//!         |                          +---- MOVED, ASK: to another lane -----+
//!         +------------- oneshot: the reply's bytes, or an error -----------+
//! ```
//!
//! This module knows requests as bytes. Which command goes where, and which does not go at all, is
//! decided in `command::forward`.
//!
//! # Order
//!
//! A client must find the effects of its requests in the order in which it sent them, as far as they
//! touch the same slot. A `Lane` is one connection, written and answered in order, and a client's
//! requests to one node always take the same lane. So as long as this node believes a slot to be
//! in one place there is nothing to overtake. What breaks that is a change of belief (a new
//! topology, another protocol version or database and so another lane) and a request that goes on to a second node
//! (MOVED, ASK, TRYAGAIN). [`Order`] counts a client's requests under way and says, after either, that
//! the client has to wait until all of them are answered. Requests that were already on the way
//! behind a redirected one get the same redirection from the same node, and are sent on in the
//! order in which they come back. TRYAGAIN, which the next request may not get, is only tried
//! again if nothing of that client is behind it.
//!
//! What a lane lost with its connection is answered with an error before anything else is sent.
//!
//! # Connections of one client
//!
//! What may wait for long, and what a node remembers for one connection (WATCH), has a [`Link`]: a connection for one
//! client alone. Nothing is sent on it while requests of its client are under way on a lane, and the client sends nothing
//! else before it is answered.
//!
//! # Hops
//!
//! At most one. An EagleDB node is told `CLIENT ROUTING REDIRECT` on every such connection, so it
//! answers and never forwards; a Redis node does not know the command, whose error is ignored.

mod connect;
mod dialect;
mod lane;
#[cfg(test)]
mod lane_tests;
mod link;
mod order;
mod pool;
mod redirection;
mod relay;
mod request;

pub use connect::Login;
pub use dialect::Dialect;
pub use link::{Link, LinkError, encode_unblock};
pub use order::{Order, Ticket};
pub use pool::{Peer, Pool};
pub use redirection::Redirection;
pub use relay::{Channel, Held, Host, Owner, Relay};
pub use request::{
    Answered, EXEC_ABORTED, Fate, NamedScript, Request, encode, encode_transaction, failure,
};
