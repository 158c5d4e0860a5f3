//! One command's, EXEC's or script's view of the keyspace.

use std::marker::PhantomData;

use super::entry::{Encoding, Entry, StringForm, Text, Ttl};
use super::error::StoreError;

/// Which hash slots a view may touch, and how.
#[derive(Clone, Copy, Debug)]
pub enum Access<'s> {
    /// No lock; reads only. Each call is atomic by itself; two calls may see different states.
    LockFree,
    /// These slots, ascending and distinct, locked exclusively for the life of the view.
    Slots(&'s [u16]),
    /// All slots (FLUSHALL, SWAPDB, multi-database work).
    All,
}

/// A point inside a view to go back to; see [`View::savepoint`].
#[derive(Debug)]
pub struct Savepoint {
    _private: (),
}

/// One command, or one EXEC or script. Dropped without [`View::commit`], it leaves no trace.
///
/// A call that fails leaves the view as it was before that call. Keys must belong to slots the view locked.
pub struct View<'a> {
    _life: PhantomData<&'a mut ()>,
}

impl<'a> View<'a> {
    /// What is known of `key`, if it exists and has not expired.
    pub fn find(&self, db: u8, key: &[u8]) -> Option<Entry<'a>> {
        let _ = (db, key);
        unimplemented!()
    }

    /// The string at `key`.
    pub fn string(&self, db: u8, key: &[u8]) -> Result<Option<Text<'a>>, StoreError> {
        let _ = (db, key);
        unimplemented!()
    }

    /// The hash at `key`.
    pub fn hash<'v>(
        &'v self,
        db: u8,
        key: &'v [u8],
    ) -> Result<Option<HashRef<'v, 'a>>, StoreError> {
        let _ = (db, key);
        unimplemented!()
    }

    /// Sets `key` to a string, whatever it held before.
    pub fn set_string(
        &mut self,
        db: u8,
        key: &[u8],
        value: &[u8],
        form: StringForm,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        let _ = (db, key, value, form, ttl);
        unimplemented!()
    }

    /// Sets `key` to an integer (`int` encoding), whatever it held before.
    pub fn set_int(&mut self, db: u8, key: &[u8], value: i64, ttl: Ttl) -> Result<(), StoreError> {
        let _ = (db, key, value, ttl);
        unimplemented!()
    }

    /// Removes `key`; whether it existed (an expired key did not).
    pub fn remove(&mut self, db: u8, key: &[u8]) -> Result<bool, StoreError> {
        let _ = (db, key);
        unimplemented!()
    }

    /// Sets (Unix milliseconds) or clears the expiry of `key`; whether the key exists.
    pub fn set_ttl(&mut self, db: u8, key: &[u8], at_ms: Option<u64>) -> Result<bool, StoreError> {
        let _ = (db, key, at_ms);
        unimplemented!()
    }

    /// Stores the 24-bit access clock of `key`, if it exists. Not a change: not logged, not undone, allowed
    /// without a lock.
    pub fn touch(&self, db: u8, key: &[u8], clock: u32) {
        let _ = (db, key, clock);
        unimplemented!()
    }

    /// Sets one field of the hash at `key`, which is made if absent; whether the field is new.
    pub fn hash_set(
        &mut self,
        db: u8,
        key: &[u8],
        field: &[u8],
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let _ = (db, key, field, value);
        unimplemented!()
    }

    /// Sets several fields; the number of new ones. All or none.
    pub fn hash_set_many(
        &mut self,
        db: u8,
        key: &[u8],
        pairs: &[(&[u8], &[u8])],
    ) -> Result<usize, StoreError> {
        let _ = (db, key, pairs);
        unimplemented!()
    }

    /// Removes fields; the number removed. A hash without fields is removed.
    pub fn hash_remove(
        &mut self,
        db: u8,
        key: &[u8],
        fields: &[&[u8]],
    ) -> Result<usize, StoreError> {
        let _ = (db, key, fields);
        unimplemented!()
    }

    /// Replaces whatever `key` holds by a hash of these fields (RESTORE, RDB load). No fields: removes the key.
    pub fn set_hash(
        &mut self,
        db: u8,
        key: &[u8],
        pairs: &[(&[u8], &[u8])],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        let _ = (db, key, pairs, ttl);
        unimplemented!()
    }

    /// Moves the value and expiry of one key to another, replacing what that held; whether the source
    /// exists. Takes the same time for a value of any size but a long string or a packed collection.
    pub fn rename(
        &mut self,
        src_db: u8,
        src: &[u8],
        dst_db: u8,
        dst: &[u8],
    ) -> Result<bool, StoreError> {
        let _ = (src_db, src, dst_db, dst);
        unimplemented!()
    }

    /// Copies the value and expiry of one key to another, replacing what that held; whether the source exists.
    pub fn copy(
        &mut self,
        src_db: u8,
        src: &[u8],
        dst_db: u8,
        dst: &[u8],
    ) -> Result<bool, StoreError> {
        let _ = (src_db, src, dst_db, dst);
        unimplemented!()
    }

    /// Keys in `db`, this view's own changes included.
    pub fn len(&self, db: u8) -> u64 {
        let _ = db;
        unimplemented!()
    }

    /// Visits some keys, at least `count` unless the end comes first, and returns the cursor to go on
    /// with; zero begins and ends. Every key that is there during the whole iteration is visited at least
    /// once, however the tables grow and shrink.
    pub fn scan(
        &self,
        db: u8,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&Entry<'a>),
    ) -> u64 {
        let _ = (db, cursor, count, visit);
        unimplemented!()
    }

    /// Visits at most `keys_max` keys of one slot.
    pub fn slot_keys(&self, db: u8, slot: u16, keys_max: usize, visit: &mut dyn FnMut(&Entry<'a>)) {
        let _ = (db, slot, keys_max, visit);
        unimplemented!()
    }

    /// Visits every key of `db` (`KEYS`, snapshots).
    pub fn for_each(&self, db: u8, visit: &mut dyn FnMut(&Entry<'a>)) {
        let _ = (db, visit);
        unimplemented!()
    }

    /// A key of `db` drawn uniformly with `rng` among those that have not expired; `None` if none was found.
    pub fn random_key(&self, db: u8, rng: &mut dyn FnMut() -> u64) -> Option<Entry<'a>> {
        let _ = (db, rng);
        unimplemented!()
    }

    /// Removes all keys of `db`, in constant time. Needs [`Access::All`].
    pub fn flush_db(&mut self, db: u8) -> Result<(), StoreError> {
        let _ = db;
        unimplemented!()
    }

    /// Removes all keys of all databases, in constant time. Needs [`Access::All`].
    pub fn flush_all(&mut self) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Removes all keys of one slot of `db`, in constant time; their number.
    pub fn flush_slot(&mut self, db: u8, slot: u16) -> Result<u64, StoreError> {
        let _ = (db, slot);
        unimplemented!()
    }

    /// Exchanges two databases, in constant time. Needs [`Access::All`].
    pub fn swap_db(&mut self, a: u8, b: u8) -> Result<(), StoreError> {
        let _ = (a, b);
        unimplemented!()
    }

    /// Marks a point to return to: a command inside EXEC or a script that fails half-way undoes only itself.
    pub fn savepoint(&mut self) -> Savepoint {
        unimplemented!()
    }

    /// Undoes all changes made since `savepoint`.
    pub fn rollback_to(&mut self, savepoint: Savepoint) {
        let _ = savepoint;
        unimplemented!()
    }

    /// Number of changes made so far (Redis's `dirty`).
    pub fn dirty(&self) -> u64 {
        unimplemented!()
    }

    /// Keys changed or removed so far, recorded only while [`Keyspace::watchers`](super::Keyspace::watchers) is
    /// not zero. FLUSHDB and SWAPDB record nothing: the caller knows.
    pub fn touched(&self) -> &[(u8, Box<[u8]>)] {
        unimplemented!()
    }

    /// Keys this view removed because a write met them after their time; the caller propagates the
    /// deletions and sends the events.
    pub fn expired(&self) -> &[(u8, Box<[u8]>)] {
        unimplemented!()
    }

    /// Makes all changes durable and visible at once, and releases the slots.
    pub fn commit(self) {
        unimplemented!()
    }
}

/// A hash as a view sees it.
///
/// Without a lock each call is atomic by itself. Iteration wants the slot locked.
#[derive(Clone, Copy)]
pub struct HashRef<'v, 'a> {
    _life: PhantomData<(&'v (), &'a ())>,
}

impl<'v, 'a> HashRef<'v, 'a> {
    /// Number of fields; never zero.
    pub fn len(&self) -> u64 {
        unimplemented!()
    }

    /// Always false: a hash without fields does not exist.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// `listpack` or `hashtable`.
    pub fn encoding(&self) -> Encoding {
        unimplemented!()
    }

    /// The value of `field`.
    pub fn get(&self, field: &[u8]) -> Option<&'a [u8]> {
        let _ = field;
        unimplemented!()
    }

    /// Whether `field` exists.
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// All fields and values: in insertion order while packed, in hash order when a table.
    pub fn iter(&self) -> HashIter<'v, 'a> {
        unimplemented!()
    }

    /// Visits some fields, at least `count` unless the end comes first, and returns the cursor to go on with;
    /// zero begins and ends. A packed hash is visited whole.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]),
    ) -> u64 {
        let _ = (cursor, count, visit);
        unimplemented!()
    }

    /// A field and value drawn uniformly with `rng`.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> (&'a [u8], &'a [u8]) {
        let _ = rng;
        unimplemented!()
    }
}

/// Iterator over the fields and values of a hash.
pub struct HashIter<'v, 'a> {
    _life: PhantomData<(&'v (), &'a ())>,
}

impl<'a> Iterator for HashIter<'_, 'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}
