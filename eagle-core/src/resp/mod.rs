//! RESP, the wire protocol: requests in, replies out, no sockets.
//!
//! [`Parser`] reads a client's requests ([`Ahead`] many of them at once), [`Writer`] writes the server's replies; [`ReplyScanner`]
//! and [`Reply`] are the client's side, used where this node talks to another one. All of them work
//! on byte buffers which the caller fills and drains; the only module used from here is `text`.

mod ahead;
mod argv;
mod limits;
mod parser;
mod protocol_error;
mod reply;
mod reply_scanner;
mod writer;

pub use ahead::Ahead;
pub use argv::Argv;
pub use limits::Limits;
pub use parser::{Parser, Step};
pub use protocol_error::ProtocolError;
pub use reply::Reply;
pub use reply_scanner::{ReplyError, ReplyLimits, ReplyScanner, ReplyStep};
pub use writer::{Deferred, Mark, Protocol, Writer};
