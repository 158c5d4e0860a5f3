//! SLOWLOG: the commands that took longest.

use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::CommandError;
use crate::command::spec::{Command, Docs, Family, Flags};

pub const FAMILY: Family = Family {
    name: "slowlog",
    commands: &[&SLOWLOG],
};

const ADMIN: &[Flags] = &[Flags::ADMIN, Flags::LOADING, Flags::STALE];

/// SLOWLOG -- container.
const SLOWLOG: Command = Command::new(
    "slowlog",
    -2,
    help,
    Docs::new("server", "2.2.12", "A container for slow log commands")
        .complexity("Depends on subcommand."),
)
.subcommands(&[&GET, &HELP, &LEN, &RESET]);

/// SLOWLOG GET [count] -- the newest entries, 10 of them unless told otherwise, all for -1.
const GET: Command = Command::new(
    "get",
    -2,
    get,
    Docs::new("server", "2.2.12", "Get the slow log's entries")
        .complexity("O(N) where N is the number of entries returned")
        .syntax("[count]")
        .history(&[(
            "4.0.0",
            "Added client IP address, port and name to the reply.",
        )]),
)
.flags(ADMIN)
.tips(&["request_policy:all_nodes", "nondeterministic_output"]);

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const COUNT_DEFAULT: usize = 10;
    let count = match args.rest() {
        [] => COUNT_DEFAULT,
        [word] => parse_integer(word)
            .ok()
            .and_then(count_of)
            .ok_or(CommandError::new(
                "ERR count should be greater than or equal to -1",
            ))?,
        _ => {
            return Err(CommandError::owned(format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'. Try SLOWLOG HELP.",
                String::from_utf8_lossy(args.argv()[1])
            )));
        }
    };
    let entries = cx.node.slowlog.newest(count);
    cx.out.array(entries.len());
    for entry in entries {
        cx.out.array(6);
        cx.out.integer(entry.id as i64);
        cx.out.integer(entry.time as i64);
        cx.out.integer(entry.duration_us as i64);
        cx.out.array(entry.argv.len());
        for word in &entry.argv {
            cx.out.bulk(word);
        }
        cx.out.bulk(&entry.addr);
        cx.out.bulk(&entry.client_name);
    }
    Ok(Flow::Done)
}

/// How many entries a number asks for; `None` if it asks for nothing sensible.
fn count_of(number: i64) -> Option<usize> {
    match number {
        -1 => Some(usize::MAX),
        _ => usize::try_from(number).ok(),
    }
}

/// SLOWLOG LEN -- number of entries.
const LEN: Command = Command::new(
    "len",
    2,
    len,
    Docs::new("server", "2.2.12", "Get the slow log's length").complexity("O(1)"),
)
.flags(ADMIN)
.tips(&[
    "request_policy:all_nodes",
    "response_policy:agg_sum",
    "nondeterministic_output",
]);

fn len(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_integer(cx.node.slowlog.len() as i64)
}

/// SLOWLOG RESET -- forgets all entries.
const RESET: Command = Command::new(
    "reset",
    2,
    reset,
    Docs::new("server", "2.2.12", "Clear all entries from the slow log")
        .complexity("O(N) where N is the number of entries in the slowlog"),
)
.flags(ADMIN)
.tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]);

fn reset(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.node.slowlog.reset();
    cx.reply_ok()
}

const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "server",
        "6.2.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE]);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minus_one_asks_for_all() {
        assert_eq!(count_of(-1), Some(usize::MAX));
        assert_eq!(count_of(0), Some(0));
        assert_eq!(count_of(-2), None);
    }
}
