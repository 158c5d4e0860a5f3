//! The commands themselves, one file per family: row, handler and test of each stand together.

use super::spec::Family;

mod acl;
pub(super) mod bitmap;
pub mod client;
mod cluster;
mod command;
mod config;
mod connection;
mod debug;
mod dump;
mod expire;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod info;
mod keyspace;
mod latency;
mod list;
mod long_value;
mod memory;
mod migrate;
mod module;
mod monitor;
mod multi;
mod persistence;
mod pubsub;
mod replication;
pub mod scripting;
mod server;
mod set;
mod slowlog;
mod sort;
mod stream;
mod string;
mod tracking;
mod wait;
mod zset;

/// Every family of this server. A command that is in no family's list does not exist.
pub const FAMILIES: &[&Family] = &[
    &generic::FAMILY,
    &keyspace::FAMILY,
    &expire::FAMILY,
    &string::FAMILY,
    &bitmap::FAMILY,
    &hyperloglog::FAMILY,
    &hash::FAMILY,
    &stream::FAMILY,
    &list::FAMILY,
    &set::FAMILY,
    &sort::FAMILY,
    &zset::FAMILY,
    &geo::FAMILY,
    &dump::FAMILY,
    &migrate::FAMILY,
    &connection::FAMILY,
    &client::FAMILY,
    &acl::FAMILY,
    &config::FAMILY,
    &command::FAMILY,
    &cluster::FAMILY,
    &multi::FAMILY,
    &pubsub::FAMILY,
    &replication::FAMILY,
    &monitor::FAMILY,
    &info::FAMILY,
    &latency::FAMILY,
    &slowlog::FAMILY,
    &memory::FAMILY,
    &module::FAMILY,
    &wait::FAMILY,
    &debug::FAMILY,
    &scripting::FAMILY,
    &persistence::FAMILY,
    &server::FAMILY,
];
