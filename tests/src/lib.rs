//! Harness for the integration tests: real server processes, real clusters, a client that keeps
//! every reply byte for comparison, and writers that remember what was acknowledged.
//!
//! The server under test is the `eagledb` binary ([`binary::eagledb`]). `EAGLEDB_BIN` replaces it:
//! pointing it at `redis-server` proves that a test asks for nothing Redis itself does not do.
#![forbid(unsafe_code)]

pub mod binary;
pub mod client;
pub mod cluster;
pub mod differential;
pub mod history;
pub mod memory;
pub mod monitoring;
pub mod port;
pub mod reply;
pub mod routed;
pub mod server;
pub mod tool;
pub mod wait;

pub use client::Client;
pub use cluster::{Cluster, KEYS_OF_ALL};
pub use history::{Shape, Writer};
pub use reply::Reply;
pub use routed::RoutedClient;
pub use server::{Kind, Launch, Server};
pub use wait::{wait_for, wait_until};
