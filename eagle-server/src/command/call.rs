//! The one path on which every command runs: admit, queue or execute, commit, account.

use super::account::account_slow;
use super::admit::{Verdict, admit};
use super::args::Args;
use super::blocking::{self, post_ready};
use super::caches::tell_caches_of;
use super::context::{Context, Flow};
use super::deliver::{deliver, publish_expired, remove_expired, send_all};
use super::effect::Effects;
use super::end::{Late, commit, end};
use super::errors::{self, CommandError};
use super::event::{Events, Notice};
use super::forward;
use super::keys::{self, Slots};
use super::monitor::{Shown, shown};
use super::permission;
use super::plan::{Plan, plan_known};
use super::redirect;
use super::script;
use super::spec::Flags;
use super::table::{Entry, queued_entry};
use super::unwound::{Unwound, invoke_if_possible, may_share};
use crate::acl::Place;
use crate::clock::Moment;
use crate::cluster::Cluster;
use crate::cluster::route::Route;
use crate::config::Snapshot;
use crate::node::{Node, Thread, unix_ms};
use crate::propagation::Stream;
use crate::session::{CachingFlags, ClientInfo, Queued, ReadyKey, ReplyMode, Session};
use bytes::Bytes;
use eagle_core::resp::Writer;
use eagle_core::store::{Access, Guard, KnownKey, KnownKeys, View, Worker, key_slot};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Requests that are run in one go, between two waits for the socket: they share one pin of the
/// reclamation epoch, one reading of the clock and one view of the configuration.
pub struct Batch<'a> {
    pub thread: &'a Rc<Thread>,
    pub guard: &'a Guard,
    pub config: Snapshot,
    pub now_ms: u64,
    /// When the previous command ended.
    pub clock: Moment,
    /// Keys of the requests that were prefetched.
    pub known: KnownKeys,
    /// Keys that blocked clients may be served from as soon as the command has ended.
    pub(super) ready: Vec<ReadyKey>,
    /// What a request leaves to be told; begun anew for each, and here for their memory.
    effects: Effects,
    stream: Stream,
    events: Events,
}

impl<'a> Batch<'a> {
    pub fn new(thread: &'a Rc<Thread>, guard: &'a Guard) -> Batch<'a> {
        Batch {
            thread,
            guard,
            config: thread.config(),
            now_ms: unix_ms(),
            clock: Moment::now(),
            known: KnownKeys::default(),
            ready: Vec::new(),
            effects: Effects::default(),
            stream: Stream::default(),
            events: Events::default(),
        }
    }

    /// Goes on with the requests of another connection, as a new batch would.
    #[inline]
    pub fn renew(&mut self) {
        self.config = self.thread.config();
        self.now_ms = unix_ms();
        self.clock = Moment::now();
    }
}

/// Commands that act on the transaction itself and are never queued, by full name: SLOWLOG RESET is no RESET.
const UNQUEUED: &[&str] = &["exec", "discard", "multi", "watch", "quit", "reset"];

/// Runs one request; its reply goes to `out`.
pub fn run(batch: &mut Batch<'_>, session: &mut Session, out: &mut Writer, argv: &[&[u8]]) -> Flow {
    let verdict = admit(batch, session, argv);
    let node = &batch.thread.node;
    if node.tracking.any() {
        let keys_max = batch.config.clients.tracking_table_max_keys;
        node.tell_caches(|tracking, to| tracking.limit(keys_max, to));
    }
    // What the client was told until now, also by making room for its command, comes before the reply.
    if session.info.outbox.bytes() > 0 {
        for message in session.info.outbox.take() {
            out.raw(&message);
        }
    }
    let mark = out.mark();
    let mut flow = match verdict {
        Verdict::Wait(flow) => return flow,
        Verdict::HangUp => {
            tracing::warn!(
                "Possible SECURITY ATTACK detected: HTTP is spoken to this port. Connection aborted: addr={}",
                session.info.addr
            );
            session.closing = true;
            return Flow::Done;
        }
        Verdict::Refuse(entry, error) => {
            hold_secrets(session, entry);
            refuse(batch, session, out, entry, &error);
            if !session.in_multi() {
                session.asking &= entry.is_some_and(|entry| entry.command.name == "asking");
            }
            session.caching_said &= keeps_caching(session, entry);
            Flow::Done
        }
        Verdict::Pass(entry) => {
            hold_secrets(session, Some(entry));
            session.info.set_active(entry.id, batch.now_ms);
            let flow = if session.in_multi() && !UNQUEUED.contains(&&*entry.full_name) {
                queue(batch, session, out, entry, argv)
            } else {
                execute(batch, session, out, entry, argv)
            };
            if entry.has(Flags::ADMIN) || entry.command.name == "exec" {
                // The next request of the batch already runs under what CONFIG SET has set.
                batch.config = batch.thread.config();
            }
            if let Flow::Paused { .. } = flow {
                return flow;
            }
            // Before MULTI it holds for the whole transaction.
            if session.asking && !session.in_multi() {
                session.asking = entry.command.name == "asking";
            }
            if session.caching_said {
                session.caching_said = keeps_caching(session, Some(entry));
            }
            flow
        }
    };
    match session.reply {
        ReplyMode::On => {}
        ReplyMode::Off | ReplyMode::Skip => {
            out.truncate(mark);
            flow = forward::silenced(flow);
        }
        ReplyMode::SkipNext => {
            out.truncate(mark);
            session.reply = ReplyMode::Skip;
            return flow;
        }
    }
    if session.reply == ReplyMode::Skip {
        session.reply = ReplyMode::On;
    }
    flow
}

/// Has the request wiped when it has been answered, if `entry` may have passwords among its arguments. Which of them are is
/// known only to the command itself, and only where it does not fail before it looks.
#[inline]
fn hold_secrets(session: &mut Session, entry: Option<&Entry>) {
    if entry.is_some_and(|entry| entry.has(Flags::SECRETIVE)) {
        session.hold_secrets();
    }
}

/// Whether what CLIENT CACHING said holds behind this command, too.
fn keeps_caching(session: &Session, entry: Option<&Entry>) -> bool {
    session.in_multi() || entry.is_some_and(|entry| entry.full_name.starts_with("client|"))
}

fn refuse(
    batch: &Batch<'_>,
    session: &mut Session,
    out: &mut Writer,
    entry: Option<&'static Entry>,
    error: &CommandError,
) {
    let node = &batch.thread.node;
    if let Some(entry) = entry {
        batch.thread.stats.commands[entry.id].rejected.add(1);
        if entry.command.name == "exec" {
            session.discard(&node.watch, node.keyspace.watchers());
            reply_error(batch.thread, out, &errors::exec_aborted(error));
            return;
        }
    }
    if let Some(multi) = &mut session.multi {
        multi.aborted = true;
    }
    reply_error(batch.thread, out, error);
}

pub(super) fn reply_error(thread: &Thread, out: &mut Writer, error: &CommandError) {
    thread.stats.error_replies.add(1);
    thread.node.errors.record(error.code());
    out.error(error.as_bytes());
}

fn queue(
    batch: &mut Batch<'_>,
    session: &mut Session,
    out: &mut Writer,
    entry: &'static Entry,
    argv: &[&[u8]],
) -> Flow {
    let thread = batch.thread;
    if let Some(cluster) = &thread.node.cluster {
        let mut worker = thread.worker.borrow_mut();
        let view =
            thread
                .node
                .keyspace
                .view(&mut worker, batch.guard, Access::LockFree, batch.now_ms);
        let topology = cluster.topology();
        let decision = redirect::decide(&topology, batch, session, entry, argv, &view);
        let refusal = if forward::is_on(&batch.config, session) {
            forward::queue(session, entry, argv, (&topology, decision)).err()
        } else {
            (decision != Route::Here).then(|| redirect::refusal(thread, &topology, decision))
        };
        if let Some(error) = refusal {
            refuse(batch, session, out, Some(entry), &error);
            return Flow::Done;
        }
    }
    // What EXEC will not run is not kept, and has no part in where EXEC belongs.
    let is_lost = session.watched.is_touched();
    let multi = session.multi.as_mut();
    if let Some(multi) = multi.filter(|multi| !multi.aborted && !is_lost) {
        multi.push(Queued::new(entry.id, argv, entry.has(Flags::SECRETIVE)));
        session.info.set_multi(Some((multi.len(), multi.bytes())));
    }
    out.simple("QUEUED");
    Flow::Done
}

/// Runs one command that has passed the gates, here or at another node, and serves the clients that waited for what it
/// changed.
#[inline]
pub(super) fn execute(
    batch: &mut Batch<'_>,
    session: &mut Session,
    out: &mut Writer,
    entry: &'static Entry,
    argv: &[&[u8]],
) -> Flow {
    let thread = batch.thread;
    let flow = match &thread.node.cluster {
        None => {
            let (plan, known) = plan_known(batch, entry, session, argv);
            execute_as(batch, session, out, entry, argv, &plan, known)
        }
        Some(cluster) => execute_in(cluster, batch, session, out, entry, argv),
    };
    if !batch.ready.is_empty() {
        blocking::serve(batch);
    }
    // Not `unwrap_or`, which makes a flow to drop it each time.
    match flow {
        Some(flow) => flow,
        None => Flow::Done,
    }
}

/// The same for a node of a cluster, but for the clients that waited; nothing if the command does not run here.
#[inline(never)]
fn execute_in(
    cluster: &Cluster,
    batch: &mut Batch<'_>,
    session: &mut Session,
    out: &mut Writer,
    entry: &'static Entry,
    argv: &[&[u8]],
) -> Option<Flow> {
    let forwards = forward::is_on(&batch.config, session);
    if forwards {
        match forward::listen(batch, session, out.protocol(), entry, argv) {
            None => {}
            Some(Ok(flow)) => return Some(flow),
            Some(Err(error)) => {
                refuse(batch, session, out, Some(entry), &error);
                return None;
            }
        }
        if let Some(flow) = forward::split(batch, session, out, entry, argv) {
            return Some(flow);
        }
    }
    let before = cluster.topology().version();
    let (mut plan, known) = plan_known(batch, entry, session, argv);
    if matches!(plan, Plan::LockFree) {
        let slots = match &known {
            Some(key) => Slots::from_slice(&[key.slot()]),
            None => keys::slots(&keys::find(entry, argv), argv),
        };
        // A key of a slot in motion may leave between the look whether it is here and the read.
        if slots.iter().any(|slot| cluster.topology().is_open(*slot)) {
            plan = Plan::Slots(slots);
        } else {
            let mark = out.mark();
            let flow = execute_as(batch, session, out, entry, argv, &Plan::LockFree, known);
            // Nothing was locked: if slots have moved meanwhile, the answer may be about a key that left.
            if matches!(flow, Some(Flow::Forwarded(_) | Flow::Paused { .. }))
                || slots.is_empty()
                || cluster.topology().version() == before
                || !entry.has(Flags::READONLY)
            {
                return flow;
            }
            out.truncate(mark);
            plan = Plan::Slots(slots);
        }
    }
    match execute_as(batch, session, out, entry, argv, &plan, known) {
        Some(Flow::Blocked(blocked)) if forwards => {
            let protocol = out.protocol();
            let followed = forward::follow(batch, session, protocol, entry, argv, *blocked);
            Some(Flow::Blocked(Box::new(followed)))
        }
        flow => flow,
    }
}

/// Runs one command with what `plan` says locked, if it is to run here; else replies why not.
fn execute_as(
    batch: &mut Batch<'_>,
    session: &mut Session,
    out: &mut Writer,
    entry: &'static Entry,
    argv: &[&[u8]],
    plan: &Plan<'_>,
    known: Option<KnownKey<'_>>,
) -> Option<Flow> {
    let thread = batch.thread;
    let node = &*thread.node;
    // A script that runs on this thread has the worker: what is allowed beside it looks at no key.
    let mut worker = match thread.worker.try_borrow_mut() {
        Ok(worker) => worker,
        Err(_) if matches!(plan, Plan::LockFree) => thread.spare_worker().borrow_mut(),
        Err(_) => {
            refuse(batch, session, out, Some(entry), &script::BUSY_SCRIPT);
            return None;
        }
    };
    // Who waits for the same slot again and again must not hold up the others of its thread each time.
    let wait_max = match thread.slots_held_at.get() {
        Some(at) if at.elapsed() < SLOTS_REST => Duration::ZERO,
        _ => SLOTS_WAIT_MAX,
    };
    let Some(mut locks) = (match (plan, &known) {
        (Plan::Slot(_), Some(key)) if may_share(node, entry) => {
            node.keyspace.try_lock_key(key, wait_max)
        }
        _ => node.keyspace.try_lock(plan.access(), wait_max),
    }) else {
        if !wait_max.is_zero() {
            thread.slots_held_at.set(Some(Instant::now()));
        }
        return Some(HELD);
    };
    if let Some(cluster) = &node.cluster {
        let mut view = node
            .keyspace
            .look_with(locks, batch.guard, batch.now_ms, wait_max);
        if let Some(key) = known {
            view.know(key);
        }
        // Slots change hands under their locks, so what this says holds as long as they are held.
        let topology = cluster.topology();
        let dialect = forward::dialect(session, out.protocol());
        if session.order.must_wait(topology.version(), dialect) {
            return Some(forward::WAIT);
        }
        let decision = redirect::decide(&topology, batch, session, entry, argv, &view);
        if let Some(flow) = forward::tries_again(batch, session, decision) {
            return Some(flow);
        }
        let forwards = forward::is_on(&batch.config, session);
        let is_exec = entry.command.name == "exec";
        if forwards && is_exec {
            use forward::Ended;
            let to = (&**topology, decision);
            let refused = match forward::exec(batch, session, out.protocol(), to) {
                Ended::Here => None,
                Ended::Elsewhere(flow) => return Some(flow),
                Ended::Wait => return Some(forward::WAIT),
                Ended::Changed => {
                    session.discard(&node.watch, node.keyspace.watchers());
                    out.null_array();
                    return None;
                }
                Ended::Refused(error) => Some(error),
            };
            if let Some(error) = refused {
                session.discard(&node.watch, node.keyspace.watchers());
                reply_error(thread, out, &error);
                return None;
            }
        } else if decision != Route::Here && !(forwards && forward::answers_here(session, entry)) {
            drop(view);
            drop(worker);
            let error = if !forwards {
                redirect::refusal(thread, &topology, decision)
            } else {
                let to = (&**topology, decision);
                match forward::forward(batch, session, out.protocol(), entry, argv, to) {
                    Ok(flow) => return Some(flow),
                    Err(error) => error,
                }
            };
            if is_exec {
                session.discard(&node.watch, node.keyspace.watchers());
                reply_error(thread, out, &error);
            } else {
                refuse(batch, session, out, Some(entry), &error);
            }
            return None;
        }
        locks = view.into_locks();
    }
    if node.slots_in_transfer.any()
        && let Some(slots) = plan.slots()
        && writes(session, entry)
        && node.slots_in_transfer.any_of(slots)
    {
        return Some(Flow::Paused {
            wait_ms: TRANSFER_WAIT_MS,
        });
    }
    let mark = out.mark();
    let may_unwind = match plan {
        Plan::LockFree => true,
        _ if locks.are_shared() => {
            thread.stats.shared_changes.add(1);
            true
        }
        _ => false,
    };
    let (guard, now_ms) = (batch.guard, batch.now_ms);
    let view = || {
        let mut view = node
            .keyspace
            .view_with(locks, &mut worker, guard, now_ms, wait_max);
        if let Some(key) = known {
            view.know(key);
        } else if let Plan::Row(_, keys) = plan {
            view.know_row(keys);
        }
        view
    };
    let ((flow, needs_all), late) = in_context(batch, session, out, entry, view, |cx| {
        let flow = if may_unwind {
            invoke_if_possible(cx, entry, argv)
        } else {
            Ok(invoke(cx, entry, argv))
        };
        cx.replies_later = matches!(flow, Ok(Flow::Later(_)));
        (flow, cx.needs_all)
    });
    let flow = match flow {
        Ok(flow) => flow,
        Err(unwound) => {
            out.truncate(mark);
            let (Unwound::SlotShared, Some(slots)) = (unwound, plan.slots()) else {
                return Some(HELD);
            };
            drop(worker);
            thread.stats.shared_changes_refused.add(1);
            node.keyspace.note_refusal(slots[0]);
            let alone = Plan::Slots(Slots::from_slice(slots));
            return execute_as(batch, session, out, entry, argv, &alone, known);
        }
    };
    if needs_all {
        drop(worker);
        out.truncate(mark);
        return execute_as(batch, session, out, entry, argv, &Plan::All, known);
    }
    if let Some(late) = late {
        drop(worker);
        remove_expired(batch, session, (entry, argv), &late.met_fields);
        deliver(node, session, out, late.events);
    }
    Some(flow)
}

/// Does `work` in a context with a view, then [ends](end) it. The context is large: it is made here and nowhere moved.
#[inline(always)]
pub(super) fn in_context<'a, T>(
    batch: &'a mut Batch<'_>,
    session: &'a mut Session,
    out: &'a mut Writer,
    entry: &'static Entry,
    view: impl FnOnce() -> View<'a>,
    work: impl FnOnce(&mut Context<'a>) -> T,
) -> (T, Option<Box<Late>>) {
    let thread = batch.thread;
    let is_logged = thread.node.keyspace.ring_is_on();
    batch.effects.begin(is_logged);
    batch.stream.begin(is_logged);
    debug_assert!(batch.events.is_empty(), "the last request has ended");
    let mut cx = Context {
        node: &thread.node,
        thread,
        session,
        out,
        view: view(),
        entry,
        now_ms: batch.now_ms,
        clock: batch.clock,
        config: batch.config.clone(),
        effects: &mut batch.effects,
        stream: &mut batch.stream,
        events: &mut batch.events,
        may_block: true,
        needs_all: false,
        replies_later: false,
        ready: &mut batch.ready,
    };
    let reply_at = cx.out.mark();
    let result = work(&mut cx);
    batch.clock = cx.clock;
    // Most that only read have nothing to commit or to tell.
    let is_quiet = cx.view.is_untouched()
        && cx.events.is_empty()
        && cx.effects.is_empty()
        && cx.stream.is_empty();
    if !is_quiet {
        let late = end(&mut cx, reply_at);
        return (result, late);
    }
    if !cx.view.may_write() {
        // It holds no lock, no transaction and no notes: there is nothing to find out by dropping it.
        std::mem::forget(cx.view);
    }
    (result, None)
}

/// How long a thread waits for slots that another one holds before it serves others: a script may hold them for long.
const SLOTS_WAIT_MAX: Duration = Duration::from_millis(10);

/// How long it does not wait for slots at all after it has waited for that long in vain.
const SLOTS_REST: Duration = Duration::from_millis(50);

/// The request is run again soon.
const HELD: Flow = Flow::Paused { wait_ms: 1 };

/// How long a writer lets a slot in transfer be before it looks again.
const TRANSFER_WAIT_MS: u64 = 1;

/// Whether running `entry` now may write: it does by itself, or by a command queued for it.
fn writes(session: &Session, entry: &Entry) -> bool {
    let queued = session
        .multi
        .as_ref()
        .filter(|_| entry.command.name == "exec")
        .is_some_and(|multi| {
            multi
                .queue()
                .iter()
                .map(queued_entry)
                .any(|queued| queued.has(Flags::WRITE) || queued.command.runs_script())
        });
    queued || entry.has(Flags::WRITE) || entry.command.runs_script()
}

/// Runs the second half of a command that replies later, with `slots` locked: the same commit as at
/// the end of its first half, and the notices it leaves are sent. What `change` did is kept even if it fails.
pub(super) fn apply<T>(
    thread: &Thread,
    slots: &[u16],
    change: impl FnOnce(&mut View<'_>, &mut Stream, &mut Vec<Notice>) -> T,
) -> T {
    let worker = &mut thread.worker.borrow_mut();
    apply_on(&thread.node, worker, slots, None, change).0
}

/// The same on a thread of no connection, which has `worker`. What the `author` of the changes has to drop from its own
/// cache is returned: it is told after the reply.
pub(super) fn apply_on<T>(
    node: &Node,
    worker: &mut Worker,
    slots: &[u16],
    author: Option<&ClientInfo>,
    change: impl FnOnce(&mut View<'_>, &mut Stream, &mut Vec<Notice>) -> T,
) -> (T, Vec<Bytes>) {
    let guard = node.keyspace.pin();
    let access = Access::Slots(slots);
    let mut view = node.keyspace.view(worker, &guard, access, unix_ms());
    let (mut stream, mut notices) = (node.stream(), Vec::new());
    let result = change(&mut view, &mut stream, &mut notices);
    node.note_changes(view.dirty());
    let committed = commit(node, &mut view, &mut stream);
    post_ready(node, &committed);
    let told = tell_caches_of(node, author, committed.touched());
    send_all(node, &notices);
    drop(committed);
    (result, told.into_list())
}

/// Removes `key` if its time has come, and tells who wants to know.
pub(super) fn remove_if_expired(
    thread: &Thread,
    worker: &mut Worker,
    guard: &Guard,
    db: u8,
    key: &[u8],
) {
    let node = &*thread.node;
    let slot = [key_slot(key)];
    let access = Access::Slots(&slot);
    let keyspace = &node.keyspace;
    let Some(mut view) = keyspace.try_view(worker, guard, access, unix_ms(), SLOTS_WAIT_MAX) else {
        // Whoever meets it next tries again.
        return;
    };
    // Removing what does not exist removes what is left of it; a full pool can wait.
    if view.find(db, key).is_none() && view.remove(db, key).is_ok() {
        let mut stream = node.stream();
        stream.push_expired(&view, node.config.load().memory.lazyfree_lazy_expire);
        let committed = stream.commit(&mut view);
        post_ready(node, &committed);
        publish_expired(node, Some(&thread.turn), &committed);
    }
}

/// Removes those of these fields of a hash whose time has come, and tells who wants to know.
pub(super) fn remove_lapsed(
    thread: &Thread,
    worker: &mut Worker,
    guard: &Guard,
    (db, key): (u8, &[u8]),
    fields: &[&[u8]],
) {
    let node = &*thread.node;
    let slot = [key_slot(key)];
    let access = Access::Slots(&slot);
    let mut view = node.keyspace.view(worker, guard, access, unix_ms());
    // A full pool can wait.
    if view
        .hash_lapse(db, key, fields)
        .is_ok_and(|removed| removed > 0)
    {
        let mut stream = node.stream();
        stream.push_expired(&view, node.config.load().memory.lazyfree_lazy_expire);
        node.note_changes(view.dirty());
        let committed = commit(node, &mut view, &mut stream);
        post_ready(node, &committed);
        publish_expired(node, Some(&thread.turn), &committed);
    }
}

/// Runs the handler of `entry`, replies its error if it fails, and accounts for it. The view keeps
/// what the handler did only if it succeeded.
pub(super) fn invoke(cx: &mut Context<'_>, entry: &'static Entry, argv: &[&[u8]]) -> Flow {
    let started = cx.clock;
    let mark = cx.out.mark();
    cx.count_uses(entry, argv);
    let savepoint = cx.view.savepoint();
    let events = cx.events.begin(mark);
    let dirty = cx.view.dirty();
    // Without a stream nothing is kept of effects, so they need not be told apart.
    let is_wanted = cx.stream.is_wanted();
    let outer = is_wanted.then(|| std::mem::replace(cx.effects, Effects::new(true)));
    // Under a lock what is read is remembered afterwards: a client is not told of what the command itself has changed
    // (PFCOUNT keeps its count). Without one it must be before, or a change meanwhile would go by unnoticed.
    let caches = cx.session.info.caching.flags().has(CachingFlags::ON);
    if caches && !cx.view.may_write() {
        cx.remember_reads(entry, argv);
    }
    let monitored = cx.node.monitors.any();
    if monitored && shown(entry) == Shown::Before {
        cx.show(argv);
    }
    let outcome = (entry.command.handler)(cx, Args::new(argv, entry.name_words()));
    if cx.needs_all {
        cx.view.rollback_to(savepoint);
        cx.events.rewind(&events);
        *cx.effects = outer.unwrap_or_else(|| Effects::new(false));
        return Flow::Done;
    }
    let counters = &cx.thread.stats.commands[entry.id];
    let flow = outcome.unwrap_or_else(|error| {
        cx.view.rollback_to(savepoint);
        cx.events.rewind(&events);
        *cx.effects = Effects::new(is_wanted);
        cx.out.truncate(mark);
        counters.failed.add(1);
        reply_error(cx.thread, cx.out, &error);
        Flow::Done
    });
    if caches && cx.view.may_write() {
        cx.remember_reads(entry, argv);
    }
    cx.end_events(&events, entry, argv);
    if let Some(outer) = outer {
        let has_changed = cx.view.dirty() != dirty && entry.has(Flags::WRITE);
        cx.flow_effects(argv, has_changed);
        *cx.effects = outer;
        // Whoever runs others has their effects.
        cx.effects.none();
    }
    cx.clock = Moment::now();
    let nanos = cx.clock.nanos_since(started);
    counters.record(nanos);
    if cx.config.monitoring.latency_tracking {
        counters.latencies.record(nanos);
    }
    cx.thread.stats.commands_processed.add(1);
    let is_blocked = matches!(flow, Flow::Blocked(_));
    account_slow(cx, entry, argv, nanos, is_blocked);
    if monitored && shown(entry) == Shown::After {
        cx.show(argv);
    }
    flow
}

/// Runs the queue of a transaction inside the view of EXEC. A command that fails undoes only
/// itself, as in Redis.
pub fn run_queued(cx: &mut Context<'_>, queue: &[Queued]) {
    cx.out.array(queue.len());
    let exec = cx.entry;
    cx.session.in_exec = true;
    if cx.node.cluster.is_some() {
        let slot = |queued: &Queued| keys::routed_slot(queued_entry(queued), &queued.words());
        cx.session.exec_slot = queue.iter().find_map(slot);
    }
    let may_block = std::mem::replace(&mut cx.may_block, false);
    for queued in queue {
        cx.entry = queued_entry(queued);
        let words = queued.words();
        if let Err(denial) = permission::check(&cx.session.user, cx.entry, &words) {
            permission::note_denial(
                cx.node,
                cx.session,
                cx.entry,
                &words,
                denial,
                Place::Transaction,
                cx.now_ms,
            );
            reply_error(cx.thread, cx.out, &permission::refusal_in_exec(denial));
            continue;
        }
        // The secrets of one are at other positions than those of the next.
        cx.session.take_redacted();
        // A command that replies later cannot do so from inside a transaction.
        if let Flow::Later(_) | Flow::Forwarded(_) = invoke(cx, queued_entry(queued), &words) {
            reply_error(
                cx.thread,
                cx.out,
                &CommandError::new("ERR Command not allowed inside a transaction"),
            );
        }
        if cx.entry.has(Flags::ADMIN) {
            // The next one already runs under what CONFIG SET has set.
            cx.config = cx.thread.config();
        }
    }
    cx.session.take_redacted();
    cx.session.in_exec = false;
    cx.may_block = may_block;
    cx.entry = exec;
}
