//! Commands that begin again: one that has nothing locked and meets a slot that is held for long, and one that shares its
//! slot with others and needs it alone. The store unwinds out of both.

use super::call::invoke;
use super::context::{Context, Flow};
use super::effect::Effects;
use super::event::Events;
use super::spec::Flags;
use super::table::Entry;
use crate::metrics::Counter;
use crate::node::Node;
use eagle_core::store::{Savepoint, SlotHeld, SlotShared};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Whether a command may run in a slot in which others change other keys meanwhile: it looks at no key but its own, and
/// beginning again leaves no trace.
#[inline]
pub(super) fn may_share(node: &Node, entry: &Entry) -> bool {
    entry.has(Flags::WRITE) && !entry.has(Flags::BLOCKING) && !node.monitors.any()
}

/// Why a command has ended before its time.
pub(super) enum Unwound {
    /// It has nothing locked, and has met a slot that is held for long.
    SlotHeld,
    /// It shares its slot, but needs it alone.
    SlotShared,
}

/// Runs a command that may have to begin again, the first one in its view. Then it has changed nothing, and it says
/// nothing.
pub(super) fn invoke_if_possible(
    cx: &mut Context<'_>,
    entry: &'static Entry,
    argv: &[&[u8]],
) -> Result<Flow, Unwound> {
    let stats = &cx.thread.stats;
    let lookups = [&stats.keyspace_hits, &stats.keyspace_misses];
    let counted = lookups.map(Counter::value);
    let payload = match catch_unwind(AssertUnwindSafe(|| invoke(cx, entry, argv))) {
        Ok(flow) => return Ok(flow),
        Err(payload) => payload,
    };
    let unwound = if payload.is::<SlotHeld>() {
        Unwound::SlotHeld
    } else if payload.is::<SlotShared>() {
        Unwound::SlotShared
    } else {
        resume_unwind(payload)
    };
    cx.view.rollback_to(Savepoint::default());
    *cx.events = Events::default();
    *cx.effects = Effects::new(cx.stream.is_wanted());
    for (lookups, counted) in lookups.iter().zip(counted) {
        lookups.add(counted.wrapping_sub(lookups.value()));
    }
    Err(unwound)
}
