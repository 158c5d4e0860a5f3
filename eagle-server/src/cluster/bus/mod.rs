//! The cluster bus protocol: messages, their bytes, and the cutting of a byte stream into frames.

mod codec;
mod extension;
mod message;
pub mod shell;
mod splitter;

pub use codec::{DecodeError, HEADER_BYTES, decode, encode};
pub use extension::Extension;
pub use message::{Body, GossipEntry, Header, Heartbeat, MessageFlags, MessageKind, SlotClaim};
pub use splitter::{FrameError, FrameSplitter, PUBLISH_BYTES_MAX};
