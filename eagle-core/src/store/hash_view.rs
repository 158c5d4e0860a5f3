//! A view's changes of hashes.

use super::entry::{FieldTtl, HashField, Ttl};
use super::error::StoreError;
use super::hash_ref::MetField;
use super::notes::Lapsed;
use super::object::PackedIf;
use super::object::hash_expiry::{FieldChange, FieldRule};
use super::object::member_table::Pair;
use super::view::View;

/// Met fields that a view notes: more can wait for somebody else.
const MET_FIELDS_MAX: usize = 1024;

impl View<'_> {
    /// Sets one field of the hash at `key`, which is made if absent; whether the field is new.
    pub fn hash_set(
        &mut self,
        db: u8,
        key: &[u8],
        field: &[u8],
        value: &[u8],
    ) -> Result<bool, StoreError> {
        self.hash_set_many(db, key, &[(field, value)])
            .map(|new| new == 1)
    }

    /// Sets several fields, which expire no more; the number of new ones. All or none.
    pub fn hash_set_many(
        &mut self,
        db: u8,
        key: &[u8],
        pairs: &[Pair<'_>],
    ) -> Result<usize, StoreError> {
        self.hash_set_timed(db, key, pairs, FieldTtl::Clear)
    }

    /// Sets several fields and when they expire; the number of new ones. A field whose time has come, but which nobody
    /// has removed, is not new. All or none.
    pub fn hash_set_timed(
        &mut self,
        db: u8,
        key: &[u8],
        pairs: &[Pair<'_>],
        ttl: FieldTtl,
    ) -> Result<usize, StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.set_fields(&place, pairs, ttl)
        })
    }

    /// Removes fields, their time come or not; the number removed. A hash without fields is removed.
    pub fn hash_remove(
        &mut self,
        db: u8,
        key: &[u8],
        fields: &[&[u8]],
    ) -> Result<usize, StoreError> {
        self.change_live(db, key, |change, place, here| {
            change.remove_fields(place, here, fields)
        })
    }

    /// Sets (Unix milliseconds, not zero) or clears when fields expire, one after another; what became of each. A time
    /// that has come removes the field, and the hash with its last one.
    pub fn hash_expire(
        &mut self,
        db: u8,
        key: &[u8],
        fields: &[&[u8]],
        ttl_at: Option<u64>,
        rule: FieldRule,
    ) -> Result<Vec<FieldChange>, StoreError> {
        let mut changes = self.change_live(db, key, |change, place, here| {
            change.expire_fields(place, here, fields, ttl_at, rule)
        })?;
        changes.resize(fields.len(), FieldChange::Absent);
        Ok(changes)
    }

    /// Removes those of these fields whose time has come ([`View::lapsed`]), and the hash with the last one; their number.
    pub fn hash_lapse(
        &mut self,
        db: u8,
        key: &[u8],
        fields: &[&[u8]],
    ) -> Result<usize, StoreError> {
        self.change_live(db, key, |change, place, here| {
            change.lapse_fields(place, here, fields)
        })
    }

    /// Removes all fields of a hash whose time has come ([`View::lapsed`]), and the hash with the last one; their number.
    pub fn hash_lapse_all(&mut self, db: u8, key: &[u8]) -> Result<usize, StoreError> {
        self.change_live(db, key, |change, place, here| {
            change.lapse_due(place, here, usize::MAX)
        })
    }

    /// Replaces whatever `key` holds by a hash of these fields (RESTORE, RDB load). No fields: removes the key.
    pub fn set_hash(
        &mut self,
        db: u8,
        key: &[u8],
        fields: &[HashField<'_>],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.replace_hash(db, key, fields, PackedIf::Small, ttl)
    }

    /// The same for one that came packed: it stays so, however long its fields are.
    pub fn set_packed_hash(
        &mut self,
        db: u8,
        key: &[u8],
        fields: &[HashField<'_>],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.replace_hash(db, key, fields, PackedIf::Few, ttl)
    }

    fn replace_hash(
        &mut self,
        db: u8,
        key: &[u8],
        fields: &[HashField<'_>],
        packed_if: PackedIf,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.put_hash(&place, fields, packed_if, ttl)
        })
    }

    /// Fields that this view removed because their time had come; the caller propagates the deletions and sends the
    /// events.
    pub fn lapsed(&self) -> &[Lapsed] {
        self.notes.rare().map_or(&[], |rare| &rare.lapsed)
    }

    /// Fields that were looked up after their time: still there, unless this view has removed them. The caller may see to
    /// that once the view has ended ([`View::hash_lapse`]).
    pub fn met_fields(&self) -> Vec<MetField> {
        self.met_fields.borrow().clone()
    }

    /// Whether there are any.
    #[inline]
    pub fn has_met_fields(&self) -> bool {
        !self.met_fields.borrow().is_empty()
    }

    /// Forgets them.
    pub fn take_met_fields(&self) -> Vec<MetField> {
        self.met_fields.take()
    }

    pub(super) fn note_met_field(&self, db: u8, key: &[u8], field: &[u8]) {
        let mut met = self.met_fields.borrow_mut();
        if met.len() < MET_FIELDS_MAX {
            met.push(MetField {
                db,
                key: key.into(),
                field: field.into(),
            });
        }
    }
}
