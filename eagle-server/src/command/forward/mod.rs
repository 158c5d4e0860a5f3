//! `cluster-routing proxy`: what becomes of a command whose keys other nodes serve.
//!
//! [`Forwarding`] says what is done with each command; it stands in the command's row. How requests get to other nodes, and
//! why a client still sees its commands in order, stands at the head of [`crate::cluster::proxy`].
//!
//! ```text
//!   call --decision--> forward --Owner, Script--> lane, pipelined       [this file]
//!                        |-------Split----------> part by part          [split]
//!                        |-------Wait, Errand---> a link of its own     [wait]
//!                        |-------WATCH, EXEC----> link, or lane         [transaction]
//!                        |-------Listen---------> the node's relay      [listen]
//! ```
//!
//! Who may do what is decided here, before anything is sent: the other node knows only that this node asks. What that node
//! alone could decide, the calls of a script, is refused for users who may not do everything.

mod listen;
mod split;
mod transaction;
mod wait;

pub(super) use listen::listen;
pub use listen::{follow_slots, serve_relay};
pub(super) use split::split;
pub(super) use transaction::{Ended, exec, queue, watched_elsewhere};
pub use wait::Abroad;
pub(super) use wait::follow;

use super::call::Batch;
use super::context::{Context, Flow};
use super::errors::CommandError;
use super::forwarding::Forwarding;
use super::spec::Flags;
use super::table::Entry;
use crate::cluster::Topology;
use crate::cluster::proxy::{Dialect, NamedScript, Peer, Request, encode};
use crate::cluster::route::{Route, TRY_AGAIN};
use crate::config::Config;
use crate::config::topic::Routing as ConfiguredRouting;
use crate::node::Node;
use crate::session::{CachingFlags, Routing, Session};
use bytes::Bytes;
use eagle_core::resp::Protocol;
use std::time::Duration;
use tokio::time::Instant;

/// Lets the client's earlier requests be answered first.
pub(super) const WAIT: Flow = Flow::Paused {
    wait_ms: WAIT_MILLIS,
};

const WAIT_MILLIS: u64 = 1;

/// Before a command whose keys are half moved is tried again.
const TRY_AGAIN_MILLIS: u64 = 10;

const SHUTTING_DOWN: &[u8] = b"-CLUSTERDOWN the node is shutting down\r\n";

/// Whether the client's commands for other nodes are forwarded.
pub(super) fn is_on(config: &Config, session: &Session) -> bool {
    match session.routing {
        Some(routing) => routing == Routing::Proxy,
        None => config.cluster.cluster_routing == ConfiguredRouting::Proxy,
    }
}

/// Whether a command is answered by this node although another one has its keys: to give up channels, and to be told
/// that WATCH cannot be part of a transaction.
pub(super) fn answers_here(session: &Session, entry: &Entry) -> bool {
    entry.command.forwarding() == Forwarding::Unlisten
        || session.in_multi() && entry.command.name == "watch"
}

/// Where a command that does not run here goes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    host: String,
    port: u16,
    /// The slot is on its way there.
    asking: bool,
}

impl Place {
    /// Where a decision leads; nothing if it leads nowhere, or to a node whose address is not known. Nodes know each
    /// other by IP address whatever clients are told.
    fn of(topology: &Topology, decision: Route) -> Option<Place> {
        let (Route::Moved(_, index) | Route::Ask(_, index)) = decision else {
            return None;
        };
        let (_, port) = topology.endpoint(index, false);
        let host = topology.node(index).ip.as_str();
        (!host.is_empty() && port != 0).then(|| Place {
            host: host.to_owned(),
            port,
            asking: matches!(decision, Route::Ask(..)),
        })
    }

    fn peer(&self) -> Peer<'_> {
        Peer {
            host: &self.host,
            port: self.port,
        }
    }

    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The request as it is to be sent there, and how many answers come before its own.
    fn prefixed(&self, request: &[u8]) -> (Bytes, usize) {
        let asking = if self.asking {
            encode(&[b"ASKING"])
        } else {
            Bytes::new()
        };
        ([&asking, request].concat().into(), usize::from(self.asking))
    }
}

const NO_ADDRESS: CommandError = CommandError::new(
    "CLUSTERDOWN forwarding failed: the address of the slot's owner is not known yet",
);

/// The error for a command that cannot be forwarded, and why.
fn not_forwarded(entry: &Entry, why: &str, place: &Place) -> CommandError {
    CommandError::owned(format!(
        "ERR cluster-routing proxy: '{}' is not forwarded {why}; send it to the node that serves its keys ({})",
        entry.full_name,
        place.name()
    ))
}

/// Why the client, as it is, cannot have this command run elsewhere.
fn objection(session: &Session, entry: &Entry, place: &Place) -> Option<CommandError> {
    let is_script = entry.command.runs_script();
    if is_script && !session.user.is_unrestricted() {
        let why =
            "for a user with restricted permissions, as the script would not be held to them there";
        return Some(not_forwarded(entry, why, place));
    }
    let flags = session.info.caching.flags();
    if flags.has(CachingFlags::ON) && (entry.has(Flags::READONLY) || is_script) {
        let is_tracked = if flags.has(CachingFlags::BCAST) {
            true
        } else if flags.has(CachingFlags::OPTIN) {
            session.caching_said
        } else {
            !(flags.has(CachingFlags::OPTOUT) && session.caching_said)
        };
        if is_tracked {
            let why =
                "while CLIENT TRACKING is on, as this node would not hear that the keys change";
            return Some(not_forwarded(entry, why, place));
        }
    }
    None
}

/// Whether the client waits for a slot whose keys are half moved, instead of being told TRYAGAIN.
pub(super) fn tries_again(batch: &Batch<'_>, session: &Session, decision: Route) -> Option<Flow> {
    let order = &session.order;
    if decision != Route::Refused(TRY_AGAIN) || !is_on(&batch.config, session) {
        order.stop_retrying();
        return None;
    }
    let time_max = Duration::from_millis(batch.config.cluster.cluster_proxy_timeout);
    order.may_retry(time_max).then_some(Flow::Paused {
        wait_ms: TRY_AGAIN_MILLIS,
    })
}

/// Forwards a command that belongs elsewhere, as `to` says; an error if it is not to be forwarded.
pub(super) fn forward(
    batch: &Batch<'_>,
    session: &mut Session,
    protocol: Protocol,
    entry: &'static Entry,
    argv: &[&[u8]],
    (topology, decision): (&Topology, Route),
) -> Result<Flow, CommandError> {
    if let Route::Refused(error) = decision {
        return Err(CommandError::new(error));
    }
    let forwarding = entry.command.forwarding();
    if forwarding == Forwarding::Redirect {
        return Err(super::redirect::refusal(batch.thread, topology, decision));
    }
    let place = Place::of(topology, decision).ok_or(NO_ADDRESS)?;
    if let Some(error) = objection(session, entry, &place) {
        return Err(error);
    }
    match forwarding {
        Forwarding::Transaction => {
            return transaction::watch(batch, session, protocol, argv, place);
        }
        Forwarding::Wait(timeout) => {
            if let Some(at) = wait::timeout_at_word(timeout, argv) {
                let waiting = wait::Waiting::new(batch, session, protocol, entry, argv, at);
                return Ok(wait::begin(batch, session, waiting, place));
            }
        }
        Forwarding::Errand => {
            let waiting = wait::Waiting::errand(batch, session, protocol, entry, argv);
            return Ok(wait::begin(batch, session, waiting, place));
        }
        _ => {}
    }
    let script = named_script(&batch.thread.node, entry, argv);
    let is_read = entry.has(Flags::READONLY);
    let shape = |request: Request| request.script(script);
    let lane = Lane {
        place,
        dialect: dialect(session, protocol),
        version: topology.version(),
    };
    Ok(lane.send(batch, session, encode(argv), is_read, shape))
}

/// The pooled connection a request takes.
struct Lane {
    place: Place,
    dialect: Dialect,
    /// Of the topology that leads there.
    version: u64,
}

impl Lane {
    /// Sends a request, or lets the client wait for room.
    fn send(
        &self,
        batch: &Batch<'_>,
        session: &Session,
        bytes: Bytes,
        is_read: bool,
        shape: impl FnOnce(Request) -> Request,
    ) -> Flow {
        let thread = batch.thread;
        let config = &batch.config.cluster;
        let number = (session.info.id % u64::from(config.cluster_proxy_connections.max(1))) as u32;
        let peer = self.place.peer();
        if !thread.proxy.has_room(peer, self.dialect, number) {
            return WAIT;
        }
        thread.stats.forwards.add(1);
        session.order.begin_command();
        let (request, reply) = Request::new(
            bytes,
            is_read,
            Instant::now() + Duration::from_millis(config.cluster_proxy_timeout),
            self.dialect,
            number,
            session.order.ticket(self.version, self.dialect),
        );
        let request = shape(request).asking(self.place.asking);
        thread.proxy.submit(peer, request);
        Flow::Forwarded(Box::pin(async {
            // Lanes answer everything; only a thread that ends drops requests.
            reply
                .await
                .unwrap_or_else(|_| Bytes::from_static(SHUTTING_DOWN))
        }))
    }
}

/// The script that a command names by its sha1, if this node knows it.
fn named_script(node: &Node, entry: &Entry, argv: &[&[u8]]) -> Option<NamedScript> {
    if !matches!(entry.command.name, "evalsha" | "evalsha_ro") {
        return None;
    }
    let (sha, source) = node.scripts.sources.named(argv.get(1)?)?;
    Some(NamedScript {
        sha,
        load: encode(&[b"SCRIPT", b"LOAD", source.body()]),
    })
}

/// How the client's requests are to be answered.
pub(super) fn dialect(session: &Session, protocol: Protocol) -> Dialect {
    Dialect {
        protocol,
        db: session.db,
    }
}

fn by_ref(words: &[Bytes]) -> Vec<&[u8]> {
    words.iter().map(|word| &word[..]).collect()
}

/// The flow of a command whose reply the client does not want.
pub(super) fn silenced(flow: Flow) -> Flow {
    match flow {
        Flow::Forwarded(reply) => Flow::Forwarded(Box::pin(async {
            reply.await;
            Bytes::new()
        })),
        Flow::Later(reply) => Flow::Later(Box::pin(async {
            reply.await;
            Vec::new()
        })),
        Flow::Blocked(blocked) => Flow::Blocked(Box::new(blocked.silenced())),
        other => other,
    }
}

impl Context<'_> {
    /// Whether the client's commands for other nodes are forwarded.
    pub fn forwards(&self) -> bool {
        self.is_clustered() && is_on(&self.config, self.session)
    }
}
