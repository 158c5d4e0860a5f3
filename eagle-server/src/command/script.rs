//! Scripts as commands: what a script may do is decided here, and its calls run on the one path.
//!
//! A script runs inside the view of its EVAL or FCALL, so that others see all of it or nothing, and so does a restart
//! after a crash. Locked are the slots of the keys it declared. A call that needs another slot locks it if nobody else
//! holds it; otherwise the script is undone and begins again with all slots locked. Nobody has seen the first run.

use super::args::Args;
use super::call::{invoke, reply_error};
use super::context::{Context, Flow, Outcome};
use super::errors::CommandError;
use super::keys;
use super::permission;
use super::plan::names_patterns;
use super::redirect;
use super::replication::lacks_replicas;
use super::spec::{Categories, Flags, Scope};
use super::table::{Entry, Lookup, table};
use crate::acl::Place;
use crate::cluster::route::{DOWN, DOWN_READ_ONLY, Route};
use crate::node::Node;
use crate::script::{
    Busy, Failure, Finished, Given, Host, Refusal, Run, ScriptError, ScriptFlags, Source,
};
use crate::tracking::Maker;
use eagle_core::resp::{Protocol, Writer};
use eagle_core::store::KnownKey;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub const BUSY_SCRIPT: CommandError = CommandError::new(
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
);
pub const BUSY_FUNCTION: CommandError = CommandError::new(
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
);

/// The refusal while a script of this kind is slow.
pub fn busy(kind: Busy) -> CommandError {
    match kind {
        Busy::Script => BUSY_SCRIPT,
        Busy::Function => BUSY_FUNCTION,
    }
}

/// The flags of `entry`, and for a command that runs a script those that the script's own amount to. The arguments need
/// not be right.
#[inline]
pub(super) fn effective_flags(node: &Node, entry: &Entry, argv: &[&[u8]]) -> Flags {
    if entry.command.runs_script() && argv.len() >= 2 {
        flags_of_script(node, entry, argv)
    } else {
        entry.command.flags
    }
}

fn flags_of_script(node: &Node, entry: &Entry, argv: &[&[u8]]) -> Flags {
    let flags = entry.command.flags;
    let scripts = &node.scripts;
    let declared = match entry.command.name {
        "eval" | "eval_ro" if argv[1].starts_with(b"#!") => {
            Source::new(argv[1]).ok().map(|source| source.flags)
        }
        "evalsha" | "evalsha_ro" => {
            let named = scripts.sources.named(argv[1]);
            named.map(|(_, source)| source.flags)
        }
        "fcall" | "fcall_ro" => {
            let libraries = scripts.functions.snapshot();
            let library = libraries.with_function(argv[1]);
            library.and_then(|library| library.function(argv[1]).map(|function| function.flags))
        }
        _ => None,
    };
    let Some(declared) = declared.filter(|flags| !flags.has(ScriptFlags::COMPATIBLE)) else {
        return flags;
    };
    let mut flags = flags
        .without(Flags::STALE)
        .without(Flags::DENYOOM)
        .without(Flags::WRITE)
        .without(Flags::MAY_REPLICATE);
    let writes = !declared.has(ScriptFlags::NO_WRITES);
    if writes {
        flags = flags.with(Flags::WRITE);
    }
    if writes && !declared.has(ScriptFlags::ALLOW_OOM) {
        flags = flags.with(Flags::DENYOOM);
    }
    if declared.has(ScriptFlags::ALLOW_STALE) {
        flags = flags.with(Flags::STALE);
    }
    flags
}

/// A script about to run.
pub(super) struct Script<'s> {
    /// sha1 or function name.
    pub(super) name: Cow<'s, str>,
    pub(super) flags: ScriptFlags,
    pub(super) is_eval: bool,
}

/// Keys and arguments behind the number of keys, which is the next word.
pub(super) fn given<'a>(
    args: &mut Args<'a>,
    count: impl FnOnce(&'a [u8]) -> Result<i64, CommandError>,
) -> Result<Given<'a>, CommandError> {
    let count = count(args.word()?)?;
    let rest = args.rest();
    if count > rest.len() as i64 {
        return Err(CommandError::new(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let Ok(count) = usize::try_from(count) else {
        return Err(CommandError::new("ERR Number of keys can't be negative"));
    };
    let (keys, args) = rest.split_at(count);
    Ok(Given { keys, args })
}

/// Runs a script and replies. `run` hands it to an engine.
pub(super) fn execute(
    cx: &mut Context<'_>,
    argv: &[&[u8]],
    script: &Script<'_>,
    run: impl FnOnce(&mut (dyn Host + '_)) -> Result<Finished, ScriptError>,
) -> Outcome {
    let mut read_only = cx.entry.has(Flags::READONLY);
    let out_of_memory = is_out_of_memory(cx);
    prepare(cx, script, read_only, out_of_memory)?;
    let declares = !script.flags.has(ScriptFlags::COMPATIBLE);
    read_only |= declares && script.flags.has(ScriptFlags::NO_WRITES);

    let (db, entry, may_block) = (cx.session.db, cx.entry, cx.may_block);
    let stream = cx.stream.mark();
    let mut host = ScriptHost {
        out_of_memory: out_of_memory && !(declares && script.flags.has(ScriptFlags::ALLOW_OOM)),
        cross_slot: !declares || script.flags.has(ScriptFlags::ALLOW_CROSS_SLOT),
        slot: match &cx.node.cluster {
            Some(_) if cx.session.in_exec => cx.session.exec_slot,
            Some(_) => first_slot(entry, argv),
            None => None,
        },
        read_only,
        script,
        argv,
        scratch: Writer::new(Protocol::Resp2),
        wrote: false,
        replication: REPLICATION_ALL,
        started: Instant::now(),
        served: Instant::now(),
        run: None,
        rollback: false,
        entry,
        cx,
    };
    let finished = run(&mut host);
    let ScriptHost {
        scratch,
        run,
        rollback,
        slot,
        cx,
        ..
    } = host;
    cx.session.exec_slot = slot;
    if let Some(run) = run {
        cx.node.scripts.running.leave(&run);
        cx.thread.stuck.store(false, Ordering::Release);
    }
    if cx.session.db != db {
        cx.session.select(db);
    }
    cx.entry = entry;
    cx.may_block = may_block;
    cx.session.in_script = false;
    if rollback || cx.needs_all {
        cx.stream.rewind(&stream);
    }
    if rollback {
        return Err(CommandError::new("ERR The server is going down"));
    }
    let finished = finished?;
    if cx.needs_all {
        return Ok(Flow::Done);
    }
    let errors = match finished {
        Finished::Returned(returned) => returned.write(cx.out, scratch.protocol()),
        Finished::Failed(Failure { text, counted }) => {
            cx.out.error(&text);
            vec![(text, counted)]
        }
    };
    if !errors.is_empty() {
        cx.thread.stats.commands[entry.id].failed.add(1);
    }
    for (text, counted) in errors {
        if !counted {
            note_error(cx, &CommandError::quoting(&[&text]));
        }
    }
    Ok(Flow::Done)
}

fn note_error(cx: &Context<'_>, error: &CommandError) {
    cx.thread.stats.error_replies.add(1);
    cx.node.errors.record(error.code());
}

/// Whether the data is larger than `maxmemory` although the gate has made room.
fn is_out_of_memory(cx: &Context<'_>) -> bool {
    let max = cx.config.memory.maxmemory;
    max != 0 && cx.node.bounded_bytes() > max
}

/// The slot of the keys a script declared.
fn first_slot(entry: &Entry, argv: &[&[u8]]) -> Option<u16> {
    keys::slots(&keys::find(entry, argv), argv).first().copied()
}

/// Whether the script may run at all.
fn prepare(
    cx: &Context<'_>,
    script: &Script<'_>,
    read_only: bool,
    out_of_memory: bool,
) -> Result<(), CommandError> {
    let flags = script.flags;
    if flags.has(ScriptFlags::COMPATIBLE) {
        return Ok(());
    }
    if flags.has(ScriptFlags::NO_CLUSTER) && cx.is_clustered() {
        return Err(CommandError::new(
            "ERR Can not run script on cluster, 'no-cluster' flag is set.",
        ));
    }
    if flags.has(ScriptFlags::NO_WRITES) {
        return Ok(());
    }
    if read_only {
        return Err(CommandError::new(
            "ERR Can not execute a script with write flag using *_ro command.",
        ));
    }
    if out_of_memory && !flags.has(ScriptFlags::ALLOW_OOM) {
        return Err(CommandError::new(
            "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
        ));
    }
    Ok(())
}

/// The append-only file and replicas read one stream: what goes to replicas goes to it.
const REPLICATION_REPLICA: u8 = 2;
const REPLICATION_ALL: u8 = 3;

/// How often others are served on the thread of a slow script.
const SERVE_EVERY: Duration = Duration::from_millis(10);

/// How long a script inside a transaction waits for a slot it did not declare.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(1);

/// The server as a running script sees it.
struct ScriptHost<'h, 'x> {
    cx: &'h mut Context<'x>,
    /// The command that runs the script.
    entry: &'static Entry,
    script: &'h Script<'h>,
    argv: &'h [&'h [u8]],
    read_only: bool,
    out_of_memory: bool,
    /// In a cluster: the script may touch several slots.
    cross_slot: bool,
    /// In a cluster: the slot of the keys so far.
    slot: Option<u16>,
    /// Takes the replies of its calls, in the script's protocol.
    scratch: Writer,
    /// It has called a command that writes.
    wrote: bool,
    /// Where effects go.
    replication: u8,
    started: Instant,
    /// When others were last served on this thread.
    served: Instant,
    /// Once it is slow.
    run: Option<Arc<Run>>,
    /// It ends because the server does: nothing it did is kept.
    rollback: bool,
}

fn told<T>(text: impl Into<Vec<u8>>) -> Result<T, Refusal> {
    Err(Refusal::Told(text.into()))
}

/// An error of a command as the script is told it.
fn told_error<T>(error: &CommandError) -> Result<T, Refusal> {
    told([b"-", error.as_bytes()].concat())
}

impl<'x> ScriptHost<'_, 'x> {
    /// Whether the script may call this command, apart from where its keys are.
    fn admit(
        &mut self,
        argv: &[&[u8]],
    ) -> Result<&'static Entry, (Option<&'static Entry>, Refusal)> {
        let refuse = |entry, text: &str| Err((entry, Refusal::Told(text.as_bytes().to_vec())));
        let Lookup::Found(entry) = table().lookup(argv) else {
            return refuse(None, "Unknown Redis command called from script");
        };
        let some = Some(entry);
        if !entry.command.accepts(argv.len()) {
            return refuse(
                some,
                "Wrong number of args calling Redis command from script",
            );
        }
        let scripts = &self.cx.node.scripts;
        if entry.has(Flags::NOSCRIPT) && !scripts.unrestricted.load(Ordering::Relaxed) {
            return refuse(some, "This Redis command is not allowed from script");
        }
        let cx = &mut *self.cx;
        if let Err(denial) = permission::check(&cx.session.user, entry, argv) {
            let place = Place::Script;
            permission::note_denial(cx.node, cx.session, entry, argv, denial, place, cx.now_ms);
            let reason = permission::script_reason(denial);
            return refuse(some, &format!("The user executing the script {reason}"));
        }
        if self.read_only && (entry.has(Flags::WRITE) || entry.has(Flags::MAY_REPLICATE)) {
            return refuse(
                some,
                "Write commands are not allowed from read-only scripts.",
            );
        }
        if entry.has(Flags::WRITE) && lacks_replicas(cx.node, &cx.config) {
            let error = told_error::<()>(&super::errors::NO_REPLICAS);
            return Err((some, error.unwrap_err()));
        }
        if self.out_of_memory && !self.wrote && entry.has(Flags::DENYOOM) {
            let error = told_error::<()>(&super::errors::OUT_OF_MEMORY);
            return Err((some, error.unwrap_err()));
        }
        Ok(entry)
    }

    /// In a cluster: whether the keys are here.
    fn route(&self, entry: &'static Entry, argv: &[&[u8]]) -> Result<(), Refusal> {
        let Some(cluster) = &self.cx.node.cluster else {
            return Ok(());
        };
        let topology = cluster.topology();
        match redirect::decide_call(&topology, self.cx, entry, argv) {
            Route::Here => {}
            Route::Refused(DOWN_READ_ONLY) => {
                return told(
                    "Script attempted to execute a write command while the cluster is down and readonly",
                );
            }
            Route::Refused(DOWN) => {
                return told("Script attempted to execute a command while the cluster is down");
            }
            _ => return told("Script attempted to access a non local key in a cluster node"),
        }
        Ok(())
    }

    /// In a cluster: whether the keys, all of one slot, are in the one that the script is at.
    fn stay(&mut self, entry: &'static Entry, argv: &[&[u8]]) -> Result<(), Refusal> {
        if self.cx.node.cluster.is_none() || self.cross_slot {
            return Ok(());
        }
        match keys::routed_slot(entry, argv) {
            Some(slot) if *self.slot.get_or_insert(slot) != slot => {
                told("Script attempted to access keys that do not hash to the same slot")
            }
            _ => Ok(()),
        }
    }

    /// Whether a routing that needs to know which keys are here could look at all of them.
    fn covers_routed(&self, entry: &'static Entry, argv: &[&[u8]]) -> bool {
        self.cx.node.cluster.is_none()
            || keys::slots(&keys::find_routed(entry, argv), argv)
                .into_iter()
                .all(|slot| self.cx.view.covers(slot))
    }

    /// The only key of a call and its place, if it is the only key of the script: then its slot and hash are known.
    fn known(&self, entry: &'static Entry, argv: &[&[u8]]) -> Option<(usize, KnownKey<'x>)> {
        let place = entry.only_key?;
        let known = self.cx.view.known()?;
        (*argv.get(place)? == known.key()).then_some((place, known))
    }

    /// Locks what the command needs besides what is locked already. `known` is its only key.
    fn lock(
        &mut self,
        entry: &'static Entry,
        argv: &[&[u8]],
        known: Option<KnownKey<'_>>,
    ) -> Result<(), Refusal> {
        let keyless_read = known.is_none()
            && entry.has(Flags::READONLY)
            && !entry.command.family.has(Categories::CONNECTION)
            && keys::find(entry, argv).is_empty();
        let names_patterns = entry.command.scope == Scope::Patterns && names_patterns(argv);
        let needs_all = entry.command.scope == Scope::All
            || names_patterns
            || keyless_read
            || entry.has(Flags::TOUCHES_ARBITRARY_KEYS);
        let covered = if needs_all {
            self.extend(None)
        } else if let Some(key) = known {
            self.extend(Some(key.slot()))
        } else {
            let slots = keys::slots(&keys::find(entry, argv), argv);
            slots.into_iter().all(|slot| self.extend(Some(slot)))
        };
        if covered {
            return Ok(());
        }
        if self.cx.session.in_exec {
            return told("-TRYAGAIN Another client holds a key that the script did not declare");
        }
        self.cx.needs_all = true;
        Err(Refusal::Stop)
    }

    fn extend(&mut self, slot: Option<u16>) -> bool {
        if slot.is_some_and(|slot| self.cx.view.covers(slot)) || self.cx.view.try_extend(slot) {
            return true;
        }
        if !self.cx.session.in_exec {
            return false;
        }
        // A transaction does not begin again. Waiting a while cannot deadlock.
        let until = Instant::now() + SLOT_WAIT_MAX;
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
            if self.cx.view.try_extend(slot) {
                return true;
            }
        }
        false
    }

    /// Counts a call that did not run, as the client's own would be.
    fn refused(&self, entry: Option<&'static Entry>, refusal: &Refusal) {
        let Refusal::Told(text) = refusal else {
            return;
        };
        if let Some(entry) = entry {
            self.cx.thread.stats.commands[entry.id].rejected.add(1);
        }
        let error = match text.strip_prefix(b"-") {
            Some(error) => CommandError::quoting(&[error]),
            None => CommandError::quoting(&[b"ERR ", text]),
        };
        note_error(self.cx, &error);
    }

    fn run(&mut self, entry: &'static Entry, argv: &[&[u8]], reply: &mut Vec<u8>) {
        std::mem::swap(self.cx.out, &mut self.scratch);
        self.cx.entry = entry;
        self.cx.may_block = false;
        self.cx.session.in_script = true;
        let events = self.cx.events.len();
        let stream = self.cx.stream.mark();
        // Whatever a script reads, its client is told of changes of the keys it declared: afterwards where a lock is held, as
        // for commands outside of scripts.
        let (reads, is_locked) = (entry.has(Flags::READONLY), self.cx.view.may_write());
        if reads && !is_locked {
            self.cx.remember_keys(self.entry, self.argv);
        }
        let before = self.cx.view.touched().len();
        let outer = self.cx.session.take_redacted();
        let flow = invoke(self.cx, entry, argv);
        self.cx.session.take_redacted();
        self.cx.session.put_redacted(outer);
        if reads && is_locked {
            self.cx.remember_keys(self.entry, self.argv);
        }
        let changes = before..self.cx.view.touched().len();
        self.cx.events.note_maker(changes, Maker::None);
        self.cx.session.in_script = false;
        if let Flow::Later(_) | Flow::Forwarded(_) = flow {
            let text = "ERR This Redis command is not allowed from script";
            self.cx.out.clear();
            reply_error(self.cx.thread, self.cx.out, &CommandError::new(text));
        }
        if self.replication & REPLICATION_REPLICA == 0 {
            self.cx.stream.rewind(&stream);
        }
        std::mem::swap(self.cx.out, &mut self.scratch);
        self.cx.events.put_before_reply(events);
        self.scratch.move_to(reply);
    }

    /// The script has run for too long: others are told, and it can be killed.
    fn become_slow(&mut self, elapsed: Duration) {
        let (name, is_eval) = (&*self.script.name, self.script.is_eval);
        let command = if is_eval {
            "SCRIPT KILL"
        } else {
            "FUNCTION KILL"
        };
        tracing::warn!(
            "Slow script detected: still in execution after {} milliseconds. You can try killing the script using the \
             {command} command. Script name is: {name}.",
            elapsed.as_millis()
        );
        let run = Run::new(is_eval, name, self.argv, self.started, self.wrote);
        let run = Arc::new(run);
        self.cx.node.scripts.running.enter(&run);
        self.run = Some(run);
        self.cx.thread.stuck.store(true, Ordering::Release);
    }
}

impl Host for ScriptHost<'_, '_> {
    fn call(&mut self, argv: &[&[u8]], reply: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.cx.needs_all {
            return Err(Refusal::Stop);
        }
        let entry = match self.admit(argv) {
            Ok(entry) => entry,
            Err((entry, refusal)) => {
                self.refused(entry, &refusal);
                return Err(refusal);
            }
        };
        if entry.has(Flags::WRITE) {
            self.wrote = true;
            if let Some(run) = &self.run {
                run.wrote.store(true, Ordering::Release);
            }
        }
        let known = self.known(entry, argv);
        let ready = self.route(entry, argv).and_then(|()| {
            let could_look = self.covers_routed(entry, argv);
            self.lock(entry, argv, known.map(|(_, key)| key))?;
            // A key that the script did not declare may be missing in a slot that is being moved.
            match could_look {
                true => Ok(()),
                false => self.route(entry, argv),
            }
        });
        let ready = ready.and_then(|()| self.stay(entry, argv));
        if let Err(refusal) = ready {
            self.refused(Some(entry), &refusal);
            return Err(refusal);
        }
        match known {
            None => self.run(entry, argv, reply),
            Some((place, known)) => {
                // The request's slice of the same bytes, by which the view recognises the key.
                let mut words: SmallVec<[&[u8]; 6]> = SmallVec::from_slice(argv);
                words[place] = known.key();
                self.run(entry, &words, reply);
            }
        }
        Ok(())
    }

    fn set_protocol(&mut self, protocol: Protocol) {
        self.scratch.set_protocol(protocol);
    }

    fn set_replication(&mut self, flags: u8) {
        self.replication = flags;
    }

    fn may_run(&self, argv: &[&[u8]]) -> Option<bool> {
        let Lookup::Found(entry) = table().lookup(argv) else {
            return None;
        };
        Some(permission::check(&self.cx.session.user, entry, argv).is_ok())
    }

    fn interrupt(&mut self) -> Option<Vec<u8>> {
        let running = &self.cx.node.scripts.running;
        if running.is_ending() {
            self.rollback = true;
            return Some(b"ERR The server is going down".to_vec());
        }
        if let Some(run) = &self.run {
            if run.is_killed() {
                tracing::warn!("Lua script killed by user with SCRIPT KILL.");
                return Some(b"ERR Script killed by user with SCRIPT KILL...".to_vec());
            }
            if self.served.elapsed() >= SERVE_EVERY {
                self.cx.thread.serve_parked();
                self.served = Instant::now();
            }
            return None;
        }
        let elapsed = self.started.elapsed();
        let threshold = self.cx.node.config.load().process.busy_reply_threshold;
        if threshold > 0 && elapsed >= Duration::from_millis(threshold) {
            self.become_slow(elapsed);
        }
        None
    }
}
