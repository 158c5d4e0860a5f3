//! Commands that wait for a key: BLPOP and its kin.
//!
//! ```text
//!   handler finds nothing --cx.block--> waiter in node.blocked        slots of its keys locked
//!   another command changes a key, commits, and then, on its own thread:
//!     for each key that this has made ready for somebody, in the order of the changes  [serve]
//!       for each waiter that the key's type concerns, in the order they blocked
//!         lock its slots . claim it . run its `serve` in a view of its own . commit . answer
//!   the answer wakes the waiter's connection, which sends it and goes on reading requests
//! ```
//!
//! A handler that finds nothing to reply calls [`Context::block`] and returns what that returns. In a transaction or
//! a script, where nothing may wait, that is the reply of a wait that came to nothing. A write says nothing at all:
//! the view records which keys of slots somebody waits for have come into being
//! ([`View::readied`](eagle_core::store::View::readied)). Only what the view does not record (SWAPDB, FLUSHALL) is said, by
//! [`Context::signal_ready`] and [`Context::signal_database`].
//!
//! To add a blocking command:
//!
//! 1. Its row has [`Flags::BLOCKING`](super::spec::Flags::BLOCKING) and locks its keys (a `WRITE` flag does that, else
//!    `.scope(Scope::Keys)`): between "found nothing" and "queued" nobody may change them.
//! 2. The handler reads the timeout with [`seconds`] or [`milliseconds`], tries, and else calls `cx.block` with a
//!    [`Block`]: the keys, the type that makes them ready, the deadline, other keys it will need locked, and `serve`.
//! 3. `serve` gets a context of its own, with the client's database and protocol, and the key that became ready. It
//!    takes what there is and writes the reply ([`Served::Done`]), or finds that this is not for it
//!    ([`Served::Waits`]: the client stays where it is), or fails: then the error is the reply. It must say what
//!    goes to replicas (`cx.effects.instead(..)`, or `none`), as the blocked command itself means nothing there.
//! 4. A client that waits for what vanishes with the key sets [`Awaited::loss`]; its `serve` is then called as well
//!    when the key is missing or has another type.
//!
//! Races:
//!
//! - *Lost wake-up.* A waiter is queued under the slot locks under which its keys were found not ready. A writer
//!   holds the same locks, so it either came before, and the handler saw its work, or finds the waiter.
//! - *Two keys of one waiter at once.* Serving holds the waiter's claim until it is answered or has been found
//!   unserved. Whoever comes with another of its keys waits for the claim, so a waiter is neither served twice nor
//!   passed by. No slot is locked while a claim is held, and claims are taken one at a time.
//! - *Timeout, CLIENT UNBLOCK or a lost connection against a served key.* All take the claim; the first one wins.
//! - *Between commit and serving* other threads may take what was pushed; the waiters keep their places. In what
//!   clients can tell apart this is the same as if they had come just before the push.
//! - *Slots that leave.* Cron has all waiters looked at after the cluster's shape has changed, twice, as a command
//!   that was admitted before the change may queue its client after the first look.
//!
//! Serving is a write like others: CLIENT PAUSE and a slot in transfer hold it up. The keys are then posted, and a task
//! of the worker threads serves them when that is over.

mod serve;
mod timeout;

pub(super) use serve::serve;
pub use serve::serve_posted;
pub use timeout::{milliseconds, seconds};

use super::context::{Context, Flow, Outcome};
use super::errors::CommandError;
use super::table::Entry;
use crate::acl::Identity;
use crate::clock::unix_ms;
use crate::node::{Node, Thread};
use crate::session::{Answer, Arrival, Awaited, ReadyKey, Waiter, timed_out};
use eagle_core::store::{Committed, key_slot};
use smallvec::SmallVec;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What became of a waiter when one of its keys was ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Served {
    /// The reply is written.
    Done,
    /// Nothing here is for this client.
    Waits,
}

/// Serves a blocked client from the key that became ready.
pub type Serve = Box<dyn Fn(&mut Context<'_>, &[u8]) -> Result<Served, CommandError> + Send + Sync>;

/// What a command replies that may not wait and has nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nothing {
    Null,
    NullArray,
}

/// A wait.
pub struct Block<'k> {
    /// The keys, any of which will do.
    pub keys: &'k [&'k [u8]],
    pub awaited: Awaited,
    /// From [`seconds`] or [`milliseconds`].
    pub deadline_ms: Option<u64>,
    /// Keys that `serve` touches besides the one that became ready.
    pub also_locked: &'k [&'k [u8]],
    pub nothing: Nothing,
    pub serve: Serve,
}

/// The command layer's part of a waiter.
struct Task {
    entry: &'static Entry,
    user: Arc<Identity>,
    argv: Vec<Box<[u8]>>,
    also_locked: SmallVec<[u16; 1]>,
    serve: Serve,
}

impl Task {
    /// The slots to lock when `key` is ready, ascending and distinct.
    fn slots(&self, key: &[u8]) -> SmallVec<[u16; 2]> {
        let mut slots: SmallVec<[u16; 2]> = self.also_locked.as_slice().into();
        slots.push(key_slot(key));
        slots.sort_unstable();
        slots.dedup();
        slots
    }
}

impl Context<'_> {
    /// Has the client wait, or replies that there is nothing if it may not. `argv` are the words of the command.
    pub fn block(&mut self, argv: &[&[u8]], block: Block<'_>) -> Outcome {
        if !self.may_block {
            match block.nothing {
                Nothing::Null => self.out.null(),
                Nothing::NullArray => self.out.null_array(),
            }
            return Ok(Flow::Done);
        }
        let boxed = |words: &[&[u8]]| words.iter().map(|word| Box::from(*word)).collect();
        let task = Task {
            entry: self.entry,
            user: self.session.user.clone(),
            argv: boxed(argv),
            also_locked: block.also_locked.iter().map(|key| key_slot(key)).collect(),
            serve: block.serve,
        };
        let arrival = Arrival {
            client: self.session.info.clone(),
            db: self.db(),
            protocol: self.out.protocol(),
            awaited: block.awaited,
            task: Box::new(task),
            deadline_ms: block.deadline_ms,
            keys: boxed(block.keys),
        };
        let (waiter, answer) = self.node.blocked.add(self.node.keyspace.awaited(), arrival);
        let wait = WaitHere {
            node: self.thread.node.clone(),
            waiter,
            answer,
        };
        Ok(Flow::Blocked(Box::new(Blocked {
            wait: Wait::Here(wait),
            is_silent: false,
        })))
    }

    /// Says that `key` of the selected database may be ready for clients that wait for it, though this command has not
    /// written it. Costs next to nothing if nobody waits.
    pub fn signal_ready(&mut self, key: &[u8]) {
        let db = self.db();
        if self.node.keyspace.awaited().covers(key) && self.node.blocked.is_awaited(db, key) {
            self.ready.push((db, key.into()));
        }
    }

    /// Says that any key of `db` may have changed (FLUSHDB, SWAPDB).
    pub fn signal_database(&mut self, db: u8) {
        if !self.node.keyspace.awaited().is_none() {
            let keys = self.node.blocked.keys_of(db);
            self.ready.extend(keys.into_iter().map(|key| (db, key)));
        }
    }
}

/// Adds to `ready` those of the keys that were made ready, or lost, that somebody waits for.
#[inline]
pub(super) fn note_ready(node: &Node, committed: &Committed<'_>, ready: &mut Vec<ReadyKey>) {
    if node.keyspace.awaited().is_none() {
        return;
    }
    // Whom a type concerns that nobody waits for, on any key, is not looked at when another type has taken its place.
    let readied = committed.readied().iter();
    let readied = readied.filter(|(_, kind)| node.blocked.awaits_kind(*kind));
    let readied = readied.map(|(key, _)| key);
    let readied = readied.filter(|key| node.blocked.is_awaited(key.0, &key.1));
    let lost = committed.lost().iter();
    let lost = lost.filter(|key| node.blocked.is_loss_awaited(key.0, &key.1));
    for key in readied.chain(lost) {
        if !ready.contains(key) {
            ready.push(key.clone());
        }
    }
}

/// Leaves those of the keys that somebody waits for to a worker: what made them ready was no command, or one half of one.
pub fn post_ready(node: &Node, committed: &Committed<'_>) {
    let mut ready = Vec::new();
    note_ready(node, committed, &mut ready);
    if !ready.is_empty() {
        node.blocked.post(ready);
    }
}

/// A client that waits. Dropped, it waits no more.
pub struct Blocked {
    wait: Wait,
    is_silent: bool,
}

enum Wait {
    Here(WaitHere),
    /// At another node.
    Elsewhere(Pin<Box<dyn Future<Output = Answer>>>),
}

/// A wait for keys of this node.
struct WaitHere {
    node: Arc<Node>,
    waiter: Arc<Waiter>,
    answer: oneshot::Receiver<Answer>,
}

impl Blocked {
    /// The same wait for a client that wants no reply.
    pub(super) fn silenced(mut self) -> Blocked {
        self.is_silent = true;
        self
    }

    /// A wait at another node, which is over when the future completes.
    pub(super) fn elsewhere(wait: impl Future<Output = Answer> + 'static) -> Blocked {
        Blocked {
            wait: Wait::Elsewhere(Box::pin(wait)),
            is_silent: false,
        }
    }

    /// What the client gets in the end.
    pub async fn answer(self) -> Answer {
        let mut answer = match self.wait {
            Wait::Here(wait) => wait.answer().await,
            Wait::Elsewhere(wait) => wait.await,
        };
        if self.is_silent {
            answer.reply.clear();
        }
        answer
    }
}

impl WaitHere {
    async fn answer(mut self) -> Answer {
        let answer = match self.waiter.deadline_ms {
            None => (&mut self.answer).await,
            Some(deadline_ms) => {
                let left = Duration::from_millis(deadline_ms.saturating_sub(unix_ms()));
                tokio::select! {
                    biased;
                    answer = &mut self.answer => answer,
                    () = tokio::time::sleep(left) => {
                        give_up(&self.node, &self.waiter);
                        // Whoever was first has answered.
                        (&mut self.answer).await
                    }
                }
            }
        };
        answer.unwrap_or_else(|_| timed_out(self.waiter.protocol))
    }
}

impl Drop for WaitHere {
    fn drop(&mut self) {
        if let Some(claim) = self.waiter.claim() {
            claim.leave(&self.node.blocked, self.node.keyspace.awaited());
        }
    }
}

/// Ends a wait as if its time were up; whether it was still going on.
pub fn give_up(node: &Node, waiter: &Waiter) -> bool {
    answer_with(node, waiter, timed_out(waiter.protocol))
}

/// Ends a wait with this answer; whether it was still going on.
fn answer_with(node: &Node, waiter: &Waiter, answer: Answer) -> bool {
    let Some(claim) = waiter.claim() else {
        return false;
    };
    claim.answer(&node.blocked, node.keyspace.awaited(), answer);
    true
}

/// Counts a wait that was ended with an error as a call of its command that failed.
pub fn count_failed(thread: &Thread, waiter: &Waiter) {
    if let Some(task) = waiter.task.downcast_ref::<Task>() {
        thread.stats.commands[task.entry.id].failed.add(1);
    }
}

/// Ends a wait with an error, which counts as one of the node's error replies; whether it was still going on.
pub fn fail(node: &Node, waiter: &Waiter, error: &CommandError, closing: bool) -> bool {
    let failed = answer_with(node, waiter, error_answer(waiter, error, closing));
    if failed {
        node.errors.record(error.code());
    }
    failed
}

fn error_answer(waiter: &Waiter, error: &CommandError, closing: bool) -> Answer {
    let mut out = eagle_core::resp::Writer::new(waiter.protocol);
    out.error(error.as_bytes());
    Answer {
        reply: out.take().into(),
        closing,
    }
}

/// Ends all waits and their connections: this node no longer takes writes, so nothing would ever end them.
pub fn disconnect_all(node: &Node) {
    const FORCED: CommandError = CommandError::new(
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    );
    for waiter in node.blocked.all() {
        // Who waits at another node has no keys here.
        if waiter.keys().is_empty() {
            continue;
        }
        fail(node, &waiter, &FORCED, true);
    }
}
