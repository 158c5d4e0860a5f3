//! Synchronisation primitives of the storage engine: atomics behind a facade that loom can
//! replace, the slot sequence lock, the bias of a lock, and epoch based reclamation.
//!
//! This module imports nothing of the crate. Under `--cfg loom` only what the models need is
//! compiled (crossbeam's epochs are not modelled; they are trusted).

mod bias;
mod prefetch;
pub mod primitive;
mod slot_seq;

pub use bias::Bias;
pub use prefetch::prefetch;
pub use slot_seq::{ReadStamp, SlotSeq, WriteGuard};

#[cfg(not(loom))]
pub use crossbeam_epoch::{Guard, pin};
