//! Transactions on keys of another node.
//!
//! Commands are queued here, with the checks of any queued command. All keys of a transaction must have one slot, as in any
//! cluster; here the command that breaks this is refused, not only EXEC. What has no key may be part of a transaction
//! elsewhere only if it concerns neither the connection nor the node.
//!
//! EXEC sends the whole as one request, MULTI to EXEC, over the pooled connection. If the node refuses a command because the
//! slot has moved, it has run nothing, and the whole goes on to where it says.
//!
//! WATCH is remembered by a node for one connection. So the first WATCH of a key elsewhere takes a [link](Link), which EXEC
//! then uses as well; DISCARD, UNWATCH and the end of the client close it. All watched keys are at the node where the
//! transaction will run. A watched key whose slot moves counts as changed, and EXEC replies null.

use super::{Lane, Place, SHUTTING_DOWN, WAIT, dialect, not_forwarded, objection};
use crate::cluster::Topology;
use crate::cluster::proxy::{
    Answered, Dialect, EXEC_ABORTED, Fate, Link, Redirection, Request, encode, encode_transaction,
    failure,
};
use crate::cluster::route::{Route, TRY_AGAIN};
use crate::command::call::Batch;
use crate::command::context::Flow;
use crate::command::errors::{self, CommandError};
use crate::command::forwarding::Forwarding;
use crate::command::keys;
use crate::command::permission;
use crate::command::spec::Flags;
use crate::command::table::{Entry, queued_entry};
use crate::node::{Node, Thread};
use crate::session::{Queued, Session, WatchedElsewhere};
use bytes::Bytes;
use eagle_core::resp::{Protocol, Writer};
use eagle_core::store::key_slot;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

const CROSS_SLOT: CommandError = CommandError::new(
    "CROSSSLOT cluster-routing proxy: all keys of a transaction must hash to the same slot",
);

/// The error for keys that are watched at one node and used at another.
fn watched_apart(session: &Session) -> CommandError {
    let place = if session.watched.is_empty() {
        "another node"
    } else {
        "this node"
    };
    CommandError::owned(format!(
        "ERR cluster-routing proxy: keys of {place} are watched, and this key is served by a different one; WATCH and \
         the transaction must be at one node"
    ))
}

/// The keys that the client watches at another node.
pub(in crate::command) fn watched_elsewhere(session: &Session) -> Option<&Rc<WatchedElsewhere>> {
    session
        .watched_elsewhere
        .as_ref()
        .filter(|watched| watched.is_active())
}

/// Whether `entry`'s command may be queued, in proxy mode.
pub(in crate::command) fn queue(
    session: &mut Session,
    entry: &'static Entry,
    argv: &[&[u8]],
    (topology, decision): (&Topology, Route),
) -> Result<(), CommandError> {
    let found = keys::find_routed(entry, argv);
    let slot = found.first().map(|key| key_slot(argv[key.position]));
    match decision {
        // EXEC looks again.
        Route::Refused(TRY_AGAIN) => {}
        Route::Refused(error) => return Err(CommandError::new(error)),
        _ => {}
    }
    let place = Place::of(topology, decision);
    if place.is_none() && matches!(decision, Route::Moved(..) | Route::Ask(..)) {
        return Err(super::NO_ADDRESS);
    }
    let Some(multi) = &session.multi else {
        return Ok(());
    };
    if let (Some(slot), Some(of_all)) = (slot, multi.slot)
        && slot != of_all
    {
        return Err(CROSS_SLOT);
    }
    let watched = watched_elsewhere(session);
    if let Some(slot) = slot {
        // If a watched slot itself has moved meanwhile, EXEC says that the key has changed.
        let is_apart = match (&place, watched) {
            (Some(place), Some(watched)) => {
                !watched.leads_to(&place.host, place.port) && !watched.covers(slot)
            }
            (None, Some(watched)) => !watched.covers(slot),
            (Some(_), None) => !session.watched.is_empty() && !session.watched.covers(slot),
            (None, None) => false,
        };
        if is_apart {
            return Err(watched_apart(session));
        }
    }
    if let Some(place) = &place {
        travels(session, entry, argv, place)?;
        for queued in multi.queue() {
            travels(session, queued_entry(queued), &queued.words(), place)?;
        }
    } else if slot.is_none()
        && let Some(at) = multi
            .elsewhere
            .as_deref()
            .or(watched.map(|_| "another node"))
    {
        keyless(entry, at)?;
    }
    let elsewhere = place.map(|place| place.name());
    if let Some(multi) = &mut session.multi {
        multi.slot = multi.slot.or(slot);
        multi.elsewhere = elsewhere.or(multi.elsewhere.take());
    }
    Ok(())
}

/// Whether a command without keys may be part of a transaction elsewhere.
fn keyless(entry: &Entry, at: &str) -> Result<(), CommandError> {
    // UNWATCH in a transaction does nothing: EXEC forgets the watched keys anyway.
    if entry.command.forwarding() == Forwarding::Anywhere || entry.command.name == "unwatch" {
        return Ok(());
    }
    Err(CommandError::owned(format!(
        "ERR cluster-routing proxy: '{}' has no key and cannot be part of a transaction that runs at another node ({at})",
        entry.full_name
    )))
}

/// Whether a command may be part of a transaction at `place`.
fn travels(
    session: &Session,
    entry: &Entry,
    argv: &[&[u8]],
    place: &Place,
) -> Result<(), CommandError> {
    if keys::find_routed(entry, argv).is_empty() {
        // A script without keys as well: it would see the other node's keys.
        return keyless(entry, &place.name());
    }
    match entry.command.forwarding() {
        Forwarding::Listen | Forwarding::Unlisten | Forwarding::Redirect | Forwarding::Errand => {
            return Err(not_forwarded(entry, "in a transaction", place));
        }
        _ => {}
    }
    objection(session, entry, place).map_or(Ok(()), Err)
}

/// What EXEC comes to.
pub(in crate::command) enum Ended {
    /// It runs here.
    Here,
    /// It runs elsewhere.
    Elsewhere(Flow),
    /// The client is told so later; try again.
    Wait,
    /// A watched key has changed.
    Changed,
    Refused(CommandError),
}

/// Sends the client's transaction to where its keys are, unless that is here.
pub(in crate::command) fn exec(
    batch: &Batch<'_>,
    session: &mut Session,
    protocol: Protocol,
    (topology, decision): (&Topology, Route),
) -> Ended {
    let Some(multi) = session.multi.as_ref().filter(|multi| !multi.aborted) else {
        return Ended::Here;
    };
    if let Route::Refused(error) = decision {
        return Ended::Refused(CommandError::new(error));
    }
    let place = Place::of(topology, decision);
    if place.is_none() && decision != Route::Here {
        return Ended::Refused(super::NO_ADDRESS);
    }
    let watched = watched_elsewhere(session).cloned();
    match (&place, &watched) {
        (None, None) => return Ended::Here,
        // The slot has moved since a key of it was watched.
        (Some(_), None) if !session.watched.is_empty() => return Ended::Changed,
        (None, Some(_)) if multi.slot.is_some() => return Ended::Changed,
        (Some(place), Some(watched)) if !watched.leads_to(&place.host, place.port) => {
            return Ended::Changed;
        }
        (_, Some(watched)) if watched.has_moved() => return Ended::Changed,
        _ => {}
    }
    for queued in multi.queue() {
        let (entry, words) = (queued_entry(queued), queued.words());
        let allowed = match &place {
            Some(place) => travels(session, entry, &words, place),
            None => keyless(entry, "another node"),
        };
        let denied = permission::check(&session.user, entry, &words).err();
        let denied = denied.map(permission::refusal_in_exec);
        if let Some(error) = allowed.err().or(denied) {
            return Ended::Refused(errors::exec_aborted(&error));
        }
    }
    let node = &batch.thread.node;
    let commands: Vec<Bytes> = multi
        .queue()
        .iter()
        .map(|queued| command(node, queued))
        .collect();
    let is_read = multi
        .queue()
        .iter()
        .all(|queued| queued_entry(queued).has(Flags::READONLY));
    let bytes = encode_transaction(&commands);
    let Some(watched) = watched else {
        let Some(place) = place else {
            return Ended::Here;
        };
        let lane = Lane {
            place,
            dialect: dialect(session, protocol),
            version: topology.version(),
        };
        let shape = |request: Request| request.transaction(commands.len());
        let flow = lane.send(batch, session, bytes, is_read, shape);
        if let Flow::Paused { .. } = flow {
            return Ended::Wait;
        }
        session.discard(&node.watch, node.keyspace.watchers());
        return Ended::Elsewhere(flow);
    };
    if session.order.under_way() > 0 {
        return Ended::Wait;
    }
    batch.thread.stats.forwards.add(1);
    let asking = place.is_some_and(|place| place.asking);
    let sent = Watched {
        thread: batch.thread.clone(),
        watched,
        dialect: dialect(session, protocol),
        until: Instant::now() + Duration::from_millis(batch.config.cluster.cluster_proxy_timeout),
    };
    session.discard(&node.watch, node.keyspace.watchers());
    let answers = commands.len() + 2;
    Ended::Elsewhere(Flow::Later(Box::pin(async move {
        sent.exec(bytes, answers, asking).await.into()
    })))
}

/// A queued command as it is sent. A script that this node knows goes as a whole: in the middle of a transaction it could
/// not be loaded any more.
fn command(node: &Node, queued: &Queued) -> Bytes {
    let (entry, mut words) = (queued_entry(queued), queued.words());
    let by_sha = match entry.command.name {
        "evalsha" => Some(&b"EVAL"[..]),
        "evalsha_ro" => Some(&b"EVAL_RO"[..]),
        _ => None,
    };
    let source = by_sha.and_then(|_| node.scripts.sources.named(words[1]));
    if let (Some(name), Some((_, source))) = (by_sha, &source) {
        words[0] = name;
        words[1] = source.body();
    }
    encode(&words)
}

/// WATCH of keys that another node serves.
pub(super) fn watch(
    batch: &Batch<'_>,
    session: &mut Session,
    protocol: Protocol,
    argv: &[&[u8]],
    place: Place,
) -> Result<Flow, CommandError> {
    let slot = key_slot(argv[1]);
    if !session.watched.is_empty() {
        return Err(watched_apart(session));
    }
    if let Some(watched) = watched_elsewhere(session)
        && !watched.leads_to(&place.host, place.port)
    {
        if !watched.covers(slot) {
            return Err(watched_apart(session));
        }
        watched.set_moved();
    }
    if session.order.under_way() > 0 {
        return Ok(WAIT);
    }
    let watched = session.watched_elsewhere.get_or_insert_default().clone();
    batch.thread.stats.forwards.add(1);
    let sent = Watched {
        thread: batch.thread.clone(),
        watched,
        dialect: dialect(session, protocol),
        until: Instant::now() + Duration::from_millis(batch.config.cluster.cluster_proxy_timeout),
    };
    let (request, keys) = (encode(argv), argv.len() - 1);
    let info = session.info.clone();
    Ok(Flow::Later(Box::pin(async move {
        let reply = sent.watch(request, place, slot, keys).await;
        info.set_watching(sent.watched.keys());
        reply.into()
    })))
}

/// A request on the connection that watches.
struct Watched {
    thread: Rc<Thread>,
    watched: Rc<WatchedElsewhere>,
    dialect: Dialect,
    until: Instant,
}

impl Watched {
    /// Sends WATCH, to where the key is in the end.
    async fn watch(&self, request: Bytes, mut place: Place, slot: u16, keys: usize) -> Bytes {
        if self.watched.has_moved() {
            return Bytes::from_static(b"+OK\r\n");
        }
        loop {
            let failed = |why: &str| failure(&place.name(), Fate::NotRun, false, why);
            let mut link = match self.watched.take() {
                Some(link) => link,
                None => match self.link(&place).await {
                    Ok(link) => link,
                    Err(why) => return failed(&why),
                },
            };
            let (bytes, skipped) = place.prefixed(&request);
            let (bytes, skipped) = self.selecting(&mut link, &bytes, skipped);
            let reply = match self.ask(&mut link, &bytes, skipped + 1).await {
                Ok(mut replies) => replies.pop().unwrap_or_default(),
                // What was watched on the link before is lost with it.
                Err(error) => {
                    if self.watched.is_active() {
                        self.watched.set_moved();
                    }
                    return failed(&error.to_string());
                }
            };
            let (host, port, asking) = match Redirection::parse(&reply) {
                Some(Redirection::Moved { host, port }) => (host, port, false),
                Some(Redirection::Ask { host, port }) => (host, port, true),
                _ => {
                    if reply.starts_with(b"+") {
                        self.watched.add(slot, keys);
                    }
                    if self.watched.is_active() {
                        self.watched.put(link);
                    } else {
                        self.thread.proxy.give_back(link);
                    }
                    return reply;
                }
            };
            if self.watched.is_active() {
                // The keys watched before are where this one is not.
                self.watched.put(link);
                self.watched.set_moved();
                return Bytes::from_static(b"+OK\r\n");
            }
            self.thread.proxy.give_back(link);
            if Instant::now() >= self.until {
                return failed("redirected too often");
            }
            let host = if host.is_empty() {
                place.host.clone()
            } else {
                host
            };
            place = Place { host, port, asking };
        }
    }

    /// Sends the transaction; `answers` come, the last of which is EXEC's.
    async fn exec(&self, bytes: Bytes, answers: usize, asking: bool) -> Bytes {
        let Some(mut link) = self.watched.take() else {
            return Bytes::from_static(SHUTTING_DOWN);
        };
        let name = link.name();
        if !link.is_alive() {
            let why = failure(
                &name,
                Fate::NotRun,
                false,
                "the connection that watched keys is lost",
            );
            return [EXEC_ABORTED, &why[1..]].concat().into();
        }
        let prefix = if asking {
            encode(&[b"ASKING"])
        } else {
            Bytes::new()
        };
        let bytes = [&prefix[..], &bytes].concat();
        let (bytes, skipped) = self.selecting(&mut link, &bytes, usize::from(asking));
        let replies = match self.ask(&mut link, &bytes, skipped + answers).await {
            Ok(replies) => replies,
            Err(error) => return failure(&name, Fate::Unknown, false, &error.to_string()),
        };
        self.thread.proxy.give_back(link);
        let mut answered = Answered::default();
        let mut reply = Bytes::new();
        for answer in replies.into_iter().skip(skipped) {
            if let Some(last) = answered.take(answers, answer) {
                reply = last;
            }
        }
        match Redirection::parse(&reply) {
            // The slot has moved or is moving, and the node has forgotten what was watched.
            Some(_) => {
                let mut out = Writer::new(self.dialect.protocol);
                out.null_array();
                out.take()
            }
            _ => reply,
        }
    }

    /// The requests, after the one that selects the client's database, if that is another now; and how many answers come
    /// before those that count.
    fn selecting(&self, link: &mut Link, bytes: &[u8], skipped: usize) -> (Vec<u8>, usize) {
        match link.select(self.dialect.db) {
            Some(select) => ([&select, bytes].concat(), skipped + 1),
            None => (bytes.to_vec(), skipped),
        }
    }

    async fn link(&self, place: &Place) -> Result<Link, String> {
        let config = self.thread.node.config.snapshot();
        let in_use_max = config.cluster.cluster_proxy_dedicated_connections as usize;
        let pool = &self.thread.proxy;
        let link = pool.take_link(place.peer(), self.dialect, in_use_max, self.until);
        link.await.map_err(|error| error.to_string())
    }

    /// Sends requests and reads so many replies.
    async fn ask(&self, link: &mut Link, bytes: &[u8], count: usize) -> io::Result<Vec<Bytes>> {
        let asking = async {
            link.send(bytes).await?;
            let mut replies = Vec::with_capacity(count);
            for _ in 0..count {
                replies.push(link.receive().await?);
            }
            Ok(replies)
        };
        timeout_at(self.until, asking)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
    }
}
