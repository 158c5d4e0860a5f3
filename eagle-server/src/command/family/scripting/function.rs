//! FCALL, FCALL_RO.

use super::{KEYS_NOTED, KEYS_RO_NOTED};
use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::CommandError;
use crate::command::script::{Script, execute, given};
use crate::command::spec::{Categories, Command, Docs, Flags, Scope};
use eagle_core::text::integer::parse_i64;

const DEPENDS: &str = "Depends on the function that is executed.";

/// FCALL function numkeys [key ...] [arg ...] -- calls a function of a library.
pub(super) const FCALL: Command = Command::new(
    "fcall",
    -3,
    fcall,
    Docs::new("scripting", "7.0.0", "Invoke a function")
        .complexity(DEPENDS)
        .syntax("function numkeys [key ...] [arg ...]"),
)
.flags(&[
    Flags::NOSCRIPT,
    Flags::STALE,
    Flags::SKIP_MONITOR,
    Flags::MAY_REPLICATE,
    Flags::NO_MANDATORY_KEYS,
    Flags::MOVABLE_KEYS,
])
.keys(KEYS_NOTED)
.scope(Scope::Keys)
.family(Categories::SCRIPTING);

/// FCALL_RO function numkeys [key ...] [arg ...] -- calls a function that only reads.
pub(super) const FCALL_RO: Command = Command::new(
    "fcall_ro",
    -3,
    fcall,
    Docs::new("scripting", "7.0.0", "Invoke a read-only function")
        .complexity(DEPENDS)
        .syntax("function numkeys [key ...] [arg ...]"),
)
.flags(&[
    Flags::READONLY,
    Flags::NOSCRIPT,
    Flags::STALE,
    Flags::SKIP_MONITOR,
    Flags::NO_MANDATORY_KEYS,
    Flags::MOVABLE_KEYS,
])
.keys(KEYS_RO_NOTED)
.scope(Scope::Keys)
.family(Categories::SCRIPTING);

fn fcall(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let name = args.word()?;
    let argv = args.argv();
    let libraries = cx.node.scripts.functions.snapshot();
    let found = libraries
        .with_function(name)
        .and_then(|library| Some((library, library.function(name)?)));
    let Some((library, function)) = found else {
        return Err(CommandError::new("ERR Function not found"));
    };
    let given = given(&mut args, |word| {
        parse_i64(word).ok_or(CommandError::new("ERR Bad number of keys provided"))
    })?;
    let script = Script {
        name: function.name.as_str().into(),
        flags: function.flags,
        is_eval: false,
    };
    let thread = cx.thread.clone();
    execute(cx, argv, &script, |host| {
        let scripts = &thread.node.scripts;
        let engines = &thread.engines;
        engines.run_function(scripts, library, function, given, host)
    })
}
