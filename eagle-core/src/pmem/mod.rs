//! The persistent pool: one memory-mapped file (or anonymous memory) with a crash-atomic
//! transaction mechanism and an allocator whose state survives kill -9. `FORMAT.md` describes
//! the medium byte by byte.

mod error;
mod pool;
mod ptr;
mod tx;

pub use error::{OpenError, OutOfSpace};
pub use pool::{Lane, Medium, OpenReport, Pool, PoolOptions, Usage, quarantine};
pub use ptr::{GRANULE, GRANULE_BITS, Offset};
pub use tx::{Savepoint, Tx};
