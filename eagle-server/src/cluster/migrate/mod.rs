//! MIGRATE's way to the other node: serialized keys out, one answer for each key back.
//!
//! # Why no acknowledged write is lost
//!
//! Redis stops the whole server while keys are under way. Here only the writers of their hash
//! slots wait, and the connection's thread serves everybody else:
//!
//! ```text
//!   1  slots locked     values are serialized; the slots are put into `SlotsInTransfer`
//!   2  no lock          keys are sent, answers are read                        (this module)
//!   3  slots locked     keys the other node took are removed, if they are still what was sent
//!   4                   the slots leave `SlotsInTransfer`
//! ```
//!
//! Between 1 and 4 a command that may write to such a slot finds it in transfer, lets go of its
//! lock and tries again a little later. Reads go on: until step 3 this node has the only copy that
//! clients are sent to. A client that goes away does not stop the transfer, it runs as a task of
//! its own.
//!
//! Large values are encoded between 1 and 2, on a thread of their own: see `command::bulk`. Such a value is encoded as a
//! whole before it is sent, and the other node has it as a whole before it builds the key. That takes memory beside the
//! pool: here as much as the payload, there up to six times the value, since all elements of a payload are decoded
//! first. Two values at a time are being encoded or decoded, no more.
//!
//! What can still change a key in between is expiry, and a command on all slots (FLUSHALL, SWAPDB).
//! So step 3 compares the expiry with what was sent and, if such a command has changed anything, the
//! value. A key that is gone needs nothing: the
//! outcome is that of the removal coming after the MIGRATE. A key that differs stays and MIGRATE
//! fails, saying so; nothing that was written here is removed unsent.
//!
//! When a step fails, or this process dies, the key is still here: at worst both nodes have it, and
//! the cluster's slot assignment says whose counts. That is Redis's promise as well.

mod slots;
mod socket;
mod transfer;

pub use slots::{SlotClaim, SlotsInTransfer};
pub use socket::{SocketCache, Target};
pub use transfer::{Credentials, Item, Report, Transfer, TransferError};
