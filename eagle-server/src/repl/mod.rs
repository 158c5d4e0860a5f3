//! Replication: the history of this node's data, which replicas and restarts go by.

mod history;

pub use history::{History, Identity, random_hex_id};
