//! The gates a request passes before it runs or is queued, in order.

use super::call::Batch;
use super::context::Flow;
use super::errors::{self, CommandError};
use super::evict::{Evictor, Room};
use super::forward;
use super::permission;
use super::redirect;
use super::replication::lacks_replicas;
use super::script;
use super::spec::Flags;
use super::table::{Entry, Lookup, queued_entry, table};
use crate::cluster::route::Route;
use crate::config::Permission;
use crate::session::{PauseMode, Session};
use eagle_core::resp::Protocol;
use eagle_core::store::Access;
use std::sync::atomic::Ordering;

/// What the gates decided.
pub(super) enum Verdict {
    Pass(&'static Entry),
    Refuse(Option<&'static Entry>, CommandError),
    /// A browser talks to this port, perhaps made to by a web page: nothing more of it may run.
    HangUp,
    /// Clients are paused: try the same request again later.
    Wait(Flow),
}

/// A request as the gates see it.
struct Request<'a> {
    batch: &'a Batch<'a>,
    session: &'a Session,
    entry: &'static Entry,
    argv: &'a [&'a [u8]],
    /// Those of the command, or of the script it runs.
    flags: Flags,
}

/// Order matters: a client learns of the first reason only, and must learn nothing about keys
/// before it is authenticated.
#[inline]
fn pass_gates(request: &Request<'_>) -> Result<(), CommandError> {
    permitted(request)?;
    authenticated(request)?;
    allowed_in_multi(request)?;
    allowed_to_user(request)
}

/// What concerns only commands that run here: a client is sent elsewhere all the same.
#[inline]
fn pass_gates_here(request: &Request<'_>) -> Result<(), CommandError> {
    memory(request)?;
    on_disk(request)?;
    followed(request)?;
    allowed_among_messages(request)?;
    loaded(request)?;
    not_busy(request)?;
    kept_from_data(request)
}

#[inline]
pub(super) fn admit(batch: &Batch<'_>, session: &Session, argv: &[&[u8]]) -> Verdict {
    let entry = match table().lookup(argv) {
        Lookup::Found(entry) => entry,
        Lookup::Unknown if is_http(argv[0]) => return Verdict::HangUp,
        Lookup::Unknown => return Verdict::Refuse(None, errors::unknown_command(argv)),
        Lookup::UnknownSubcommand(entry) => {
            return Verdict::Refuse(
                Some(entry),
                errors::unknown_subcommand(entry.command.name, argv[1]),
            );
        }
    };
    if !entry.command.accepts(argv.len()) {
        return Verdict::Refuse(Some(entry), errors::wrong_arity(&entry.full_name));
    }
    let request = Request {
        batch,
        session,
        entry,
        argv,
        flags: script::effective_flags(&batch.thread.node, entry, argv),
    };
    if let Err(error) = pass_gates(&request) {
        return Verdict::Refuse(Some(entry), error);
    }
    if let Err(error) = pass_gates_here(&request) {
        return match is_elsewhere(&request) {
            true => Verdict::Pass(entry),
            false => Verdict::Refuse(Some(entry), error),
        };
    }
    match pause(&request) {
        Some(flow) => Verdict::Wait(flow),
        None => Verdict::Pass(entry),
    }
}

/// Whether the request is answered by a redirection, or forwarded.
#[cold]
fn is_elsewhere(request: &Request<'_>) -> bool {
    let batch = request.batch;
    let thread = batch.thread;
    let Some(cluster) = &thread.node.cluster else {
        return false;
    };
    if forward::is_on(&batch.config, request.session) && allowed_among_messages(request).is_err() {
        return false;
    }
    // Beside a script on this thread it cannot be known.
    let Ok(mut worker) = thread.worker.try_borrow_mut() else {
        return false;
    };
    let keyspace = &thread.node.keyspace;
    let view = keyspace.view(&mut worker, batch.guard, Access::LockFree, batch.now_ms);
    let Request {
        session,
        entry,
        argv,
        ..
    } = *request;
    redirect::decide(&cluster.topology(), batch, session, entry, argv, &view) != Route::Here
}

/// Commands that could harm the server are refused unless the configuration allows them.
#[inline]
fn permitted(request: &Request<'_>) -> Result<(), CommandError> {
    if request.entry.has(Flags::PROTECTED) {
        permitted_by_configuration(request)
    } else {
        Ok(())
    }
}

#[cold]
fn permitted_by_configuration(request: &Request<'_>) -> Result<(), CommandError> {
    let security = &request.batch.config.security;
    let (name, directive, permission) = match request.entry.command.name {
        "debug" => (
            "DEBUG",
            "enable-debug-command",
            security.enable_debug_command,
        ),
        _ => (
            "MODULE",
            "enable-module-command",
            security.enable_module_command,
        ),
    };
    let allowed = match permission {
        Permission::Everybody => true,
        Permission::Nobody => false,
        Permission::Local => request.session.info.is_local(),
    };
    if allowed {
        return Ok(());
    }
    Err(CommandError::owned(format!(
        "ERR {name} command not allowed. If the {directive} option is set to \"local\", you can run it from a local \
         connection, otherwise you need to set this option in the configuration file, and then restart the server."
    )))
}

/// The first word of an HTTP request with a body, or of its second line.
fn is_http(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
}

#[inline]
fn authenticated(request: &Request<'_>) -> Result<(), CommandError> {
    let open = request.session.authenticated
        || request.entry.has(Flags::NO_AUTH)
        || request.batch.thread.node.acl.default_user().is_open();
    if open { Ok(()) } else { Err(errors::NO_AUTH) }
}

#[inline]
fn allowed_in_multi(request: &Request<'_>) -> Result<(), CommandError> {
    if request.session.in_multi() && request.entry.has(Flags::NO_MULTI) {
        return Err(CommandError::new(
            "ERR Command not allowed inside a transaction",
        ));
    }
    Ok(())
}

/// The rules of the client's user.
#[inline]
fn allowed_to_user(request: &Request<'_>) -> Result<(), CommandError> {
    if request.session.user.is_unrestricted() {
        return Ok(());
    }
    allowed_by_rules(request)
}

#[inline(never)]
fn allowed_by_rules(request: &Request<'_>) -> Result<(), CommandError> {
    let Request {
        batch,
        session,
        entry,
        argv,
        ..
    } = *request;
    let Err(denial) = permission::check(&session.user, entry, argv) else {
        return Ok(());
    };
    let (node, place) = (&batch.thread.node, permission::place_of(session));
    permission::note_denial(node, session, entry, argv, denial, place, batch.now_ms);
    Err(permission::refusal(denial, entry))
}

/// `maxmemory`: makes room, or refuses what needs memory. A full pool is noticed by the write itself.
#[inline]
fn memory(request: &Request<'_>) -> Result<(), CommandError> {
    if request.batch.config.memory.maxmemory == 0 {
        return Ok(());
    }
    memory_within_limit(request)
}

#[inline(never)]
fn memory_within_limit(request: &Request<'_>) -> Result<(), CommandError> {
    let batch = request.batch;
    // Nothing goes of what is just being loaded.
    if batch.thread.node.loading.is_shown() {
        return Ok(());
    }
    let thread = batch.thread;
    // Beside a script on this thread nothing is served that needs memory.
    let Ok(mut worker) = thread.worker.try_borrow_mut() else {
        return Ok(());
    };
    let mut evictor = Evictor {
        node: &thread.node,
        worker: &mut worker,
        candidates: &mut thread.candidates.borrow_mut(),
        turn: Some(&thread.turn),
    };
    let room = evictor.make_room(&batch.config, batch.now_ms);
    if room == Room::None && denies_oom(request) {
        return Err(errors::OUT_OF_MEMORY);
    }
    Ok(())
}

/// Nothing is written while snapshots are asked for and fail: nobody might look at the log.
#[inline]
fn on_disk(request: &Request<'_>) -> Result<(), CommandError> {
    if !request.batch.thread.node.saving.has_failed() {
        return Ok(());
    }
    on_failing_disk(request)
}

#[cold]
fn on_failing_disk(request: &Request<'_>) -> Result<(), CommandError> {
    let batch = request.batch;
    let persistence = &batch.config.persistence;
    let is_asked_for = persistence.stop_writes_on_bgsave_error && !persistence.save.is_empty();
    let name = request.entry.command.name;
    let writes = request.flags.has(Flags::WRITE)
        || name == "ping"
        || (name == "exec" && queue_has(request, Flags::WRITE));
    if is_asked_for && writes {
        return Err(errors::SNAPSHOTS_FAIL);
    }
    Ok(())
}

/// `min-replicas-to-write`: nothing is written that too few would have.
#[inline]
fn followed(request: &Request<'_>) -> Result<(), CommandError> {
    if request.batch.config.replication.min_replicas_to_write == 0 {
        return Ok(());
    }
    followed_by_enough(request)
}

#[inline(never)]
fn followed_by_enough(request: &Request<'_>) -> Result<(), CommandError> {
    let batch = request.batch;
    let writes = request.flags.has(Flags::WRITE)
        || (request.entry.command.name == "exec" && queue_has(request, Flags::WRITE));
    if writes && lacks_replicas(&batch.thread.node, &batch.config) {
        return Err(errors::NO_REPLICAS);
    }
    Ok(())
}

/// A replica is sent what it wants of the data; it is not paused either.
#[inline]
fn kept_from_data(request: &Request<'_>) -> Result<(), CommandError> {
    const OF_DATA: [Flags; 3] = [Flags::WRITE, Flags::READONLY, Flags::MAY_REPLICATE];
    let is_replica = request.session.info.is_replica.load(Ordering::Relaxed);
    if is_replica && OF_DATA.iter().any(|flag| request.flags.has(*flag)) {
        return Err(CommandError::new(
            "ERR Replica can't interact with the keyspace",
        ));
    }
    Ok(())
}

/// What a client of RESP2 may run while it is subscribed: it could not tell other replies from messages.
const AMONG_MESSAGES: &[&str] = &[
    "ping",
    "subscribe",
    "ssubscribe",
    "sunsubscribe",
    "unsubscribe",
    "psubscribe",
    "punsubscribe",
    "quit",
    "reset",
];

#[inline]
fn allowed_among_messages(request: &Request<'_>) -> Result<(), CommandError> {
    let info = &request.session.info;
    if !info.subscriptions.any()
        || info.protocol() == Protocol::Resp3
        || AMONG_MESSAGES.contains(&&*request.entry.full_name)
    {
        return Ok(());
    }
    Err(CommandError::owned(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context",
        request.entry.full_name
    )))
}

/// The dataset is being loaded: nothing is served that needs it.
#[inline]
fn loaded(request: &Request<'_>) -> Result<(), CommandError> {
    if !request.batch.thread.node.loading.is_shown() {
        return Ok(());
    }
    let name = request.entry.command.name;
    let needs_dataset = !request.flags.has(Flags::LOADING)
        || (name == "exec" && queue_lacks(request, Flags::LOADING));
    if needs_dataset {
        return Err(errors::LOADING);
    }
    Ok(())
}

/// A script runs for too long: only what may end it is served.
#[inline]
fn not_busy(request: &Request<'_>) -> Result<(), CommandError> {
    if request.flags.has(Flags::ALLOW_BUSY) {
        return Ok(());
    }
    match request.batch.thread.node.scripts.running.busy() {
        Some(kind) => Err(script::busy(kind)),
        None => Ok(()),
    }
}

/// Whether the request needs memory. So does a queue that grows, of whatever commands.
fn denies_oom(request: &Request<'_>) -> bool {
    match request.entry.command.name {
        "exec" => queue_has(request, Flags::DENYOOM),
        "discard" | "quit" | "reset" => false,
        _ => request.flags.has(Flags::DENYOOM) || request.session.multi.is_some(),
    }
}

/// Whether a queued command, or the script that it runs, has this flag.
fn queue_has(request: &Request<'_>, flag: Flags) -> bool {
    let node = &request.batch.thread.node;
    request.session.multi.as_ref().is_some_and(|multi| {
        multi.queue().iter().any(|queued| {
            script::effective_flags(node, queued_entry(queued), &queued.words()).has(flag)
        })
    })
}

/// Whether a queued command is without this flag.
fn queue_lacks(request: &Request<'_>, flag: Flags) -> bool {
    let multi = request.session.multi.as_ref();
    multi.is_some_and(|multi| {
        let mut queue = multi.queue().iter();
        queue.any(|queued| !queued_entry(queued).has(flag))
    })
}

#[inline]
fn pause(request: &Request<'_>) -> Option<Flow> {
    let batch = request.batch;
    let in_force = batch.thread.node.pause.current(batch.now_ms)?;
    held_by(in_force, request)
}

#[cold]
fn held_by((until_ms, mode): (u64, PauseMode), request: &Request<'_>) -> Option<Flow> {
    let batch = request.batch;
    let entry = request.entry;
    let writes = request.flags.has(Flags::WRITE)
        || request.flags.has(Flags::MAY_REPLICATE)
        || (entry.command.name == "exec"
            && (queue_has(request, Flags::WRITE) || queue_has(request, Flags::MAY_REPLICATE)));
    // A queued command does nothing yet, and CLIENT must get through to end the pause.
    let exempt = (request.session.in_multi() && entry.command.name != "exec")
        || request.session.info.is_replica.load(Ordering::Relaxed)
        || entry.full_name == "client|unpause";
    let held = !exempt && (mode == PauseMode::All || writes);
    held.then(|| Flow::Paused {
        wait_ms: until_ms - batch.now_ms,
    })
}
