//! Being followed: SYNC, PSYNC, REPLCONF; and REPLICAOF, which makes a primary of a node that is one.

use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::forwarding::Forwarding;
use crate::command::replication;
use crate::command::spec::{Command, Docs, Family, Flags};
use crate::repl::{Feed, Member, Start, Transfer};
use crate::session::ADDRESS_BYTES_MAX;
use eagle_core::text::split_args::split_args;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub const FAMILY: Family = Family {
    name: "replication",
    commands: &[&PSYNC, &REPLCONF, &REPLICAOF, &SLAVEOF, &SYNC],
};

const SYNC_FLAGS: &[Flags] = &[
    Flags::ADMIN,
    Flags::NOSCRIPT,
    Flags::NO_ASYNC_LOADING,
    Flags::NO_MULTI,
];

/// SYNC -- makes the client a replica: it gets a snapshot, and all changes from there on.
const SYNC: Command = Command::new(
    "sync",
    1,
    sync,
    Docs::new("server", "1.0.0", "Internal command used for replication"),
)
.flags(SYNC_FLAGS)
.forwarded(Forwarding::Here);

fn sync(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    follow(cx, None)
}

/// PSYNC replicationid offset -- the same, but only what comes after the offset, if the stream from there on is kept.
const PSYNC: Command = Command::new(
    "psync",
    -3,
    psync,
    Docs::new("server", "2.8.0", "Internal command used for replication")
        .syntax("replicationid:string offset:integer"),
)
.flags(SYNC_FLAGS)
.forwarded(Forwarding::Here);

fn psync(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (id, offset) = (args.word()?, args.word()?);
    follow(cx, Some((id, offset, args.accept("FAILOVER"))))
}

/// Makes the client a replica. `from` is the history it has, the offset it wants next, and whether it is to take over.
fn follow(cx: &mut Context<'_>, from: Option<(&[u8], &[u8], bool)>) -> Outcome {
    let info = cx.session.info.clone();
    if info.is_replica.load(Relaxed) {
        return Ok(Flow::Done);
    }
    if let Some((id, _, true)) = from {
        tracing::warn!(
            "Failover request received for replid {}.",
            id.escape_ascii()
        );
        return Err(CommandError::new(
            "ERR PSYNC FAILOVER can't be sent to a master.",
        ));
    }
    if !cx.out.is_empty() || info.waiting_bytes() > 0 {
        return Err(CommandError::new(
            "ERR SYNC and PSYNC are invalid with pending output",
        ));
    }
    let offer = cx.session.offer.clone();
    if offer.is_filtered && !offer.takes_marks {
        return Err(CommandError::new(
            "ERR Filtered replica requires EOF capability",
        ));
    }
    let offset = from
        .map(|(id, offset, _)| Ok::<_, CommandError>((id, parse_integer(offset)?)))
        .transpose()?;
    let replicas = &cx.node.replicas;
    let join = || replicas.join(&info, offer.clone(), from.is_some());
    if let Some((id, offset)) = offset {
        if let Some(start) = partial(cx, id, offset) {
            replicas.partial.fetch_add(1, Relaxed);
            let feed = Feed::new(join(), start);
            tracing::info!(
                "Partial resynchronization request from {} accepted, from offset {offset} on.",
                feed.replica().name()
            );
            return Ok(become_replica(cx, feed));
        }
        if !id.starts_with(b"?") {
            replicas.refused.fetch_add(1, Relaxed);
        }
    }
    replicas.full.fetch_add(1, Relaxed);
    let transfer = Arc::new(Transfer::new(&info));
    let feed = Feed::new(join(), Start::Full(transfer.clone()));
    tracing::info!("Replica {} asks for synchronization", feed.replica().name());
    cx.node.syncs.enlist(Member {
        replica: feed.replica().clone(),
        transfer,
        since_ms: cx.now_ms,
    });
    replication::start_due(&cx.thread.node);
    Ok(become_replica(cx, feed))
}

fn become_replica(cx: &mut Context<'_>, feed: Feed) -> Flow {
    // Nothing but the stream may come between its bytes.
    cx.node.forget_listener(&cx.session.info);
    Flow::Replica(Box::new(feed))
}

/// What follows `offset`, if the stream is kept from there on under this name.
fn partial(cx: &Context<'_>, id: &[u8], offset: i64) -> Option<Start> {
    let identity = cx.node.history.identity();
    let is_before = |(before, end): &(String, u64)| {
        before.as_bytes().eq_ignore_ascii_case(id) && offset <= *end as i64
    };
    if !identity.id.as_bytes().eq_ignore_ascii_case(id)
        && !identity.before.as_ref().is_some_and(is_before)
    {
        if !id.starts_with(b"?") {
            tracing::info!(
                "Partial resynchronization not accepted: '{}' at {offset} is not part of the history '{}'",
                id.escape_ascii(),
                identity.id
            );
        }
        return None;
    }
    // The first byte of a stream has offset 1.
    let position = u64::try_from(offset).ok()?.checked_sub(1)?;
    let Some(reader) = cx.node.keyspace.ring_reader(position, true) else {
        tracing::info!(
            "Unable to partial resync for lack of backlog (Replica request was: {offset})."
        );
        return None;
    };
    let answer = if cx.session.offer.takes_new_ids {
        format!("+CONTINUE {}\r\n", identity.id)
    } else {
        "+CONTINUE\r\n".to_owned()
    };
    Some(Start::Partial { answer, reader })
}

/// REPLCONF option value [option value ...] -- what a replica says of itself, and how far it is.
const REPLCONF: Command = Command::new(
    "replconf",
    -1,
    replconf,
    Docs::new(
        "server",
        "3.0.0",
        "An internal command for configuring the replication stream",
    )
    .complexity("O(1)")
    .internal(),
)
.flags(&[
    Flags::ADMIN,
    Flags::NOSCRIPT,
    Flags::LOADING,
    Flags::STALE,
    Flags::ALLOW_BUSY,
])
.forwarded(Forwarding::Here);

fn replconf(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let words = args.rest();
    if !words.len().is_multiple_of(2) {
        return Err(errors::SYNTAX);
    }
    for pair in words.chunks_exact(2) {
        let (option, value) = (pair[0], pair[1]);
        let offer = &mut cx.session.offer;
        match option.to_ascii_lowercase().as_slice() {
            b"listening-port" => offer.port = parse_integer(value)?,
            b"ip-address" if value.len() > ADDRESS_BYTES_MAX => {
                return Err(CommandError::owned(format!(
                    "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
                    value.len()
                )));
            }
            b"ip-address" => {
                let shown = |byte: &u8| byte.is_ascii_graphic();
                let address = value.iter().copied().filter(shown).map(char::from);
                offer.address = Some(address.collect()).filter(|text: &String| !text.is_empty());
            }
            b"capa" => {
                offer.takes_marks |= value.eq_ignore_ascii_case(b"eof");
                offer.takes_new_ids |= value.eq_ignore_ascii_case(b"psync2");
            }
            b"ack" => {
                acknowledge(cx, value);
                return Ok(Flow::Done);
            }
            // Only a replica has something to answer.
            b"getack" => return Ok(Flow::Done),
            b"rdb-only" => {
                offer.snapshot_only = match parse_integer(value)? {
                    0 => false,
                    1 => true,
                    _ => {
                        return Err(CommandError::new(
                            "ERR value is out of range, value must between 0 and 1",
                        ));
                    }
                };
            }
            b"rdb-filter-only" => filter(cx, value)?,
            _ => {
                return Err(CommandError::quoting(&[
                    b"ERR Unrecognized REPLCONF option: ",
                    option,
                ]));
            }
        }
    }
    cx.reply_ok()
}

/// Notes how far the replica is.
fn acknowledge(cx: &mut Context<'_>, value: &[u8]) {
    let replicas = &cx.node.replicas;
    let info = &cx.session.info;
    let position = parse_integer(value)
        .ok()
        .and_then(|value| u64::try_from(value).ok());
    if info.is_replica.load(Relaxed)
        && let (Some(replica), Some(position)) = (replicas.find(info.id), position)
    {
        replica.acknowledge(position, cx.now_ms / 1000);
        replicas.acknowledged.notify_waiters();
    }
}

/// Of the snapshot only these parts are wanted.
fn filter(cx: &mut Context<'_>, value: &[u8]) -> Result<(), CommandError> {
    let parts =
        split_args(value).map_err(|_| CommandError::new("ERR Missing rdb-filter-only values"))?;
    let offer = &mut cx.session.offer;
    (offer.is_filtered, offer.functions) = (true, false);
    for part in &parts {
        if !part.eq_ignore_ascii_case(b"functions") {
            return Err(CommandError::quoting(&[
                b"ERR Unsupported rdb-filter-only option: ",
                part,
            ]));
        }
        offer.functions = true;
    }
    Ok(())
}

const ROLE_FLAGS: &[Flags] = &[
    Flags::ADMIN,
    Flags::NOSCRIPT,
    Flags::NO_ASYNC_LOADING,
    Flags::STALE,
];

const ROLE_SYNTAX: &str = "args=<host-port=<host port:integer> | no-one=<NO ONE>>";

/// REPLICAOF host port | NO ONE -- whom this node follows. It can follow nobody yet.
const REPLICAOF: Command = Command::new(
    "replicaof",
    3,
    replicaof,
    Docs::new(
        "server",
        "5.0.0",
        "Make the server a replica of another instance, or promote it as master.",
    )
    .complexity("O(1)")
    .syntax(ROLE_SYNTAX),
)
.flags(ROLE_FLAGS)
.forwarded(Forwarding::Here);

/// SLAVEOF host port | NO ONE -- the older name of REPLICAOF.
const SLAVEOF: Command = Command::new(
    "slaveof",
    3,
    replicaof,
    Docs::new(
        "server",
        "1.0.0",
        "Make the server a replica of another instance, or promote it as master.",
    )
    .complexity("O(1)")
    .syntax(ROLE_SYNTAX)
    .deprecated("5.0.0", "`REPLICAOF`"),
)
.flags(ROLE_FLAGS)
.forwarded(Forwarding::Here);

fn replicaof(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    if cx.is_clustered() {
        return Err(CommandError::new(
            "ERR REPLICAOF not allowed in cluster mode.",
        ));
    }
    if args.accept("NO") && args.accept("ONE") {
        return cx.reply_ok();
    }
    let port = args.rest().last().copied().unwrap_or_default();
    let in_range = |port: &i64| (0..=65535).contains(port);
    if parse_integer(port).ok().filter(in_range).is_none() {
        return Err(CommandError::new("ERR Invalid master port"));
    }
    Err(CommandError::new(
        "ERR to follow another node is not available in this version of EagleDB",
    ))
}
