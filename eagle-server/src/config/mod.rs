//! The configuration: directives of redis.conf and of EagleDB itself, as typed values.
//!
//! `directive` is the table, `topic/` its rows and the typed structs, `kind` and `special` the
//! grammars of values. `file` and `command_line` read a configuration at start-up, `live` holds it
//! while the server runs, `rewrite` writes it back.

pub mod command_line;
pub mod directive;
pub mod file;
pub mod kind;
pub mod live;
pub mod rewrite;
pub mod special;
pub mod topic;

#[cfg(test)]
mod conformance;

use eagle_core::store::DATABASES_MAX;
pub use kind::{ByteBound, Choice, Reject, Secret};
pub use live::{Caller, Change, Live, Local, Refusal, SetError, Snapshot};
pub use special::{EventClasses, OutputLimit, OutputLimits, SavePoint, SignalShutdown};
pub use topic::{
    ClientCertificates, EndpointType, EvictionPolicy, Fsync, LogLevel, Permission, Routing,
};

/// All values in force, by topic. A field bears the name of its directive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    pub network: topic::Network,
    pub clients: topic::Clients,
    pub tls: topic::Tls,
    pub security: topic::Security,
    pub process: topic::Process,
    pub memory: topic::Memory,
    pub pool: topic::Pool,
    pub persistence: topic::Persistence,
    pub replication: topic::Replication,
    pub cluster: topic::Cluster,
    pub encoding: topic::Encoding,
    pub monitoring: topic::Monitoring,
    pub debug: topic::Debug,
    pub inert: topic::Inert,
}

impl Config {
    /// The defaults of a server started in the directory `dir`.
    pub fn started_in(dir: &str) -> Config {
        let mut config = Config::default();
        dir.clone_into(&mut config.process.dir);
        config
    }

    /// Whether a cluster node has more databases than number 0.
    pub fn has_cluster_databases(&self) -> bool {
        self.cluster.cluster_enabled && self.cluster.cluster_databases > 1
    }

    /// How many databases there are, by `databases` or, for a cluster node that has several, `cluster-databases`.
    pub fn databases(&self) -> usize {
        let databases = if self.has_cluster_databases() {
            self.cluster.cluster_databases
        } else {
            self.process.databases
        };
        (databases as usize).min(DATABASES_MAX)
    }

    /// What all clients together may hold; `None` if nothing bounds it and it need not be counted.
    pub fn client_bytes_max(&self) -> Option<u64> {
        let maxmemory = self.memory.maxmemory;
        let bound = self.clients.maxmemory_clients.bytes(maxmemory);
        bound.or_else(|| (maxmemory != 0).then_some(u64::MAX))
    }

    /// Moves values that are accepted out of bounds into them, as Redis does.
    pub fn settle(&mut self) {
        const BACKLOG_BYTES_MIN: u64 = 16 << 10;
        self.process.hz = self.process.hz.clamp(1, 500);
        let backlog = &mut self.replication.repl_backlog_size;
        *backlog = (*backlog).max(BACKLOG_BYTES_MIN);
    }
}
