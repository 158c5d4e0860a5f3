//! Replication: the history of this node's data, which replicas and restarts go by, and this node's replicas.

mod feed;
mod history;
mod replicas;
mod sync;
mod transfer;
mod unsent;

pub use feed::{Feed, Start};
pub use history::{History, Identity, random_hex_id};
pub use replicas::{Membership, Phase, Replica, Replicas};
pub use sync::{Batch, Job, Member, Syncs, Terms};
pub use transfer::{End, Transfer};
