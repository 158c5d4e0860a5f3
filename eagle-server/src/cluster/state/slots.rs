//! Who owns which slot, and what claims of other nodes do to that.
//!
//! A claim is (node, config epoch, slots). A slot moves to its claimant if nobody owns it, if its owner has ceased to
//! claim it, or if the claim's epoch is greater than the owner's. A slot this node is importing stays where it is:
//! the administrator who moves it has the last word.
//!
//! Heartbeats of one node come on two connections and may overtake one another, so an owner may seem to have ceased to
//! claim a slot that it has in fact just taken. A bystander's view then goes back to the former owner until the next
//! heartbeat (as in Redis); a node's own slots never go that way.

use super::effect::{Effect, LogLevel};
use super::node::NodeKey;
use super::open::ClusterState;
use crate::cluster::bus::{Body, Header, MessageFlags, SlotClaim};
use crate::cluster::{NodeFlags, SLOT_COUNT, SlotSet};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct SlotTable {
    owners: Box<[Option<NodeKey>]>,
    /// Slots whose owner said in its last heartbeat that it does not serve them.
    pub owner_not_claiming: SlotSet,
    pub migrating_to: BTreeMap<u16, NodeKey>,
    pub importing_from: BTreeMap<u16, NodeKey>,
}

impl SlotTable {
    pub fn new() -> Self {
        Self {
            owners: vec![None; usize::from(SLOT_COUNT)].into(),
            owner_not_claiming: SlotSet::new(),
            migrating_to: BTreeMap::new(),
            importing_from: BTreeMap::new(),
        }
    }

    pub fn owner(&self, slot: u16) -> Option<NodeKey> {
        self.owners[usize::from(slot)]
    }

    fn is_unclaimed(&self, slot: u16) -> bool {
        self.owner(slot).is_none() || self.owner_not_claiming.contains(slot)
    }
}

impl ClusterState {
    /// Gives a slot to a node, whoever had it.
    pub(super) fn assign_slot(&mut self, slot: u16, key: NodeKey) {
        self.unassign_slot(slot);
        self.slots.owners[usize::from(slot)] = Some(key);
        let node = self.node_mut(key);
        node.slots.insert(slot);
        node.slot_count += 1;
        if node.slot_count == 1 && self.nodes.values().any(|node| !node.replicas.is_empty()) {
            self.node_mut(key).flags |= NodeFlags::MIGRATE_TO;
        }
    }

    /// Takes a slot from its owner; says who that was.
    pub(super) fn unassign_slot(&mut self, slot: u16) -> Option<NodeKey> {
        let owner = self.slots.owners[usize::from(slot)].take()?;
        self.slots.owner_not_claiming.remove(slot);
        let node = self.node_mut(owner);
        node.slots.remove(slot);
        node.slot_count -= 1;
        Some(owner)
    }

    /// Takes all slots from a node.
    pub(super) fn unassign_all(&mut self, key: NodeKey) {
        let slots: Vec<u16> = self.node(key).slots.iter().collect();
        for slot in slots {
            self.unassign_slot(slot);
        }
    }

    /// Takes over what `claimant` says it serves.
    pub(super) fn apply_claim(&mut self, claimant: NodeKey, config_epoch: u64, claimed: &SlotSet) {
        if claimant == self.myself {
            return;
        }
        let my_primary = self.me().primary.unwrap_or(self.myself);
        let mut lost = SlotSet::new();
        let mut taken_from_us = 0;
        let mut moved = false;
        for slot in claimed.iter() {
            let owner = self.slots.owner(slot);
            if owner == Some(claimant) {
                self.slots.owner_not_claiming.remove(slot);
                continue;
            }
            if self.slots.importing_from.contains_key(&slot) {
                continue;
            }
            let outdone = owner.is_some_and(|owner| self.node(owner).config_epoch < config_epoch);
            if !outdone && !self.slots.is_unclaimed(slot) {
                continue;
            }
            if owner == Some(my_primary) {
                taken_from_us += 1;
            }
            if owner == Some(self.myself) {
                lost.insert(slot);
                self.slots.migrating_to.remove(&slot);
            }
            self.assign_slot(slot, claimant);
            moved = true;
        }
        let mut unclaimed = self.node(claimant).slots.clone();
        unclaimed.subtract(claimed);
        self.slots.owner_not_claiming.union_with(&unclaimed);
        if moved {
            self.slots_changed();
            self.save(true);
        }
        let all_is_ours = taken_from_us == claimed.len();
        let follow = taken_from_us > 0
            && self.node(my_primary).slot_count == 0
            && (self.config.allow_replica_migration || all_is_ours);
        if follow {
            let id = self.node(claimant).id;
            self.log(
                LogLevel::Warning,
                format!("All slots went to {id}: reconfiguring myself as its replica."),
            );
            self.become_replica_of(claimant);
        } else if let Some(primary) = self.primary_of_my_primary() {
            self.log(
                LogLevel::Warning,
                "My primary is a replica now: following its primary.",
            );
            self.become_replica_of(primary);
        } else if !lost.is_empty() {
            self.effect(Effect::SlotsLost(lost));
        }
    }

    /// The primary of my primary, if that has become a replica of a third node.
    fn primary_of_my_primary(&self) -> Option<NodeKey> {
        self.node(self.me().primary?)
            .primary
            .filter(|key| *key != self.myself)
    }

    /// If the sender claims a slot that another node serves at a greater epoch, tells it so.
    pub(super) fn correct_stale_claim(&mut self, sender: NodeKey, header: &Header) {
        let stale = header.slots.iter().find_map(|slot| {
            let owner = self
                .slots
                .owner(slot)
                .filter(|owner| *owner != sender && !self.slots.is_unclaimed(slot))?;
            (self.node(owner).config_epoch > header.config_epoch).then_some(owner)
        });
        let (Some(owner), Some(link)) = (stale, self.node(sender).outbound) else {
            return;
        };
        let node = self.node(owner);
        let mut claim = SlotClaim {
            config_epoch: node.config_epoch,
            owner: node.id,
            slots: node.slots.clone(),
        };
        claim.slots.subtract(&self.slots.owner_not_claiming);
        self.send(link, MessageFlags::default(), &Body::Update(claim));
    }

    /// Another node corrects this one's view of a third.
    pub(super) fn on_update(&mut self, claim: &SlotClaim) {
        let Some(owner) = self.lookup(&claim.owner) else {
            return;
        };
        let node = self.node(owner);
        if owner == self.myself || node.in_handshake() || node.config_epoch >= claim.config_epoch {
            return;
        }
        self.witness_epoch(claim.config_epoch);
        self.become_primary(owner);
        self.node_mut(owner).config_epoch = claim.config_epoch;
        self.slots_changed();
        self.save(true);
        self.apply_claim(owner, claim.config_epoch, &claim.slots);
    }
}
