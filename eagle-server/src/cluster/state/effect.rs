//! What the state machine wants done.

use crate::cluster::{NodeId, SlotSet, Topology};
use bytes::Bytes;
use std::sync::Arc;

/// One connection of the bus. Numbers are given by [`super::ClusterState`] and never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub(super) u64);

impl LinkId {
    /// The number, for the keys of the caller's tables and for logs.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// How much a log line matters, in the words of the `loglevel` directive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// For those who debug the bus.
    Debug,
    /// Often of no interest.
    Verbose,
    /// What an operator wants to know.
    Notice,
    /// What an operator must know.
    Warning,
}

/// Something to carry out. Effects are carried out in the order in which they are handed over.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Replace `nodes.conf`; always the first effect. With `fsync`, nothing after it may happen before the text is on
    /// stable storage. If it cannot be written the process must end: what it would say next could be taken back.
    SaveConfig {
        /// The new content.
        text: String,
        /// Whether the text must survive a power cut before the next effect.
        fsync: bool,
    },
    /// Routing and cached reports must use this view from now on.
    Topology(Arc<Topology>),
    /// Open a connection to a bus port; answer with `on_connected` or `on_link_down`. What is sent meanwhile waits.
    Connect {
        /// The link to open.
        link: LinkId,
        /// IP address as announced; if it cannot be parsed the answer is `on_link_down`.
        ip: String,
        /// Bus port.
        cport: u16,
    },
    /// Close a connection, together with what waits to be sent. It is forgotten already; no answer is wanted.
    Close {
        /// The link to close.
        link: LinkId,
    },
    /// Queue a frame on a connection.
    Send {
        /// The link.
        link: LinkId,
        /// The whole message.
        frame: Bytes,
    },
    /// Other nodes took these slots with a greater epoch: their keys here are dead and must be deleted.
    SlotsLost(SlotSet),
    /// Deliver to local subscribers only.
    Publish {
        /// The (shard) channel.
        channel: Bytes,
        /// The message.
        message: Bytes,
        /// Whether it is a shard channel.
        sharded: bool,
    },
    /// This node is now a replica of that one (again, at a new address, if it was one already).
    BecomeReplicaOf {
        /// The primary.
        primary: NodeId,
        /// Its IP address; empty if unknown.
        ip: String,
        /// Its client port.
        port: u16,
    },
    /// This node is now a primary. `flush` says that its data must be emptied (reset of a replica).
    BecomePrimary {
        /// Whether to drop all data.
        flush: bool,
    },
    /// Write to the server's log.
    Log(LogLevel, String),
}
