//! Connection commands: PING, ECHO, SELECT, QUIT.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Family, Flags};

pub const FAMILY: Family = Family {
    name: "connection",
    commands: &[&PING, &ECHO, &SELECT, &QUIT],
};

/// PING [message] -- whether the server is alive.
const PING: Command = Command::new(
    "ping",
    -1,
    ping,
    Docs::new("connection", "1.0.0", "Ping the server")
        .complexity("O(1)")
        .syntax("[message]"),
)
.flags(&[Flags::FAST])
.family(Categories::CONNECTION)
.tips(&["request_policy:all_shards", "response_policy:all_succeeded"]);

fn ping(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    if args.len() > 1 {
        return Err(errors::wrong_arity("ping"));
    }
    match args.word() {
        Ok(message) => cx.reply_bulk(message),
        Err(_) => {
            cx.out.simple("PONG");
            Ok(Flow::Done)
        }
    }
}

/// ECHO message -- the message.
const ECHO: Command = Command::new(
    "echo",
    2,
    echo,
    Docs::new("connection", "1.0.0", "Echo the given string")
        .complexity("O(1)")
        .syntax("message"),
)
.flags(&[Flags::FAST])
.family(Categories::CONNECTION);

fn echo(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    cx.reply_bulk(args.word()?)
}

/// SELECT index -- changes the database of this connection.
const SELECT: Command = Command::new(
    "select",
    2,
    select,
    Docs::new(
        "connection",
        "1.0.0",
        "Change the selected database for the current connection",
    )
    .complexity("O(1)")
    .syntax("index"),
)
.flags(&[Flags::LOADING, Flags::STALE, Flags::FAST])
.family(Categories::CONNECTION);

fn select(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let db = cx.parse_db(args.integer()?)?;
    if cx.is_clustered() && db != 0 {
        return Err(CommandError::new(
            "ERR SELECT is not allowed in cluster mode",
        ));
    }
    cx.session.select(db);
    cx.reply_ok()
}

/// QUIT -- ends the connection after the reply.
const QUIT: Command = Command::new(
    "quit",
    -1,
    quit,
    Docs::new("connection", "1.0.0", "Close the connection").complexity("O(1)"),
)
.flags(&[
    Flags::ALLOW_BUSY,
    Flags::NOSCRIPT,
    Flags::LOADING,
    Flags::STALE,
    Flags::FAST,
    Flags::NO_AUTH,
])
.family(Categories::CONNECTION);

fn quit(cx: &mut Context<'_>, _args: Args<'_>) -> Outcome {
    cx.session.closing = true;
    cx.reply_ok()
}
