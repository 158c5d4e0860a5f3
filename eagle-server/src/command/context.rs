//! What a handler works with.

use super::blocking::Blocked;
use super::call::reply_error;
use super::effect::Effects;
use super::errors::{self, CommandError};
use super::event::Events;
use super::table::Entry;
use crate::clock::Moment;
use crate::config::Snapshot;
use crate::node::{Node, Thread};
use crate::propagation::Stream;
use crate::repl::Feed;
use crate::session::{ReadyKey, Session};
use bytes::Bytes;
use eagle_core::resp::Writer;
use eagle_core::store::View;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

/// What the connection does after a handler returned. Every command hands one through all layers, so what few need is
/// boxed.
pub enum Flow {
    /// The reply stands in the writer (or there is none to send).
    Done,
    /// The reply arrives later; the connection runs no further command before it is there.
    Later(Pin<Box<dyn Future<Output = Vec<u8>>>>),
    /// The request went to another node; later commands may run, replies keep their order.
    Forwarded(Pin<Box<dyn Future<Output = Bytes>>>),
    /// The client waits for a key; the connection runs no further command before the answer is there.
    Blocked(Box<Blocked>),
    /// The client is a replica from now on; it is sent this.
    Replica(Box<Feed>),
    /// Clients are paused: run the same request again after this long, or when the pause ends.
    Paused { wait_ms: u64 },
}

pub type Outcome = Result<Flow, CommandError>;

/// One command's surroundings. The fields are separate so that a reply can be written from bytes
/// borrowed out of the view.
pub struct Context<'a> {
    pub node: &'a Node,
    pub thread: &'a Rc<Thread>,
    pub session: &'a mut Session,
    /// Receives the reply, in the client's protocol version.
    pub out: &'a mut Writer,
    /// The keyspace as this command (or transaction) sees and changes it.
    pub view: View<'a>,
    /// The command being run.
    pub entry: &'static Entry,
    /// Unix time in milliseconds, the same for everything this command does.
    pub now_ms: u64,
    /// When the previous command ended.
    pub clock: Moment,
    /// The configuration in force.
    pub config: Snapshot,
    /// What replicas and the log run in this command's stead.
    pub effects: &'a mut Effects,
    /// What this request adds to the stream of changes, so far.
    pub stream: &'a mut Stream,
    /// Keyspace events raised so far; they are sent once the view is committed.
    pub events: &'a mut Events,
    /// Whether the client may be made to wait: not within a transaction or a script.
    pub may_block: bool,
    /// The script being run needs slots that others hold: nothing it did is kept, and it runs again with all locked.
    pub needs_all: bool,
    /// The handler has replied nothing yet: its reply comes from a future.
    pub replies_later: bool,
    /// Keys that blocked clients may now be served from, besides those the view has recorded.
    pub ready: &'a mut Vec<ReadyKey>,
}

impl Context<'_> {
    /// Puts the effects of the command that has ended into the stream of changes; itself, if it `has_changed` something
    /// and has not replaced itself.
    pub fn flow_effects(&mut self, argv: &[&[u8]], has_changed: bool) {
        if self.stream.is_wanted() {
            let effects = std::mem::take(self.effects);
            let is_lazy = self.config.memory.lazyfree_lazy_expire;
            self.stream.push_expired(&self.view, is_lazy);
            effects.flow(self.stream, self.session.db, argv, has_changed);
        }
    }

    /// The database the client has selected.
    pub fn db(&self) -> u8 {
        self.session.db
    }

    /// Replies an error and keeps what the handler has done, which returning the error would take back.
    pub fn fail_late(&mut self, error: &CommandError) -> Outcome {
        self.thread.stats.commands[self.entry.id].failed.add(1);
        reply_error(self.thread, self.out, error);
        Ok(Flow::Done)
    }

    pub fn reply_ok(&mut self) -> Outcome {
        self.out.ok();
        Ok(Flow::Done)
    }

    pub fn reply_integer(&mut self, value: i64) -> Outcome {
        self.out.integer(value);
        Ok(Flow::Done)
    }

    pub fn reply_bool(&mut self, value: bool) -> Outcome {
        self.reply_integer(i64::from(value))
    }

    pub fn reply_bulk(&mut self, value: &[u8]) -> Outcome {
        self.out.bulk(value);
        Ok(Flow::Done)
    }

    pub fn reply_null(&mut self) -> Outcome {
        self.out.null();
        Ok(Flow::Done)
    }

    /// Counts a look-up of a read command (INFO `keyspace_hits`, `keyspace_misses`; the event `keymiss`).
    #[inline]
    pub fn note_lookup(&self, found: bool) {
        let stats = &self.thread.stats;
        if !found {
            self.events.miss();
        }
        if found {
            &stats.keyspace_hits
        } else {
            &stats.keyspace_misses
        }
        .add(1);
    }

    /// A database index among the arguments.
    pub fn parse_db(&self, index: i64) -> Result<u8, CommandError> {
        let databases = self.config.databases();
        let db = u8::try_from(index)
            .ok()
            .filter(|db| usize::from(*db) < databases);
        db.ok_or(errors::DB_OUT_OF_RANGE)
    }

    /// Whether this node is part of a cluster.
    pub fn is_clustered(&self) -> bool {
        self.config.cluster.cluster_enabled
    }

    /// Whether this node knows no database but number 0.
    pub fn has_one_database(&self) -> bool {
        self.is_clustered() && !self.config.has_cluster_databases()
    }

    /// A `HELP` reply: the heading, the given lines, and the line on HELP itself.
    pub fn reply_help(&mut self, lines: &[&str]) -> Outcome {
        let container = self
            .entry
            .full_name
            .split('|')
            .next()
            .unwrap_or_default()
            .to_uppercase();
        self.out.array(lines.len() + 3);
        self.out.simple(format!(
            "{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        ));
        for line in lines {
            self.out.simple(line);
        }
        self.out.simple("HELP");
        self.out.simple("    Prints this help.");
        Ok(Flow::Done)
    }
}
