//! Which slot a request is counted for, and what it has cost there (CLUSTER SLOT-STATS).
//!
//! Counted are the bytes of the request, the time its command took and the bytes of its reply, also of one that came
//! after the client had blocked. Not counted are messages to shard channels' subscribers, and what other nodes get.

use super::call::Batch;
use super::keys;
use super::table::{Lookup, queued_entry, table};
use crate::clock::Moment;
use crate::session::Session;
use smallvec::SmallVec;

/// A request that is being counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub slot: u16,
    /// When the command before it ended.
    pub since: Moment,
    /// How much had been replied by then.
    pub out_bytes: usize,
}

/// The request to be counted, if slots are counted and it belongs to one that this node serves. EXEC belongs to that of
/// its queue.
#[inline]
pub fn counted(
    batch: &Batch<'_>,
    session: &Session,
    argv: &[&[u8]],
    out_bytes: usize,
) -> Option<Counted> {
    if !batch.config.cluster.cluster_slot_stats_enabled {
        return None;
    }
    counted_for_slot(batch, session, argv, out_bytes)
}

#[inline(never)]
fn counted_for_slot(
    batch: &Batch<'_>,
    session: &Session,
    argv: &[&[u8]],
    out_bytes: usize,
) -> Option<Counted> {
    let cluster = batch.thread.node.cluster.as_ref()?;
    let Lookup::Found(entry) = table().lookup(argv) else {
        return None;
    };
    let slot_of = |entry, argv: &[&[u8]]| keys::routed_slot(entry, argv);
    let slot = match &session.multi {
        Some(multi) if entry.command.name == "exec" => multi.queue().iter().find_map(|queued| {
            let words: SmallVec<[&[u8]; 8]> = queued.words().into_iter().collect();
            slot_of(queued_entry(queued), &words)
        }),
        _ => slot_of(entry, argv),
    }?;
    cluster.topology().is_mine(slot).then_some(Counted {
        slot,
        since: batch.clock,
        out_bytes,
    })
}
