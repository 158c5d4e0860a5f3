//! From configuration and `nodes.conf` to a cluster that runs.

use super::address::{HostName, IpText};
use super::bus::shell;
use super::config_store::ConfigStore;
use super::state::{ClusterState, Config as StateConfig, PreferredEndpoint};
use super::{Cluster, SLOT_COUNT, SlotCleaner, SlotSet, TopologySource};
use crate::clock::unix_ms;
use crate::config::{Config, EndpointType};
use crate::socket;
use eagle_core::store::Keyspace;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

/// Added to the client port for the bus port, unless `cluster-port` is set.
const BUS_PORT_OFFSET: u16 = 10_000;

/// A cluster with what belongs to its running.
pub struct Running {
    pub cluster: Arc<Cluster>,
    source: TopologySource,
    cleaner: JoinHandle<()>,
    listeners: Vec<TcpListener>,
}

/// Reads `nodes.conf` and binds the bus port. To be called inside the runtime that is to run the bus.
pub fn start(config: &Config, keyspace: &Arc<Keyspace>) -> Result<Running, String> {
    let path = Path::new(&config.process.dir).join(&config.cluster.cluster_config_file);
    let (store, saved) = ConfigStore::open(&path).map_err(|error| error.to_string())?;
    let port = bus_port(config)?;
    let backlog = i32::try_from(config.network.tcp_backlog).unwrap_or(i32::MAX);
    let listeners = socket::bind_all(&config.network.bind, port, backlog)
        .map_err(|error| format!("Failed listening on port {port} (cluster), aborting. {error}"))?;
    let mut state = ClusterState::new(
        state_config(config, port),
        saved.as_ref(),
        rand::random(),
        unix_ms(),
    );
    state.adopt_keys(&slots_with_keys(keyspace), unix_ms());
    let id = state.my_id();
    match saved {
        Some(_) => tracing::info!("Node configuration loaded, I'm {id}"),
        None => tracing::info!("No cluster configuration found, I'm {id}"),
    }
    let source = TopologySource::default();
    let (cleaner, thread) = SlotCleaner::start(keyspace.clone(), source.clone())
        .map_err(|error| format!("Can't start a thread: {error}"))?;
    let cluster = Cluster::new(state, store, cleaner, Handle::current());
    source.store(Some(cluster.clone()));
    cluster
        .link_bytes_max
        .store(config.cluster.cluster_link_sendbuf_limit, Ordering::Relaxed);
    Ok(Running {
        cluster,
        source,
        cleaner: thread,
        listeners,
    })
}

impl Running {
    /// Accepts links and ticks, in tasks of the present runtime.
    pub fn spawn(&mut self) {
        for listener in self.listeners.drain(..) {
            tokio::spawn(shell::accept_all(self.cluster.clone(), listener));
        }
        tokio::spawn(shell::tick(self.cluster.clone()));
    }

    /// Ends the threads. The runtime must be gone, and nobody else may hold the cluster.
    pub fn join(self) {
        let Running {
            cluster,
            source,
            cleaner,
            ..
        } = self;
        source.store(None);
        drop((cluster, source));
        let _ = cleaner.join();
    }
}

/// Directives that take effect while the cluster runs.
pub const DIRECTIVES: &[&str] = &[
    "cluster-node-timeout",
    "cluster-require-full-coverage",
    "cluster-replica-no-failover",
    "cluster-replica-validity-factor",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-announce-bus-port",
    "cluster-announce-hostname",
    "cluster-preferred-endpoint-type",
    "cluster-link-sendbuf-limit",
    "repl-ping-replica-period",
];

/// Takes over directives that have changed.
pub fn apply_config(cluster: &Arc<Cluster>, config: &Config) -> Result<(), String> {
    let wanted = state_config(config, bus_port(config)?);
    cluster
        .link_bytes_max
        .store(config.cluster.cluster_link_sendbuf_limit, Ordering::Relaxed);
    cluster.act(|state, now_ms| state.set_config(wanted, now_ms));
    Ok(())
}

fn bus_port(config: &Config) -> Result<u16, String> {
    match config.cluster.cluster_port {
        0 => config.network.port.checked_add(BUS_PORT_OFFSET).ok_or_else(|| {
            "Redis port number too high for cluster mode. Please use a port number that is less than 55536 or set \
             cluster-port."
                .to_owned()
        }),
        port => Ok(port),
    }
}

fn state_config(config: &Config, bus_port: u16) -> StateConfig {
    let cluster = &config.cluster;
    let announced = |port: u16, otherwise: u16| if port == 0 { otherwise } else { port };
    StateConfig {
        node_timeout_ms: cluster.cluster_node_timeout,
        require_full_coverage: cluster.cluster_require_full_coverage,
        // This node cannot hold a copy yet, so it does not follow its slots to their new owner.
        allow_replica_migration: false,
        replica_no_failover: cluster.cluster_replica_no_failover,
        replica_validity_factor: cluster.cluster_replica_validity_factor.into(),
        replica_ping_period_ms: u64::from(config.replication.repl_ping_replica_period) * 1000,
        announce_ip: IpText::parse(cluster.cluster_announce_ip.as_bytes())
            .filter(|ip| !ip.is_empty()),
        port: announced(cluster.cluster_announce_port, config.network.port),
        pport: 0,
        cport: announced(cluster.cluster_announce_bus_port, bus_port),
        host_name: HostName::parse(cluster.cluster_announce_hostname.as_bytes())
            .unwrap_or_default(),
        human_name: Default::default(),
        tls_cluster: false,
        preferred_endpoint: match cluster.cluster_preferred_endpoint_type {
            EndpointType::Ip => PreferredEndpoint::Ip,
            EndpointType::Hostname => PreferredEndpoint::HostName,
            EndpointType::Unknown => PreferredEndpoint::Unknown,
        },
    }
}

fn slots_with_keys(keyspace: &Keyspace) -> SlotSet {
    let mut slots = SlotSet::new();
    for slot in (0..SLOT_COUNT).filter(|slot| keyspace.slot_keys_in_all(*slot) > 0) {
        slots.insert(slot);
    }
    slots
}
