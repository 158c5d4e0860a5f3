//! The keyspace: databases of hash slots, each a Dash table of immutable blobs in the pool.
//!
//! A caller opens a [`Keyspace`], takes one [`Worker`] per thread, pins the reclamation epoch once per
//! batch of commands ([`Keyspace::pin`]) and runs each command (or each EXEC, each script) inside one
//! [`View`]. A view is all-or-nothing: dropping it undoes everything, [`View::commit`] makes it durable
//! and visible at once.
//!
//! Borrowed results ([`Text`], [`Entry`], field values) live as long as the pin, not as long as the
//! borrow of the view: a command may hold the old value while it writes the new one.

mod blob;
#[cfg(not(loom))]
#[allow(
    dead_code,
    unused_imports,
    reason = "the types that use it come one by one"
)]
pub(crate) mod btree;
mod catalogue;
mod change;
mod check;
mod check_hash;
mod check_list;
mod check_stream;
pub(crate) mod dash;
mod encoding;
mod entry;
mod error;
mod expire;
mod expire_fields;
mod field_index;
mod hash_ref;
mod hash_view;
mod interest;
mod keys;
mod keyspace;
mod list_view;
mod located;
mod medium;
mod object;
mod prefetch;
mod relocate;
mod ring;
mod root;
mod sample;
pub mod set_algebra;
mod set_ref;
mod slot;
mod snapshot;
mod stream_view;
mod string_view;
#[cfg(all(test, not(loom)))]
mod tests;
mod totals;
mod trash;
mod value_view;
mod view;
mod zset_range;
mod zset_ref;

pub use change::Lapsed;
pub use check::{CheckReport, check};
pub use entry::{Encoding, Entry, FieldTtl, HashField, Kind, StringForm, StringValue, Text, Ttl};
pub use error::StoreError;
pub use hash_ref::{FieldIter, HashIter, HashRef, MetField};
pub use interest::Interest;
pub use keyspace::{
    Counters, Guard, Keyspace, OpenError, OpenReport, PoolOptions, Settings, Usage, Worker,
};
pub use object::hash_expiry::{FieldChange, FieldRule};
pub use object::list::End;
pub use object::list::read::{ListIter, ListRef};
pub use object::stream::{
    ConsumerImage, ConsumerRef, GroupImage, GroupRef, NodeEntry, NodeImage, Pending, PendingImage,
    StreamEdit, StreamEntry, StreamFields, StreamId, StreamImage, StreamNode, StreamRef, Trim,
    TrimTo,
};
pub use object::string::large::{LARGE_STRING_BYTES_MIN, Piece};
pub use object::string::read::StringRead;
pub use object::zset::{AddRule, Added, RemovedMembers};
pub use prefetch::PREFETCH_MAX;
pub use ring::read_ring;
pub use sample::Among;
pub use set_ref::{SetIter, SetRef};
pub use snapshot::{SNAPSHOTS_MAX, Snapshot, SnapshotSink};
pub use string_view::StringWindow;
pub use view::{Access, Committed, Savepoint, SlotHeld, View};
pub use zset_range::{LexBound, LexRange, ScoreRange};
pub use zset_ref::{ZsetIter, ZsetRef};

pub use crate::pmem::{Lapped, RING_LABEL_BYTES, RingReader, RingRecord, RingState};

/// Number of databases (`SELECT 0..15`).
pub const DATABASES_MAX: usize = 16;

/// Number of hash slots of a Redis Cluster.
pub const SLOTS: usize = 16384;

/// The hash slot of a key: CRC16 (XMODEM) of the key, or of its hash tag (the bytes between the first
/// `{` and the next `}`, if there are any), modulo 16384.
pub fn key_slot(key: &[u8]) -> u16 {
    let tag = memchr::memchr(b'{', key).and_then(|open| {
        let rest = &key[open + 1..];
        memchr::memchr(b'}', rest)
            .filter(|&len| len > 0)
            .map(|len| &rest[..len])
    });
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key)) % SLOTS as u16
}

#[cfg(test)]
mod slot_tests {
    use super::key_slot;

    #[test]
    fn slots_follow_the_hash_tag_rule() {
        assert_eq!(key_slot(b"foo"), 12182);
        assert_eq!(key_slot(b"123456789"), 12739);
        assert_eq!(
            key_slot(b"{user1000}.following"),
            key_slot(b"{user1000}.followers")
        );
        assert_eq!(key_slot(b"foo{}{bar}"), key_slot(b"foo{}{bar}"));
        assert_ne!(key_slot(b"foo{}{bar}"), key_slot(b"bar"));
        assert_eq!(key_slot(b"foo{{bar}}zap"), key_slot(b"{bar"));
        assert_eq!(key_slot(b"foo{bar}{zap}"), key_slot(b"bar"));
        assert_eq!(key_slot(b""), 0);
    }
}
