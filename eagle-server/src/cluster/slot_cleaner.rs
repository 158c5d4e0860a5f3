//! Deletes the keys of slots that other nodes took over, on a thread of its own: the bus must not
//! wait for slot locks, and whoever holds slot locks may wait for the bus.

use super::{SlotSet, Topology};
use crate::propagation::Stream;
use arc_swap::ArcSwapOption;
use eagle_core::store::{Access, DATABASES_MAX, Keyspace};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// Hands slots to the thread.
pub struct SlotCleaner {
    orders: mpsc::Sender<SlotSet>,
}

/// Where the thread looks up who owns a slot by the time it gets to it.
pub type TopologySource = Arc<ArcSwapOption<super::Cluster>>;

impl SlotCleaner {
    /// Starts the thread. It ends when the cleaner is dropped.
    pub fn start(
        keyspace: Arc<Keyspace>,
        cluster: TopologySource,
    ) -> std::io::Result<(SlotCleaner, JoinHandle<()>)> {
        // Orders are as rare as changes of slot owners.
        let (orders, received) = mpsc::channel::<SlotSet>();
        let thread = std::thread::Builder::new()
            .name("slot-cleaner".into())
            .spawn(move || {
                let mut worker = keyspace.worker();
                for slots in received {
                    for slot in slots.iter() {
                        let guard = keyspace.pin();
                        let locked = [slot];
                        let mut view =
                            keyspace.view(&mut worker, &guard, Access::Slots(&locked), 0);
                        let is_mine = cluster
                            .load()
                            .as_ref()
                            .is_some_and(|cluster| owns(&cluster.topology(), slot));
                        // With the slot locked no command is half-way through; a slot that came back is left alone.
                        if is_mine {
                            continue;
                        }
                        let mut stream = Stream::new(keyspace.ring_is_on());
                        let flushed = (0..DATABASES_MAX as u8).try_for_each(|db| {
                            if stream.is_wanted() {
                                view.slot_keys(db, slot, usize::MAX, &mut |entry| {
                                    stream.push_removal(db, entry.key(), false);
                                });
                            }
                            view.flush_slot(db, slot).map(drop)
                        });
                        if flushed.is_ok() {
                            drop(stream.commit_apart(view));
                        }
                    }
                }
            })?;
        Ok((SlotCleaner { orders }, thread))
    }

    pub(super) fn clean(&self, slots: SlotSet) {
        // A thread that is gone means the process is going down.
        let _ = self.orders.send(slots);
    }
}

fn owns(topology: &Topology, slot: u16) -> bool {
    topology.is_mine(slot) || topology.is_my_primarys(slot)
}
