//! MODULE: there are none, and none can be loaded, since a module is native code written against the
//! insides of Redis.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Command, Docs, Family, Flags, Handler};

pub const FAMILY: Family = Family {
    name: "module",
    commands: &[&MODULE],
};

/// MODULE -- container.
const MODULE: Command = Command::new(
    "module",
    -2,
    help,
    Docs::new("server", "4.0.0", "A container for module commands")
        .complexity("Depends on subcommand."),
)
.subcommands(&[&HELP, &LIST, &LOAD, &LOADEX, &UNLOAD]);

const fn loader(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs.complexity("O(1)")).flags(&[
        Flags::NO_ASYNC_LOADING,
        Flags::ADMIN,
        Flags::NOSCRIPT,
        Flags::PROTECTED,
    ])
}

const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "server",
        "5.0.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE]);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "LIST",
        "    Return a list of loaded modules.",
        "LOAD <path> [<arg> ...]",
        "    Load a module library from <path>, passing to it any optional arguments.",
        "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
        "    Load a module library from <path>, while passing it module configurations and optional arguments.",
        "UNLOAD <name>",
        "    Unload a module.",
    ])
}

/// MODULE LIST -- the modules there are.
const LIST: Command = Command::new(
    "list",
    2,
    list,
    Docs::new("server", "4.0.0", "List all modules loaded by the server")
        .complexity("O(N) where N is the number of loaded modules."),
)
.flags(&[Flags::ADMIN, Flags::NOSCRIPT])
.tips(&["nondeterministic_output_order"]);

fn list(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.out.array(0);
    Ok(Flow::Done)
}

/// MODULE LOAD path [arg ...] -- refused.
const LOAD: Command = loader(
    "load",
    -3,
    load,
    Docs::new("server", "4.0.0", "Load a module").syntax("path [arg ...]"),
);

/// MODULE LOADEX path [CONFIG name value ...] [ARGS arg ...] -- refused.
const LOADEX: Command = loader(
    "loadex",
    -3,
    load,
    Docs::new("server", "7.0.0", "Load a module with extended parameters")
        .syntax("path [CONFIG configs=<name value> [CONFIG configs=<name value> ...]] [ARGS args=<arg ...>]"),
);

fn load(_: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    tracing::warn!(
        "Module {} failed to load: EagleDB does not load modules",
        errors::one_line(args.word()?)
    );
    Err(CommandError::new(
        "ERR Error loading the extension. Please check the server logs.",
    ))
}

/// MODULE UNLOAD name -- refused, as no module has that name.
const UNLOAD: Command = loader(
    "unload",
    3,
    unload,
    Docs::new("server", "4.0.0", "Unload a module").syntax("name"),
);

fn unload(_: &mut Context<'_>, _: Args<'_>) -> Outcome {
    Err(CommandError::new(
        "ERR Error unloading module: no such module with that name",
    ))
}
