//! Clients that wait at another node: BLPOP and its kin, and MIGRATE, which takes its time.
//!
//! Each has a [link](crate::cluster::proxy::Link) while it waits. It also stands among the blocked clients of this node, with no
//! key, so that CLIENT UNBLOCK finds it and so that changes of the cluster reach it ([`Abroad`]).
//!
//! The wait ends by
//!
//! - the owner's answer. MOVED and ASK are followed, with the time that is left;
//! - CLIENT UNBLOCK: the owner is told to end the wait, and if it has served the client just before, that is the answer.
//!   Nothing is taken off a list and lost;
//! - the end of the client's connection: the link is closed, which ends the wait at the owner;
//! - the loss of the link, or the failure of the owner, or of the cluster: an error;
//! - another owner of the slot: the old one says so within a moment, or is left;
//! - silence of the owner beyond the timeout.
//!
//! A client that waits for a key of this node goes on at the new owner in the same way if the slot leaves.

use super::split::run_alone;
use super::{Place, WAIT, by_ref, dialect};
use crate::acl::Identity;
use crate::clock::unix_ms;
use crate::cluster::Topology;
use crate::cluster::proxy::{
    Dialect, Fate, Link, Order, Redirection, Request, encode, encode_unblock, failure,
};
use crate::cluster::route::{DOWN, Route, UNBOUND};
use crate::cluster::{NodeFlags, NodeId};
use crate::command::blocking::{self, Blocked};
use crate::command::call::Batch;
use crate::command::context::Flow;
use crate::command::errors::CommandError;
use crate::command::forwarding::{Forwarding, Timeout};
use crate::command::keys;
use crate::command::spec::Flags;
use crate::command::table::Entry;
use crate::node::{Node, Thread};
use crate::session::{Answer, Arrival, Awaited, ClientInfo, Routing, Session, Waiter};
use bytes::Bytes;
use eagle_core::resp::Protocol;
use eagle_core::store::{Kind, key_slot};
use eagle_core::text::integer;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How long the former owner of a slot may take to say that it is, or to hand over what it has given away before.
const MOVE_GRACE: Duration = Duration::from_secs(1);
/// Before what the owner could not do yet is tried again.
const TRY_AGAIN_DELAY: Duration = Duration::from_millis(10);
/// Refusals that are followed at once; later ones a little later.
const HOPS_AT_ONCE: u32 = 2;

/// Where a command's timeout stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TimeoutAt {
    position: usize,
    is_ms: bool,
}

/// Where the timeout of `argv` stands; nothing if it does not wait.
pub(super) fn timeout_at_word(timeout: Timeout, argv: &[&[u8]]) -> Option<TimeoutAt> {
    let seconds = |position| TimeoutAt {
        position,
        is_ms: false,
    };
    match timeout {
        Timeout::First => Some(seconds(1)),
        Timeout::Last => Some(seconds(argv.len() - 1)),
        Timeout::Block => {
            let mut position = 1;
            loop {
                let word = argv.get(position)?;
                if word.eq_ignore_ascii_case(b"block") {
                    return Some(TimeoutAt {
                        position: position + 1,
                        is_ms: true,
                    })
                    .filter(|at| at.position < argv.len());
                } else if word.eq_ignore_ascii_case(b"streams") {
                    return None;
                }
                position += match word.to_ascii_lowercase().as_slice() {
                    b"group" => 3,
                    b"count" => 2,
                    _ => 1,
                };
            }
        }
    }
}

/// A command that waits at another node.
pub(super) struct Waiting {
    thread: Rc<Thread>,
    client: Arc<ClientInfo>,
    user: Arc<Identity>,
    dialect: Dialect,
    entry: &'static Entry,
    argv: Vec<Bytes>,
    slot: u16,
    /// `None` for an errand, which CLIENT UNBLOCK does not end.
    timeout: Option<TimeoutAt>,
    /// When the wait ends by itself, if it does.
    deadline_ms: Option<u64>,
}

/// What is known of a blocked client that waits at another node.
pub struct Abroad {
    slot: u16,
    /// Who served the slot when the wait began.
    owner: Option<NodeId>,
}

impl Abroad {
    /// Why the client must not go on waiting there.
    pub(in crate::command) fn refusal(&self, topology: &Topology) -> Option<CommandError> {
        if !topology.is_ok() {
            return Some(CommandError::new(DOWN));
        }
        let Some(owner) = topology.owner(self.slot) else {
            return Some(CommandError::new(UNBOUND));
        };
        let node = topology.node(owner);
        if self.owner != Some(node.id) {
            return Some(CommandError::owned(format!("MOVED {}", self.slot)));
        }
        let has_failed = node.flags.contains(NodeFlags::FAIL);
        has_failed.then_some(CommandError::new(
            "CLUSTERDOWN forwarding failed: the node that serves the slot has failed",
        ))
    }
}

/// How one stay at a node ended.
enum Ended {
    Reply(Bytes),
    /// To be continued there; what the node said.
    Sent(Place, Bytes),
}

impl Waiting {
    pub fn new(
        batch: &Batch<'_>,
        session: &Session,
        protocol: Protocol,
        entry: &'static Entry,
        argv: &[&[u8]],
        timeout: TimeoutAt,
    ) -> Waiting {
        let word = argv[timeout.position];
        let deadline = if timeout.is_ms {
            blocking::milliseconds(word, batch.now_ms)
        } else {
            blocking::seconds(word, batch.now_ms)
        };
        Waiting {
            timeout: Some(timeout),
            // What is no timeout is refused at once.
            deadline_ms: deadline.unwrap_or(Some(batch.now_ms)),
            ..Waiting::errand(batch, session, protocol, entry, argv)
        }
    }

    /// A command whose fifth argument says how many milliseconds it may take.
    pub fn errand(
        batch: &Batch<'_>,
        session: &Session,
        protocol: Protocol,
        entry: &'static Entry,
        argv: &[&[u8]],
    ) -> Waiting {
        let found = keys::find_routed(entry, argv);
        let time_ms = argv.get(5).and_then(|word| integer::parse_i64(word));
        let time_ms = u64::try_from(time_ms.unwrap_or(0)).unwrap_or(0);
        Waiting {
            thread: batch.thread.clone(),
            client: session.info.clone(),
            user: session.user.clone(),
            dialect: dialect(session, protocol),
            entry,
            argv: argv
                .iter()
                .map(|word| Bytes::copy_from_slice(word))
                .collect(),
            slot: found.first().map_or(0, |key| key_slot(argv[key.position])),
            timeout: None,
            deadline_ms: Some(batch.now_ms.saturating_add(time_ms)),
        }
    }

    /// The reply in the end.
    async fn reply(self, mut place: Place) -> Bytes {
        // Since when it has been sent about without waiting anywhere, and how often.
        let (mut since, mut hops) = (Instant::now(), 0);
        loop {
            let began = Instant::now();
            let refusal = match self.stay(&place).await {
                Ended::Reply(reply) => return reply,
                Ended::Sent(next, refusal) => {
                    place = next;
                    refusal
                }
            };
            if self.is_home(&place) {
                return self.reply_here().await;
            }
            if began.elapsed() > MOVE_GRACE {
                (since, hops) = (Instant::now(), 0);
            }
            hops += 1;
            if hops > HOPS_AT_ONCE {
                let config = self.thread.node.config.load();
                if since.elapsed() > Duration::from_millis(config.cluster.cluster_proxy_timeout) {
                    return refusal;
                }
                sleep(TRY_AGAIN_DELAY).await;
            }
        }
    }

    /// Whether the slot has come to this node.
    fn is_home(&self, place: &Place) -> bool {
        let Some(cluster) = &self.thread.node.cluster else {
            return false;
        };
        let topology = cluster.topology();
        let myself = Place::of(&topology, Route::Moved(self.slot, topology.myself()));
        topology.is_mine(self.slot) && myself.is_some_and(|at| at.peer() == place.peer())
    }

    /// Goes on here, like a command that arrives now.
    async fn reply_here(self) -> Bytes {
        // A session of its own: the client's waits for the reply.
        let mut session = Session::new(self.client.clone(), &self.user);
        session.authenticated = true;
        session.routing = Some(Routing::Proxy);
        session.db = self.dialect.db;
        let argv = self.words();
        run_alone(
            &self.thread,
            &mut session,
            self.dialect.protocol,
            self.entry,
            &argv,
        )
        .await
    }

    /// Waits at one node.
    async fn stay(&self, place: &Place) -> Ended {
        let node = &*self.thread.node;
        let config = node.config.snapshot();
        let time_max = Duration::from_millis(config.cluster.cluster_proxy_timeout);
        let until = Instant::now() + time_max;
        let failed = |fate, why: &str| {
            let is_read = self.entry.has(Flags::READONLY);
            Ended::Reply(failure(&place.name(), fate, is_read, why))
        };
        let in_use_max = config.cluster.cluster_proxy_dedicated_connections as usize;
        let pool = &self.thread.proxy;
        let mut link = match pool
            .take_link(place.peer(), self.dialect, in_use_max, until)
            .await
        {
            Ok(link) => link,
            Err(error) => return failed(Fate::NotRun, &error.to_string()),
        };
        self.thread.stats.forwards.add(1);
        // Registered first: what is said from now on is not missed.
        let mut blocked = self.timeout.map(|_| self.register());
        let (bytes, mut skipped) = place.prefixed(&encode(&by_ref(&self.words())));
        match timeout_at(until, link.send(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return failed(Fate::Unknown, &error.to_string()),
            Err(_) => return failed(Fate::NotRun, "the node did not take it in time"),
        }
        // A wait without end still has one at an owner that does not even say that it has begun.
        let mut limit = self.deadline_ms.map(|deadline_ms| {
            Instant::now() + Duration::from_millis(deadline_ms.saturating_sub(unix_ms())) + time_max
        });
        let mut told: Option<Bytes> = None;
        loop {
            let far = Instant::now() + Duration::from_secs(24 * 3600);
            tokio::select! {
                biased;
                reply = link.receive() => match reply {
                    Ok(_) if skipped > 0 => skipped -= 1,
                    Ok(reply) => return self.arrived(place, link, reply, told).await,
                    Err(error) => return failed(Fate::Unknown, &error.to_string()),
                },
                answer = notice(&mut blocked), if told.is_none() => {
                    let answer = Bytes::from(answer.reply);
                    if answer.starts_with(b"-CLUSTERDOWN") {
                        return Ended::Reply(answer);
                    }
                    if answer.starts_with(b"-MOVED") {
                        match self.owner() {
                            Some(at) if at.peer() == place.peer() => {
                                blocked = Some(self.register());
                                continue;
                            }
                            _ => limit = Some(Instant::now() + MOVE_GRACE),
                        }
                    } else {
                        self.unblock(place, &link, Instant::now() + time_max);
                        limit = Some(Instant::now() + time_max);
                    }
                    told = Some(answer);
                }
                () = sleep_until(limit.unwrap_or(far)), if limit.is_some() => {
                    return match told {
                        None => failed(Fate::Unknown, "no answer in time"),
                        Some(told) if told.starts_with(b"-MOVED") => match self.owner() {
                            Some(owner) => Ended::Sent(owner, told),
                            None => Ended::Reply(Bytes::from(format!("-{UNBOUND}\r\n"))),
                        },
                        Some(told) => Ended::Reply(told),
                    };
                }
            }
        }
    }

    /// What becomes of the owner's answer. `told` is what ended the wait from here.
    async fn arrived(&self, place: &Place, link: Link, reply: Bytes, told: Option<Bytes>) -> Ended {
        self.thread.proxy.give_back(link);
        let is_nothing = matches!(&reply[..], b"*-1\r\n" | b"$-1\r\n" | b"_\r\n");
        match told {
            Some(told)
                if !told.starts_with(b"-MOVED")
                    && (is_nothing || reply.starts_with(b"-UNBLOCKED")) =>
            {
                return Ended::Reply(told);
            }
            _ => {}
        }
        let (host, port, asking) = match Redirection::parse(&reply) {
            None => return Ended::Reply(reply),
            Some(Redirection::TryAgain) => return Ended::Sent(place.clone(), reply),
            Some(Redirection::Moved { host, port }) => (host, port, false),
            Some(Redirection::Ask { host, port }) => (host, port, true),
        };
        let host = if host.is_empty() {
            place.host.clone()
        } else {
            host
        };
        Ended::Sent(Place { host, port, asking }, reply)
    }

    /// The command, with the time that is left.
    fn words(&self) -> Vec<Bytes> {
        let mut words = self.argv.clone();
        if let Some(timeout) = self.timeout
            && let Some(deadline_ms) = self.deadline_ms
            && is_timeout(&words[timeout.position], timeout.is_ms)
        {
            let left_ms = deadline_ms.saturating_sub(unix_ms()).max(1);
            let left = if timeout.is_ms {
                left_ms.to_string()
            } else {
                format!("{}.{:03}", left_ms / 1000, left_ms % 1000)
            };
            words[timeout.position] = Bytes::from(left);
        }
        words
    }

    /// Who serves the slot now, as far as this node knows.
    fn owner(&self) -> Option<Place> {
        let topology = self.thread.node.cluster.as_ref()?.topology();
        let owner = topology.owner(self.slot)?;
        Place::of(&topology, Route::Moved(self.slot, owner))
    }

    /// Has the owner end the wait of the client that `link` is there.
    fn unblock(&self, place: &Place, link: &Link, until: Instant) {
        let ticket = Rc::new(Order::default()).ticket(0, Dialect::default());
        let bytes = encode_unblock(link.id());
        let (request, _) = Request::new(bytes, true, until, Dialect::default(), 0, ticket);
        self.thread.proxy.submit(place.peer(), request);
    }

    fn register(&self) -> Registered {
        let node = self.thread.node.clone();
        let topology = node.cluster.as_ref().map(|cluster| cluster.topology());
        let owner = topology.as_ref().and_then(|topology| {
            let owner = topology.owner(self.slot)?;
            Some(topology.node(owner).id)
        });
        drop(topology);
        let arrival = Arrival {
            client: self.client.clone(),
            db: self.dialect.db,
            protocol: self.dialect.protocol,
            awaited: Awaited::kind(Kind::String),
            task: Box::new(Abroad {
                slot: self.slot,
                owner,
            }),
            deadline_ms: self.deadline_ms,
            keys: Vec::new(),
        };
        let (waiter, answer) = node.blocked.add(node.keyspace.awaited(), arrival);
        Registered {
            node,
            waiter,
            answer,
        }
    }
}

/// Whether a word is a timeout that waits.
fn is_timeout(word: &[u8], is_ms: bool) -> bool {
    if is_ms {
        matches!(blocking::milliseconds(word, 0), Ok(Some(_)))
    } else {
        matches!(blocking::seconds(word, 0), Ok(Some(_)))
    }
}

/// A place among the blocked clients.
struct Registered {
    node: Arc<Node>,
    waiter: Arc<Waiter>,
    answer: oneshot::Receiver<Answer>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(claim) = self.waiter.claim() {
            claim.leave(&self.node.blocked, self.node.keyspace.awaited());
        }
    }
}

/// What ends the wait from here. May be dropped before it completes and called again.
async fn notice(registered: &mut Option<Registered>) -> Answer {
    let Some(registered) = registered else {
        return std::future::pending().await;
    };
    match (&mut registered.answer).await {
        Ok(answer) => answer,
        Err(_) => std::future::pending().await,
    }
}

/// Begins a wait at another node, once the client's earlier requests are answered.
pub(super) fn begin(_batch: &Batch<'_>, session: &Session, waiting: Waiting, place: Place) -> Flow {
    if session.order.under_way() > 0 {
        return WAIT;
    }
    Flow::Blocked(Box::new(Blocked::elsewhere(async move {
        let reply = waiting.reply(place).await;
        Answer {
            reply: reply.into(),
            closing: false,
        }
    })))
}

/// Has a client that waits for a key of this node go on elsewhere if the slot leaves.
pub(in crate::command) fn follow(
    batch: &Batch<'_>,
    session: &Session,
    protocol: Protocol,
    entry: &'static Entry,
    argv: &[&[u8]],
    blocked: Blocked,
) -> Blocked {
    let Forwarding::Wait(timeout) = entry.command.forwarding() else {
        return blocked;
    };
    let Some(at) = timeout_at_word(timeout, argv) else {
        return blocked;
    };
    let waiting = Waiting::new(batch, session, protocol, entry, argv, at);
    Blocked::elsewhere(async move {
        let mut answer = blocked.answer().await;
        if answer.reply.starts_with(b"-MOVED ")
            && let Some(place) = waiting.owner()
        {
            answer.reply = waiting.reply(place).await.into();
        }
        answer
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(timeout: Timeout, line: &str) -> Option<(usize, bool)> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        timeout_at_word(timeout, &words).map(|at| (at.position, at.is_ms))
    }

    #[test]
    fn timeouts_are_found_where_their_commands_have_them() {
        assert_eq!(at(Timeout::Last, "BLPOP a b 0"), Some((3, false)));
        assert_eq!(at(Timeout::First, "BLMPOP 1.5 1 a LEFT"), Some((1, false)));
        let block = |line| at(Timeout::Block, line);
        assert_eq!(block("XREAD COUNT 1 block 5 STREAMS s $"), Some((4, true)));
        assert_eq!(block("XREAD COUNT 1 STREAMS block 5"), None);
        assert_eq!(
            block("XREADGROUP GROUP block c BLOCK 0 STREAMS s >"),
            Some((5, true))
        );
        assert_eq!(block("XREADGROUP GROUP block streams STREAMS s >"), None);
        assert_eq!(block("XREAD BLOCK"), None);
        assert!(is_timeout(b"0.1", false) && !is_timeout(b"0", false) && !is_timeout(b"x", false));
        assert!(is_timeout(b"10", true) && !is_timeout(b"1.5", true));
    }
}
