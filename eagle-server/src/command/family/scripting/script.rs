//! SCRIPT: the cache of scripts, and killing a slow one.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::script::busy;
use crate::command::spec::{Categories, Command, Docs, Flags};
use crate::script::{Busy, KillError};

/// SCRIPT subcommand ...
pub(super) const SCRIPT: Command = Command::new(
    "script",
    -2,
    unknown,
    Docs::new(
        "scripting",
        "2.6.0",
        "A container for Lua scripts management commands",
    )
    .complexity("Depends on subcommand."),
)
.subcommands(&[&DEBUG, &EXISTS, &FLUSH, &HELP, &KILL, &LOAD]);

fn unknown(_: &mut Context<'_>, _: Args<'_>) -> Outcome {
    Err(errors::SYNTAX)
}

const TO_ALL: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// SCRIPT DEBUG YES | SYNC | NO -- there is no debugger: only NO is obeyed.
const DEBUG: Command = Command::new(
    "debug",
    3,
    debug,
    Docs::new(
        "scripting",
        "3.2.0",
        "Set the debug mode for executed scripts.",
    )
    .complexity("O(1)")
    .syntax("mode=<YES | SYNC | NO>"),
)
.flags(&[Flags::NOSCRIPT])
.family(Categories::SCRIPTING);

fn debug(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    // The reply of EXEC has begun.
    if cx.session.in_exec {
        return Err(CommandError::new(
            "ERR SCRIPT DEBUG must be called outside a pipeline",
        ));
    }
    if args.accept("NO") {
        return cx.reply_ok();
    }
    if args.accept("YES") || args.accept("SYNC") {
        return Err(CommandError::new(
            "ERR The Lua debugger is not available in EagleDB",
        ));
    }
    Err(CommandError::new("ERR Use SCRIPT DEBUG YES/SYNC/NO"))
}

/// SCRIPT EXISTS sha1 [sha1 ...] -- which scripts are in the cache.
const EXISTS: Command = Command::new(
    "exists",
    -3,
    exists,
    Docs::new(
        "scripting",
        "2.6.0",
        "Check existence of scripts in the script cache.",
    )
    .complexity(
        "O(N) with N being the number of scripts to check (so checking a single script is an O(1) operation).",
    )
    .syntax("sha1 [sha1 ...]"),
)
.flags(&[Flags::NOSCRIPT])
.family(Categories::SCRIPTING)
.tips(&[
    "request_policy:all_shards",
    "response_policy:agg_logical_and",
]);

fn exists(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    cx.out.array(args.len());
    for sha in args.rest() {
        let known = cx.node.scripts.sources.contains(sha);
        cx.out.integer(i64::from(known));
    }
    Ok(Flow::Done)
}

/// SCRIPT FLUSH [ASYNC | SYNC] -- empties the cache.
const FLUSH: Command = Command::new(
    "flush",
    -2,
    flush,
    Docs::new(
        "scripting",
        "2.6.0",
        "Remove all the scripts from the script cache.",
    )
    .complexity("O(N) with N being the number of scripts in cache")
    .syntax("async=[ASYNC | SYNC]{6.2.0}")
    .history(&[(
        "6.2.0",
        "Added the `ASYNC` and `SYNC` flushing mode modifiers.",
    )]),
)
.flags(&[Flags::NOSCRIPT])
.family(Categories::SCRIPTING)
.tips(TO_ALL);

fn flush(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    if args.len() > 1 || !(args.is_empty() || args.accept("SYNC") || args.accept("ASYNC")) {
        return Err(CommandError::new(
            "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
        ));
    }
    cx.node.scripts.sources.flush();
    cx.reply_ok()
}

/// SCRIPT HELP
const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "scripting",
        "5.0.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE])
.family(Categories::SCRIPTING);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "DEBUG (YES|SYNC|NO)",
        "    Set the debug mode for subsequent scripts executed.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Return information about the existence of the scripts in the script cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Flush the Lua scripts cache. Very dangerous on replicas.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the scripts cache.",
        "    * SYNC: Synchronously flush the scripts cache.",
        "KILL",
        "    Kill the currently executing Lua script.",
        "LOAD <script>",
        "    Load a script into the scripts cache without executing it.",
    ])
}

/// SCRIPT KILL -- ends the slow script, if it has written nothing.
const KILL: Command = Command::new(
    "kill",
    2,
    |cx, _| kill(cx, Busy::Script),
    Docs::new(
        "scripting",
        "2.6.0",
        "Kill the script currently in execution.",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::NOSCRIPT, Flags::ALLOW_BUSY])
.family(Categories::SCRIPTING)
.tips(&["request_policy:all_shards", "response_policy:one_succeeded"]);

/// Ends a slow script of this kind.
pub(super) fn kill(cx: &mut Context<'_>, what: Busy) -> Outcome {
    match cx.node.scripts.running.kill(what) {
        Ok(()) => cx.reply_ok(),
        Err(KillError::NotBusy) => Err(CommandError::new(
            "NOTBUSY No scripts in execution right now.",
        )),
        Err(KillError::Wrote) => Err(CommandError::new(
            "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
             script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        )),
        Err(KillError::Other(kind)) => Err(busy(kind)),
    }
}

/// SCRIPT LOAD script -- puts a script into the cache; replies its sha1.
const LOAD: Command = Command::new(
    "load",
    3,
    load,
    Docs::new(
        "scripting",
        "2.6.0",
        "Load the specified Lua script into the script cache.",
    )
    .complexity("O(N) with N being the length in bytes of the script body.")
    .syntax("script"),
)
.flags(&[Flags::NOSCRIPT, Flags::STALE])
.family(Categories::SCRIPTING)
.tips(TO_ALL);

fn load(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let body = args.word()?;
    let script = cx.thread.engines.script(&cx.node.scripts, body)?;
    cx.reply_bulk(script.name().as_bytes())
}
