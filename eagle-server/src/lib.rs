//! EagleDB's server: everything between the sockets and the storage engine.
//!
//! Layers, each using only what stands right of it:
//! `main, server, cron -> net -> command -> {cluster, persist, session} -> {config, metrics} -> eagle-core`.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod command;
pub mod config;
mod cron;
mod log;
pub mod metrics;
pub mod net;
pub mod node;
pub mod persist;
mod server;
pub mod session;
pub mod shutdown;

/// The Redis version whose behaviour this server follows, and which it reports to clients.
pub const REDIS_VERSION: &str = "7.0.15";

/// Entry point of the `eagledb` binary.
pub fn main() -> std::process::ExitCode {
    server::run(config::Live::new(config::Config::default()))
}
