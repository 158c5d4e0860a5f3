//! The directives by topic. Each file declares the typed fields, their defaults and their rows.

mod clients;
mod cluster;
mod debug;
mod encoding;
mod inert;
mod memory;
mod monitoring;
mod network;
mod persistence;
mod pool;
mod process;
mod replication;
mod security;
mod tls;

pub use clients::Clients;
pub use cluster::{Cluster, EndpointType, Routing};
pub use debug::{Debug, PropagationError};
pub use encoding::Encoding;
pub use inert::Inert;
pub use memory::{EvictionPolicy, Memory};
pub use monitoring::Monitoring;
pub use network::Network;
pub use persistence::{Fsync, Persistence};
pub use pool::{Pool, PoolLog};
pub use process::{LogLevel, OomScoreAdjust, Process, Supervision, SyslogFacility};
pub use replication::{DisklessLoad, Replication, SanitizeDump};
pub use security::{Permission, PubsubDefault, Security};
pub use tls::{ClientCertificates, Tls};

use super::directive::Directive;

/// The rows of every topic.
pub(super) static ALL: &[&[Directive]] = &[
    network::ROWS,
    clients::ROWS,
    tls::ROWS,
    security::ROWS,
    process::ROWS,
    memory::ROWS,
    pool::ROWS,
    persistence::ROWS,
    replication::ROWS,
    cluster::ROWS,
    encoding::ROWS,
    monitoring::ROWS,
    debug::ROWS,
    inert::ROWS,
];
