//! The cluster's say in whether a command runs here.

use super::call::Batch;
use super::context::Context;
use super::errors::CommandError;
use super::keys;
use super::spec::{Flags, KeyFlags};
use super::table::{Entry, queued_entry};
use crate::cluster::Topology;
use crate::cluster::route::{Request, Route, redirection, route};
use crate::node::Thread;
use crate::session::Session;
use eagle_core::store::{View, key_slot};
use smallvec::SmallVec;

/// Where a command belongs.
pub(super) fn decide(
    topology: &Topology,
    batch: &Batch<'_>,
    session: &Session,
    entry: &'static Entry,
    argv: &[&[u8]],
    view: &View<'_>,
) -> Route {
    // A transaction is judged by all that was queued.
    let queued: Vec<Vec<&[u8]>> = match &session.multi {
        Some(multi) if entry.command.name == "exec" => {
            multi.queue().iter().map(|queued| queued.words()).collect()
        }
        _ => Vec::new(),
    };
    let mut routed: SmallVec<[&[u8]; 4]> = SmallVec::new();
    let mut is_write = entry.has(Flags::WRITE);
    let own = keys::find_routed(entry, argv);
    routed.extend(own.iter().map(|key| argv[key.position]));
    // A word that is no key cannot be missing.
    let names_keys = !own.iter().any(|key| key.flags.has(KeyFlags::NOT_KEY));
    if let Some(multi) = session
        .multi
        .as_ref()
        .filter(|_| entry.command.name == "exec")
    {
        for (queued, words) in multi.queue().iter().zip(&queued) {
            is_write |= queued_entry(queued).has(Flags::WRITE);
            routed.extend(
                keys::find_routed(queued_entry(queued), words)
                    .iter()
                    .map(|key| words[key.position]),
            );
        }
    }
    if routed.is_empty() {
        return Route::Here;
    }
    let slots: SmallVec<[u16; 4]> = routed.iter().map(|key| key_slot(key)).collect();
    let request = Request {
        slots: &slots,
        several_keys: routed.iter().any(|key| *key != routed[0]),
        is_write,
        asking: session.asking || entry.has(Flags::ASKING),
        // This node holds no copy of another's data, so it cannot answer for its primary.
        readonly: false,
        is_migrate: entry.command.name == "migrate",
        allow_reads_when_down: batch.config.cluster.cluster_allow_reads_when_down,
        is_shard_channel: entry.has(Flags::PUBSUB),
        allow_shard_channels_when_down: batch.config.cluster.cluster_allow_pubsubshard_when_down,
    };
    route(topology, &request, || {
        let missing = routed
            .iter()
            .filter(|_| names_keys)
            .filter(|key| view.find(session.db, key).is_none())
            .count();
        (missing, routed.len())
    })
}

/// Where a command that a script calls belongs.
pub(super) fn decide_call(
    topology: &Topology,
    cx: &Context<'_>,
    entry: &Entry,
    argv: &[&[u8]],
) -> Route {
    let routed = keys::find_routed(entry, argv);
    if routed.is_empty() {
        return Route::Here;
    }
    let slots: SmallVec<[u16; 4]> = routed
        .iter()
        .map(|key| key_slot(argv[key.position]))
        .collect();
    let first = argv[routed[0].position];
    let request = Request {
        slots: &slots,
        several_keys: routed.iter().any(|key| argv[key.position] != first),
        is_write: entry.has(Flags::WRITE),
        asking: cx.session.asking || entry.has(Flags::ASKING),
        readonly: false,
        is_migrate: entry.command.name == "migrate",
        is_shard_channel: entry.has(Flags::PUBSUB),
        allow_shard_channels_when_down: cx.config.cluster.cluster_allow_pubsubshard_when_down,
        allow_reads_when_down: cx.config.cluster.cluster_allow_reads_when_down,
    };
    route(topology, &request, || {
        let is_here = |key: &&[u8]| {
            !cx.view.covers(key_slot(key)) || cx.view.find(cx.session.db, key).is_some()
        };
        let keys = routed.iter().map(|key| argv[key.position]);
        (keys.filter(|key| !is_here(key)).count(), routed.len())
    })
}

/// The error for a command that does not run here: a redirection, or why it runs nowhere.
pub(super) fn refusal(thread: &Thread, topology: &Topology, decision: Route) -> CommandError {
    if let Route::Refused(error) = decision {
        return CommandError::new(error);
    }
    thread.stats.redirects.add(1);
    CommandError::owned(redirection(topology, decision).unwrap_or_default())
}
