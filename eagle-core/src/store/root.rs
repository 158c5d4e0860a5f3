//! The store's part of the pool's root area, and the root arrays of the databases.
//!
//! ```text
//!   root area (4096 B)
//!     0     u64       version of this layout
//!     64    16 x u64  byte offset of each database's root array; 0 until the database is first written
//!     192   u64       byte offset of the catalogue (see `catalogue`); 0 while there is none
//!     256   64 x u64  heads of the trash lists
//!   root array
//!     0     32 B      a trash node (see `trash`), unused while the array is in use
//!     32    u64       byte offset of the index of expiring fields (see `field_index`); 0 while there is none
//!     64    16384 x   { u64 root word of the slot's table, u32 keys, u32 keys with an expiry }
//! ```
//!
//! A database's word is set once, under the keyspace's own lock, in a transaction of its own. From then on it
//! is never zero again: FLUSHDB puts an empty array in its place, SWAPDB exchanges two.

use super::{DATABASES_MAX, SLOTS};

/// The version of the store's layout that this program writes.
pub(super) const VERSION: u64 = 3;

/// The oldest version that it reads, and makes its own when it opens a pool: everything in such a pool means the same.
pub(super) const VERSION_MIN: u64 = 1;

/// Number of trash lists; workers share them by number.
pub(super) const TRASH_LISTS: usize = 64;

/// Bytes of a root array.
pub(super) const ARRAY_BYTES: usize = ARRAY_HEADER_BYTES as usize + SLOTS * SLOT_BYTES as usize;

const DATABASES_AT: u64 = 64;
const CATALOGUE_AT: u64 = 192;
const TRASH_AT: u64 = 256;
const ARRAY_HEADER_BYTES: u64 = 64;
const INDEX_AT: u64 = 32;
const SLOT_BYTES: u64 = 16;

const _: () = assert!(DATABASES_AT + 8 * DATABASES_MAX as u64 <= CATALOGUE_AT);
const _: () = assert!(CATALOGUE_AT + 8 <= TRASH_AT);
const _: () = assert!(TRASH_AT + 8 * TRASH_LISTS as u64 <= 4096);

/// Byte offset of the word that names the root array of `db`, in the root area at `root`.
#[inline]
pub(super) fn database_at(root: u64, db: u8) -> u64 {
    assert!(usize::from(db) < DATABASES_MAX, "database {db}");
    root + DATABASES_AT + 8 * u64::from(db)
}

/// Byte offset of the word that names the catalogue.
pub(super) fn catalogue_at(root: u64) -> u64 {
    root + CATALOGUE_AT
}

/// Byte offset of the head of a trash list.
pub(super) fn trash_at(root: u64, list: usize) -> u64 {
    assert!(list < TRASH_LISTS);
    root + TRASH_AT + 8 * list as u64
}

/// Byte offset of a slot's pair of words in the root array at `array`: the root word of its table, then the
/// counts.
#[inline]
pub(super) fn slot_at(array: u64, slot: u16) -> u64 {
    debug_assert!(usize::from(slot) < SLOTS);
    array + ARRAY_HEADER_BYTES + SLOT_BYTES * u64::from(slot)
}

/// Byte offset of the word that names the index of expiring fields, in the root array at `array`.
#[inline]
pub(super) fn index_at(array: u64) -> u64 {
    array + INDEX_AT
}

/// The counts of one slot of one database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Keys.
    pub(super) keys: u32,
    /// Keys with an expiry.
    pub(super) expires: u32,
}

impl Counts {
    /// From the word on the medium.
    #[inline]
    pub(super) fn from_raw(word: u64) -> Counts {
        Counts {
            keys: word as u32,
            expires: (word >> 32) as u32,
        }
    }

    /// The word on the medium.
    #[inline]
    pub(super) fn raw(self) -> u64 {
        u64::from(self.keys) | u64::from(self.expires) << 32
    }

    /// These counts after a change.
    #[inline]
    pub(super) fn plus(self, keys: i32, expires: i32) -> Counts {
        Counts {
            keys: self.keys.wrapping_add_signed(keys),
            expires: self.expires.wrapping_add_signed(expires),
        }
    }
}
