//! How many clients there may be, and how much memory each.

use crate::config::directive::topic;
use crate::config::kind::{ByteBound, INT_MAX, LONG_MAX, MemoryOrPercent, int, memory};
use crate::config::special::{OutputLimit, OutputLimits, OutputLimitsByClass};

topic! {
    /// Bounds on clients.
    Clients at clients;

    /// Connections accepted at a time.
    maxclients: u32 = 10_000, "maxclients", int(1, u32::MAX as i128);
    /// Idle seconds after which a client is closed; 0 never does.
    timeout: u32 = 0, "timeout", int(0, INT_MAX);
    /// Bytes of all client buffers together beyond which clients are evicted.
    maxmemory_clients: ByteBound = ByteBound::Bytes(0), "maxmemory-clients", MemoryOrPercent;
    /// Bytes of requests one client may have waiting.
    client_query_buffer_limit: u64 = 1 << 30, "client-query-buffer-limit", memory(1 << 20, LONG_MAX);
    /// Bytes of replies one client may have waiting, by class.
    client_output_buffer_limit: OutputLimits = OutputLimits {
        normal: OutputLimit::new(0, 0, 0),
        replica: OutputLimit::new(256 << 20, 64 << 20, 60),
        pubsub: OutputLimit::new(32 << 20, 8 << 20, 60),
    }, "client-output-buffer-limit", OutputLimitsByClass;
    /// Bytes of the longest argument a request may have.
    proto_max_bulk_len: u64 = 512 << 20, "proto-max-bulk-len", memory(1 << 20, LONG_MAX);
    /// Keys remembered for client-side caching; 0 sets no bound.
    tracking_table_max_keys: u64 = 1_000_000, "tracking-table-max-keys", int(0, LONG_MAX);
}
