//! What the binary does besides serving: `eagledb cluster ...`, `eagledb pool ...`, system checks.

mod client;
mod cluster;
mod diagnose;
mod manifest;
mod pool;
mod system;

pub use system::{check_system, test_memory};

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Administration of EagleDB nodes and their pools.
#[derive(Parser)]
#[command(name = "eagledb", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Topic,
}

#[derive(Subcommand)]
enum Topic {
    /// Run a cluster on this machine.
    #[command(subcommand)]
    Cluster(cluster::Action),
    /// Look at the pool file of a node that is not running.
    #[command(subcommand)]
    Pool(pool::Action),
}

/// Whether `word`, as the first argument, begins an administrative command instead of naming a
/// configuration file.
pub fn is_subcommand(word: &[u8]) -> bool {
    matches!(word, b"cluster" | b"pool")
}

/// Runs the administrative command in `args`, the program's name included.
pub fn run(args: &[OsString]) -> ExitCode {
    match Cli::parse_from(args).command {
        Topic::Cluster(action) => cluster::run(action),
        Topic::Pool(action) => pool::run(action),
    }
}
