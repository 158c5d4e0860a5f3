//! COPY, RENAME, RENAMENX and MOVE of values that take long: they are done on another thread.
//!
//! To rename a large collection takes no time, since its key refers to it. A long string, or a packed collection, lies in
//! one block with its key and has to be copied.

use crate::command::bulk::{self, Author, Changed};
use crate::command::context::{Context, Flow};
use crate::command::errors::{self, CommandError};
use crate::command::event::Notice;
use crate::config::special::EventClasses;
use crate::node::Node;
use crate::propagation::Stream;
use bytes::Bytes;
use eagle_core::store::{Entry, Kind, View, Worker, key_slot};
use smallvec::SmallVec;

/// Bytes from which on a value that has to be copied is worth a change of thread.
const BYTES_MIN: u64 = 1 << 20;
/// Allocations from which on it is.
const EFFORT_MIN: u64 = 1024;

/// What is done with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// COPY.
    Copy { replace: bool },
    /// RENAME.
    Rename,
    /// RENAMENX.
    RenameNew,
    /// MOVE.
    Move,
}

/// The database and key of a value now, and where it is to be.
pub(super) type Way<'w> = [(u8, &'w [u8]); 2];

/// Whether to move `entry` to another key takes long.
pub(super) fn is_long_to_rename(entry: &Entry<'_>) -> bool {
    entry.bytes() > BYTES_MIN
}

/// Whether to copy `entry`, which is at `key` of the client's database, takes long.
pub(super) fn is_long_to_copy(cx: &Context<'_>, key: &[u8], entry: &Entry<'_>) -> bool {
    if entry.kind() == Kind::String {
        let len = cx.view.string_len(cx.db(), key);
        return len.is_ok_and(|len| len.is_some_and(|len| len > BYTES_MIN));
    }
    is_long_to_rename(entry) || cx.free_effort(key) > EFFORT_MIN
}

/// Does it on another thread.
pub(super) fn later(cx: &mut Context<'_>, argv: &[&[u8]], deed: Deed, way: Way<'_>) -> Flow {
    let thread = cx.thread.clone();
    let words = |argv: &[&[u8]]| {
        argv.iter()
            .map(|word| Bytes::copy_from_slice(word))
            .collect()
    };
    let relocation = Relocation {
        deed,
        way: way.map(|(db, key)| (db, Bytes::copy_from_slice(key))),
        argv: words(argv),
        db: cx.db(),
        asking: cx.session.asking,
        author: Author::of(cx),
    };
    Flow::Later(Box::pin(async move {
        let done = bulk::run(&thread.node, move |node, worker| {
            relocation.run(node, worker)
        });
        bulk::answer(&thread, done.await)
    }))
}

/// Such a command on another thread.
struct Relocation {
    deed: Deed,
    way: [(u8, Bytes); 2],
    argv: Vec<Bytes>,
    /// The client's database.
    db: u8,
    /// The keys may be of a slot that is being imported.
    asking: bool,
    author: Author,
}

impl Relocation {
    fn run(&self, node: &Node, worker: &mut Worker) -> Changed {
        let mut slots = self.way.each_ref().map(|(_, key)| key_slot(key));
        slots.sort_unstable();
        let slots = if slots[0] == slots[1] {
            &slots[..1]
        } else {
            &slots[..]
        };
        bulk::change(
            node,
            worker,
            slots,
            &self.author,
            |view, stream, notices| self.relocate(node, view, stream, notices),
        )
    }

    /// What the command does at last; what its handler has found is looked at again.
    fn relocate(
        &self,
        node: &Node,
        view: &mut View<'_>,
        stream: &mut Stream,
        notices: &mut Vec<Notice>,
    ) -> Result<&'static [u8], CommandError> {
        let [(from_db, from), (to_db, to)] = &self.way;
        let (from_db, to_db) = (*from_db, *to_db);
        bulk::check_slot(node, key_slot(from), self.asking)?;
        if view.find(from_db, from).is_none() {
            return match self.deed {
                // It was removed, or has gone to another node, since the handler found it.
                _ if node.cluster.is_some() => Err(bulk::SLOT_MOVED),
                Deed::Rename | Deed::RenameNew => Err(errors::NO_SUCH_KEY),
                Deed::Copy { .. } | Deed::Move => Ok(b":0\r\n"),
            };
        }
        let replaces = view.find(to_db, to).is_some();
        if replaces && !matches!(self.deed, Deed::Rename | Deed::Copy { replace: true }) {
            return Ok(b":0\r\n");
        }
        match self.deed {
            Deed::Copy { .. } => view.copy(from_db, from, to_db, to)?,
            _ => view.rename(from_db, from, to_db, to)?,
        };
        let config = node.config.load();
        let wanted = config.monitoring.notify_keyspace_events;
        let mut notify = |class, name, (db, key): &(u8, Bytes)| {
            if wanted.publish(class) {
                let (db, key) = (*db, key[..].into());
                notices.push(Notice::Key {
                    db,
                    name,
                    key,
                    wanted,
                });
            }
        };
        let [source, target] = &self.way;
        for (db, key) in view.expired() {
            notify(
                EventClasses::EXPIRED,
                "expired",
                &(*db, Bytes::copy_from_slice(key)),
            );
        }
        notify(EventClasses::NEW_KEY, "new", target);
        match self.deed {
            Deed::Copy { .. } => notify(EventClasses::GENERIC, "copy_to", target),
            Deed::Rename | Deed::RenameNew => {
                notify(EventClasses::GENERIC, "rename_from", source);
                notify(EventClasses::GENERIC, "rename_to", target);
            }
            Deed::Move => {
                notify(EventClasses::GENERIC, "move_from", source);
                notify(EventClasses::GENERIC, "move_to", target);
            }
        }
        stream.push_expired(view, config.memory.lazyfree_lazy_expire);
        let argv: SmallVec<[&[u8]; 8]> = self.argv.iter().map(AsRef::as_ref).collect();
        stream.push(self.db, &argv);
        Ok(match self.deed {
            Deed::Rename => b"+OK\r\n",
            _ => b":1\r\n",
        })
    }
}
