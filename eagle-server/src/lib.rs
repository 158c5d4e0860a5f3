//! EagleDB's server: everything between the sockets and the storage engine.
//!
//! Layers, each using only what stands right of it:
//! `main, server, cron -> net -> command -> {cluster, persist, session, acl} -> {config, metrics} -> eagle-core`.

#![forbid(unsafe_code)]

pub mod acl;
mod admin;
mod clock;
pub mod cluster;
pub mod command;
pub mod config;
mod cron;
mod defrag;
mod eviction;
mod exposition;
mod halt;
mod log;
pub mod metrics;
pub mod net;
pub mod node;
mod oom_score;
mod opening;
pub mod persist;
mod propagation;
pub mod pubsub;
mod reconfigure;
#[cfg(test)]
mod reference;
pub mod repl;
pub mod script;
mod server;
pub mod session;
pub mod shutdown;
mod socket;
mod startup;
mod surrender;
pub mod tracking;
mod whole_file;

pub use startup::main;
