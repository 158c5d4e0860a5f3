//! FUNCTION: libraries of functions.
//!
//! They are part of the dataset: every change goes to the pool's catalogue with all slots locked, and to the registry
//! that callers look at once it has succeeded there.

use super::script::kill;
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::script::BUSY_SCRIPT;
use crate::command::spec::{Categories, Command, Docs, Flags, Scope};
use crate::node::{Node, unix_ms};
use crate::persist::rdb::{Compression, dump, function};
use crate::script::{Busy, Engines, Libraries, Library, Policy, ScriptError};
use eagle_core::store::Access;
use eagle_core::text::glob::{self, Case};

/// FUNCTION subcommand ...
pub(super) const FUNCTION: Command = Command::new(
    "function",
    -2,
    unknown,
    Docs::new("scripting", "7.0.0", "A container for function commands")
        .complexity("Depends on subcommand."),
)
.subcommands(&[
    &DELETE, &DUMP, &FLUSH, &HELP, &KILL, &LIST, &LOAD, &RESTORE, &STATS,
]);

fn unknown(_: &mut Context<'_>, _: Args<'_>) -> Outcome {
    Err(errors::SYNTAX)
}

const TO_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const KILLED: &[&str] = &["request_policy:all_shards", "response_policy:one_succeeded"];

/// Puts other libraries in place of those there are.
fn replace(cx: &mut Context<'_>, libraries: Libraries) -> Result<(), CommandError> {
    let mut bytes = Vec::new();
    for library in libraries.iter() {
        function::write(&mut bytes, &library.code, Compression::Off);
    }
    cx.view.set_catalogue(&bytes)?;
    cx.node.scripts.functions.replace(libraries);
    Ok(())
}

/// Learns the libraries that the pool holds, before anybody is served.
pub fn load_libraries(node: &Node) {
    let guard = node.keyspace.pin();
    let mut worker = node.keyspace.worker();
    let view = node
        .keyspace
        .view(&mut worker, &guard, Access::LockFree, unix_ms());
    let bytes = view.catalogue();
    if bytes.is_empty() {
        return;
    }
    let codes = match function::each(bytes, 0).collect::<Result<Vec<_>, _>>() {
        Ok(codes) => codes,
        Err(error) => {
            tracing::error!("The pool's function libraries can't be read: {error}");
            return;
        }
    };
    let engines = Engines::default();
    let mut libraries = Libraries::default();
    for code in &codes {
        let loaded = engines.load_library(&node.scripts, code, false);
        let added = loaded.and_then(|library| {
            let added = libraries.add(vec![library], Policy::Append);
            added.map_err(ScriptError::from)
        });
        if let Err(error) = added {
            tracing::error!("A function library of the pool can't be loaded: {error}");
        }
    }
    node.scripts.functions.replace(libraries);
}

/// FUNCTION LOAD [REPLACE] code -- adds a library; replies its name.
const LOAD: Command = Command::new(
    "load",
    -3,
    load,
    Docs::new(
        "scripting",
        "7.0.0",
        "Create a function with the given arguments (name, code, description)",
    )
    .complexity("O(1) (considering compilation time is redundant)")
    .syntax("[REPLACE] function-code"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::NOSCRIPT])
.scope(Scope::All)
.family(Categories::SCRIPTING)
.tips(TO_SHARDS);

fn load(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let mut policy = Policy::Append;
    while args.len() > 1 {
        let word = args.word()?;
        if !word.eq_ignore_ascii_case(b"replace") {
            return Err(CommandError::quoting(&[
                b"ERR Unknown option given: ",
                word,
            ]));
        }
        policy = Policy::Replace;
    }
    let Ok(code) = args.word() else {
        return Err(CommandError::new("ERR Function code is missing"));
    };
    let scripts = &cx.node.scripts;
    let mut libraries = Libraries::clone(&scripts.functions.snapshot());
    // Whether the name is free is said before the code is run.
    let name = Library::name_in(code)?;
    if policy == Policy::Append && libraries.library(&name).is_some() {
        return Err(CommandError::owned(format!(
            "ERR Library '{name}' already exists"
        )));
    }
    let loaded = cx.thread.engines.load_library(scripts, code, true);
    let library = loaded?;
    libraries
        .add(vec![library], policy)
        .map_err(CommandError::owned)?;
    replace(cx, libraries)?;
    cx.reply_bulk(name.as_bytes())
}

/// FUNCTION DELETE library-name
const DELETE: Command = Command::new(
    "delete",
    3,
    delete,
    Docs::new("scripting", "7.0.0", "Delete a function by name")
        .complexity("O(1)")
        .syntax("library-name"),
)
.flags(&[Flags::WRITE, Flags::NOSCRIPT])
.scope(Scope::All)
.family(Categories::SCRIPTING)
.tips(TO_SHARDS);

fn delete(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let name = args.word()?;
    let mut libraries = Libraries::clone(&cx.node.scripts.functions.snapshot());
    if !std::str::from_utf8(name).is_ok_and(|name| libraries.remove(name)) {
        return Err(CommandError::new("ERR Library not found"));
    }
    replace(cx, libraries)?;
    cx.reply_ok()
}

/// FUNCTION FLUSH [ASYNC | SYNC] -- removes all libraries.
const FLUSH: Command = Command::new(
    "flush",
    -2,
    flush,
    Docs::new("scripting", "7.0.0", "Deleting all functions")
        .complexity("O(N) where N is the number of functions deleted")
        .syntax("async=[ASYNC | SYNC]"),
)
.flags(&[Flags::WRITE, Flags::NOSCRIPT])
.scope(Scope::All)
.family(Categories::SCRIPTING)
.tips(TO_SHARDS);

fn flush(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    if args.len() > 1 {
        return Err(subcommand_syntax(&args));
    }
    if !(args.is_empty() || args.accept("SYNC") || args.accept("ASYNC")) {
        return Err(CommandError::new(
            "ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
        ));
    }
    replace(cx, Libraries::default())?;
    cx.reply_ok()
}

/// Too many words behind a subcommand.
fn subcommand_syntax(args: &Args<'_>) -> CommandError {
    CommandError::quoting(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        args.argv()[1],
        b"'. Try FUNCTION HELP.",
    ])
}

/// FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]
const LIST: Command = Command::new(
    "list",
    -2,
    list,
    Docs::new(
        "scripting",
        "7.0.0",
        "List information about all the functions",
    )
    .complexity("O(N) where N is the number of functions")
    .syntax("[LIBRARYNAME library-name-pattern:string] [WITHCODE]"),
)
.flags(&[Flags::NOSCRIPT])
.family(Categories::SCRIPTING)
.tips(&["nondeterministic_output_order"]);

fn list(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (mut with_code, mut pattern) = (false, None);
    while let Some(word) = args.peek() {
        if !with_code && args.accept("WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && args.accept("LIBRARYNAME") {
            let missing = CommandError::new("ERR library name argument was not given");
            pattern = Some(args.word().map_err(|_| missing)?);
        } else {
            return Err(CommandError::quoting(&[b"ERR Unknown argument ", word]));
        }
    }
    let libraries = cx.node.scripts.functions.snapshot();
    let matching: Vec<&Library> = libraries
        .iter()
        .map(|library| &**library)
        .filter(|library| {
            let name = library.name.as_bytes();
            pattern.is_none_or(|pattern| glob::matches(pattern, name, Case::Insensitive))
        })
        .collect();
    cx.out.array(matching.len());
    for library in matching {
        describe(cx, library, with_code);
    }
    Ok(Flow::Done)
}

fn describe(cx: &mut Context<'_>, library: &Library, with_code: bool) {
    let out = &mut *cx.out;
    out.map(if with_code { 4 } else { 3 });
    out.bulk("library_name");
    out.bulk(&library.name);
    out.bulk("engine");
    out.bulk("LUA");
    out.bulk("functions");
    out.array(library.functions.len());
    for function in &library.functions {
        out.map(3);
        out.bulk("name");
        out.bulk(&function.name);
        out.bulk("description");
        out.bulk_or_null(function.description.as_ref());
        out.bulk("flags");
        out.set(function.flags.names().count());
        for name in function.flags.names() {
            out.simple(name);
        }
    }
    if with_code {
        out.bulk("library_code");
        out.bulk(&library.code);
    }
}

/// FUNCTION STATS -- the function that is slow, and how many there are.
const STATS: Command = Command::new(
    "stats",
    2,
    stats,
    Docs::new(
        "scripting",
        "7.0.0",
        "Return information about the function currently running (name, description, duration)",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::NOSCRIPT, Flags::ALLOW_BUSY])
.family(Categories::SCRIPTING)
.tips(&[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
]);

fn stats(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let slow = cx.node.scripts.running.first();
    if slow.as_ref().is_some_and(|run| run.is_eval) {
        return Err(BUSY_SCRIPT);
    }
    let libraries = cx.node.scripts.functions.snapshot();
    let out = &mut *cx.out;
    out.map(2);
    out.bulk("running_script");
    match slow {
        None => out.null(),
        Some(run) => {
            out.map(3);
            out.bulk("name");
            out.bulk(&run.name);
            out.bulk("command");
            out.array(run.command.len());
            for word in &run.command {
                out.bulk(word);
            }
            out.bulk("duration_ms");
            out.integer(run.started.elapsed().as_millis() as i64);
        }
    }
    out.bulk("engines");
    out.map(1);
    out.bulk("LUA");
    out.map(2);
    out.bulk("libraries_count");
    out.integer(libraries.len() as i64);
    out.bulk("functions_count");
    out.integer(libraries.functions() as i64);
    Ok(Flow::Done)
}

/// FUNCTION KILL -- ends the slow function, if it has written nothing.
const KILL: Command = Command::new(
    "kill",
    2,
    |cx, _| kill(cx, Busy::Function),
    Docs::new(
        "scripting",
        "7.0.0",
        "Kill the function currently in execution.",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::NOSCRIPT, Flags::ALLOW_BUSY])
.family(Categories::SCRIPTING)
.tips(KILLED);

/// FUNCTION DUMP -- all libraries as a payload for FUNCTION RESTORE.
const DUMP: Command = Command::new(
    "dump",
    2,
    dump,
    Docs::new(
        "scripting",
        "7.0.0",
        "Dump all functions into a serialized binary payload",
    )
    .complexity("O(N) where N is the number of functions"),
)
.flags(&[Flags::NOSCRIPT])
.family(Categories::SCRIPTING);

fn dump(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let compression = if cx.config.persistence.rdbcompression {
        Compression::Lzf
    } else {
        Compression::Off
    };
    let mut bytes = Vec::new();
    for library in cx.node.scripts.functions.snapshot().iter() {
        function::write(&mut bytes, &library.code, compression);
    }
    cx.reply_bulk(&dump::seal(bytes))
}

/// FUNCTION RESTORE serialized-value [FLUSH | APPEND | REPLACE]
const RESTORE: Command = Command::new(
    "restore",
    -3,
    restore,
    Docs::new(
        "scripting",
        "7.0.0",
        "Restore all the functions on the given payload",
    )
    .complexity("O(N) where N is the number of functions on the payload")
    .syntax("serialized-value policy=[FLUSH | APPEND | REPLACE]"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::NOSCRIPT])
.scope(Scope::All)
.family(Categories::SCRIPTING)
.tips(TO_SHARDS);

fn restore(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    if args.len() > 2 {
        return Err(subcommand_syntax(&args));
    }
    let payload = args.word()?;
    let policy = if args.is_empty() || args.accept("APPEND") {
        Policy::Append
    } else if args.accept("REPLACE") {
        Policy::Replace
    } else if args.accept("FLUSH") {
        Policy::Flush
    } else {
        return Err(CommandError::new(
            "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
        ));
    };
    let invalid = CommandError::new("ERR DUMP payload version or checksum are wrong");
    let bytes = dump::open(payload).map_err(|_| invalid)?;
    let footer = payload.len() - bytes.len();
    let scripts = &cx.node.scripts;
    let mut restored = Libraries::default();
    // Of several faults the first is told, so each library is loaded before the next is read.
    for code in function::each(payload, footer) {
        let code = code.map_err(|error| CommandError::owned(format!("ERR {error}")))?;
        let name = Library::name_in(&code)?;
        if restored.library(&name).is_some() {
            return Err(CommandError::owned(format!(
                "ERR Library '{name}' already exists"
            )));
        }
        let loaded = cx.thread.engines.load_library(scripts, &code, false);
        let library = loaded?;
        restored
            .add(vec![library], Policy::Append)
            .map_err(CommandError::owned)?;
    }
    let mut libraries = Libraries::clone(&scripts.functions.snapshot());
    libraries
        .join(restored, policy)
        .map_err(CommandError::owned)?;
    replace(cx, libraries)?;
    cx.reply_ok()
}

/// FUNCTION HELP
const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "scripting",
        "7.0.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE])
.family(Categories::SCRIPTING);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "LOAD [REPLACE] <FUNCTION CODE>",
        "    Create a new library with the given library name and code.",
        "DELETE <LIBRARY NAME>",
        "    Delete the given library.",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "    Return general information on all the libraries:",
        "    * Library name",
        "    * The engine used to run the Library",
        "    * Library description",
        "    * Functions list",
        "    * Library code (if WITHCODE is given)",
        "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
        "STATS",
        "    Return information about the current function running:",
        "    * Function name",
        "    * Command used to run the function",
        "    * Duration in MS that the function is running",
        "    If no function is running, return nil",
        "    In addition, returns a list of available engines.",
        "KILL",
        "    Kill the current running function.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all the libraries.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the libraries.",
        "    * SYNC: Synchronously flush the libraries.",
        "DUMP",
        "    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command",
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        "    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
        "    control how to handle existing libraries (default APPEND):",
        "    * FLUSH: delete all existing libraries.",
        "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
        "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
        "      libraries with the new libraries (notice that even on this option there is a chance of failure",
        "      in case of functions name collision with another library).",
    ])
}
