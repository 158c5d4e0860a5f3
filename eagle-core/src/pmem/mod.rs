//! The persistent pool: one memory-mapped file (or anonymous memory) with crash-atomic
//! transactions and an allocator whose state survives kill -9. `FORMAT.md` describes the medium
//! byte by byte.
//!
//! From the bottom up: `map` reserves addresses and maps extents; `medium` is the only
//! door to what is mapped, with `dax` and `sim` as its two special kinds; `layout`, `superblock`
//! and `class` say where things lie; `log` is the undo log of a lane; `pages`, `slab` and `alloc`
//! are the allocator (`page_walk` reads its page table); `ring` is the stream of changes; `tx` is what everything above uses to change
//! anything; `recovery` ends
//! what a crash cut off; `open` puts it together and `pool` is the result.

mod alloc;
pub mod check;
mod class;
mod commit;
#[cfg(test)]
mod crash_tests;
mod dax;
mod error;
#[cfg(test)]
mod fault_tests;
mod faults;
mod lane;
mod layout;
mod log;
mod map;
mod medium;
mod open;
mod page_walk;
mod pages;
mod pool;
mod ptr;
mod recovery;
#[cfg(test)]
mod recovery_tests;
pub mod ring;
#[cfg(test)]
mod ring_tests;
pub mod sim;
mod slab;
mod superblock;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trim_tests;
mod tx;

pub use commit::Savepoint;
pub use error::{OpenError, OutOfSpace};
pub use lane::Lane;
pub use layout::RING_LABEL_BYTES;
pub use medium::Site;
pub use open::{OpenReport, PoolOptions, quarantine, set_aside};
pub use pool::{MediumKind, Pool, Usage};
pub use ptr::{GRANULE, GRANULE_BITS, Offset};
pub use ring::{ANY_STATE, Lapped, RingReader, RingRecord, RingState};
pub use sim::Sim;
pub use tx::Tx;
