//! Where a command belongs: here, at another node, or nowhere at the moment.

use super::{NodeIndex, Topology};

/// What routing has to know of a command.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The slot of each key, in the order of the arguments. Never empty.
    pub slots: &'a [u16],
    /// The keys differ from each other.
    pub several_keys: bool,
    pub is_write: bool,
    /// ASKING came before, or the command implies it.
    pub asking: bool,
    /// READONLY was said.
    pub readonly: bool,
    /// MIGRATE may act on keys that are half gone.
    pub is_migrate: bool,
    /// `cluster-allow-reads-when-down`.
    pub allow_reads_when_down: bool,
    /// The words are shard channels. They are served where the slot is until it has moved for good, and by
    /// replicas too.
    pub is_shard_channel: bool,
    /// `cluster-allow-pubsubshard-when-down`.
    pub allow_shard_channels_when_down: bool,
}

/// Where a command is to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    Here,
    /// At the slot's owner.
    Moved(u16, NodeIndex),
    /// At the node the slot is moving to, this once.
    Ask(u16, NodeIndex),
    /// Nowhere; the error reply.
    Refused(&'static str),
}

pub const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
pub const TRY_AGAIN: &str = "TRYAGAIN Multiple keys request during rehashing of slot";
pub const DOWN: &str = "CLUSTERDOWN The cluster is down";
pub const DOWN_READ_ONLY: &str = "CLUSTERDOWN The cluster is down and only accepts read commands";
pub const UNBOUND: &str = "CLUSTERDOWN Hash slot not served";

/// Decides. `missing` counts the keys that do not exist here, of all the keys; it is asked only when
/// the slot is in motion.
pub fn route(
    topology: &Topology,
    request: &Request<'_>,
    missing: impl FnOnce() -> (usize, usize),
) -> Route {
    let slot = request.slots[0];
    let Some(owner) = topology.owner(slot) else {
        return Route::Refused(UNBOUND);
    };
    if request.slots.iter().any(|other| *other != slot) {
        return Route::Refused(CROSS_SLOT);
    }
    if !topology.is_ok() && request.is_shard_channel {
        if !request.allow_shard_channels_when_down {
            return Route::Refused(DOWN);
        }
    } else if !topology.is_ok() {
        if !request.allow_reads_when_down {
            return Route::Refused(DOWN);
        }
        if request.is_write {
            return Route::Refused(DOWN_READ_ONLY);
        }
    }
    let migrating = topology
        .migrating_to(slot)
        .filter(|_| topology.is_mine(slot));
    let importing = topology
        .importing_from(slot)
        .filter(|_| !topology.is_mine(slot));
    if (migrating.is_some() || importing.is_some()) && request.is_migrate {
        return Route::Here;
    }
    if let Some(target) = migrating {
        let (missing, keys) = if request.is_shard_channel {
            (0, 0)
        } else {
            missing()
        };
        return match missing {
            0 => Route::Here,
            missing if missing < keys => Route::Refused(TRY_AGAIN),
            _ => Route::Ask(slot, target),
        };
    }
    if importing.is_some() && request.asking {
        return if request.several_keys && missing().0 > 0 {
            Route::Refused(TRY_AGAIN)
        } else {
            Route::Here
        };
    }
    if (request.readonly || request.is_shard_channel)
        && !request.is_write
        && topology.is_my_primarys(slot)
    {
        return Route::Here;
    }
    if topology.is_mine(slot) {
        Route::Here
    } else {
        Route::Moved(slot, owner)
    }
}

/// The redirection a client gets, without the leading `-`.
pub fn redirection(topology: &Topology, route: Route) -> Option<String> {
    let (word, slot, node) = match route {
        Route::Moved(slot, node) => ("MOVED", slot, node),
        Route::Ask(slot, node) => ("ASK", slot, node),
        Route::Here | Route::Refused(_) => return None,
    };
    let (host, port) = topology.endpoint(node, false);
    Some(format!("{word} {slot} {host}:{port}"))
}
