//! Atomics, fences and spin hints: std's in a normal build, loom's under `--cfg loom`.
//!
//! Code that is model-checked names these types and nothing else, so that the checked code and
//! the shipped code are the same lines.

#[cfg(loom)]
pub use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

#[cfg(not(loom))]
pub use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
