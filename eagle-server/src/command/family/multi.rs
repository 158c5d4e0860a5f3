//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! EXEC runs the whole queue inside one view of the keyspace, with the slots of all queued commands
//! locked: other clients see all of it or nothing, and so does a restart after a crash.

use crate::command::args::Args;
use crate::command::call::run_queued;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::forward::watched_elsewhere;
use crate::command::forwarding::Forwarding;
use crate::command::spec::{Categories, Command, Docs, Family, Flags, KeyFlags, KeySpec, Scope};
use crate::session::Multi;

pub const FAMILY: Family = Family {
    name: "transactions",
    commands: &[&MULTI, &EXEC, &DISCARD, &WATCH, &UNWATCH],
};

/// MULTI -- begins a transaction.
const MULTI: Command = Command::new(
    "multi",
    1,
    multi,
    Docs::new(
        "transactions",
        "1.2.0",
        "Mark the start of a transaction block",
    )
    .complexity("O(1)"),
)
.flags(&[
    Flags::NOSCRIPT,
    Flags::LOADING,
    Flags::STALE,
    Flags::FAST,
    Flags::ALLOW_BUSY,
])
.family(Categories::TRANSACTION)
.forwarded(Forwarding::Transaction);

fn multi(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if cx.session.in_multi() {
        return Err(CommandError::new("ERR MULTI calls can not be nested"));
    }
    cx.session.multi = Some(Multi::default());
    cx.session.info.set_multi(Some((0, 0)));
    cx.reply_ok()
}

/// EXEC -- runs the queued commands, unless one was refused or a watched key has changed.
const EXEC: Command = Command::new(
    "exec",
    1,
    exec,
    Docs::new(
        "transactions",
        "1.2.0",
        "Execute all commands issued after MULTI",
    )
    .complexity("Depends on commands in the transaction"),
)
.flags(&[
    Flags::NOSCRIPT,
    Flags::LOADING,
    Flags::STALE,
    Flags::SKIP_SLOWLOG,
])
.family(Categories::TRANSACTION)
.forwarded(Forwarding::Transaction)
.replies_first();

fn exec(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let Some(multi) = cx.session.multi.take() else {
        return Err(CommandError::new("ERR EXEC without MULTI"));
    };
    // The slots of the queue are locked by now, so the transaction takes effect at this instant even
    // if a watched key in another slot changes before the commit.
    let changed = cx.session.watched.is_dirty(cx.now_ms);
    cx.session
        .discard(&cx.node.watch, cx.node.keyspace.watchers());
    if multi.aborted {
        return Err(errors::EXEC_ABORT);
    }
    if changed {
        cx.out.null_array();
        return Ok(Flow::Done);
    }
    run_queued(cx, &multi.into_queue());
    Ok(Flow::Done)
}

/// DISCARD -- drops the queued commands and the watched keys.
const DISCARD: Command = Command::new(
    "discard",
    1,
    discard,
    Docs::new(
        "transactions",
        "2.0.0",
        "Discard all commands issued after MULTI",
    )
    .complexity("O(N), when N is the number of queued commands"),
)
.flags(&[
    Flags::NOSCRIPT,
    Flags::LOADING,
    Flags::STALE,
    Flags::FAST,
    Flags::ALLOW_BUSY,
])
.family(Categories::TRANSACTION)
.forwarded(Forwarding::Transaction);

fn discard(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if !cx.session.in_multi() {
        return Err(CommandError::new("ERR DISCARD without MULTI"));
    }
    cx.session
        .discard(&cx.node.watch, cx.node.keyspace.watchers());
    cx.reply_ok()
}

/// WATCH key [key ...] -- makes the next EXEC fail if one of the keys changes before it.
const WATCH: Command = Command::new(
    "watch",
    -2,
    watch,
    Docs::new(
        "transactions",
        "2.2.0",
        "Watch the given keys to determine execution of the MULTI/EXEC block",
    )
    .complexity("O(1) for every key.")
    .syntax("key [key ...]"),
)
.flags(&[
    Flags::NOSCRIPT,
    Flags::LOADING,
    Flags::STALE,
    Flags::FAST,
    Flags::ALLOW_BUSY,
])
.keys(&[KeySpec::range(1, -1, 1, &[KeyFlags::RO])])
.scope(Scope::Keys)
.family(Categories::TRANSACTION)
.forwarded(Forwarding::Transaction);

fn watch(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if cx.session.in_multi() {
        return Err(CommandError::new("ERR WATCH inside MULTI is not allowed"));
    }
    if watched_elsewhere(cx.session).is_some() {
        return Err(CommandError::new(
            "ERR cluster-routing proxy: keys of another node are watched, and this key is served by this node; WATCH and \
             the transaction must be at one node",
        ));
    }
    let db = cx.db();
    for key in args.rest() {
        let expires_at_ms = cx.view.peek(db, key).and_then(|entry| entry.ttl_at());
        cx.session.watched.add(
            &cx.node.watch,
            cx.node.keyspace.watchers(),
            db,
            key,
            expires_at_ms,
        );
    }
    cx.session.info.set_watching(cx.session.watched.len());
    cx.reply_ok()
}

/// UNWATCH -- forgets the watched keys.
const UNWATCH: Command = Command::new(
    "unwatch",
    1,
    unwatch,
    Docs::new("transactions", "2.2.0", "Forget about all watched keys").complexity("O(1)"),
)
.flags(&[
    Flags::NOSCRIPT,
    Flags::LOADING,
    Flags::STALE,
    Flags::FAST,
    Flags::ALLOW_BUSY,
])
.family(Categories::TRANSACTION)
.forwarded(Forwarding::Transaction);

fn unwatch(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.session
        .unwatch(&cx.node.watch, cx.node.keyspace.watchers());
    cx.reply_ok()
}
