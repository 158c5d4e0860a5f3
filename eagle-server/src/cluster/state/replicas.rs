//! Roles: who replicates whom.

use super::effect::{Effect, LogLevel};
use super::node::NodeKey;
use super::open::ClusterState;
use crate::cluster::bus::Header;
use crate::cluster::{NodeFlags, NodeId};

impl ClusterState {
    /// Follows what a known node says of its role.
    pub(super) fn learn_role(&mut self, key: NodeKey, header: &Header) {
        let Some(primary_id) = header.primary else {
            return self.become_primary(key);
        };
        if primary_id == header.sender {
            return;
        }
        if self.node(key).is_primary() {
            self.unassign_all(key);
            self.node_mut(key)
                .flags
                .set(NodeFlags::PRIMARY | NodeFlags::MIGRATE_TO, false);
            self.node_mut(key).flags |= NodeFlags::REPLICA;
            self.log(
                LogLevel::Debug,
                format!("Node {} is now a replica of {primary_id}.", header.sender),
            );
            self.slots_changed();
            self.save(false);
        }
        let Some(primary) = self
            .lookup(&primary_id)
            .filter(|primary| !self.node(*primary).in_handshake())
        else {
            return;
        };
        if self.node(key).primary != Some(primary) {
            self.attach_replica(key, primary);
            self.pending.topology = true;
            self.save(false);
        }
    }

    /// Records that a node is a primary. Nothing changes if that is known.
    pub(super) fn become_primary(&mut self, key: NodeKey) {
        if self.node(key).is_primary() {
            return;
        }
        self.detach_replica(key);
        let not_me = key != self.myself;
        let node = self.node_mut(key);
        node.flags.set(NodeFlags::REPLICA, false);
        node.flags |= NodeFlags::PRIMARY;
        if not_me {
            node.flags |= NodeFlags::MIGRATE_TO;
        }
        self.slots_changed();
        self.save(false);
    }

    /// Makes `replica` a replica of `primary` in the records; roles in flags are the caller's.
    pub(super) fn attach_replica(&mut self, replica: NodeKey, primary: NodeKey) {
        self.detach_replica(replica);
        self.node_mut(replica).primary = Some(primary);
        let node = self.node_mut(primary);
        node.replicas.push(replica);
        node.flags |= NodeFlags::MIGRATE_TO;
    }

    pub(super) fn detach_replica(&mut self, replica: NodeKey) {
        let Some(primary) = self.node_mut(replica).primary.take() else {
            return;
        };
        let node = self.node_mut(primary);
        node.replicas.retain(|key| *key != replica);
        if node.replicas.is_empty() {
            node.flags.set(NodeFlags::MIGRATE_TO, false);
        }
    }

    /// Makes this node a replica. A primary that becomes one has no slots any more.
    pub(super) fn become_replica_of(&mut self, primary: NodeKey) {
        let me = self.me_mut();
        if me.is_primary() {
            me.flags
                .set(NodeFlags::PRIMARY | NodeFlags::MIGRATE_TO, false);
            me.flags |= NodeFlags::REPLICA;
            self.slots.migrating_to.clear();
            self.slots.importing_from.clear();
        }
        self.attach_replica(self.myself, primary);
        self.election.abandon();
        let node = self.node(primary);
        let effect = Effect::BecomeReplicaOf {
            primary: node.id,
            ip: node.ip.to_string(),
            port: node.port,
        };
        self.me_mut().shard_id = Some(self.shard_of(primary));
        self.effect(effect);
        self.slots_changed();
        self.save(true);
    }

    /// The name of a node's shard: its primary's. A node that has told none is known by its own name.
    pub(super) fn shard_of(&self, key: NodeKey) -> NodeId {
        let node = self.node(key);
        let primary = node.primary.map_or(node, |primary| self.node(primary));
        primary.shard_id.or(node.shard_id).unwrap_or(primary.id)
    }
}
