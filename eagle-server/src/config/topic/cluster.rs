//! Being a node of a cluster.

use crate::config::directive::topic;
use crate::config::kind::{
    INT_MAX, LONG_MAX, OneOf, PORT, SIZE_MAX, TEXT, Text, YesNo, choices, int, memory,
};

choices! {
    /// How nodes are named in redirections and CLUSTER SLOTS.
    pub enum EndpointType {
        Ip = "ip",
        Hostname = "hostname",
        Unknown = "unknown-endpoint",
    }
}

choices! {
    /// What happens to a command whose slot another node serves.
    pub enum Routing {
        /// The client is redirected, as Redis does.
        Redirect = "redirect",
        /// This node forwards the command and hands back the answer.
        Proxy = "proxy",
    }
}

topic! {
    /// Cluster membership, failover and routing.
    Cluster at cluster;

    /// Run as a node of a cluster.
    cluster_enabled: bool = false, "cluster-enabled", YesNo, IMMUTABLE;
    /// File of this node's view of the cluster, in `dir`.
    cluster_config_file: String = "nodes.conf".to_owned(), "cluster-config-file", TEXT, IMMUTABLE;
    /// Milliseconds of silence after which a node is suspected to have failed.
    cluster_node_timeout: u64 = 15_000, "cluster-node-timeout", int(0, LONG_MAX);
    /// Bus port; 0 means the client port plus 10000.
    cluster_port: u16 = 0, "cluster-port", PORT, IMMUTABLE;
    /// Address told to other nodes; empty lets them see for themselves.
    cluster_announce_ip: String = String::new(), "cluster-announce-ip", TEXT;
    /// Host name told to other nodes; empty means none.
    cluster_announce_hostname: String = String::new(),
        "cluster-announce-hostname", Text { check: check_hostname };
    /// Client port told to other nodes; 0 means the one in use.
    cluster_announce_port: u16 = 0, "cluster-announce-port", PORT;
    /// TLS client port told to other nodes; 0 means the one in use.
    cluster_announce_tls_port: u16 = 0, "cluster-announce-tls-port", PORT;
    /// Bus port told to other nodes; 0 means the one in use.
    cluster_announce_bus_port: u16 = 0, "cluster-announce-bus-port", PORT;
    /// How nodes are named to clients.
    cluster_preferred_endpoint_type: EndpointType = EndpointType::Ip,
        "cluster-preferred-endpoint-type", OneOf;
    /// Refuse all commands while any slot is not served.
    cluster_require_full_coverage: bool = true, "cluster-require-full-coverage", YesNo;
    /// Disconnection times of the primary after which a replica does not stand for election; 0 always stands.
    cluster_replica_validity_factor: u32 = 10,
        "cluster-replica-validity-factor" | "cluster-slave-validity-factor", int(0, INT_MAX);
    /// Replicas a primary has to keep before one may migrate to an orphaned primary.
    cluster_migration_barrier: u32 = 1, "cluster-migration-barrier", int(0, INT_MAX);
    /// Let replicas migrate to orphaned primaries.
    cluster_allow_replica_migration: bool = true, "cluster-allow-replica-migration", YesNo;
    /// Never stand for election by itself.
    cluster_replica_no_failover: bool = false,
        "cluster-replica-no-failover" | "cluster-slave-no-failover", YesNo;
    /// Answer reads while the cluster is down.
    cluster_allow_reads_when_down: bool = false, "cluster-allow-reads-when-down", YesNo;
    /// Deliver sharded messages while the cluster is down.
    cluster_allow_pubsubshard_when_down: bool = true, "cluster-allow-pubsubshard-when-down", YesNo;
    /// Bytes waiting on one bus link beyond which it is dropped; 0 sets no bound.
    cluster_link_sendbuf_limit: u64 = 0, "cluster-link-sendbuf-limit", memory(0, SIZE_MAX);
    /// Numbered databases of a cluster node, as Valkey 9 has them; one, as in Redis, is number 0 alone.
    cluster_databases: u32 = 1, "cluster-databases", int(1, 16), IMMUTABLE, OWN;
    /// Count what each slot costs for CLUSTER SLOT-STATS; without, only its keys are known.
    cluster_slot_stats_enabled: bool = false, "cluster-slot-stats-enabled", YesNo, OWN;
    /// What happens to a command whose slot another node serves.
    cluster_routing: Routing = Routing::Redirect, "cluster-routing", OneOf, OWN;
    /// Milliseconds a forwarded command may take.
    cluster_proxy_timeout: u64 = 5000, "cluster-proxy-timeout", int(1, INT_MAX), OWN;
    /// Connections kept open to each other node for forwarded commands, per worker thread.
    cluster_proxy_connections: u32 = 1, "cluster-proxy-connections", int(1, 64), OWN;
    /// Connections to other nodes, over all of them, that serve one client alone while it is blocked or watches keys.
    cluster_proxy_dedicated_connections: u32 = 1000,
        "cluster-proxy-dedicated-connections", int(0, INT_MAX), OWN;
}

fn check_hostname(name: &str) -> Result<(), &'static str> {
    const LENGTH_MAX: usize = 255;
    if name.len() > LENGTH_MAX {
        return Err("Hostnames must be less than 256 characters");
    }
    let is_valid = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    if is_valid {
        Ok(())
    } else {
        Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
    }
}
