//! What leaves the pool for files and other servers: the RDB encodings.

pub mod rdb;
