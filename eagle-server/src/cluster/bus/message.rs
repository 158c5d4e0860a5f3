//! What nodes say to one another, as values; `codec` knows the bytes.

use super::Extension;
use crate::cluster::address::IpText;
use crate::cluster::{NodeFlags, NodeId, SlotSet};
use bytes::Bytes;

/// The kinds of message, with their numbers on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum MessageKind {
    /// "Are you there?"
    Ping = 0,
    /// The answer to a PING or MEET, or news without a question.
    Pong = 1,
    /// A PING that makes the receiver accept an unknown sender.
    Meet = 2,
    /// A node is failed, by quorum.
    Fail = 3,
    /// A message for the subscribers of a channel.
    Publish = 4,
    /// A replica asks for votes.
    AuthRequest = 5,
    /// A primary gives its vote.
    AuthAck = 6,
    /// A correction of stale slot claims.
    Update = 7,
    /// A replica begins a manual failover.
    ManualFailoverStart = 8,
    /// A message of a server module.
    Module = 9,
    /// A message for the subscribers of a shard channel.
    PublishShard = 10,
}

impl MessageKind {
    /// All kinds by number, with their names in `CLUSTER INFO`.
    pub const ALL: [(Self, &str); 11] = [
        (Self::Ping, "ping"),
        (Self::Pong, "pong"),
        (Self::Meet, "meet"),
        (Self::Fail, "fail"),
        (Self::Publish, "publish"),
        (Self::AuthRequest, "auth-req"),
        (Self::AuthAck, "auth-ack"),
        (Self::Update, "update"),
        (Self::ManualFailoverStart, "mfstart"),
        (Self::Module, "module"),
        (Self::PublishShard, "publishshard"),
    ];

    /// The kind with number `wire`.
    pub fn from_wire(wire: u16) -> Option<Self> {
        Self::ALL.get(usize::from(wire)).map(|(kind, _)| *kind)
    }

    /// The number on the wire.
    pub const fn wire(self) -> u16 {
        self as u16
    }
}

/// Flags of one message (header byte 2253).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MessageFlags(pub u8);

impl MessageFlags {
    /// The sender has paused its clients for a manual failover.
    pub const PAUSED: Self = Self(1);
    /// Vote even though the primary is not failed (manual failover).
    pub const FORCE_ACK: Self = Self(2);
    /// The message may carry extensions, and its sender understands them.
    pub const EXT_DATA: Self = Self(4);

    /// Whether all flags of `flags` are set.
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These flags and those of `flags`.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

/// What every message says about its sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The sender's name.
    pub sender: NodeId,
    /// Announced address; empty means "the address you see on the socket".
    pub ip: IpText,
    /// Announced client port (the TLS port if the cluster speaks TLS).
    pub port: u16,
    /// Announced plaintext client port of a TLS cluster, else 0.
    pub pport: u16,
    /// Announced bus port.
    pub cport: u16,
    /// Highest epoch the sender knows of.
    pub current_epoch: u64,
    /// Epoch of the sender's slot claims; of its primary's if it is a replica.
    pub config_epoch: u64,
    /// Replication offset in bytes.
    pub offset: u64,
    /// Slots the sender (or its primary) serves.
    pub slots: SlotSet,
    /// The sender's primary; `None` if the sender is one.
    pub primary: Option<NodeId>,
    /// The sender's node flags.
    pub flags: NodeFlags,
    /// Whether the cluster is in order as the sender sees it.
    pub cluster_ok: bool,
    /// Flags of this message.
    pub message_flags: MessageFlags,
}

/// One line of gossip: what the sender knows of a third node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GossipEntry {
    /// The node's name.
    pub id: NodeId,
    /// When the outstanding ping was sent, Unix seconds; 0 if none is outstanding.
    pub ping_sent_s: u32,
    /// When the last pong came, Unix seconds.
    pub pong_received_s: u32,
    /// Address; empty if unknown.
    pub ip: IpText,
    /// Client port.
    pub port: u16,
    /// Bus port.
    pub cport: u16,
    /// Flags as the sender sees the node.
    pub flags: NodeFlags,
    /// Plaintext client port of a TLS cluster, else 0.
    pub pport: u16,
}

/// The body that PING, PONG and MEET share.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heartbeat {
    /// News about other nodes; at most 65535 entries fit.
    pub gossip: Vec<GossipEntry>,
    /// Typed additions; at most 65535 fit.
    pub extensions: Vec<Extension>,
}

/// The slots of a node at an epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotClaim {
    /// Epoch of the claim.
    pub config_epoch: u64,
    /// The node that serves the slots.
    pub owner: NodeId,
    /// The slots.
    pub slots: SlotSet,
}

/// The part of a message that differs by kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// PING.
    Ping(Heartbeat),
    /// PONG.
    Pong(Heartbeat),
    /// MEET.
    Meet(Heartbeat),
    /// FAIL: the failed node.
    Fail(NodeId),
    /// PUBLISH.
    Publish {
        /// The channel.
        channel: Bytes,
        /// The message.
        message: Bytes,
    },
    /// PUBLISHSHARD.
    PublishShard {
        /// The shard channel.
        channel: Bytes,
        /// The message.
        message: Bytes,
    },
    /// FAILOVER_AUTH_REQUEST.
    AuthRequest,
    /// FAILOVER_AUTH_ACK.
    AuthAck,
    /// UPDATE.
    Update(SlotClaim),
    /// MFSTART.
    ManualFailoverStart,
    /// MODULE.
    Module {
        /// The module, in the byte order of its maker.
        module: [u8; 8],
        /// The module's own kind of message.
        kind: u8,
        /// The module's data.
        payload: Bytes,
    },
    /// A kind of a later version; only its number is kept.
    Unknown(u16),
}

impl Body {
    /// The kind, if it is a known one.
    pub fn kind(&self) -> Option<MessageKind> {
        Some(match self {
            Self::Ping(_) => MessageKind::Ping,
            Self::Pong(_) => MessageKind::Pong,
            Self::Meet(_) => MessageKind::Meet,
            Self::Fail(_) => MessageKind::Fail,
            Self::Publish { .. } => MessageKind::Publish,
            Self::PublishShard { .. } => MessageKind::PublishShard,
            Self::AuthRequest => MessageKind::AuthRequest,
            Self::AuthAck => MessageKind::AuthAck,
            Self::Update(_) => MessageKind::Update,
            Self::ManualFailoverStart => MessageKind::ManualFailoverStart,
            Self::Module { .. } => MessageKind::Module,
            Self::Unknown(_) => return None,
        })
    }
}
