//! Threads that write keep memory of the pool for their next writes: for each size of block the pages they took the last
//! one from. Each gives it back itself, between two commands, when it is asked here: nobody else may touch it, and a
//! thread that only waits for requests does not think of it.

use tokio::sync::watch;

/// The question, and those who answer it.
pub struct Surrender {
    asked: watch::Sender<()>,
}

impl Default for Surrender {
    fn default() -> Surrender {
        Surrender {
            asked: watch::Sender::new(()),
        }
    }
}

impl Surrender {
    /// Asks all threads.
    pub fn ask(&self) {
        self.asked.send_replace(());
    }

    /// Has the thread of the calling task `give` whenever it is asked. Never ends.
    pub async fn obey(&self, give: impl Fn()) {
        let mut asked = self.asked.subscribe();
        while asked.changed().await.is_ok() {
            give();
        }
        std::future::pending().await
    }
}
