//! Scripts that run for longer than `busy-reply-threshold`: everybody else is told so, and they can be killed.
//!
//! Redis runs one script at a time and answers nothing meanwhile. Here several may run, each on its own thread, and
//! others are served beside them until one becomes slow. From then on until it ends the node is *busy* as Redis is: most
//! commands are refused.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// A slow script.
pub struct Run {
    /// EVAL and its kin, not FCALL.
    pub is_eval: bool,
    /// sha1 or function name.
    pub name: String,
    pub command: Vec<Vec<u8>>,
    pub started: Instant,
    /// It has called a command that writes.
    pub wrote: AtomicBool,
    killed: AtomicBool,
}

impl Run {
    pub fn new(is_eval: bool, name: &str, argv: &[&[u8]], started: Instant, wrote: bool) -> Run {
        Run {
            is_eval,
            name: name.to_owned(),
            command: argv.iter().map(|word| word.to_vec()).collect(),
            started,
            wrote: wrote.into(),
            killed: false.into(),
        }
    }

    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }
}

/// What kind of script makes the node busy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Busy {
    Script,
    Function,
}

/// Why nothing is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KillError {
    NotBusy,
    Wrote,
    /// What runs is of the other kind.
    Other(Busy),
}

/// The slow scripts of a node.
#[derive(Default)]
pub struct Running {
    /// Length of `slow`, to be looked at for each command.
    count: AtomicUsize,
    slow: Mutex<Vec<Arc<Run>>>,
    /// All scripts end: the server goes down.
    ending: AtomicBool,
}

impl Running {
    /// Whether commands are to be refused.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// The kind of the script that has been slow for longest.
    #[inline]
    pub fn busy(&self) -> Option<Busy> {
        if !self.is_busy() {
            return None;
        }
        self.slowest()
    }

    #[cold]
    fn slowest(&self) -> Option<Busy> {
        self.slow.lock().first().map(|run| kind(run))
    }

    /// The script that has been slow for longest.
    pub fn first(&self) -> Option<Arc<Run>> {
        self.slow.lock().first().cloned()
    }

    /// A script has become slow.
    pub fn enter(&self, run: &Arc<Run>) {
        let mut slow = self.slow.lock();
        slow.push(run.clone());
        self.count.store(slow.len(), Ordering::Relaxed);
    }

    /// A slow script has ended.
    pub fn leave(&self, run: &Arc<Run>) {
        let mut slow = self.slow.lock();
        slow.retain(|other| !Arc::ptr_eq(other, run));
        self.count.store(slow.len(), Ordering::Relaxed);
    }

    /// Kills the slow scripts of a kind that have written nothing.
    pub fn kill(&self, what: Busy) -> Result<(), KillError> {
        let slow = self.slow.lock();
        let mut reason = KillError::NotBusy;
        let mut any = false;
        for run in slow.iter() {
            if run.wrote.load(Ordering::Acquire) {
                reason = KillError::Wrote;
            } else if kind(run) != what {
                reason = KillError::Other(kind(run));
            } else {
                run.killed.store(true, Ordering::Release);
                any = true;
            }
        }
        if any { Ok(()) } else { Err(reason) }
    }

    /// Ends all scripts, whatever they have done: they are undone.
    pub fn end_all(&self) {
        self.ending.store(true, Ordering::Release);
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }
}

fn kind(run: &Run) -> Busy {
    if run.is_eval {
        Busy::Script
    } else {
        Busy::Function
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_of_the_kind_that_wrote_nothing_are_killed() {
        let running = Running::default();
        assert_eq!(running.kill(Busy::Script), Err(KillError::NotBusy));
        let run = |is_eval, wrote| Arc::new(Run::new(is_eval, "x", &[], Instant::now(), wrote));
        let function = run(false, false);
        running.enter(&function);
        assert_eq!(running.busy(), Some(Busy::Function));
        let other = KillError::Other(Busy::Function);
        assert_eq!(running.kill(Busy::Script), Err(other));
        let writer = run(true, true);
        running.enter(&writer);
        assert_eq!(running.kill(Busy::Script), Err(KillError::Wrote));
        assert!(running.kill(Busy::Function).is_ok() && function.is_killed());
        running.leave(&function);
        assert!(running.is_busy() && !writer.is_killed());
        running.leave(&writer);
        assert_eq!(running.busy(), None);
    }
}
