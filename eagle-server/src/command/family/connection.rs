//! Connection commands: PING, ECHO, SELECT, QUIT, AUTH, HELLO, RESET. CLIENT has a file of its own.

use super::client::check_name;
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::forwarding::Forwarding;
use crate::command::permission;
use crate::command::spec::{Categories, Command, Docs, Family, Flags};
use crate::session::ReplyMode;
use eagle_core::resp::Protocol;
use std::sync::atomic::Ordering;

pub const FAMILY: Family = Family {
    name: "connection",
    commands: &[&PING, &ECHO, &SELECT, &QUIT, &AUTH, &HELLO, &RESET],
};

/// Commands that work before the client has authenticated.
const OPEN: &[Flags] = &[
    Flags::NOSCRIPT,
    Flags::LOADING,
    Flags::STALE,
    Flags::FAST,
    Flags::NO_AUTH,
    Flags::ALLOW_BUSY,
];

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
.tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
.forwarded(Forwarding::Anywhere);

fn ping(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    if args.len() > 1 {
        return Err(errors::wrong_arity("ping"));
    }
    if cx.session.info.subscriptions.any() && cx.out.protocol() == Protocol::Resp2 {
        // Among messages, which are arrays, it looks like one.
        cx.out.array(2);
        cx.out.bulk("pong");
        return cx.reply_bulk(args.word().unwrap_or_default());
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
.flags(&[Flags::LOADING, Flags::STALE, Flags::FAST])
.family(Categories::CONNECTION)
.forwarded(Forwarding::Anywhere);

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
    let index = args.integer()?;
    if cx.has_one_database() && index != 0 {
        return Err(CommandError::new(
            "ERR SELECT is not allowed in cluster mode",
        ));
    }
    let db = cx.parse_db(index)?;
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
.flags(OPEN)
.family(Categories::CONNECTION);

fn quit(cx: &mut Context<'_>, _args: Args<'_>) -> Outcome {
    cx.session.closing = true;
    cx.reply_ok()
}

/// AUTH [username] password -- proves who the client is.
const AUTH: Command = Command::new(
    "auth",
    -2,
    auth,
    Docs::new("connection", "1.0.0", "Authenticate to the server")
        .complexity("O(N) where N is the number of passwords defined for the user")
        .syntax("[username]{6.0.0} password")
        .history(&[("6.0.0", "Added ACL style (username and password).")]),
)
.flags(OPEN)
.secretive()
.family(Categories::CONNECTION);

const WRONG_PASSWORD: CommandError =
    CommandError::new("WRONGPASS invalid username-password pair or user is disabled.");

fn auth(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    if args.len() > 2 {
        return Err(errors::SYNTAX);
    }
    (1..=args.len()).for_each(|position| cx.session.redact(position));
    if args.len() == 1 && cx.node.acl.default_user().user().is_nopass() {
        return Err(CommandError::new(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
        ));
    }
    let user = if args.len() == 2 {
        args.word()?
    } else {
        b"default"
    };
    authenticate(cx, args.argv()[0], user, args.word()?)?;
    cx.reply_ok()
}

/// Makes the client the user `name` if the password is right; `command` is what the client called it.
fn authenticate(
    cx: &mut Context<'_>,
    command: &[u8],
    name: &[u8],
    password: &[u8],
) -> Result<(), CommandError> {
    let Some(user) = cx.node.acl.authenticate(name, password) else {
        permission::note_failed_login(cx.node, cx.session, name, command, cx.now_ms);
        return Err(WRONG_PASSWORD);
    };
    cx.session.log_in(user);
    Ok(())
}

/// HELLO [protover [AUTH username password] [SETNAME clientname]] -- chooses the protocol version
/// and tells about the server.
const HELLO: Command = Command::new(
    "hello",
    -1,
    hello,
    Docs::new("connection", "6.0.0", "Handshake with Redis")
        .complexity("O(1)")
        .syntax("arguments=[protover [AUTH <username password>] [SETNAME clientname]]")
        .history(&[(
            "6.2.0",
            "`protover` made optional; when called without arguments the command reports the current connection's \
             context.",
        )]),
)
.flags(OPEN)
.secretive()
.family(Categories::CONNECTION);

fn hello(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let mut protocol = None;
    if !args.is_empty() {
        let version = args.integer().map_err(|_| {
            CommandError::new("ERR Protocol version is not an integer or out of range")
        })?;
        protocol = Some(match version {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(CommandError::new("NOPROTO unsupported protocol version")),
        });
    }
    while let Some(option) = args.peek() {
        if args.len() > 2 && args.accept("AUTH") {
            let position = args.argv().len() - args.len();
            cx.session.redact(position);
            cx.session.redact(position + 1);
            authenticate(cx, args.argv()[0], args.word()?, args.word()?)?;
        } else if args.len() > 1 && args.accept("SETNAME") {
            cx.session.info.set_name(check_name(args.word()?)?);
        } else {
            return Err(CommandError::quoting(&[
                b"ERR Syntax error in HELLO option '",
                option,
                b"'",
            ]));
        }
    }
    if !cx.session.authenticated {
        return Err(CommandError::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        ));
    }
    if let Some(protocol) = protocol {
        cx.out.set_protocol(protocol);
        cx.session.info.set_protocol(protocol);
    }
    cx.out.map(7);
    cx.out.bulk("server");
    cx.out.bulk("redis");
    cx.out.bulk("version");
    cx.out.bulk(crate::config::command_line::REDIS_VERSION);
    cx.out.bulk("proto");
    cx.out.integer(cx.session.info.resp().into());
    cx.out.bulk("id");
    cx.out.integer(cx.session.info.id as i64);
    cx.out.bulk("mode");
    cx.out.bulk(if cx.is_clustered() {
        "cluster"
    } else {
        "standalone"
    });
    cx.out.bulk("role");
    cx.out.bulk("master");
    cx.out.bulk("modules");
    cx.out.array(0);
    Ok(Flow::Done)
}

/// RESET -- makes the connection as good as new.
const RESET: Command = Command::new(
    "reset",
    1,
    reset,
    Docs::new("connection", "6.2.0", "Reset the connection").complexity("O(1)"),
)
.flags(OPEN)
.family(Categories::CONNECTION);

fn reset(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let session = &mut *cx.session;
    if session.info.is_replica.load(Ordering::Relaxed) {
        return Err(CommandError::new("ERR can only reset normal connections"));
    }
    session.discard(&cx.node.watch, cx.node.keyspace.watchers());
    cx.node.forget_listener(&session.info);
    session.caching_said = false;
    session.select(0);
    session.reply = ReplyMode::On;
    session.asking = false;
    session.readonly = false;
    session.routing = None;
    session.log_out(cx.node.acl.default_user());
    session.info.set_name("");
    session.info.set_protocol(Protocol::Resp2);
    for flag in [
        &session.info.no_evict,
        &session.info.no_touch,
        &session.info.readonly,
    ] {
        flag.store(false, Ordering::Relaxed);
    }
    cx.out.set_protocol(Protocol::Resp2);
    cx.out.simple("RESET");
    Ok(Flow::Done)
}
