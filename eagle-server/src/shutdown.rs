//! The one way out: who asked the server to end, and everybody who must know.

use parking_lot::Mutex;
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
    token: CancellationToken,
}

impl Shutdown {
    /// Asks the server to end. The first request stands.
    pub fn begin(&self, request: ShutdownRequest) {
        self.request.lock().get_or_insert(request);
        self.token.cancel();
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
