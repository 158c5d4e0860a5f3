//! What must hold at every step, judged from outside: by what hosts send and by what they come to believe.

use crate::world::{Host, HostIndex};
use bytes::Bytes;
use eagle_server::cluster::bus::{Body, decode};
use eagle_server::cluster::state::ClusterState;
use eagle_server::cluster::{NodeFlags, NodeId, NodeIndex, SLOT_COUNT, SlotSet, Topology};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The last word of each host on its own slots, so that a repeated claim is checked only once.
type LastClaim = (u64, SlotSet, bool);

/// What a host routes by, and the config epochs it has recorded.
type View = (Arc<Topology>, HashMap<NodeId, u64>);

/// Where the header of a frame ends, and how long its bitmap of slots is.
const HEADER_BYTES: usize = 2256;
const SLOT_BITMAP_BYTES: usize = SLOT_COUNT as usize / 8;

#[derive(Default)]
pub struct Checks {
    /// Who claimed which slots at an epoch, over the whole run.
    claims: BTreeMap<u64, Vec<(NodeId, SlotSet)>>,
    last_claims: HashMap<HostIndex, LastClaim>,
    /// To whom a voter gave its vote of an epoch.
    votes: HashMap<(HostIndex, u64), HostIndex>,
    /// The last view of each life of a host, with the config epochs of the nodes in it.
    views: HashMap<(HostIndex, u32), View>,
    /// The last thing each life of a host was told of a node's slots: the bitmap, as it came.
    heard: HashMap<(HostIndex, u32, NodeId), Bytes>,
    pub elections: u64,
}

impl Checks {
    /// A frame leaves a host: what it says can no longer be taken back.
    pub fn on_send(
        &mut self,
        host: &mut Host,
        index: HostIndex,
        to: HostIndex,
        frame: &Bytes,
        state: &ClusterState,
    ) {
        let current_epoch = u64::from_be_bytes(frame[16..24].try_into().unwrap());
        assert!(current_epoch >= host.sent_epoch, "current epoch falls");
        host.sent_epoch = current_epoch;
        match u16::from_be_bytes([frame[12], frame[13]]) {
            0..=2 => self.on_claim(index, state),
            5 => self.elections += 1,
            6 => {
                let before = self.votes.insert((index, current_epoch), to);
                assert!(
                    before.is_none(),
                    "host {index} votes twice in epoch {current_epoch}: {before:?} and {to}"
                );
            }
            _ => {}
        }
        if cfg!(debug_assertions) && current_epoch % 64 == 1 {
            assert!(
                !matches!(decode(frame), Err(_) | Ok((_, Body::Unknown(_)))),
                "a frame that nobody can read"
            );
        }
    }

    fn on_claim(&mut self, index: HostIndex, state: &ClusterState) {
        let (is_primary, epoch, slots) = state.my_claim();
        let last = self.last_claims.get(&index);
        if last.is_some_and(|last| last.0 == epoch && last.2 == is_primary && last.1 == *slots) {
            return;
        }
        self.last_claims
            .insert(index, (epoch, slots.clone(), is_primary));
        if !is_primary || slots.is_empty() {
            return;
        }
        let id = state.my_id();
        let claims = self.claims.entry(epoch).or_default();
        for (other, other_slots) in claims.iter() {
            assert!(
                *other == id || !other_slots.intersects(slots),
                "{other} and {id} claim one slot at epoch {epoch}"
            );
        }
        match claims.iter_mut().find(|(owner, _)| *owner == id) {
            Some((_, union)) => union.union_with(slots),
            None => claims.push((id, slots.clone())),
        }
    }

    /// A host comes back: it must remember what it has said.
    pub fn on_restart(&self, host: &Host, index: HostIndex, state: &ClusterState) {
        let (current_epoch, last_vote_epoch) = state.epochs();
        assert!(
            current_epoch >= host.sent_epoch,
            "host {index} forgets epoch {}",
            host.sent_epoch
        );
        let last_vote = self
            .votes
            .keys()
            .filter(|(voter, _)| *voter == index)
            .map(|(_, epoch)| *epoch)
            .max();
        assert!(
            last_vote_epoch >= last_vote.unwrap_or(0),
            "host {index} forgets its vote"
        );
    }

    /// A frame is about to be read by a host.
    pub fn on_deliver(&mut self, host: &Host, index: HostIndex, frame: &Bytes) {
        const UPDATE_OWNER: usize = HEADER_BYTES + 8;
        let (owner, slots) = match u16::from_be_bytes([frame[12], frame[13]]) {
            // Of heartbeats, only a primary's: a replica repeats what it knows of its primary.
            0..=2 if frame[2128..2168] == [0; 40] => (40, 80),
            7 => (UPDATE_OWNER, UPDATE_OWNER + 40),
            _ => return,
        };
        let owner = NodeId::parse(&frame[owner..owner + 40]).expect("hosts have names");
        let slots = frame.slice(slots..slots + SLOT_BITMAP_BYTES);
        self.heard.insert((index, host.life, owner), slots);
    }

    /// A host's view has changed. No owner loses a slot but to a greater epoch, or because the host was told last that
    /// it does not claim the slot.
    ///
    /// What it was told last need not be the owner's last word. A pair of nodes shares two connections, and a heartbeat
    /// on one may overtake an older one on the other; a bystander that reads the old one last takes a slot that has just
    /// been moved for given up, and may hand it back to the former owner if that claims it still. Redis does the same.
    /// The next heartbeat on either connection mends it, and nothing is lost meanwhile: the bystander serves nothing of
    /// the slot, a client it sends astray is sent on, and the owners themselves cannot be deceived, since no node takes
    /// its own slots for given up. (Its vote for a replica of the former owner would be wrong, but it votes only after
    /// a node timeout without that owner's claims, in which the new owner's come.)
    pub fn on_topology(
        &mut self,
        hosts: &[Host],
        index: HostIndex,
        topology: &Arc<Topology>,
        state: &ClusterState,
        by_order: bool,
    ) {
        let epochs: HashMap<NodeId, u64> = topology
            .nodes()
            .filter_map(|(_, node)| Some((node.id, state.config_epoch_of(&node.id)?)))
            .collect();
        let key = (index, hosts[index].life);
        if let Some((before, epochs_before)) = self.views.get(&key).filter(|_| !by_order) {
            assert!(topology.version() > before.version());
            // Nodes are compared by their places, which is cheap; the places of the earlier view are translated once.
            let places: HashMap<NodeId, NodeIndex> = topology
                .nodes()
                .map(|(place, node)| (node.id, place))
                .collect();
            let translated: Vec<(NodeId, Option<NodeIndex>)> = before
                .nodes()
                .map(|(_, node)| (node.id, places.get(&node.id).copied()))
                .collect();
            let place_before: HashMap<NodeIndex, usize> = before
                .nodes()
                .enumerate()
                .map(|(number, (place, _))| (place, number))
                .collect();
            let mut last = None;
            for slot in 0..SLOT_COUNT {
                let Some(owner) = before.owner(slot) else {
                    continue;
                };
                let (loser, place) = *match last {
                    Some((of, found)) if of == owner => found,
                    _ => last.insert((owner, &translated[place_before[&owner]])).1,
                };
                let winner = topology.owner(slot);
                if winner == place && winner.is_some() || demoted(topology, loser) {
                    continue;
                }
                if self.was_told_given_up(&key, loser, slot) {
                    continue;
                }
                let winner =
                    winner.unwrap_or_else(|| panic!("slot {slot} of {loser} goes to nobody"));
                let winner = topology.node(winner).id;
                assert!(
                    epochs[&winner] > epochs_before[&loser],
                    "{winner} takes slot {slot} of {loser} without a greater epoch"
                );
            }
        }
        self.views.insert(key, (topology.clone(), epochs));
    }

    fn was_told_given_up(
        &self,
        (index, life): &(HostIndex, u32),
        loser: NodeId,
        slot: u16,
    ) -> bool {
        let heard = self.heard.get(&(*index, *life, loser));
        heard.is_some_and(|bitmap| bitmap[usize::from(slot / 8)] & 1 << (slot % 8) == 0)
    }
}

/// Whether a node counts as a replica in a view.
fn demoted(topology: &Topology, id: NodeId) -> bool {
    topology
        .nodes()
        .any(|(_, node)| node.id == id && node.flags.contains(NodeFlags::REPLICA))
}
