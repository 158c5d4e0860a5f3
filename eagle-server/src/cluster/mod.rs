//! The cluster: who the nodes are, which of them owns which hash slot, and how they agree about it.

pub mod address;
pub mod bus;
pub mod config_file;
pub mod config_store;
pub mod migrate;
mod node_flags;
mod node_id;
pub mod proxy;
pub mod route;
mod service;
mod slot_cleaner;
mod slot_set;
pub mod slot_tag;
pub mod start;
pub mod state;
mod topology;

pub use node_flags::NodeFlags;
pub use node_id::NodeId;
pub use service::{Cluster, Listener};
pub use slot_cleaner::{SlotCleaner, TopologySource};
pub use slot_set::{SLOT_COUNT, SlotSet};
pub use topology::{NodeIndex, Topology, TopologyNode};
