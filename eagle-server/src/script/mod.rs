//! Scripts: Lua 5.1 as Redis 7.0 offers it, one interpreter a thread.
//!
//! ```text
//!   shebang    flags in a script's first line          source      sha1 -> script, shared by all threads
//!   sandbox    the globals a script sees               functions   libraries of functions, shared too
//!   library/   cjson, cmsgpack, struct, bit, redis     running     scripts that run too long; killing them
//!   convert    replies to Lua values and back          host        what the server does for a script
//!   engine     an interpreter: compile, run, stop      compiled   what it has compiled
//! ```
//!
//! The interpreter is the stock one. What it leaves open is closed in `sandbox`: tables that scripts share are
//! read-only faces of the real ones, chunks are text, finalisers are not to be had, and functions of the C library
//! that can run for ever or use up the C stack are bounded first.

mod compiled;
mod convert;
mod engine;
mod error;
mod functions;
mod host;
mod library;
mod raise;
mod running;
mod sandbox;
mod shebang;
mod source;

use std::sync::atomic::AtomicBool;

pub use convert::ReplyErrors;
pub use engine::{Engines, Failure, Finished, Given, Returned, Script};
pub use error::ScriptError;
pub use functions::{Function, Libraries, Library, Policy, Registry};
pub use host::{Host, Refusal};
pub use running::{Busy, KillError, Run, Running};
pub use shebang::ScriptFlags;
pub use source::{Sha, Source, Sources, sha_text, sha1_hex};

/// What all threads of a node share of scripting.
#[derive(Default)]
pub struct Shared {
    pub sources: Sources,
    pub functions: Registry,
    pub running: Running,
    /// Scripts may call the commands that are not for scripts, for test suites.
    pub unrestricted: AtomicBool,
    /// Bytes the interpreters of all threads use.
    pub memory: engine::Memory,
}

/// The version scripts are told, as in INFO.
pub const REDIS_VERSION: &str = crate::config::command_line::REDIS_VERSION;
