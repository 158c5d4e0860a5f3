//! Up to which size collections stay packed.

use crate::config::directive::topic;
use crate::config::kind::{INT_MAX, INT_MIN, LONG_MAX, int, memory};

topic! {
    /// Bounds of the packed encodings.
    Encoding at encoding;

    /// Fields of a packed hash.
    hash_max_listpack_entries: u64 = 512,
        "hash-max-listpack-entries" | "hash-max-ziplist-entries", int(0, LONG_MAX);
    /// Bytes of a field or value in a packed hash.
    hash_max_listpack_value: u64 = 64,
        "hash-max-listpack-value" | "hash-max-ziplist-value", memory(0, LONG_MAX);
    /// Elements of one packed piece of a list; -1 to -5 bound its bytes instead (4, 8, 16, 32, 64 KiB).
    list_max_listpack_size: i32 = -2,
        "list-max-listpack-size" | "list-max-ziplist-size", int(INT_MIN, INT_MAX);
    /// Members of a set of integers.
    set_max_intset_entries: u64 = 512, "set-max-intset-entries", int(0, LONG_MAX);
    /// Members of a packed sorted set.
    zset_max_listpack_entries: u64 = 128,
        "zset-max-listpack-entries" | "zset-max-ziplist-entries", int(0, LONG_MAX);
    /// Bytes of a member in a packed sorted set.
    zset_max_listpack_value: u64 = 64,
        "zset-max-listpack-value" | "zset-max-ziplist-value", memory(0, LONG_MAX);
    /// Bytes of a sparse HyperLogLog.
    hll_sparse_max_bytes: u64 = 3000, "hll-sparse-max-bytes", memory(0, LONG_MAX);
    /// Bytes of one packed node of a stream; 0 sets no bound.
    stream_node_max_bytes: u64 = 4096, "stream-node-max-bytes", memory(0, LONG_MAX);
    /// Entries of one packed node of a stream; 0 sets no bound.
    stream_node_max_entries: u64 = 100, "stream-node-max-entries", int(0, LONG_MAX);
}
