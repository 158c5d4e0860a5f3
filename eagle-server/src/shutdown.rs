//! The one way out: who asked the server to end, and everybody who must know.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// How the server should end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShutdownRequest {
    /// End even when closing the pool or saving fails.
    pub force: bool,
    /// Do not wait for replicas that lag behind.
    pub now: bool,
    /// Whether a snapshot is written; by default if there are save points.
    pub save: Option<bool>,
}

#[derive(Default)]
pub struct Shutdown {
    request: Mutex<Option<ShutdownRequest>>,
    /// The server is to end, but could still be told not to.
    is_scheduled: AtomicBool,
    token: CancellationToken,
}

impl Shutdown {
    /// Asks the server to end. The first request stands.
    pub fn begin(&self, request: ShutdownRequest) {
        self.request.lock().get_or_insert(request);
        self.token.cancel();
    }

    /// The server is to end once that can be done.
    pub fn schedule(&self) {
        self.is_scheduled.store(true, Ordering::Relaxed);
    }

    /// Calls off what was scheduled; whether anything was.
    pub fn abort(&self) -> bool {
        self.is_scheduled.swap(false, Ordering::Relaxed)
    }

    pub fn is_scheduled(&self) -> bool {
        self.is_scheduled.load(Ordering::Relaxed)
    }

    /// Completes once the server is to end.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    pub fn request(&self) -> Option<ShutdownRequest> {
        *self.request.lock()
    }
}
