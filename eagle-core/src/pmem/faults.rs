//! System calls that fail when a test wants them to. Outside of tests of this crate none does, and nothing is left of
//! this.
//!
//! Everything that the pool asks of the file system passes [`call`] first: creating, naming, sizing, allocating, mapping and
//! syncing. A test counts the calls of what it does, and then lets each of them fail in turn.

/// Passes, or fails as a test has arranged.
#[cfg(not(test))]
#[inline(always)]
pub fn call() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub use plan::{Failure, call, calls, fail};

#[cfg(test)]
mod plan {
    use rustix::io::Errno;
    use std::{cell::Cell, io};

    /// What a test wants.
    #[derive(Debug, Clone, Copy)]
    pub struct Failure {
        /// Number of the call that fails.
        pub at: u32,
        /// Whether all later ones fail too, as on a full disk.
        pub is_lasting: bool,
        /// How it fails.
        pub error: Errno,
    }

    thread_local! {
        static CALLS: Cell<u32> = const { Cell::new(0) };
        static FAILURE: Cell<Option<Failure>> = const { Cell::new(None) };
    }

    /// Passes, or fails as arranged for this thread.
    pub fn call() -> io::Result<()> {
        let number = CALLS.replace(CALLS.get() + 1);
        match FAILURE.get() {
            Some(failure) if failure.at == number || failure.is_lasting && number > failure.at => {
                Err(failure.error.into())
            }
            _ => Ok(()),
        }
    }

    /// Lets calls fail from now on, which are counted from zero; `None`: none.
    pub fn fail(failure: Option<Failure>) {
        CALLS.set(0);
        FAILURE.set(failure);
    }

    /// Calls since [`fail`].
    pub fn calls() -> u32 {
        CALLS.get()
    }
}
