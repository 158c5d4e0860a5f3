//! Connections: one outbound link to every other node, one inbound link from each.
//!
//! An outbound link exists from the moment it is asked for; a frame sent before the connection stands waits in its
//! queue. That matters: a ping to a host that swallows packets must start the node's timeout, though no connection
//! ever comes about.

use super::effect::{Effect, LinkId};
use super::node::NodeKey;
use super::open::ClusterState;
use crate::cluster::NodeFlags;
use crate::cluster::address::IpText;
use crate::cluster::bus::{Body, Header, MessageFlags, encode};
use bytes::Bytes;
use std::net::IpAddr;

/// Who opened a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The peer.
    Inbound,
    /// This node.
    Outbound,
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub direction: Direction,
    /// The peer. Always set on outbound links; on inbound ones once a message of a known node has come.
    pub node: Option<NodeKey>,
    pub created_ms: u64,
    /// The peer's address; unknown on outbound links, where it is the node's.
    pub peer_ip: IpText,
    /// This end's address, once the connection stands.
    pub local_ip: IpText,
}

impl ClusterState {
    /// A peer has connected.
    pub fn on_accept(&mut self, peer_ip: IpAddr, local_ip: IpAddr, now_ms: u64) -> LinkId {
        self.now_ms = now_ms;
        self.new_link(Link {
            direction: Direction::Inbound,
            node: None,
            created_ms: now_ms,
            peer_ip: peer_ip.into(),
            local_ip: local_ip.into(),
        })
    }

    /// A connection that was asked for stands.
    pub fn on_connected(&mut self, link: LinkId, local_ip: IpAddr, now_ms: u64) {
        self.now_ms = now_ms;
        let Some(entry) = self.links.get_mut(&link) else {
            return;
        };
        entry.local_ip = local_ip.into();
        let Some(key) = entry.node else { return };
        // A node that has not answered since before the reconnect is not given new time.
        let ping_sent_ms = self.node(key).ping_sent_ms;
        if self.node(key).flags.contains(NodeFlags::MEET) {
            self.send_meet(link);
        } else {
            self.send_ping(link);
        }
        let node = self.node_mut(key);
        if ping_sent_ms != 0 {
            node.ping_sent_ms = ping_sent_ms;
        }
        node.flags.set(NodeFlags::MEET, false);
    }

    /// A connection is gone or could not be made.
    pub fn on_link_down(&mut self, link: LinkId, now_ms: u64) {
        self.now_ms = now_ms;
        self.detach_link(link);
    }

    /// The caller has closed a link because more than `cluster-link-sendbuf-limit` bytes waited on it.
    pub fn on_buffer_limit_exceeded(&mut self, link: LinkId, now_ms: u64) {
        self.counters.buffer_limit_exceeded += 1;
        self.on_link_down(link, now_ms);
    }

    /// Asks for a connection to a node.
    pub(super) fn connect(&mut self, key: NodeKey) {
        let (ip, cport) = (self.node(key).ip, self.node(key).cport);
        let link = self.new_link(Link {
            direction: Direction::Outbound,
            node: Some(key),
            created_ms: self.now_ms,
            peer_ip: IpText::EMPTY,
            local_ip: IpText::EMPTY,
        });
        self.node_mut(key).outbound = Some(link);
        self.effect(Effect::Connect {
            link,
            ip: ip.to_string(),
            cport,
        });
    }

    fn new_link(&mut self, link: Link) -> LinkId {
        self.links_made += 1;
        let id = LinkId(self.links_made);
        self.links.insert(id, link);
        id
    }

    /// Binds an inbound link to the node it turned out to come from; an older one of the same node is closed.
    pub(super) fn bind_inbound(&mut self, link: LinkId, key: NodeKey) {
        if self.node(key).inbound == Some(link) {
            return;
        }
        if let Some(older) = self.node(key).inbound {
            self.close_link(older);
        }
        if let Some(entry) = self.links.get_mut(&link) {
            let former = entry.node.replace(key);
            if let Some(former) = former.and_then(|former| self.nodes.get_mut(&former)) {
                former.inbound = None;
            }
            self.node_mut(key).inbound = Some(link);
        }
    }

    /// Closes a link and takes it off its node.
    pub(super) fn close_link(&mut self, link: LinkId) {
        self.detach_link(link);
        self.effect(Effect::Close { link });
    }

    /// Closes a link of a node that is removed already.
    pub(super) fn forget_link(&mut self, link: LinkId) {
        if self.links.remove(&link).is_some() {
            self.effect(Effect::Close { link });
        }
    }

    fn detach_link(&mut self, link: LinkId) {
        let Some(entry) = self.links.remove(&link) else {
            return;
        };
        if let Some(node) = entry.node.and_then(|key| self.nodes.get_mut(&key)) {
            node.outbound = node.outbound.filter(|of_node| *of_node != link);
            node.inbound = node.inbound.filter(|of_node| *of_node != link);
        }
    }

    /// Closes the link this node keeps to another; the next tick makes a new one.
    pub(super) fn reconnect(&mut self, key: NodeKey) {
        if let Some(link) = self.node(key).outbound {
            self.close_link(link);
        }
    }

    /// Sends one message.
    pub(super) fn send(&mut self, link: LinkId, flags: MessageFlags, body: &Body) {
        if self.links.contains_key(&link) {
            let frame = encode(&self.header(flags), body);
            self.send_frame(link, body, frame);
        }
    }

    /// Sends one message to every node there is a link to, but not to nodes in handshake.
    pub(super) fn broadcast(&mut self, flags: MessageFlags, body: &Body) {
        let frame = encode(&self.header(flags), body);
        for link in self.settled_links() {
            self.send_frame(link, body, frame.clone());
        }
    }

    /// Tells the nodes whose clients may want it of a published message: all of them, or those of this node's shard.
    pub fn publish(&mut self, channel: Bytes, message: Bytes, sharded: bool, now_ms: u64) {
        self.now_ms = now_ms;
        if !sharded {
            let body = Body::Publish { channel, message };
            return self.broadcast(MessageFlags::default(), &body);
        }
        let shard = self.me().primary.unwrap_or(self.myself);
        let links: Vec<LinkId> = self
            .nodes
            .iter()
            .filter(|(key, node)| **key == shard || node.primary == Some(shard))
            .filter(|(_, node)| !node.in_handshake())
            .filter_map(|(_, node)| node.outbound)
            .collect();
        if links.is_empty() {
            return;
        }
        let body = Body::PublishShard { channel, message };
        let frame = encode(&self.header(MessageFlags::default()), &body);
        for link in links {
            self.send_frame(link, &body, frame.clone());
        }
    }

    fn send_frame(&mut self, link: LinkId, body: &Body, frame: Bytes) {
        if let Some(kind) = body.kind() {
            self.counters.sent[usize::from(kind.wire())] += 1;
        }
        self.effect(Effect::Send { link, frame });
    }

    /// The outbound links to all nodes that are not in handshake.
    pub(super) fn settled_links(&self) -> Vec<LinkId> {
        self.nodes
            .values()
            .filter(|node| !node.in_handshake())
            .filter_map(|node| node.outbound)
            .collect()
    }

    /// What this node says of itself. A replica speaks for its primary's slots and epoch.
    fn header(&self, message_flags: MessageFlags) -> Header {
        let me = self.me();
        let speaks_for = me.primary.map_or(me, |primary| self.node(primary));
        Header {
            sender: me.id,
            ip: self.config.announce_ip.unwrap_or(IpText::EMPTY),
            port: me.port,
            pport: me.pport,
            cport: me.cport,
            current_epoch: self.current_epoch,
            config_epoch: speaks_for.config_epoch,
            offset: self.replication.offset,
            slots: speaks_for.slots.clone(),
            primary: me.primary.map(|primary| self.node(primary).id),
            flags: me.flags | NodeFlags::EXTENSIONS,
            cluster_ok: self.health.ok,
            message_flags: message_flags.with(MessageFlags::EXT_DATA),
        }
    }
}
