//! The cluster's say in whether a command runs here.

use super::call::Batch;
use super::errors::CommandError;
use super::keys;
use super::spec::Flags;
use super::table::Entry;
use crate::cluster::Topology;
use crate::cluster::route::{Request, Route, redirection, route};
use crate::session::Session;
use eagle_core::store::{View, key_slot};

/// Refuses a command that belongs elsewhere, with the redirection its client needs.
pub(super) fn decide(
    topology: &Topology,
    batch: &Batch<'_>,
    session: &Session,
    entry: &'static Entry,
    argv: &[&[u8]],
    view: &View<'_>,
) -> Result<(), CommandError> {
    // A transaction is judged by all that was queued.
    let queued: Vec<Vec<&[u8]>> = match &session.multi {
        Some(multi) if entry.command.name == "exec" => {
            multi.queue().iter().map(|queued| queued.words()).collect()
        }
        _ => Vec::new(),
    };
    let mut routed: Vec<&[u8]> = Vec::new();
    let mut is_write = entry.has(Flags::WRITE);
    let own = keys::find_routed(entry, argv);
    routed.extend(own.iter().map(|key| argv[key.position]));
    if let Some(multi) = session
        .multi
        .as_ref()
        .filter(|_| entry.command.name == "exec")
    {
        for (queued, words) in multi.queue().iter().zip(&queued) {
            is_write |= queued.entry.has(Flags::WRITE);
            routed.extend(
                keys::find_routed(queued.entry, words)
                    .iter()
                    .map(|key| words[key.position]),
            );
        }
    }
    if routed.is_empty() {
        return Ok(());
    }
    let slots: Vec<u16> = routed.iter().map(|key| key_slot(key)).collect();
    let request = Request {
        slots: &slots,
        several_keys: routed.iter().any(|key| *key != routed[0]),
        is_write,
        asking: session.asking || entry.has(Flags::ASKING),
        // This node holds no copy of another's data, so it cannot answer for its primary.
        readonly: false,
        is_migrate: entry.command.name == "migrate",
        allow_reads_when_down: batch.config.cluster.cluster_allow_reads_when_down,
    };
    let decision = route(topology, &request, || {
        let missing = routed
            .iter()
            .filter(|key| view.find(session.db, key).is_none())
            .count();
        (missing, routed.len())
    });
    match decision {
        Route::Here => Ok(()),
        Route::Refused(error) => Err(CommandError::new(error)),
        Route::Moved(..) | Route::Ask(..) => {
            batch.thread.stats.redirects.add(1);
            let text = redirection(topology, decision).unwrap_or_default();
            Err(CommandError::owned(text))
        }
    }
}
