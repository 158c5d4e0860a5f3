//! System calls that fail when a test wants them to. Outside of tests of this crate none does, and nothing is left of this.

use std::io;

/// What is asked of the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Create,
    Write,
    Mode,
    Sync,
    Rename,
    SyncFolder,
}

#[cfg(test)]
pub use plan::{Failure, calls, fail};
pub use plan::{is_killed, pass, pass_bytes};

#[cfg(not(test))]
mod plan {
    use super::{Call, io};

    /// Passes.
    #[inline(always)]
    pub fn pass(_: Call) -> io::Result<()> {
        Ok(())
    }

    /// Passes so many of `len` bytes that are to be written.
    #[inline(always)]
    pub fn pass_bytes(len: usize) -> io::Result<usize> {
        pass(Call::Write)?;
        Ok(len)
    }

    /// Whether the process is, to all intents and purposes, gone.
    #[inline(always)]
    pub fn is_killed() -> bool {
        false
    }
}

#[cfg(test)]
mod plan {
    use super::{Call, io};
    use std::cell::{Cell, RefCell};

    /// How a call fails.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Failure {
        /// With this error, and with it all later calls that take space.
        Error(rustix::io::Errno),
        /// A write takes a part of its bytes only, and nothing fails.
        Short,
        /// The process is killed: of a write the first half is done, and nothing at all afterwards.
        Killed,
    }

    thread_local! {
        static CALLS: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
        static FAILURE: Cell<Option<(usize, Failure)>> = const { Cell::new(None) };
    }

    /// Notes a call; how it is to fail.
    fn next(call: Call) -> Option<Failure> {
        let number = CALLS.with_borrow_mut(|calls| {
            calls.push(call);
            calls.len() - 1
        });
        let (at, failure) = FAILURE.get()?;
        let fails = match failure {
            Failure::Error(error) => {
                number == at
                    || number > at && error == rustix::io::Errno::NOSPC && takes_space(call)
            }
            Failure::Short => number == at,
            Failure::Killed => number >= at,
        };
        fails.then_some(failure)
    }

    fn takes_space(call: Call) -> bool {
        matches!(call, Call::Create | Call::Write | Call::Sync)
    }

    /// Passes, or fails as arranged for this thread.
    pub fn pass(call: Call) -> io::Result<()> {
        match next(call) {
            None | Some(Failure::Short) => Ok(()),
            Some(Failure::Error(error)) => Err(error.into()),
            Some(Failure::Killed) => Err(io::Error::other("killed")),
        }
    }

    /// Passes so many of `len` bytes that are to be written.
    pub fn pass_bytes(len: usize) -> io::Result<usize> {
        let is_first = || FAILURE.get().is_some_and(|(at, _)| calls().len() == at + 1);
        match next(Call::Write) {
            None => Ok(len),
            Some(Failure::Short) => Ok(len.div_ceil(2)),
            Some(Failure::Killed) if is_first() && len > 1 => Ok(len / 2),
            Some(Failure::Killed) => Err(io::Error::other("killed")),
            Some(Failure::Error(error)) => Err(error.into()),
        }
    }

    /// Whether the process is, to all intents and purposes, gone.
    pub fn is_killed() -> bool {
        FAILURE
            .get()
            .is_some_and(|(at, failure)| failure == Failure::Killed && calls().len() > at)
    }

    /// Lets the call of this number fail from now on, counted from zero; `None`: none.
    pub fn fail(failure: Option<(usize, Failure)>) {
        CALLS.with_borrow_mut(Vec::clear);
        FAILURE.set(failure);
    }

    /// Calls since [`fail`].
    pub fn calls() -> Vec<Call> {
        CALLS.with_borrow(Vec::clone)
    }
}
