//! Values of any type in a view: how much they are, and in which form.

use super::entry::{StringForm, Ttl};
use super::error::StoreError;
use super::object;
use super::view::View;

impl View<'_> {
    /// Whether the value at `key` has a form that takes long to read as a whole: a collection that is not packed, or a
    /// long string.
    pub fn is_bulky(&self, db: u8, key: &[u8]) -> bool {
        const PACKED_BYTES_MAX: u64 = 64 << 10;
        let slot = self.slot_of(key);
        self.read(slot, |reader| {
            self.lookup(reader, db, slot, key).is_some_and(|here| {
                object::large(&here.blob).is_some() || here.blob.len() > PACKED_BYTES_MAX
            })
        })
        .0
    }

    /// Stores the string at `key` in another form. To nobody's eyes but `OBJECT ENCODING` a change: it is not counted,
    /// and who watches the key is not told.
    pub fn recode_string(
        &mut self,
        db: u8,
        key: &[u8],
        value: &[u8],
        form: StringForm,
    ) -> Result<(), StoreError> {
        self.unnoticed(|view| view.set_string(db, key, value, form, Ttl::Keep))
    }

    /// Gives the sorted set at `key`, if it is packed, the form of a large one. To nobody's eyes but `OBJECT ENCODING` a
    /// change, as above.
    pub fn unpack_zset(&mut self, db: u8, key: &[u8]) -> Result<(), StoreError> {
        self.unnoticed(|view| {
            view.change_live(db, key, |change, place, here| {
                change.unpack_zset(place, here)
            })
        })
    }

    /// Does `work`, which changes only the form of a value: it is not counted, and nobody is told of it.
    fn unnoticed<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (dirty, touched) = (self.notes.dirty, self.touched().len());
        let done = work(self)?;
        self.notes.dirty = dirty;
        if self.touched().len() > touched {
            self.notes.rare_mut().cut_touched(touched);
        }
        Ok(done)
    }
}
