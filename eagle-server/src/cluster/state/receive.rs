//! One message, from its bytes to its consequences, in the order the protocol demands.

use super::effect::{Effect, LinkId, LogLevel};
use super::links::Direction;
use super::node::NodeKey;
use super::open::ClusterState;
use crate::cluster::NodeFlags;
use crate::cluster::bus::{Body, Header, Heartbeat, MessageFlags, decode};
use bytes::Bytes;

/// An epoch that no cluster reaches by counting. Such a message is damaged or forged: were it believed, the epochs of
/// the whole cluster would be stuck at the end of their range for ever.
const EPOCH_MAX: u64 = 1 << 62;

/// Who sent a message, as far as it can be told.
enum Sender {
    Known(NodeKey),
    /// A name nobody knows here, or a node in handshake.
    Stranger,
    /// This very node, by a MEET to its own address or a copied `nodes.conf`.
    Myself,
    /// Another name than that of the settled node this outbound link leads to.
    Impostor(NodeKey),
}

impl ClusterState {
    /// A whole frame has arrived.
    pub fn on_frame(&mut self, link: LinkId, frame: &Bytes, now_ms: u64) {
        self.now_ms = now_ms;
        if !self.links.contains_key(&link) {
            return;
        }
        let (header, body) = match decode(frame) {
            Ok(message) => message,
            Err(error) => {
                return self.log(
                    LogLevel::Debug,
                    format!("Ignoring a cluster bus message: {error}."),
                );
            }
        };
        if header.current_epoch > EPOCH_MAX || header.config_epoch > EPOCH_MAX {
            return self.log(
                LogLevel::Warning,
                format!(
                    "Ignoring a message of node {} with an impossible epoch.",
                    header.sender
                ),
            );
        }
        if let Some(kind) = body.kind() {
            self.counters.received[usize::from(kind.wire())] += 1;
        }
        self.process(link, &header, body);
    }

    fn process(&mut self, link: LinkId, header: &Header, body: Body) {
        let sender = self.identify(link, header);
        if let Sender::Known(key) = sender {
            self.note_sender(key, header);
        }
        let question = matches!(body, Body::Ping(_) | Body::Meet(_));
        if question {
            if matches!(body, Body::Meet(_)) || self.me().ip.is_empty() {
                self.learn_own_ip(link);
            }
            if let (Body::Meet(heartbeat), Sender::Stranger) = (&body, &sender) {
                self.meet_stranger(link, header);
                self.digest_gossip(None, &heartbeat.gossip);
            }
            self.send_pong(link);
        }
        match (body, sender) {
            (Body::Ping(heartbeat), sender) => {
                self.on_heartbeat(link, header, sender, &heartbeat, Kind::Ping)
            }
            (Body::Pong(heartbeat), sender) => {
                self.on_heartbeat(link, header, sender, &heartbeat, Kind::Pong)
            }
            (Body::Meet(heartbeat), sender) => {
                self.on_heartbeat(link, header, sender, &heartbeat, Kind::Meet)
            }
            (Body::Fail(_), Sender::Stranger) => {
                self.log(
                    LogLevel::Notice,
                    format!(
                        "Ignoring a FAIL message of the unknown node {}.",
                        header.sender
                    ),
                );
            }
            (body, Sender::Known(key)) => self.on_order(key, header, body),
            (_, Sender::Stranger | Sender::Myself | Sender::Impostor(_)) => {}
        }
    }

    fn identify(&mut self, link: LinkId, header: &Header) -> Sender {
        let entry = &self.links[&link];
        let found = self.lookup(&header.sender);
        match (entry.direction, entry.node) {
            (Direction::Outbound, Some(key))
                if !self.node(key).in_handshake() && found != Some(key) =>
            {
                Sender::Impostor(key)
            }
            _ if found == Some(self.myself) => Sender::Myself,
            (direction, _) => match found.filter(|key| !self.node(*key).in_handshake()) {
                Some(key) => {
                    if direction == Direction::Inbound {
                        self.bind_inbound(link, key);
                    }
                    Sender::Known(key)
                }
                None => Sender::Stranger,
            },
        }
    }

    /// What every message of a known node says: it lives, and what epochs there are.
    fn note_sender(&mut self, key: NodeKey, header: &Header) {
        self.witness_epoch(header.current_epoch.max(header.config_epoch));
        let now_ms = self.now_ms;
        let node = self.node_mut(key);
        node.data_received_ms = now_ms;
        node.offset = header.offset;
        if header.primary.is_none() && header.config_epoch > node.config_epoch {
            node.config_epoch = header.config_epoch;
            self.save(true);
            self.pending.topology = true;
        }
    }

    fn on_heartbeat(
        &mut self,
        link: LinkId,
        header: &Header,
        sender: Sender,
        heartbeat: &Heartbeat,
        kind: Kind,
    ) {
        let entry = &self.links[&link];
        let peer = entry
            .node
            .filter(|_| entry.direction == Direction::Outbound);
        match (sender, peer) {
            (Sender::Impostor(key), _) => self.lose_address(key, link, &header.sender),
            (_, Some(key)) if self.node(key).in_handshake() => {
                self.complete_handshake(key, link, header);
                // Unless the handshake node was dropped, this heartbeat is also the answer to its first ping.
                if kind == Kind::Pong && self.nodes.contains_key(&key) {
                    self.note_pong(key);
                }
            }
            (Sender::Stranger | Sender::Myself, _) => {}
            (Sender::Known(key), peer) => {
                let no_failover = header.flags.contains(NodeFlags::NOFAILOVER);
                if self
                    .node_mut(key)
                    .flags
                    .set(NodeFlags::NOFAILOVER, no_failover)
                {
                    self.pending.topology = true;
                }
                if kind == Kind::Ping {
                    self.update_address(key, link, header);
                }
                if kind == Kind::Pong && peer.is_some() {
                    self.note_pong(key);
                }
                self.learn_role(key, header);
                self.compare_slots(key, header);
                self.digest_gossip(Some(key), &heartbeat.gossip);
                self.digest_extensions(
                    key,
                    header.flags,
                    header.message_flags,
                    &heartbeat.extensions,
                );
            }
        }
    }

    /// Steps f) to i): slot claims, stale claims, and equal epochs.
    fn compare_slots(&mut self, key: NodeKey, header: &Header) {
        let node = self.node(key);
        let is_primary = node.is_primary();
        let recorded = if is_primary {
            Some(node)
        } else {
            node.primary.map(|primary| self.node(primary))
        };
        if recorded.is_some_and(|recorded| recorded.slots != header.slots) {
            if is_primary {
                self.apply_claim(key, header.config_epoch, &header.slots);
            }
            self.correct_stale_claim(key, header);
        }
        // The claim may have changed this node's own role.
        if is_primary && self.me().is_primary() && header.config_epoch == self.me().config_epoch {
            self.resolve_collision(key);
        }
    }

    /// Messages that are not heartbeats, from a known sender.
    fn on_order(&mut self, sender: NodeKey, header: &Header, body: Body) {
        match body {
            Body::Fail(id) => self.on_fail(sender, &id),
            Body::Publish { channel, message } => self.effect(Effect::Publish {
                channel,
                message,
                sharded: false,
            }),
            Body::PublishShard { channel, message } => self.effect(Effect::Publish {
                channel,
                message,
                sharded: true,
            }),
            Body::AuthRequest => {
                let force = header.message_flags.contains(MessageFlags::FORCE_ACK);
                self.on_auth_request(sender, header, force);
            }
            Body::AuthAck => self.on_auth_ack(sender, header),
            Body::Update(claim) if claim.config_epoch <= EPOCH_MAX => self.on_update(&claim),
            Body::Unknown(kind) => self.log(
                LogLevel::Debug,
                format!("Ignoring a message of the unknown type {kind}."),
            ),
            // No modules here; manual failover of a primary is not offered, so its replica's request times out.
            Body::Update(_) | Body::Module { .. } | Body::ManualFailoverStart => {}
            Body::Ping(_) | Body::Pong(_) | Body::Meet(_) => {
                unreachable!("heartbeats take another path")
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ping,
    Pong,
    Meet,
}
