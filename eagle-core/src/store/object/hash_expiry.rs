//! Fields that expire: setting and clearing when they do, and removing those whose time has come.

use super::hash::HashForm;
use super::member_table::{MemberTable, Removal};
use super::timed_table::{Gone, TimedTable};
use crate::store::blob::{Blob, Draft};
use crate::store::change::{Change, Contents, Here, Place};
use crate::store::dash::WordsMut;
use crate::store::entry::{Encoding, HashField, Kind, Ttl};
use crate::store::error::StoreError;
use crate::store::notes::Lapsed;

/// Which fields get a new expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldRule {
    /// All.
    #[default]
    Any,
    /// Those without one.
    Absent,
    /// Those with one.
    Present,
    /// Those whose expiry gets later; no expiry is the latest.
    Later,
    /// Those whose expiry gets earlier.
    Earlier,
}

impl FieldRule {
    fn allows(self, old: Option<u64>, new: u64) -> bool {
        match (self, old) {
            (FieldRule::Any, _) | (FieldRule::Absent, None) | (FieldRule::Earlier, None) => true,
            (FieldRule::Absent, Some(_))
            | (FieldRule::Present, None)
            | (FieldRule::Later, None) => false,
            (FieldRule::Present, Some(_)) => true,
            (FieldRule::Later, Some(old)) => new > old,
            (FieldRule::Earlier, Some(old)) => new < old,
        }
    }
}

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldChange {
    /// There is no such field.
    Absent,
    /// The rule left it alone.
    Refused,
    /// It had no expiry that could be cleared.
    NoTtl,
    /// Its expiry was set or cleared.
    Done,
    /// Its new expiry lies in the past: it is gone.
    Deleted,
}

/// What is to become of a field's expiry.
#[derive(Clone, Copy, Debug)]
struct Order {
    /// The new one; `None` clears it.
    ttl_at: Option<u64>,
    rule: FieldRule,
    now_ms: u64,
}

impl Order {
    /// What becomes of a field.
    fn judge(self, field: &HashField<'_>) -> FieldChange {
        match (field.ttl_at, self.ttl_at) {
            _ if field.expired(self.now_ms) => FieldChange::Absent,
            (None, None) => FieldChange::NoTtl,
            (Some(_), None) => FieldChange::Done,
            (old, Some(new)) if !self.rule.allows(old, new) => FieldChange::Refused,
            (_, Some(new)) if new <= self.now_ms => FieldChange::Deleted,
            (_, Some(_)) => FieldChange::Done,
        }
    }
}

impl Change<'_, '_> {
    /// Sets (or clears, with `None`) the expiry of fields of the hash at a place, one after another: what became of each.
    /// The hash goes with its last field.
    pub(in crate::store) fn expire_fields(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        names: &[&[u8]],
        ttl_at: Option<u64>,
        rule: FieldRule,
    ) -> Result<Vec<FieldChange>, StoreError> {
        let order = Order {
            ttl_at,
            rule,
            now_ms: self.now_ms,
        };
        let reader = self.writer.reader();
        match HashForm::read(&reader, &here.blob)? {
            HashForm::Packed(packed) => {
                let fields = packed.iter().map(|(name, value)| HashField {
                    name,
                    value,
                    ttl_at: None,
                });
                self.expire_packed(place, fields.collect(), names, order)
            }
            HashForm::PackedTimed(packed) => {
                self.expire_packed(place, packed.iter().collect(), names, order)
            }
            HashForm::Table(table) => self.expire_table(place, table, names, order),
            HashForm::Timed(table) => self.expire_timed(place, table, names, order),
        }
    }

    fn expire_packed(
        &mut self,
        place: &Place<'_>,
        mut fields: Vec<HashField<'_>>,
        names: &[&[u8]],
        order: Order,
    ) -> Result<Vec<FieldChange>, StoreError> {
        let mut changes = Vec::with_capacity(names.len());
        for name in names {
            let here = fields.iter().position(|field| field.name == *name);
            let change = here.map_or(FieldChange::Absent, |i| order.judge(&fields[i]));
            match (change, here) {
                (FieldChange::Done, Some(i)) => fields[i].ttl_at = order.ttl_at,
                (FieldChange::Deleted, Some(i)) => drop(fields.remove(i)),
                _ => {}
            }
            changes.push(change);
        }
        let changed =
            |change: &FieldChange| matches!(change, FieldChange::Done | FieldChange::Deleted);
        if fields.is_empty() {
            self.remove(place, Contents::Discard)?;
        } else if changes.iter().any(changed) {
            self.leave_packed_fields(place, &fields)?;
        }
        Ok(changes)
    }

    /// Leaves these of a packed hash's fields.
    pub(super) fn leave_packed_fields(
        &mut self,
        place: &Place<'_>,
        fields: &[HashField<'_>],
    ) -> Result<(), StoreError> {
        let was_timed = place
            .live()
            .is_some_and(|here| here.blob.encoding() == Encoding::ListpackEx);
        if was_timed || fields.iter().any(|field| field.ttl_at.is_some()) {
            return self.put_fields(place, fields, true, Ttl::Keep);
        }
        let pairs: Vec<_> = fields
            .iter()
            .map(|field| (field.name, field.value))
            .collect();
        self.put_pairs(place, &pairs, true, Ttl::Keep)
    }

    /// Of a table in which no field expires.
    fn expire_table(
        &mut self,
        place: &Place<'_>,
        table: MemberTable,
        names: &[&[u8]],
        order: Order,
    ) -> Result<Vec<FieldChange>, StoreError> {
        let reader = self.writer.reader();
        let judge = |name: &[u8]| match table.value(&reader, name) {
            Some(value) => order.judge(&HashField {
                name,
                value,
                ttl_at: None,
            }),
            None => FieldChange::Absent,
        };
        let mut changes: Vec<_> = names.iter().map(|name| judge(name)).collect();
        if changes.contains(&FieldChange::Done) {
            let (place, table) = self.time_table(place, table)?;
            return self.expire_timed(&place, table, names, order);
        }
        let mut left = table.len(&reader);
        for (name, change) in names.iter().zip(&mut changes) {
            if *change != FieldChange::Deleted {
                continue;
            }
            match table.remove_all(&mut self.writer, &[*name])? {
                // Named twice.
                Removal::Some(0) => *change = FieldChange::Absent,
                Removal::Some(_) => left -= 1,
                Removal::All(_) if left == 0 => *change = FieldChange::Absent,
                Removal::All(_) => left = 0,
            }
        }
        if left == 0 {
            self.remove(place, Contents::Discard)?;
        } else if changes.contains(&FieldChange::Deleted) {
            self.note_change(place.db, place.key);
        }
        Ok(changes)
    }

    fn expire_timed(
        &mut self,
        place: &Place<'_>,
        table: TimedTable,
        names: &[&[u8]],
        order: Order,
    ) -> Result<Vec<FieldChange>, StoreError> {
        let mut changes = Vec::with_capacity(names.len());
        let (mut changed, mut gone) = (false, false);
        for name in names {
            self.writer.settle();
            let reader = self.writer.reader();
            let field = table.find(&reader, name).filter(|_| !gone);
            let change = field.map_or(FieldChange::Absent, |field| order.judge(&field));
            match change {
                FieldChange::Done => table.set_ttl(&mut self.writer, name, order.ttl_at)?,
                FieldChange::Deleted => gone = table.remove(&mut self.writer, name)? == Gone::Last,
                _ => {}
            }
            changed |= matches!(change, FieldChange::Done | FieldChange::Deleted);
            changes.push(change);
        }
        if gone {
            self.remove(place, Contents::Discard)?;
        } else if changed {
            self.settle_due(place, table, false)?;
            self.note_change(place.db, place.key);
        }
        Ok(changes)
    }

    /// Gives a large hash room for when its fields expire. Its place is to be found again.
    pub(super) fn time_table<'k>(
        &mut self,
        place: &Place<'k>,
        table: MemberTable,
    ) -> Result<(Place<'k>, TimedTable), StoreError> {
        let timed = TimedTable::adopt(&mut self.writer, table)?;
        // Readers that met the old header would miss what is published through the new one: they look again.
        self.writer.exclude_readers();
        let draft = Draft {
            kind: Kind::Hash,
            encoding: Encoding::HashtableEx,
            clock: place.clock(),
            ttl_at: place.ttl_after(Ttl::Keep),
            key: place.key,
            value: &timed.to_bytes(),
        };
        let dirty = self.notes.dirty;
        self.put(place, &draft, Contents::Keep)?;
        self.notes.dirty = dirty;
        self.writer.free(table.header())?;
        self.writer.settle();
        Ok((self.place(place.db, place.key), timed))
    }

    /// Removes those of these fields whose time has come, and the hash with the last one; their number.
    pub(in crate::store) fn lapse_fields(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        names: &[&[u8]],
    ) -> Result<usize, StoreError> {
        let (reader, now_ms) = (self.writer.reader(), self.now_ms);
        match HashForm::read(&reader, &here.blob)? {
            HashForm::PackedTimed(packed) => self.lapse_packed(
                place,
                packed.iter().partition(|field: &HashField<'_>| {
                    field.expired(now_ms) && names.contains(&field.name)
                }),
            ),
            HashForm::Timed(table) => {
                let mut due = Vec::new();
                for name in names {
                    let field = table.find(&reader, name);
                    if field.is_some_and(|field| field.expired(now_ms)) && !due.contains(name) {
                        due.push(*name);
                    }
                }
                self.lapse_timed(place, table, &due)
            }
            HashForm::Packed(_) | HashForm::Table(_) => Ok(0),
        }
    }

    /// Removes fields whose time has come, of a large hash at most so many, and the hash with the last one; their number.
    /// The index says afterwards exactly when the hash is due.
    pub(in crate::store) fn lapse_due(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        fields_max: usize,
    ) -> Result<usize, StoreError> {
        let (reader, now_ms) = (self.writer.reader(), self.now_ms);
        match HashForm::read(&reader, &here.blob)? {
            HashForm::PackedTimed(packed) => self.lapse_packed(
                place,
                packed
                    .iter()
                    .partition(|field: &HashField<'_>| field.expired(now_ms)),
            ),
            HashForm::Timed(table) => {
                let mut due = Vec::new();
                let mut at = table.dues().first(&reader);
                while let Some(entry) = at.entry(&reader)
                    && now_ms > entry.a
                    && due.len() < fields_max
                {
                    due.push(Blob::read(&reader, entry.b).key(&reader));
                    at.next(&reader);
                }
                if due.is_empty() {
                    self.settle_due(place, table, true)?;
                }
                self.lapse_timed(place, table, &due)
            }
            HashForm::Packed(_) | HashForm::Table(_) => Ok(0),
        }
    }

    /// Of a packed hash, given as the fields that go and those that stay.
    fn lapse_packed(
        &mut self,
        place: &Place<'_>,
        (due, left): (Vec<HashField<'_>>, Vec<HashField<'_>>),
    ) -> Result<usize, StoreError> {
        if due.is_empty() {
            return Ok(0);
        }
        let dirty = self.notes.dirty;
        if left.is_empty() {
            self.remove(place, Contents::Discard)?;
        } else {
            self.put_fields(place, &left, true, Ttl::Keep)?;
        }
        self.notes.dirty = dirty;
        let names: Vec<_> = due.iter().map(|field| field.name).collect();
        self.note_lapsed(place, &names, left.is_empty());
        Ok(due.len())
    }

    /// Of a large hash, given the distinct names of fields that are there.
    fn lapse_timed(
        &mut self,
        place: &Place<'_>,
        table: TimedTable,
        due: &[&[u8]],
    ) -> Result<usize, StoreError> {
        if due.is_empty() {
            return Ok(0);
        }
        let mut gone = false;
        for name in due {
            self.writer.settle();
            gone = table.remove(&mut self.writer, name)? == Gone::Last;
        }
        if gone {
            let dirty = self.notes.dirty;
            self.remove(place, Contents::Discard)?;
            self.notes.dirty = dirty;
            self.unask_last();
        } else {
            self.settle_due(place, table, true)?;
            self.note_unasked(place.db, place.key);
        }
        self.note_lapsed(place, due, gone);
        Ok(due.len())
    }

    fn note_lapsed(&mut self, place: &Place<'_>, names: &[&[u8]], key_gone: bool) {
        self.notes.rare_mut().lapsed.push(Lapsed {
            db: place.db,
            key: place.key.into(),
            fields: names.iter().map(|name| Box::from(*name)).collect(),
            key_gone,
        });
    }

    /// Removes fields of one hash of a slot whose time has come, at most about so many, the hash that is due first: how
    /// many, or `None` if nothing is due.
    pub(in crate::store) fn lapse_first(
        &mut self,
        db: u8,
        slot: u16,
        fields_max: usize,
    ) -> Result<Option<usize>, StoreError> {
        let reader = self.writer.reader();
        let first = self
            .dues(db, slot)
            .and_then(|tree| tree.first(&reader).entry(&reader));
        let Some(entry) = first.filter(|entry| self.now_ms > entry.a) else {
            return Ok(None);
        };
        let place = self.place(db, Blob::read(&reader, entry.b).key(&reader));
        match place.live().copied() {
            Some(here) => self.lapse_due(&place, &here, fields_max).map(Some),
            // Its own time has come as well.
            None => self.remove(&place, Contents::Discard).map(|_| Some(1)),
        }
    }
}
