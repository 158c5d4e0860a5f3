//! CLUSTER subcommands that change something.

use super::{O_1, cluster, docs, refused};
use crate::cluster::state::AdminError;
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Command, Docs, Flags, Handler, Scope};

const O_SLOTS: &str = "O(N) where N is the total number of hash slot arguments";
const O_RANGE: &str =
    "O(N) where N is the total number of the slots between the start slot and end slot arguments.";

/// A row of a subcommand that changes something.
const fn order(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs).flags(&[
        Flags::ADMIN,
        Flags::STALE,
        Flags::NO_ASYNC_LOADING,
    ])
}

/// Replies OK, or why the state machine refused.
fn reply_done(cx: &mut Context<'_>, done: Result<(), AdminError>) -> Outcome {
    done.map_err(refused)?;
    cx.reply_ok()
}

pub(super) const MEET: Command = order(
    "meet",
    -4,
    meet,
    docs(
        "3.0.0",
        "Force a node cluster to handshake with another node",
        O_1,
        "ip port [cluster_bus_port]{4.0.0}",
    )
    .history(&[("4.0.0", "Added the optional `cluster_bus_port` argument.")]),
);

fn meet(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let cluster = cluster(cx)?;
    if args.len() > 3 {
        return Err(wrong_count("meet"));
    }
    let (ip, port, bus_port) = (args.word()?, args.word()?, args.word().ok());
    let done = cluster.act(|state, now_ms| state.meet(ip, port, bus_port, now_ms));
    reply_done(cx, done)
}

fn wrong_count(name: &str) -> CommandError {
    CommandError::owned(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try CLUSTER HELP."
    ))
}

pub(super) const FORGET: Command = order(
    "forget",
    3,
    forget,
    docs(
        "3.0.0",
        "Remove a node from the nodes table",
        O_1,
        "node-id",
    ),
);

fn forget(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (cluster, id) = (cluster(cx)?, args.word()?);
    let done = cluster.act(|state, now_ms| state.forget(id, now_ms));
    reply_done(cx, done)
}

pub(super) const ADDSLOTS: Command = order(
    "addslots",
    -3,
    addslots,
    docs(
        "3.0.0",
        "Assign new hash slots to receiving node",
        O_SLOTS,
        "slot [slot ...]",
    ),
)
.scope(Scope::All);

fn addslots(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let done = cluster(cx)?.act(|state, now_ms| state.add_slots(args.rest(), now_ms));
    reply_done(cx, done)
}

pub(super) const DELSLOTS: Command = order(
    "delslots",
    -3,
    delslots,
    docs(
        "3.0.0",
        "Set hash slots as unbound in receiving node",
        O_SLOTS,
        "slot [slot ...]",
    ),
)
.scope(Scope::All);

fn delslots(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let done = cluster(cx)?.act(|state, now_ms| state.del_slots(args.rest(), now_ms));
    reply_done(cx, done)
}

const RANGE_SYNTAX: &str = "start-slot end-slot [start-slot end-slot ...]";

pub(super) const ADDSLOTSRANGE: Command = order(
    "addslotsrange",
    -4,
    addslotsrange,
    docs(
        "7.0.0",
        "Assign new hash slots to receiving node",
        O_RANGE,
        RANGE_SYNTAX,
    ),
)
.scope(Scope::All);

fn addslotsrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (cluster, bounds) = (cluster(cx)?, ranges(cx, &args)?);
    let done = cluster.act(|state, now_ms| state.add_slots_range(bounds, now_ms));
    reply_done(cx, done)
}

pub(super) const DELSLOTSRANGE: Command = order(
    "delslotsrange",
    -4,
    delslotsrange,
    docs(
        "7.0.0",
        "Set hash slots as unbound in receiving node",
        O_RANGE,
        RANGE_SYNTAX,
    ),
)
.scope(Scope::All);

fn delslotsrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (cluster, bounds) = (cluster(cx)?, ranges(cx, &args)?);
    let done = cluster.act(|state, now_ms| state.del_slots_range(bounds, now_ms));
    reply_done(cx, done)
}

fn ranges<'a>(cx: &Context<'_>, args: &Args<'a>) -> Result<&'a [&'a [u8]], CommandError> {
    if args.len() % 2 == 1 {
        Err(errors::wrong_arity(&cx.entry.full_name))
    } else {
        Ok(args.rest())
    }
}

pub(super) const FLUSHSLOTS: Command = order(
    "flushslots",
    2,
    flushslots,
    docs("3.0.0", "Delete a node's own slots information", O_1, ""),
)
.scope(Scope::All);

fn flushslots(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let (cluster, is_empty) = (cluster(cx)?, cx.node.keyspace.is_empty());
    let done = cluster.act(|state, now_ms| state.flush_slots(is_empty, now_ms));
    reply_done(cx, done)
}

pub(super) const SETSLOT: Command = order(
    "setslot",
    -4,
    setslot,
    docs(
        "3.0.0",
        "Bind a hash slot to a specific node",
        O_1,
        "slot subcommand=<IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
    ),
)
.scope(Scope::All);

fn setslot(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (cluster, slot) = (cluster(cx)?, args.word()?);
    let keyspace = &cx.node.keyspace;
    let done = cluster.act(|state, now_ms| {
        state.set_slot(
            slot,
            args.rest(),
            |slot| keyspace.slot_keys_in_all(slot),
            now_ms,
        )
    });
    reply_done(cx, done)
}

pub(super) const SET_CONFIG_EPOCH: Command = order(
    "set-config-epoch",
    3,
    set_config_epoch,
    docs(
        "3.0.0",
        "Set the configuration epoch in a new node",
        O_1,
        "config-epoch",
    ),
);

fn set_config_epoch(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (cluster, epoch) = (cluster(cx)?, args.word()?);
    let done = cluster.act(|state, now_ms| state.set_config_epoch(epoch, now_ms));
    reply_done(cx, done)
}

pub(super) const BUMPEPOCH: Command = order(
    "bumpepoch",
    2,
    bumpepoch,
    docs("3.0.0", "Advance the cluster config epoch", O_1, ""),
)
.tips(&["nondeterministic_output"]);

fn bumpepoch(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let (bumped, epoch) = cluster(cx)?.act(|state, now_ms| state.bump_config_epoch(now_ms));
    cx.out.simple(format!(
        "{} {epoch}",
        if bumped { "BUMPED" } else { "STILL" }
    ));
    Ok(Flow::Done)
}

pub(super) const SAVECONFIG: Command = order(
    "saveconfig",
    2,
    saveconfig,
    docs(
        "3.0.0",
        "Forces the node to save cluster state on disk",
        O_1,
        "",
    ),
);

fn saveconfig(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cluster(cx)?.act(|state, _| state.save_config());
    cx.reply_ok()
}

pub(super) const RESET: Command = Command::new(
    "reset",
    -2,
    reset,
    docs(
        "3.0.0",
        "Reset a Redis Cluster node",
        "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
        "[HARD | SOFT]",
    ),
)
.flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::STALE])
.scope(Scope::All);

fn reset(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let cluster = cluster(cx)?;
    if args.len() > 1 {
        return Err(wrong_count("reset"));
    }
    let hard = args.accept("HARD");
    if !hard && !args.accept("SOFT") {
        args.finish()?;
    }
    let is_empty = cx.node.keyspace.is_empty();
    let done = cluster.act(|state, now_ms| state.reset(hard, is_empty, now_ms));
    reply_done(cx, done)
}

pub(super) const NO_REPLICATION: CommandError = CommandError::new(
    "ERR This version of EagleDB cannot be a replica: replication is not available yet",
);

pub(super) const REPLICATE: Command = order(
    "replicate",
    3,
    replicate,
    docs(
        "3.0.0",
        "Reconfigure a node as a replica of the specified master node",
        O_1,
        "node-id",
    ),
);

/// A node that says it is a replica but holds no copy would be counted on by others, so it refuses.
fn replicate(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let id = args.word()?;
    cluster(cx)?
        .look(|state| state.replicas_text(id, false).map(drop))
        .or_else(|error| match error {
            AdminError::UnknownNode(_) => Err(refused(error)),
            _ => Ok(()),
        })?;
    Err(NO_REPLICATION)
}

pub(super) const FAILOVER: Command = order(
    "failover",
    -2,
    failover,
    docs(
        "3.0.0",
        "Forces a replica to perform a manual failover of its master.",
        O_1,
        "options=[FORCE | TAKEOVER]",
    ),
);

fn failover(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    cluster(cx)?;
    if args.len() > 1 {
        return Err(wrong_count("failover"));
    }
    if !args.is_empty() && !args.accept("FORCE") && !args.accept("TAKEOVER") {
        return Err(errors::SYNTAX);
    }
    Err(CommandError::new(
        "ERR You should send CLUSTER FAILOVER to a replica",
    ))
}
