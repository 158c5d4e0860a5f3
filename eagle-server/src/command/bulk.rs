//! Work on large values, off the threads that serve clients.
//!
//! To encode or build a collection of a million elements takes as long as a slow script. A connection's thread that did
//! it would serve nobody else meanwhile; so a thread of its own does, with the key's slot locked, and the reply comes
//! later. Who wants that slot waits, as for any other holder of it; reads without locks go on.

use crate::node::Node;
use eagle_core::store::Worker;
use std::panic::resume_unwind;
use std::sync::Arc;

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
