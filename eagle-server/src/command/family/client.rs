//! CLIENT: the connection's own properties, and looking after the other connections.

use super::tracking;
use crate::command::args::Args;
use crate::command::blocking;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Family, Flags, Handler};
use crate::command::table;
use crate::session::{
    CachingFlags, ClientFilter, ClientInfo, ClientKind, PauseMode, ReplyMode, Routing,
};
use eagle_core::text::integer;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

pub const FAMILY: Family = Family {
    name: "client",
    commands: &[&CLIENT],
};

/// CLIENT -- container.
const CLIENT: Command = Command::new(
    "client",
    -2,
    help,
    Docs::new(
        "connection",
        "2.4.0",
        "A container for client connection commands",
    )
    .complexity("Depends on subcommand."),
)
.subcommands(&[
    &tracking::CACHING,
    &GETNAME,
    &tracking::GETREDIR,
    &HELP,
    &ID,
    &INFO,
    &KILL,
    &LIST,
    &NO_EVICT,
    &NO_TOUCH,
    &PAUSE,
    &REPLY,
    &ROUTING,
    &SETINFO,
    &SETNAME,
    &tracking::TRACKING,
    &tracking::TRACKINGINFO,
    &UNBLOCK,
    &UNPAUSE,
]);

const OWN: &[Flags] = &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE];
const ADMIN: &[Flags] = &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE];

pub(super) const fn own(
    name: &'static str,
    arity: i16,
    handler: Handler,
    since: &'static str,
    summary: &'static str,
) -> Command {
    Command::new(
        name,
        arity,
        handler,
        Docs::new("connection", since, summary).complexity("O(1)"),
    )
    .flags(OWN)
    .family(Categories::CONNECTION)
}

const fn admin(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs)
        .flags(ADMIN)
        .family(Categories::CONNECTION)
}

const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "connection",
        "5.0.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE])
.family(Categories::CONNECTION);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "CACHING (YES|NO)",
        "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
        "GETREDIR",
        "    Return the client ID we are redirecting to when tracking is enabled.",
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections. Options are:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made from the specified address",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made to specified local address",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Kill connections by type.",
        "    * USER <username>",
        "      Kill connections authenticated by <username>.",
        "    * SKIPME (YES|NO)",
        "      Skip killing current connection (default: yes).",
        "LIST [options ...]",
        "    Return information about client connections. Options:",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Return clients of specified type.",
        "UNPAUSE",
        "    Stop the current client pause, resuming traffic.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Suspend all, or just write, clients for <timeout> milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "ROUTING (REDIRECT|PROXY|DEFAULT)",
        "    What becomes of this connection's keys that another node serves.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Set the name or version of the client library.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Unblock the specified blocked client.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
        "         [OPTIN] [OPTOUT] [NOLOOP]",
        "    Control server assisted client side caching.",
        "TRACKINGINFO",
        "    Report tracking status for the current connection.",
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Do not alter the last access time of keys.",
    ])
}

const ID: Command = own(
    "id",
    2,
    id,
    "5.0.0",
    "Returns the client ID for the current connection",
);

fn id(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_integer(cx.session.info.id as i64)
}

const GETNAME: Command = own(
    "getname",
    2,
    getname,
    "2.6.9",
    "Get the current connection name",
);

fn getname(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let name = cx.session.info.name();
    if name.is_empty() {
        cx.reply_null()
    } else {
        cx.reply_bulk(name.as_bytes())
    }
}

const SETNAME: Command = {
    let mut row = own(
        "setname",
        3,
        setname,
        "2.6.9",
        "Set the current connection name",
    );
    row.docs = row.docs.syntax("connection-name");
    row
};

fn setname(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    cx.session.info.set_name(check_name(args.word()?)?);
    cx.reply_ok()
}

/// A name that can stand in CLIENT LIST: printable ASCII without spaces.
pub(super) fn check_name(name: &[u8]) -> Result<&str, CommandError> {
    const REFUSED: CommandError = CommandError::new(
        "ERR Client names cannot contain spaces, newlines or special characters.",
    );
    printable(name).ok_or(REFUSED)
}

fn printable(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name)
        .ok()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()))
}

const SETINFO: Command = {
    let mut row = own(
        "setinfo",
        4,
        setinfo,
        "7.2.0",
        "Set client or connection specific info",
    );
    row.docs = row.docs.syntax("<LIB-NAME libname | LIB-VER libver>");
    row
};

fn setinfo(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let attribute = args.word()?;
    let value = args.word()?;
    let refused = |name: &str| {
        CommandError::owned(format!(
            "ERR {name} cannot contain spaces, newlines or special characters."
        ))
    };
    if attribute.eq_ignore_ascii_case(b"lib-name") {
        cx.session
            .info
            .set_library_name(printable(value).ok_or_else(|| refused("lib-name"))?);
    } else if attribute.eq_ignore_ascii_case(b"lib-ver") {
        cx.session
            .info
            .set_library_version(printable(value).ok_or_else(|| refused("lib-ver"))?);
    } else {
        let attribute = errors::one_line(attribute);
        return Err(CommandError::owned(format!(
            "ERR Unrecognized option '{attribute}'"
        )));
    }
    cx.reply_ok()
}

const INFO: Command = {
    let mut row = own(
        "info",
        2,
        info,
        "6.2.0",
        "Returns information about the current client connection.",
    );
    row.tips = &["nondeterministic_output"];
    row
};

fn info(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let mut text = String::new();
    describe(cx.now_ms, &cx.session.info, &mut text);
    cx.out.verbatim(b"txt", text);
    Ok(Flow::Done)
}

const LIST: Command = {
    let docs = Docs::new("connection", "2.4.0", "Get the list of client connections")
        .complexity("O(N) where N is the number of client connections")
        .syntax("[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>]{5.0.0} [ID id=<client-id [client-id ...]>]{6.2.0}")
        .history(&[
            ("2.8.12", "Added unique client `id` field."),
            ("5.0.0", "Added optional `TYPE` filter."),
            ("6.0.0", "Added `user` field."),
            ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."),
            ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
            ("7.0.3", "Added `ssub` field."),
        ]);
    admin("list", -2, list, docs).tips(&["nondeterministic_output"])
};

fn list(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let mut text = String::new();
    if args.is_empty() {
        cx.node
            .clients
            .all()
            .iter()
            .for_each(|client| describe(cx.now_ms, client, &mut text));
    } else if args.len() == 2 && args.accept("TYPE") {
        let kind = parse_kind(args.word()?)?;
        cx.node
            .clients
            .all()
            .iter()
            .filter(|client| client.kind() == kind)
            .for_each(|c| describe(cx.now_ms, c, &mut text));
    } else if args.len() >= 2 && args.accept("ID") {
        let ids = args.rest().iter().map(|word| {
            // No client has the number 0, which stands for those below it, too.
            let id = integer::parse_i64(word).map(|id| u64::try_from(id).unwrap_or(0));
            id.ok_or(CommandError::new("ERR Invalid client ID"))
        });
        for id in ids.collect::<Result<Vec<_>, _>>()? {
            if let Some(client) = cx.node.clients.find(id) {
                describe(cx.now_ms, &client, &mut text);
            }
        }
    } else {
        return Err(errors::SYNTAX);
    }
    cx.out.verbatim(b"txt", text);
    Ok(Flow::Done)
}

fn parse_kind(word: &[u8]) -> Result<ClientKind, CommandError> {
    ClientKind::parse(word)
        .ok_or_else(|| CommandError::quoting(&[b"ERR Unknown client type '", word, b"'"]))
}

/// One line of CLIENT LIST.
pub(in crate::command) fn describe(now_ms: u64, client: &ClientInfo, text: &mut String) {
    let mut flags = String::new();
    let mut flag = |set: bool, letter: char| {
        if set {
            flags.push(letter);
        }
    };
    let caching = client.caching.flags();
    flag(client.monitors.load(Relaxed), 'O');
    flag(client.is_replica.load(Relaxed), 'S');
    flag(client.subscriptions.any(), 'P');
    flag(client.multi() >= 0, 'x');
    flag(client.blocked.load(Relaxed), 'b');
    flag(caching.has(CachingFlags::ON), 't');
    flag(caching.has(CachingFlags::BROKEN), 'R');
    flag(caching.has(CachingFlags::BCAST), 'B');
    flag(client.is_killed(), 'A');
    flag(client.unix_socket, 'U');
    flag(client.readonly.load(Relaxed), 'r');
    flag(client.no_evict.load(Relaxed), 'e');
    flag(client.no_touch.load(Relaxed), 'T');
    if flags.is_empty() {
        flags.push('N');
    }
    // The client that asks is in the middle of its request.
    let argv_bytes = 0;
    let (query, room) = (
        client.query_bytes.load(Relaxed),
        client.query_room_bytes.load(Relaxed),
    );
    // Redis keeps the beginning of the output in a fixed buffer and the rest in a list of blocks.
    const BLOCK_BYTES: usize = 16 * 1024;
    let listed = client.counted_bytes();
    let blocks = listed.div_ceil(BLOCK_BYTES);
    let output = client.waiting_bytes() - listed;
    let total = client.memory_bytes() + argv_bytes;
    let command = client
        .last_command()
        .map_or("NULL", |id| &table().entries()[id].full_name);
    let redir = if caching.has(CachingFlags::ON) {
        client.caching.redirect() as i64
    } else {
        -1
    };
    let _ = write!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} multi={} \
         qbuf={query} qbuf-free={room} argv-mem={argv_bytes} multi-mem={} rbs=1024 rbp=0 obl={output} oll={blocks} omem={listed} \
         tot-mem={total} events={} cmd={command} user={} redir={redir} resp={}",
        client.id,
        client.addr,
        client.laddr,
        client.fd,
        client.name(),
        now_ms.saturating_sub(client.connected_at_ms) / 1000,
        now_ms.saturating_sub(client.last_active_ms()) / 1000,
        client.db(),
        client.subscriptions.channels(),
        client.subscriptions.patterns(),
        client.subscriptions.shard_channels(),
        client.multi(),
        client.multi_bytes(),
        if output > 0 { "rw" } else { "r" },
        String::from_utf8_lossy(&client.user_name()),
        client.resp(),
    );
    // Fields of 7.2, for clients that know of them: those of 7.0 never set them.
    let (library, version) = client.library();
    if !library.is_empty() || !version.is_empty() {
        let _ = write!(text, " lib-name={library} lib-ver={version}");
    }
    text.push('\n');
}

const KILL: Command = {
    let docs = Docs::new("connection", "2.4.0", "Kill the connection of a client")
        .complexity("O(N) where N is the number of client connections")
        .syntax(
            "filter=<ip:port{,2.8.12} | new-format=<[ID client-id]{2.8.12} | [TYPE \
             normal_master_slave_pubsub=<NORMAL | MASTER{3.2.0} | SLAVE | REPLICA{5.0.0} | PUBSUB>]{2.8.12} | \
             [USER username] | [ADDR ip:port] | [LADDR ip:port]{6.2.0} | [SKIPME yes/no] ...>>",
        )
        .history(&[
            ("2.8.12", "Added new filter format."),
            ("2.8.12", "`ID` option."),
            ("3.2.0", "Added `master` type in for `TYPE` option."),
            ("5.0.0", "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility."),
            ("6.2.0", "`LADDR` option."),
        ]);
    admin("kill", -3, kill, docs)
};

fn kill(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let own_id = cx.session.info.id;
    if args.len() == 1 {
        let filter = ClientFilter {
            addr: Some(errors::one_line(args.word()?)),
            ..ClientFilter::default()
        };
        if kill_matching(cx, &filter) == 0 {
            return Err(CommandError::new("ERR No such client"));
        }
        return cx.reply_ok();
    }
    let mut filter = ClientFilter {
        except: Some(own_id),
        ..ClientFilter::default()
    };
    while !args.is_empty() {
        if args.len() < 2 {
            return Err(errors::SYNTAX);
        }
        if args.accept("ID") {
            let id = args.integer().ok().filter(|id| *id > 0);
            filter.id =
                Some(id.ok_or(CommandError::new("ERR client-id should be greater than 0"))? as u64);
        } else if args.accept("TYPE") {
            filter.kind = Some(parse_kind(args.word()?)?);
        } else if args.accept("ADDR") {
            filter.addr = Some(errors::one_line(args.word()?));
        } else if args.accept("LADDR") {
            filter.laddr = Some(errors::one_line(args.word()?));
        } else if args.accept("USER") {
            let name = args.word()?;
            let user = cx.node.acl.find(name);
            filter.user = Some(
                user.ok_or_else(|| CommandError::quoting(&[b"ERR No such user '", name, b"'"]))?,
            );
        } else if args.accept("SKIPME") {
            filter.except = match args.word()?.to_ascii_lowercase().as_slice() {
                b"yes" => Some(own_id),
                b"no" => None,
                _ => return Err(errors::SYNTAX),
            };
        } else {
            return Err(errors::SYNTAX);
        }
    }
    let killed = kill_matching(cx, &filter);
    cx.reply_integer(killed as i64)
}

/// Ends the matching clients; the one that asks gets its reply first.
fn kill_matching(cx: &mut Context<'_>, filter: &ClientFilter) -> usize {
    let matching = cx
        .node
        .clients
        .all()
        .into_iter()
        .filter(|client| filter.matches(client));
    let mut killed = 0;
    for client in matching {
        killed += 1;
        if client.id == cx.session.info.id {
            cx.session.closing = true;
        } else {
            client.kill();
        }
    }
    killed
}

const PAUSE: Command = {
    let docs = Docs::new(
        "connection",
        "2.9.50",
        "Stop processing commands from clients for some time",
    )
    .complexity("O(1)")
    .syntax("timeout mode=[WRITE | ALL]{6.2.0}")
    .history(&[(
        "6.2.0",
        "`CLIENT PAUSE WRITE` mode added along with the `mode` option.",
    )]);
    admin("pause", -3, pause, docs)
};

fn pause(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    refuse_more_than(2, &args)?;
    let timeout = args.word()?;
    let mode = match args.peek() {
        None => PauseMode::All,
        Some(_) if args.accept("WRITE") => PauseMode::Write,
        Some(_) if args.accept("ALL") => PauseMode::All,
        Some(_) => {
            return Err(CommandError::new(
                "ERR CLIENT PAUSE mode must be WRITE or ALL",
            ));
        }
    };
    let timeout_ms = integer::parse_i64(timeout).ok_or(CommandError::new(
        "ERR timeout is not an integer or out of range",
    ))?;
    let timeout_ms =
        u64::try_from(timeout_ms).map_err(|_| CommandError::new("ERR timeout is negative"))?;
    // Redis's clock wraps beyond this, which ends the pause before it begins.
    if timeout_ms < i64::MAX as u64 - cx.now_ms {
        cx.node.pause.start(cx.now_ms + timeout_ms, mode, cx.now_ms);
    }
    cx.reply_ok()
}

const UNPAUSE: Command = {
    let docs = Docs::new(
        "connection",
        "6.2.0",
        "Resume processing of clients that were paused",
    )
    .complexity("O(N) Where N is the number of paused clients");
    admin("unpause", 2, unpause, docs)
};

fn unpause(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.node.pause.end();
    cx.reply_ok()
}

const REPLY: Command = {
    let mut row = own(
        "reply",
        3,
        reply,
        "3.2.0",
        "Instruct the server whether to reply to commands",
    );
    row.docs = row.docs.syntax("<ON | OFF | SKIP>");
    row
};

fn reply(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    if args.accept("ON") {
        cx.session.reply = ReplyMode::On;
        return cx.reply_ok();
    }
    if args.accept("OFF") {
        cx.session.reply = ReplyMode::Off;
    } else if args.accept("SKIP") {
        if cx.session.reply != ReplyMode::Off {
            cx.session.reply = ReplyMode::SkipNext;
        }
    } else {
        return Err(errors::SYNTAX);
    }
    Ok(Flow::Done)
}

/// CLIENT ROUTING <REDIRECT | PROXY | DEFAULT> -- EagleDB's own: what this connection wants done with
/// keys that another node serves; DEFAULT goes by `cluster-routing`.
const ROUTING: Command = {
    let mut row = own(
        "routing",
        3,
        routing,
        "7.0.0",
        "Choose whether commands for other nodes are redirected or forwarded",
    );
    row.docs = row.docs.syntax("<REDIRECT | PROXY | DEFAULT>");
    row
};

fn routing(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    cx.session.routing = if args.accept("REDIRECT") {
        Some(Routing::Redirect)
    } else if args.accept("PROXY") {
        Some(Routing::Proxy)
    } else if args.accept("DEFAULT") {
        None
    } else {
        return Err(errors::SYNTAX);
    };
    cx.reply_ok()
}

fn parse_on_off(args: &mut Args<'_>) -> Result<bool, CommandError> {
    if args.accept("ON") {
        Ok(true)
    } else if args.accept("OFF") {
        Ok(false)
    } else {
        Err(errors::SYNTAX)
    }
}

const NO_EVICT: Command = {
    let docs = Docs::new(
        "connection",
        "7.0.0",
        "Set client eviction mode for the current connection",
    )
    .complexity("O(1)")
    .syntax("enabled=<ON | OFF>");
    admin("no-evict", 3, no_evict, docs)
};

fn no_evict(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    cx.session
        .info
        .no_evict
        .store(parse_on_off(&mut args)?, Relaxed);
    cx.reply_ok()
}

const NO_TOUCH: Command = {
    let mut row = own(
        "no-touch",
        3,
        no_touch,
        "7.2.0",
        "Controls whether commands sent by the client will alter the LRU/LFU of the keys they access.",
    );
    row.docs = row.docs.syntax("<ON | OFF>");
    row
};

fn no_touch(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    cx.session
        .info
        .no_touch
        .store(parse_on_off(&mut args)?, Relaxed);
    cx.reply_ok()
}

const UNBLOCK: Command = {
    let docs = Docs::new(
        "connection",
        "5.0.0",
        "Unblock a client blocked in a blocking command from a different connection",
    )
    .complexity("O(log N) where N is the number of client connections")
    .syntax("client-id [TIMEOUT | ERROR]");
    admin("unblock", -3, unblock, docs)
};

/// Redis's error for what its table lets through and the subcommand does not take.
fn refuse_more_than(words_max: usize, args: &Args<'_>) -> Result<(), CommandError> {
    if args.len() <= words_max {
        return Ok(());
    }
    Err(CommandError::quoting(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        args.argv()[1],
        b"'. Try CLIENT HELP.",
    ]))
}

fn unblock(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    refuse_more_than(2, &args)?;
    let id = args.word()?;
    let with_error = args.accept("ERROR");
    if !args.is_empty() && !args.accept("TIMEOUT") {
        return Err(CommandError::new(
            "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
        ));
    }
    let id = integer::parse_i64(id).ok_or(errors::NOT_INTEGER)?;
    let waiter = u64::try_from(id)
        .ok()
        .and_then(|id| cx.node.blocked.of_client(id));
    let waiting = || {
        u64::try_from(id)
            .ok()
            .and_then(|id| cx.node.clients.find(id))
    };
    let unblocked = match waiter {
        None => waiting().is_some_and(|client| client.end_wait(with_error)),
        Some(waiter) if with_error => {
            let failed = blocking::fail(cx.node, &waiter, &errors::UNBLOCKED, false);
            if failed {
                cx.thread.stats.error_replies.add(1);
                blocking::count_failed(cx.thread, &waiter);
            }
            failed
        }
        Some(waiter) => blocking::give_up(cx.node, &waiter),
    };
    cx.reply_bool(unblocked)
}
