//! What leaves the pool for files and other servers: the RDB encodings, snapshots in files, and the way back.

pub mod load;
pub mod loading;
pub mod rdb;
pub mod saving;
pub mod snapshot;

pub use loading::Loading;
pub use saving::Saving;
