//! Work on large values, off the threads that serve clients.
//!
//! To encode or build a collection of a million elements takes as long as a slow script. A connection's thread that did
//! it would serve nobody else meanwhile; so a thread of its own does, with the key's slot locked, and the reply comes
//! later. Who wants that slot waits, as for any other holder of it; reads without locks go on.

use super::call;
use super::context::Context;
use super::errors::CommandError;
use super::event::Notice;
use crate::node::{Node, Thread};
use crate::propagation::Stream;
use crate::session::{ClientInfo, ReplyMode};
use bytes::Bytes;
use eagle_core::resp::{Protocol, Writer};
use eagle_core::store::{View, Worker};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

/// More would be in each other's way, and in that of the threads that serve clients.
pub const THREADS_MAX: usize = 2;

/// Payloads from this size on are worth a change of thread.
pub const PAYLOAD_BYTES_MIN: usize = 64 << 10;

/// Does `work` on another thread. If the caller goes away meanwhile, it is done all the same. `None` if the server
/// shuts down.
pub(super) async fn run<T: Send + 'static>(
    node: &Arc<Node>,
    work: impl FnOnce(&Arc<Node>, &mut Worker) -> T + Send + 'static,
) -> Option<T> {
    let shared = node.clone();
    let permit = node.bulk_threads.acquire().await.ok()?;
    let task = tokio::task::spawn_blocking(move || {
        let mut worker = shared.keyspace.worker();
        work(&shared, &mut worker)
    });
    let result = task.await;
    drop(permit);
    match result {
        Ok(value) => Some(value),
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}

/// What became of a key, or of its slot, is not known any more: the client is to look again.
pub(super) const SLOT_MOVED: CommandError =
    CommandError::new("TRYAGAIN The slot was changed while the value was being processed");

/// Fails if the slot, which the caller has locked, is no longer of this node. Who is `asking` may use one that is being
/// imported.
pub(super) fn check_slot(node: &Node, slot: u16, asking: bool) -> Result<(), CommandError> {
    let Some(cluster) = &node.cluster else {
        return Ok(());
    };
    let topology = cluster.topology();
    let is_imported = asking && topology.importing_from(slot).is_some();
    if topology.is_mine(slot) || is_imported {
        Ok(())
    } else {
        Err(SLOT_MOVED)
    }
}

/// The client for which something is changed.
pub(super) struct Author {
    client: Arc<ClientInfo>,
    /// It wants no reply, behind which it could be told of anything.
    is_silent: bool,
}

impl Author {
    /// The client of a request.
    pub(super) fn of(cx: &Context<'_>) -> Author {
        Author {
            client: cx.session.info.clone(),
            is_silent: cx.session.reply != ReplyMode::On,
        }
    }
}

/// What became of a change: the reply, and what its author is told behind it.
pub(super) struct Changed {
    reply: Result<&'static [u8], CommandError>,
    stale: Vec<Bytes>,
}

impl From<CommandError> for Changed {
    fn from(error: CommandError) -> Changed {
        Changed {
            reply: Err(error),
            stale: Vec::new(),
        }
    }
}

/// Does `work`, which replies something or fails, with `slots`, ascending and distinct, locked and none of them in transfer;
/// then commits it, as a command is.
pub(super) fn change(
    node: &Node,
    worker: &mut Worker,
    slots: &[u16],
    author: &Author,
    work: impl Fn(&mut View<'_>, &mut Stream, &mut Vec<Notice>) -> Result<&'static [u8], CommandError>,
) -> Changed {
    /// How long a slot in transfer is left alone.
    const TRANSFER_WAIT: Duration = Duration::from_millis(1);
    loop {
        let client = Some(&*author.client);
        let (done, mut stale) =
            call::apply_on(node, worker, slots, client, |view, stream, notices| {
                let may_write = !node.slots_in_transfer.any_of(slots);
                may_write.then(|| work(view, stream, notices))
            });
        let Some(reply) = done else {
            std::thread::sleep(TRANSFER_WAIT);
            continue;
        };
        if author.is_silent {
            for message in stale.drain(..) {
                node.send(&author.client, message);
            }
        }
        return Changed { reply, stale };
    }
}

/// The reply of a command that was done on another thread; none if the server shuts down.
pub(super) fn answer(thread: &Thread, done: Option<Changed>) -> Vec<u8> {
    let Some(Changed { reply, stale }) = done else {
        return Vec::new();
    };
    let mut out = Writer::new(Protocol::Resp2);
    match reply {
        Ok(reply) => out.raw(reply),
        Err(error) => call::reply_error(thread, &mut out, &error),
    }
    stale.iter().for_each(|message| out.raw(message));
    out.take().into()
}

/// `bytes` as a bulk string. They are not copied elsewhere: there may be very many.
pub(super) fn reply(mut bytes: Vec<u8>) -> Vec<u8> {
    let head = format!("${}\r\n", bytes.len());
    bytes.reserve_exact(head.len() + 2);
    bytes.extend_from_slice(b"\r\n");
    bytes.splice(0..0, head.into_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_a_bulk_string() {
        assert_eq!(reply(b"value".to_vec()), b"$5\r\nvalue\r\n");
        assert_eq!(reply(Vec::new()), b"$0\r\n\r\n");
    }
}
