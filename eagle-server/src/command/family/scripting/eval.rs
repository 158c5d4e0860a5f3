//! EVAL, EVALSHA, EVAL_RO, EVALSHA_RO.

use super::{KEYS, KEYS_NOTED, KEYS_RO, KEYS_RO_NOTED};
use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Outcome};
use crate::command::errors::CommandError;
use crate::command::script::{Script, execute, given};
use crate::command::spec::{Categories, Command, Docs, Flags, Scope};
use crate::script::{Script as Compiled, Sha};

const DEPENDS: &str = "Depends on the script that is executed.";

const FLAGS: &[Flags] = &[
    Flags::NOSCRIPT,
    Flags::STALE,
    Flags::SKIP_MONITOR,
    Flags::MAY_REPLICATE,
    Flags::NO_MANDATORY_KEYS,
    Flags::MOVABLE_KEYS,
];
const FLAGS_RO: &[Flags] = &[
    Flags::READONLY,
    Flags::NOSCRIPT,
    Flags::STALE,
    Flags::SKIP_MONITOR,
    Flags::NO_MANDATORY_KEYS,
    Flags::MOVABLE_KEYS,
];

/// EVAL script numkeys [key ...] [arg ...] -- runs a script.
pub(super) const EVAL: Command = Command::new(
    "eval",
    -3,
    eval,
    Docs::new("scripting", "2.6.0", "Execute a Lua script server side")
        .complexity(DEPENDS)
        .syntax("script numkeys [key ...] [arg ...]"),
)
.flags(FLAGS)
.keys(KEYS_NOTED)
.scope(Scope::Keys)
.family(Categories::SCRIPTING);

/// EVALSHA sha1 numkeys [key ...] [arg ...] -- runs a script from the cache.
pub(super) const EVALSHA: Command = Command::new(
    "evalsha",
    -3,
    evalsha,
    Docs::new("scripting", "2.6.0", "Execute a Lua script server side")
        .complexity(DEPENDS)
        .syntax("sha1 numkeys [key ...] [arg ...]"),
)
.flags(FLAGS)
.keys(KEYS)
.scope(Scope::Keys)
.family(Categories::SCRIPTING);

/// EVAL_RO script numkeys [key ...] [arg ...] -- runs a script that only reads.
pub(super) const EVAL_RO: Command = Command::new(
    "eval_ro",
    -3,
    eval,
    Docs::new(
        "scripting",
        "7.0.0",
        "Execute a read-only Lua script server side",
    )
    .complexity(DEPENDS)
    .syntax("script numkeys [key ...] [arg ...]"),
)
.flags(FLAGS_RO)
.keys(KEYS_RO_NOTED)
.scope(Scope::Keys)
.family(Categories::SCRIPTING);

/// EVALSHA_RO sha1 numkeys [key ...] [arg ...] -- runs a script from the cache that only reads.
pub(super) const EVALSHA_RO: Command = Command::new(
    "evalsha_ro",
    -3,
    evalsha,
    Docs::new(
        "scripting",
        "7.0.0",
        "Execute a read-only Lua script server side",
    )
    .complexity(DEPENDS)
    .syntax("sha1 numkeys [key ...] [arg ...]"),
)
.flags(FLAGS_RO)
.keys(KEYS_RO)
.scope(Scope::Keys)
.family(Categories::SCRIPTING);

const NO_SCRIPT: CommandError = CommandError::new("NOSCRIPT No matching script. Please use EVAL.");

fn eval(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let body = args.word()?;
    let argv = args.argv();
    let given = given(&mut args, parse_integer)?;
    let compiled = cx.thread.engines.script(&cx.node.scripts, body)?;
    run(cx, argv, &compiled, given)
}

fn evalsha(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let sha = args.word()?;
    let argv = args.argv();
    if sha.len() != size_of::<Sha>() {
        return Err(NO_SCRIPT);
    }
    let given = given(&mut args, parse_integer)?;
    let named = cx.thread.engines.script_named(&cx.node.scripts, sha)?;
    run(cx, argv, &named.ok_or(NO_SCRIPT)?, given)
}

fn run(
    cx: &mut Context<'_>,
    argv: &[&[u8]],
    compiled: &Compiled,
    given: crate::script::Given<'_>,
) -> Outcome {
    let script = Script {
        name: compiled.name().into(),
        flags: compiled.source().flags,
        is_eval: true,
    };
    let thread = cx.thread.clone();
    execute(cx, argv, &script, |host| {
        let scripts = &thread.node.scripts;
        Ok(thread.engines.run_script(scripts, compiled, given, host))
    })
}
