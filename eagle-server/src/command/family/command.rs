//! COMMAND: the table of commands as clients see it.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::describe::{write_docs, write_info, write_key_flags};
use crate::command::errors::{self, CommandError};
use crate::command::keys::{self, KeyRefs};
use crate::command::spec::{Categories, Command, Docs, Family, Flags, Handler};
use crate::command::table::{Entry, Lookup, table};
use eagle_core::text::glob;

pub const FAMILY: Family = Family {
    name: "command",
    commands: &[&COMMAND],
};

const NONDETERMINISTIC: &[&str] = &["nondeterministic_output_order"];

const fn row(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs)
        .flags(&[Flags::LOADING, Flags::STALE])
        .family(Categories::CONNECTION)
}

/// COMMAND -- everything about every command.
const COMMAND: Command = row(
    "command",
    -1,
    all,
    Docs::new("server", "2.8.13", "Get array of Redis command details")
        .complexity("O(N) where N is the total number of Redis commands"),
)
.tips(NONDETERMINISTIC)
.subcommands(&[
    &COUNT,
    &DOCS,
    &GETKEYS,
    &GETKEYSANDFLAGS,
    &HELP,
    &INFO,
    &LIST,
]);

fn all(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.out.array(table().top_level().count());
    for entry in table().top_level() {
        write_info(cx.out, table(), entry);
    }
    Ok(Flow::Done)
}

/// COMMAND COUNT -- how many commands there are, subcommands not counted.
const COUNT: Command = row(
    "count",
    2,
    count,
    Docs::new("server", "2.8.13", "Get total number of Redis commands").complexity("O(1)"),
);

fn count(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_integer(table().top_level().count() as i64)
}

/// COMMAND INFO [command-name ...] -- how the named commands are called.
const INFO: Command = row(
    "info",
    -2,
    info,
    Docs::new(
        "server",
        "2.8.13",
        "Get array of specific Redis command details, or all when no argument is given.",
    )
    .complexity("O(N) where N is the number of commands to look up")
    .syntax("[command-name ...]")
    .history(&[(
        "7.0.0",
        "Allowed to be called with no argument to get info on all commands.",
    )]),
)
.tips(NONDETERMINISTIC);

fn info(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.is_empty() {
        return all(cx, args);
    }
    cx.out.array(args.len());
    for name in args.rest() {
        match table().by_full_name(name) {
            Some(entry) => write_info(cx.out, table(), entry),
            None => cx.out.null(),
        }
    }
    Ok(Flow::Done)
}

/// COMMAND DOCS [command-name ...] -- what the named commands do.
const DOCS: Command = row(
    "docs",
    -2,
    docs,
    Docs::new(
        "server",
        "7.0.0",
        "Get array of specific Redis command documentation",
    )
    .complexity("O(N) where N is the number of commands to look up")
    .syntax("[command-name ...]"),
)
.tips(NONDETERMINISTIC);

fn docs(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let entries: Vec<&Entry> = if args.is_empty() {
        table().top_level().collect()
    } else {
        args.rest()
            .iter()
            .filter_map(|name| table().by_full_name(name))
            .collect()
    };
    cx.out.map(entries.len());
    for entry in entries {
        write_docs(cx.out, table(), entry);
    }
    Ok(Flow::Done)
}

/// COMMAND LIST [FILTERBY ...] -- the names of all commands, or of those a filter lets through.
const LIST: Command = row(
    "list",
    -2,
    list,
    Docs::new("server", "7.0.0", "Get an array of Redis command names")
        .complexity("O(N) where N is the total number of Redis commands")
        .syntax("[FILTERBY filterby=<MODULE module-name | ACLCAT category | PATTERN pattern>]"),
)
.tips(NONDETERMINISTIC);

fn list(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let entries: Vec<&Entry> = match args.rest() {
        [] => table().entries().iter().collect(),
        [keyword, kind, value] if keyword.eq_ignore_ascii_case(b"FILTERBY") => {
            filtered(kind, value)?
        }
        _ => return Err(errors::SYNTAX),
    };
    cx.out.array(entries.len());
    for entry in entries {
        cx.out.bulk(&entry.full_name);
    }
    Ok(Flow::Done)
}

fn filtered(kind: &[u8], value: &[u8]) -> Result<Vec<&'static Entry>, CommandError> {
    let entries = table().entries().iter();
    Ok(match kind.to_ascii_uppercase().as_slice() {
        // There are no modules, so no command belongs to one.
        b"MODULE" => Vec::new(),
        b"ACLCAT" => {
            let is_in = |entry: &&Entry| {
                let mut names = entry.command.categories().names();
                names.any(|name| name.as_bytes().eq_ignore_ascii_case(value))
            };
            entries.filter(is_in).collect()
        }
        b"PATTERN" => {
            let matches = |entry: &&Entry| {
                glob::matches(value, entry.full_name.as_bytes(), glob::Case::Insensitive)
            };
            entries.filter(matches).collect()
        }
        _ => return Err(errors::SYNTAX),
    })
}

/// COMMAND GETKEYS command [argument ...] -- the keys among the arguments of a request.
const GETKEYS: Command = row(
    "getkeys",
    -4,
    key_names,
    Docs::new(
        "server",
        "2.8.13",
        "Extract keys given a full Redis command",
    )
    .complexity("O(N) where N is the number of arguments to the command"),
);

fn key_names(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let request = args.rest();
    let keys = keys_of(request)?;
    cx.out.array(keys.len());
    for key in keys {
        cx.out.bulk(request[key.position]);
    }
    Ok(Flow::Done)
}

/// COMMAND GETKEYSANDFLAGS command [argument ...] -- the keys of a request, and what becomes of each.
const GETKEYSANDFLAGS: Command = row(
    "getkeysandflags",
    -4,
    keys_with_flags,
    Docs::new(
        "server",
        "7.0.0",
        "Extract keys and access flags given a full Redis command",
    )
    .complexity("O(N) where N is the number of arguments to the command"),
);

fn keys_with_flags(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let request = args.rest();
    let keys = keys_of(request)?;
    cx.out.array(keys.len());
    for key in keys {
        cx.out.array(2);
        cx.out.bulk(request[key.position]);
        write_key_flags(cx.out, key.flags);
    }
    Ok(Flow::Done)
}

fn keys_of(request: &[&[u8]]) -> Result<KeyRefs, CommandError> {
    let Lookup::Found(entry) = table().lookup(request) else {
        return Err(CommandError::new("ERR Invalid command specified"));
    };
    let has_keys = entry.command.find_keys.is_some()
        || entry
            .command
            .keys
            .iter()
            .any(|spec| !spec.flags.has(crate::command::spec::KeyFlags::NOT_KEY));
    if !has_keys {
        return Err(CommandError::new("ERR The command has no key arguments"));
    }
    if !entry.command.accepts(request.len()) {
        return Err(CommandError::new(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    let keys = keys::find_declared(entry, request);
    if keys.is_empty() && !entry.has(Flags::NO_MANDATORY_KEYS) {
        return Err(CommandError::new(
            "ERR Invalid arguments specified for command",
        ));
    }
    Ok(keys)
}

const HELP: Command = row(
    "help",
    2,
    help,
    Docs::new(
        "server",
        "5.0.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "(no subcommand)",
        "    Return details about all Redis commands.",
        "COUNT",
        "    Return the total number of commands in this Redis server.",
        "LIST",
        "    Return a list of all commands in this Redis server.",
        "INFO [<command-name> ...]",
        "    Return details about multiple Redis commands.",
        "    If no command names are given, documentation details for all",
        "    commands are returned.",
        "DOCS [<command-name> ...]",
        "    Return documentation details about multiple Redis commands.",
        "    If no command names are given, documentation details for all",
        "    commands are returned.",
        "GETKEYS <full-command>",
        "    Return the keys from a full Redis command.",
        "GETKEYSANDFLAGS <full-command>",
        "    Return the keys and the access flags from a full Redis command.",
    ])
}
