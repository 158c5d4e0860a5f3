//! Serving blocked clients from keys that have become ready. The protocol stands at the head of [`super`].

use super::{Served, Task, fail};
use crate::clock::{Moment, unix_ms};
use crate::cluster::Topology;
use crate::cluster::route::{DOWN, Route, UNBOUND, redirection};
use crate::command::account::account_served;
use crate::command::call::{Batch, in_context, remove_if_expired, reply_error};
use crate::command::context::Context;
use crate::command::effect::Effects;
use crate::command::errors::CommandError;
use crate::command::forward::Abroad;
use crate::node::Thread;
use crate::session::{Answer, ReadyKey, Session, Waiter};
use eagle_core::resp::Writer;
use eagle_core::store::{Access, Kind, key_slot};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// How long keys of a slot in transfer rest before they are looked at again.
const TRANSFER_WAIT: Duration = Duration::from_millis(1);

/// What came of a look at one key.
enum Looked {
    /// All who could be served were.
    Through,
    /// Writes of this slot must wait.
    Later,
}

/// Serves whoever waits for the keys that the batch has made ready, and for those that this makes ready in turn.
/// What must not be served now is posted.
pub(in crate::command) fn serve(batch: &mut Batch<'_>) {
    let mut queue: VecDeque<ReadyKey> = std::mem::take(&mut batch.ready).into();
    let mut later = Vec::new();
    while let Some((db, key)) = queue.pop_front() {
        match serve_key(batch, db, &key) {
            Looked::Through => {}
            Looked::Later => later.push((db, key)),
        }
        queue.extend(batch.ready.drain(..));
    }
    if !later.is_empty() {
        batch.thread.node.blocked.post(later);
    }
}

fn serve_key(batch: &mut Batch<'_>, db: u8, key: &[u8]) -> Looked {
    let thread = batch.thread;
    let node = &*thread.node;
    // What the key held when last looked at, and the place of the last waiter that was dealt with.
    let mut found: Option<Option<Kind>> = None;
    let mut after = 0;
    while let Some(waiter) = node.blocked.next(db, key, after, found) {
        let Some(task) = waiter.task.downcast_ref::<Task>() else {
            return Looked::Through;
        };
        if waiter.client.is_killed() {
            after = waiter.turn();
            continue;
        }
        let slots = task.slots(key);
        let now_ms = unix_ms();
        let mut worker = thread.worker.borrow_mut();
        let access = Access::Slots(&slots);
        let view = node.keyspace.view(&mut worker, batch.guard, access, now_ms);
        if node.pause.current(now_ms).is_some() || node.slots_in_transfer.any_of(&slots) {
            return Looked::Later;
        }
        let holds = view.find(db, key).map(|entry| entry.kind());
        let has_ended = holds.is_none() && view.met_expired();
        if !waiter.is_concerned_by(holds) {
            if has_ended {
                drop(view);
                remove_if_expired(thread, &mut worker, batch.guard, db, key);
            }
            found = Some(holds);
            continue;
        }
        after = waiter.turn();
        let Some(claim) = waiter.claim() else {
            continue;
        };
        let mut out = Writer::new(waiter.protocol);
        let mut session = Session::new(waiter.client.clone(), &task.user);
        session.db = db;
        let words: Vec<&[u8]> = task.argv.iter().map(|word| &**word).collect();
        batch.now_ms = now_ms;
        batch.clock = Moment::now();
        let view = || view;
        let ((served, left), late) =
            in_context(batch, &mut session, &mut out, task.entry, view, |cx| {
                let served = run_task(cx, task, &words, key);
                (served, cx.view.find(db, key).map(|entry| entry.kind()))
            });
        // Its slots were locked, so its events are sent.
        debug_assert!(late.is_none());
        found = Some(left);
        match served {
            Served::Done => claim.answer(
                &node.blocked,
                node.keyspace.awaited(),
                Answer {
                    reply: out.take().into(),
                    closing: false,
                },
            ),
            Served::Waits => drop(claim),
        }
    }
    Looked::Through
}

/// Runs one client's `serve`; an error is its reply.
fn run_task(cx: &mut Context<'_>, task: &Task, argv: &[&[u8]], key: &[u8]) -> Served {
    let savepoint = cx.view.savepoint();
    let mark = cx.out.mark();
    let events = cx.events.begin(mark);
    let outcome = (task.serve)(cx, key);
    let failed = outcome.is_err();
    let served = outcome.unwrap_or_else(|error| {
        cx.view.rollback_to(savepoint);
        cx.events.rewind(&events);
        *cx.effects = Effects::new(cx.stream.is_wanted());
        cx.out.truncate(mark);
        reply_error(cx.thread, cx.out, &error);
        Served::Done
    });
    cx.end_served_events(&events);
    match served {
        Served::Done => account_served(cx, task.entry, argv, failed),
        // What replicas must not hear of; a verbatim BLPOP would be.
        Served::Waits => cx.effects.none(),
    }
    served
}

/// Serves the keys that other threads, and this one, could not serve at once; and sends away the clients whose slots
/// this node no longer serves. Runs on every worker; never ends.
pub async fn serve_posted(thread: Rc<Thread>) {
    let node = thread.node.clone();
    loop {
        node.blocked.posted().await;
        loop {
            let now_ms = unix_ms();
            let Some((until_ms, _)) = node.pause.current(now_ms) else {
                break;
            };
            node.pause.wait(until_ms - now_ms).await;
        }
        let (ready, recheck) = node.blocked.take_posted();
        if recheck {
            send_away(&thread);
        }
        let busy = ready
            .iter()
            .any(|(_, key)| node.slots_in_transfer.any_of(&[key_slot(key)]));
        if busy {
            tokio::time::sleep(TRANSFER_WAIT).await;
        }
        // The pin of the epoch must not outlast a wait.
        let guard = node.keyspace.pin();
        let mut batch = Batch::new(&thread, &guard);
        batch.ready = ready;
        serve(&mut batch);
        thread.end_turn();
    }
}

/// Redirects the clients that wait for keys of slots that have left, or tells them that the cluster is down.
fn send_away(thread: &Thread) {
    let node = &*thread.node;
    let Some(cluster) = &node.cluster else {
        return;
    };
    let topology = cluster.topology();
    for waiter in node.blocked.all() {
        let error = match waiter.task.downcast_ref::<Abroad>() {
            Some(abroad) => abroad.refusal(&topology),
            None => refusal(&topology, &waiter),
        };
        if let Some(error) = error
            && fail(node, &waiter, &error, false)
        {
            thread.stats.error_replies.add(1);
        }
    }
}

/// Why a client must not go on waiting here.
fn refusal(topology: &Topology, waiter: &Waiter) -> Option<CommandError> {
    // All keys have one slot.
    let slot = key_slot(waiter.keys().first()?);
    if !topology.is_ok() {
        return Some(CommandError::new(DOWN));
    }
    if topology.is_mine(slot) || topology.importing_from(slot).is_some() {
        return None;
    }
    let Some(owner) = topology.owner(slot) else {
        return Some(CommandError::new(UNBOUND));
    };
    redirection(topology, Route::Moved(slot, owner)).map(CommandError::owned)
}
