//! DEBUG SLEEP: the whole node stands still for a while, as a server of one thread would.
//!
//! The worker that runs the command sleeps in it. Every other thread that serves clients, nodes of
//! the cluster or the keyspace is told here and blocks: threads with a runtime by a task that
//! blocks its thread ([`Halt::obey`]), which stops all other tasks of that runtime (connections,
//! bus links, heartbeats, timers), and the keyspace thread by asking between two steps
//! ([`Halt::sit_out`]). The pages for monitoring go on.

use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Longest halt. The command's argument is a number of any size.
const HALT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The end of the halt under way, if any.
pub struct Halt {
    until: watch::Sender<Option<Instant>>,
}

impl Default for Halt {
    fn default() -> Halt {
        Halt {
            until: watch::Sender::new(None),
        }
    }
}

impl Halt {
    /// Stops the node for `duration`; the calling thread sleeps here.
    pub fn run(&self, duration: Duration) {
        let until = Instant::now() + duration.min(HALT_MAX);
        self.until.send_replace(Some(until));
        self.sit_out();
    }

    /// Blocks the calling thread until the halt under way is over.
    pub fn sit_out(&self) {
        let until = *self.until.borrow();
        if let Some(left) = until.and_then(|until| until.checked_duration_since(Instant::now())) {
            std::thread::sleep(left);
        }
    }

    /// Blocks the thread of the calling task whenever there is a halt. Never ends.
    pub async fn obey(&self) {
        let mut until = self.until.subscribe();
        while until.changed().await.is_ok() {
            self.sit_out();
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_halt_stops_other_runtimes() {
        let halt = Arc::new(Halt::default());
        let halted = halt.clone();
        let began = Instant::now();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = halted.obey() => unreachable!("obeying never ends"),
                    () = async {
                        tokio::task::yield_now().await;
                        ready.send(()).unwrap();
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    } => Instant::now(),
                }
            })
        });
        is_ready.recv().unwrap();
        halt.run(Duration::from_millis(300));
        let resumed = other.join().unwrap();
        assert!(
            resumed - began >= Duration::from_millis(250),
            "{:?}",
            resumed - began
        );
    }

    #[test]
    fn without_a_halt_nobody_waits() {
        let halt = Halt::default();
        let began = Instant::now();
        halt.sit_out();
        halt.run(Duration::ZERO);
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
