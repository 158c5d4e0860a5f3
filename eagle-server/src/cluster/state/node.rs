//! One node as this node knows it.

use super::effect::LinkId;
use crate::cluster::address::{HostName, HumanName, IpText};
use crate::cluster::{NodeFlags, NodeId, SlotSet};
use std::num::NonZeroU32;

/// Most nodes that are known at one time; gossip cannot make this node's memory grow beyond them.
pub(super) const NODES_MAX: usize = 32_768;

/// A known node within [`super::ClusterState`]; never reused, so a stale key finds nothing instead of somebody else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::cluster) struct NodeKey(pub(super) NonZeroU32);

/// Somebody said that a node does not answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailureReport {
    pub reporter: NodeKey,
    pub at_ms: u64,
}

/// Times are Unix milliseconds; 0 means never.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub id: NodeId,
    pub flags: NodeFlags,
    pub ip: IpText,
    pub port: u16,
    pub pport: u16,
    pub cport: u16,
    pub host_name: HostName,
    pub human_name: HumanName,
    /// The shard's name, if the node has told it.
    pub shard_id: Option<NodeId>,
    /// Whether the node reads and writes extensions beyond the host name.
    pub extensions: bool,
    pub config_epoch: u64,
    pub slots: SlotSet,
    /// Number of slots in `slots`.
    pub slot_count: u16,
    pub primary: Option<NodeKey>,
    pub replicas: Vec<NodeKey>,
    pub created_ms: u64,
    /// When the ping was sent that has no answer yet.
    pub ping_sent_ms: u64,
    pub pong_received_ms: u64,
    pub data_received_ms: u64,
    /// When FAIL was set.
    pub failed_ms: u64,
    /// When this node last voted for a replica of that one.
    pub voted_ms: u64,
    /// Replication offset in bytes, as announced.
    pub offset: u64,
    pub failure_reports: Vec<FailureReport>,
    pub outbound: Option<LinkId>,
    pub inbound: Option<LinkId>,
}

impl Node {
    pub fn new(id: NodeId, flags: NodeFlags, now_ms: u64) -> Self {
        Self {
            id,
            flags,
            ip: IpText::EMPTY,
            port: 0,
            pport: 0,
            cport: 0,
            host_name: HostName::default(),
            human_name: HumanName::default(),
            shard_id: None,
            extensions: false,
            config_epoch: 0,
            slots: SlotSet::new(),
            slot_count: 0,
            primary: None,
            replicas: Vec::new(),
            created_ms: now_ms,
            ping_sent_ms: 0,
            pong_received_ms: 0,
            data_received_ms: 0,
            failed_ms: 0,
            voted_ms: 0,
            offset: 0,
            failure_reports: Vec::new(),
            outbound: None,
            inbound: None,
        }
    }

    pub fn is_primary(&self) -> bool {
        self.flags.contains(NodeFlags::PRIMARY)
    }

    pub fn is_replica(&self) -> bool {
        self.flags.contains(NodeFlags::REPLICA)
    }

    /// Whether the node has a say in elections and failure reports.
    pub fn is_voter(&self) -> bool {
        self.is_primary() && self.slot_count > 0
    }

    pub fn in_handshake(&self) -> bool {
        self.flags.contains(NodeFlags::HANDSHAKE)
    }

    pub fn is_failed(&self) -> bool {
        self.flags.contains(NodeFlags::FAIL)
    }

    pub fn is_unreachable(&self) -> bool {
        self.flags.intersects(NodeFlags::PFAIL | NodeFlags::FAIL)
    }
}
