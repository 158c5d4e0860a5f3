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
mod committed;
pub(crate) mod dash;
mod defrag;
mod encoding;
mod entry;
mod error;
mod expire;
mod expire_fields;
mod field_index;
mod hash_ref;
mod hash_view;
mod interest;
mod key_slot;
mod keys;
mod keyspace;
mod known;
mod list_view;
mod located;
mod medium;
mod notes;
mod object;
mod prefetch;
mod relocate;
mod ring;
mod root;
mod sample;
pub mod set_algebra;
mod set_ref;
mod sharing;
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

pub use check::{CheckReport, check};
pub use committed::Committed;
pub use defrag::{DefragCursor, Moved};
pub use entry::{Encoding, Entry, FieldTtl, HashField, Kind, StringForm, StringValue, Text, Ttl};
pub use error::StoreError;
pub use hash_ref::{FieldIter, HashIter, HashRef, MetField};
pub use interest::Interest;
pub use key_slot::key_slot;
pub use keyspace::{
    Counters, Guard, Keyspace, OpenError, OpenReport, PoolOptions, Settings, Usage, Worker,
};
pub use known::{KnownKey, KnownKeys};
pub use notes::{Lapsed, Readied};
pub use object::hash_expiry::{FieldChange, FieldRule};
pub use object::list::read::{ListIter, ListRef};
pub use object::list::{End, Popped};
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
pub use sharing::SlotShared;
pub use slot::Locks;
pub use snapshot::{SNAPSHOTS_MAX, Snapshot, SnapshotSink};
pub use string_view::{MakePart, StringWindow};
pub use view::{Access, Savepoint, SlotHeld, View};
pub use zset_range::{LexBound, LexRange, ScoreRange};
pub use zset_ref::{ZsetIter, ZsetRef};

pub use crate::pmem::{Lapped, RING_LABEL_BYTES, RingReader, RingRecord, RingState};

/// Number of databases (`SELECT 0..15`).
pub const DATABASES_MAX: usize = 16;

/// Number of hash slots of a Redis Cluster.
pub const SLOTS: usize = 16384;
