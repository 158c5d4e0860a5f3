//! Being a primary and being a replica.

use crate::config::directive::topic;
use crate::config::kind::{
    INT_MAX, LONG_MAX, OneOf, PORT, Password, Secret, TEXT, YesNo, choices, int, memory,
};
use crate::config::special::{PrimaryAddress, PrimaryHostPort};

choices! {
    /// Whether a replica reads a full synchronisation straight from the socket.
    pub enum DisklessLoad {
        Disabled = "disabled",
        OnEmptyDb = "on-empty-db",
        SwapDb = "swapdb",
    }
}

choices! {
    /// Whose payloads are checked in full before they are used.
    pub enum SanitizeDump {
        Never = "no",
        Always = "yes",
        /// RESTORE by clients, but not what a primary or a cluster peer sends.
        Clients = "clients",
    }
}

topic! {
    /// Replication from both sides.
    Replication at replication;

    /// The primary to replicate; none makes this node a primary.
    replicaof: Option<PrimaryAddress> = None, "replicaof" | "slaveof", PrimaryHostPort, IMMUTABLE;
    /// Password towards the primary; empty sends none.
    masterauth: Secret = Secret::default(), "masterauth", Password, SENSITIVE;
    /// ACL user towards the primary; empty means the default user.
    masteruser: Secret = Secret::default(), "masteruser", Password, SENSITIVE;
    /// Seconds of silence after which a replication link counts as lost.
    repl_timeout: u32 = 60, "repl-timeout", int(1, INT_MAX);
    /// Seconds between the primary's pings to its replicas.
    repl_ping_replica_period: u32 = 10, "repl-ping-replica-period" | "repl-ping-slave-period", int(1, INT_MAX);
    /// Bytes of the replication backlog, at least 16 KiB.
    repl_backlog_size: u64 = 1 << 20, "repl-backlog-size", memory(1, LONG_MAX);
    /// Seconds without replicas after which the backlog is dropped; 0 never.
    repl_backlog_ttl: u64 = 3600, "repl-backlog-ttl", int(0, LONG_MAX);
    /// Send full synchronisations straight to the sockets of replicas.
    repl_diskless_sync: bool = true, "repl-diskless-sync", YesNo;
    /// Seconds to wait for more replicas before a full synchronisation begins.
    repl_diskless_sync_delay: u32 = 5, "repl-diskless-sync-delay", int(0, INT_MAX);
    /// Replicas that end this wait early; 0 waits in any case.
    repl_diskless_sync_max_replicas: u32 = 0, "repl-diskless-sync-max-replicas", int(0, INT_MAX);
    /// How a replica loads a full synchronisation.
    repl_diskless_load: DisklessLoad = DisklessLoad::Disabled, "repl-diskless-load", OneOf, DENY_LOADING;
    /// Let the kernel delay small packets to replicas.
    repl_disable_tcp_nodelay: bool = false, "repl-disable-tcp-nodelay", YesNo;
    /// Preference as a failover candidate, lower first; 0 is never promoted.
    replica_priority: u32 = 100, "replica-priority" | "slave-priority", int(0, INT_MAX);
    /// Answer reads from old data while the link to the primary is down.
    replica_serve_stale_data: bool = true, "replica-serve-stale-data" | "slave-serve-stale-data", YesNo;
    /// Refuse writes by clients on a replica.
    replica_read_only: bool = true, "replica-read-only" | "slave-read-only", YesNo;
    /// Leave eviction to the primary.
    replica_ignore_maxmemory: bool = true, "replica-ignore-maxmemory" | "slave-ignore-maxmemory", YesNo;
    /// Free the old dataset in the background before a full synchronisation.
    replica_lazy_flush: bool = false, "replica-lazy-flush" | "slave-lazy-flush", YesNo;
    /// Show this replica in ROLE and INFO of the primary.
    replica_announced: bool = true, "replica-announced", YesNo;
    /// Address told to the primary; empty lets it see for itself.
    replica_announce_ip: String = String::new(), "replica-announce-ip" | "slave-announce-ip", TEXT;
    /// Port told to the primary; 0 means the client port.
    replica_announce_port: u16 = 0, "replica-announce-port" | "slave-announce-port", PORT;
    /// Go on replicating when the append-only file cannot be written.
    replica_ignore_disk_write_errors: bool = false, "replica-ignore-disk-write-errors", YesNo;
    /// Replicas that have to be in good standing for writes to be accepted; 0 asks for none.
    min_replicas_to_write: u32 = 0, "min-replicas-to-write" | "min-slaves-to-write", int(0, INT_MAX);
    /// Seconds since its last acknowledgement within which a replica is in good standing.
    min_replicas_max_lag: u32 = 10, "min-replicas-max-lag" | "min-slaves-max-lag", int(0, INT_MAX);
    /// Whose serialized values are checked in full.
    sanitize_dump_payload: SanitizeDump = SanitizeDump::Never, "sanitize-dump-payload", OneOf;
}
