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

#[derive(Default)]
pub struct Checks {
    /// Who claimed which slots at an epoch, over the whole run.
    claims: BTreeMap<u64, Vec<(NodeId, SlotSet)>>,
    last_claims: HashMap<HostIndex, LastClaim>,
    /// To whom a voter gave its vote of an epoch.
    votes: HashMap<(HostIndex, u64), HostIndex>,
    /// The last view of each life of a host, with the config epochs of the nodes in it.
    views: HashMap<(HostIndex, u32), View>,
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

    /// A host's view has changed. No owner loses a slot but to a greater epoch, or because it gave it up.
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
                if winner == place && winner.is_some()
                    || gave_up(hosts, index, state, topology, loser, slot)
                {
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
}

/// Whether the loser does not claim the slot any more, in truth or in the eyes of the host concerned.
fn gave_up(
    hosts: &[Host],
    index: HostIndex,
    state: &ClusterState,
    topology: &Topology,
    loser: NodeId,
    slot: u16,
) -> bool {
    let demoted = topology
        .nodes()
        .any(|(_, node)| node.id == loser && node.flags.contains(NodeFlags::REPLICA));
    let (is_primary, _, slots) = match hosts.iter().position(|host| host.id == loser) {
        Some(place) if place == index => state.my_claim(),
        Some(place) => match &hosts[place].state {
            Some(state) => state.my_claim(),
            None => return demoted,
        },
        None => return demoted,
    };
    demoted || !is_primary || !slots.contains(slot)
}
