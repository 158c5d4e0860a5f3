//! Lists in a view.

use super::entry::Ttl;
use super::error::StoreError;
use super::keyspace::Settings;
use super::object::list::read::ListRef;
use super::object::list::{End, ListForm, Popped};
use super::view::View;

impl<'a> View<'a> {
    /// Runtime thresholds.
    pub fn settings(&self) -> &'a Settings {
        self.keyspace().settings()
    }

    /// The list at `key`, whose slot is locked. What it shows is good until the view changes something.
    pub fn list(&self, db: u8, key: &[u8]) -> Result<Option<ListRef<'_>>, StoreError> {
        let slot = self.slot_of(key);
        assert!(self.may_write(), "a list is read with its slot locked");
        let (form, _) = self.read(slot, |reader| {
            self.lookup(reader, db, slot, key)
                .map(|here| ListForm::read(reader, &here.blob))
                .transpose()
        });
        Ok(form?.map(|form| ListRef::new(self.reader(), form)))
    }

    /// Adds elements at an end of the list at `key`, which is made if absent: one after another, so that the last one
    /// is outermost. Its length after that. There must be one element at least.
    pub fn list_push(
        &mut self,
        db: u8,
        key: &[u8],
        elements: &[&[u8]],
        end: End,
    ) -> Result<u64, StoreError> {
        assert!(!elements.is_empty(), "nothing to push");
        self.change(|change| {
            let place = change.place(db, key);
            change.push_elements(&place, elements, end)
        })
    }

    /// Takes up to `count` elements off an end, and the key with the last one.
    pub fn list_pop(
        &mut self,
        db: u8,
        key: &[u8],
        count: u64,
        end: End,
    ) -> Result<Popped, StoreError> {
        self.change_live(db, key, |change, place, here| {
            change.pop_elements(place, here, count, end)
        })
    }

    /// Shows the outermost element at an end and takes it off, and the key with the last one. Nothing happens, and the
    /// answer is `None`, if there is no list or its time has come.
    pub fn list_pop_one(
        &mut self,
        db: u8,
        key: &[u8],
        end: End,
        show: impl FnOnce(&[u8]),
    ) -> Result<Option<Popped>, StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            let Some(here) = place.live() else {
                return Ok(None);
            };
            change.show_outermost(here, end, show)?;
            change.pop_elements(&place, here, 1, end).map(Some)
        })
    }

    /// Leaves only the `kept` elements from `start` on, all of which exist, and not the key if there are none; how many
    /// elements are gone.
    pub fn list_trim(
        &mut self,
        db: u8,
        key: &[u8],
        start: u64,
        kept: u64,
    ) -> Result<u64, StoreError> {
        self.change_live(db, key, |change, place, here| {
            change.trim_list(place, here, start, kept)
        })
    }

    /// Replaces the element at `index`, which exists.
    pub fn list_set(
        &mut self,
        db: u8,
        key: &[u8],
        index: u64,
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.change_live(db, key, |change, place, here| {
            change.set_element(place, here, index, value)
        })
    }

    /// Puts an element before the one at `index`, which exists.
    pub fn list_insert(
        &mut self,
        db: u8,
        key: &[u8],
        index: u64,
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.change_live(db, key, |change, place, here| {
            change.insert_element(place, here, index, value)
        })
    }

    /// Removes elements equal to `value`, `count_max` at most, those nearest to the end `from`; how many. The key goes
    /// with the last element.
    pub fn list_remove(
        &mut self,
        db: u8,
        key: &[u8],
        value: &[u8],
        count_max: u64,
        from: End,
    ) -> Result<u64, StoreError> {
        self.change_live(db, key, |change, place, here| {
            change.remove_equal(place, here, value, count_max, from)
        })
    }

    /// Replaces whatever `key` holds by a list of these elements (RESTORE, RDB load). No elements: removes the key.
    pub fn set_list(
        &mut self,
        db: u8,
        key: &[u8],
        elements: &[&[u8]],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.put_list(&place, elements, ttl)
        })
    }
}
