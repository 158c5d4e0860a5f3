//! Strings in a view.

use std::ops::Range;

use super::change::entry_of;
use super::entry::{Encoding, StringForm, StringValue, Text, Ttl};
use super::error::StoreError;
use super::object::string::StringShape;
use super::object::string::large::LARGE_STRING_BYTES_MIN;
use super::object::string::read::{StringRead, WINDOW_BYTES};
use super::slot::Locks;
use super::view::{Access, SlotHeld, View};

/// Some bytes of a string, and what else a change of them wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringWindow {
    /// The bytes from the position asked for; zeros beyond the end.
    pub bytes: [u8; WINDOW_BYTES],
    /// Length of the string, 0 if there is none.
    pub len: u64,
    /// Whether there is a string, and it is `raw` already.
    pub is_raw: bool,
}

/// Appends the bytes of a range of a string that is made of those given.
pub type MakePart<'m, 'a> = &'m mut dyn FnMut(&[StringRead<'_, 'a>], Range<u64>, &mut Vec<u8>);

impl<'a> View<'a> {
    /// The string at `key`, whole.
    #[inline]
    pub fn string(&self, db: u8, key: &[u8]) -> Result<Option<StringValue<'a>>, StoreError> {
        match self.string_shape(db, key)? {
            None => Ok(None),
            Some(StringShape::Text(text)) => Ok(Some(StringValue::Text(text))),
            Some(StringShape::Large(_)) => self.joined(db, key),
        }
    }

    #[inline]
    fn string_shape(&self, db: u8, key: &[u8]) -> Result<Option<StringShape<'a>>, StoreError> {
        let slot = self.slot_of(key);
        self.read(slot, |reader| {
            self.lookup(reader, db, slot, key)
                .map(|here| StringShape::read(reader, &here.blob))
                .transpose()
        })
        .0
    }

    #[cold]
    fn joined(&self, db: u8, key: &[u8]) -> Result<Option<StringValue<'a>>, StoreError> {
        let _lock = self.hold(self.slot_of(key));
        let reader = self.reader();
        Ok(self.held_shape(db, key)?.map(|shape| match shape {
            StringShape::Text(text) => StringValue::Text(text),
            StringShape::Large(large) => {
                StringValue::Joined(large.copy_out(&reader, 0..large.len(&reader)))
            }
        }))
    }

    /// Locks a slot for a read that a view without locks cannot do without; nothing if the view has its locks.
    fn hold(&self, slot: u16) -> Option<Locks<'a>> {
        if self.locks.any() {
            assert!(self.locks.covers(slot), "slot {slot} is not locked");
            return None;
        }
        let (slots, wanted) = (self.keyspace().slots(), [slot]);
        Some(match self.patience {
            None => slots.lock(Access::Slots(&wanted)),
            Some(wait_max) => slots
                .lock_within(Access::Slots(&wanted), wait_max)
                .unwrap_or_else(|| std::panic::resume_unwind(Box::new(SlotHeld))),
        })
    }

    /// The string's form, read with its slot locked.
    fn held_shape(&self, db: u8, key: &[u8]) -> Result<Option<StringShape<'a>>, StoreError> {
        let reader = self.reader();
        self.lookup(&reader, db, self.slot_of(key), key)
            .map(|here| StringShape::read(&reader, &here.blob))
            .transpose()
    }

    /// Reads parts of the string at `key` in one state of it, where they lie. The slot is locked meanwhile if the string
    /// is in chunks: `read` must not use this view.
    pub fn with_string<T>(
        &self,
        db: u8,
        key: &[u8],
        read: impl FnOnce(&StringRead<'_, 'a>) -> T,
    ) -> Result<Option<T>, StoreError> {
        match self.string_shape(db, key)? {
            None => Ok(None),
            Some(shape @ StringShape::Text(_)) => {
                let reader = &self.reader();
                Ok(Some(read(&StringRead { reader, shape })))
            }
            Some(StringShape::Large(_)) => self.with_held_string(db, key, read),
        }
    }

    #[cold]
    fn with_held_string<T>(
        &self,
        db: u8,
        key: &[u8],
        read: impl FnOnce(&StringRead<'_, 'a>) -> T,
    ) -> Result<Option<T>, StoreError> {
        let _lock = self.hold(self.slot_of(key));
        let reader = &self.reader();
        let shape = self.held_shape(db, key)?;
        Ok(shape.map(|shape| read(&StringRead { reader, shape })))
    }

    /// Length of the string at `key`.
    pub fn string_len(&self, db: u8, key: &[u8]) -> Result<Option<u64>, StoreError> {
        let slot = self.slot_of(key);
        self.read(slot, |reader| {
            let Some(here) = self.lookup(reader, db, slot, key) else {
                return Ok(None);
            };
            Ok(Some(match StringShape::read(reader, &here.blob)? {
                StringShape::Text(text) => text.len() as u64,
                StringShape::Large(large) => large.len(reader),
            }))
        })
        .0
    }

    /// The byte at a position of the string at `key`; zero beyond its end.
    pub fn string_byte(&self, db: u8, key: &[u8], at: u64) -> Result<Option<u8>, StoreError> {
        let slot = self.slot_of(key);
        self.read(slot, |reader| {
            let Some(here) = self.lookup(reader, db, slot, key) else {
                return Ok(None);
            };
            Ok(Some(match StringShape::read(reader, &here.blob)? {
                StringShape::Text(text) => {
                    let mut digits = itoa::Buffer::new();
                    let bytes = text.as_bytes(&mut digits);
                    let at = usize::try_from(at).unwrap_or(usize::MAX);
                    bytes.get(at).copied().unwrap_or(0)
                }
                StringShape::Large(large) => large.byte(reader, at),
            }))
        })
        .0
    }

    /// The bytes around a position of the string at `key`, whose slot is locked.
    pub fn string_window(&self, db: u8, key: &[u8], at: u64) -> Result<StringWindow, StoreError> {
        assert!(self.may_write(), "a window is read with its slot locked");
        let (slot, reader) = (self.slot_of(key), self.reader());
        let mut window = StringWindow {
            bytes: [0; WINDOW_BYTES],
            len: 0,
            is_raw: false,
        };
        let Some(here) = self.lookup(&reader, db, slot, key) else {
            return Ok(window);
        };
        let string = StringRead {
            reader: &reader,
            shape: StringShape::read(&reader, &here.blob)?,
        };
        window.len = string.len();
        window.is_raw =
            entry_of(&reader, here.found.record, &here.blob).encoding() == Encoding::Raw;
        window.bytes = string.window(at);
        Ok(window)
    }

    /// Writes bytes at a position of the string at `key`, which is made if absent and filled up with zeros to the position
    /// if it is shorter; its length after that. It is `raw` then. Takes as long as the bytes ask for if the string is
    /// long, except the first time.
    pub fn write_string(
        &mut self,
        db: u8,
        key: &[u8],
        at: u64,
        bytes: &[u8],
    ) -> Result<u64, StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.patch_string(&place, at, bytes)
        })
    }

    /// Replaces whatever `key` holds by a string of `len` bytes that is made of others: `make` is given the
    /// strings at `sources` (an empty one where there is none) and one range after the other, whose bytes it appends.
    /// `key` may be among the sources. A long string is never in memory whole.
    pub fn make_string(
        &mut self,
        db: u8,
        key: &[u8],
        sources: &[&[u8]],
        len: u64,
        ttl: Ttl,
        make: MakePart<'_, 'a>,
    ) -> Result<(), StoreError> {
        assert!(self.may_write(), "sources are read with their slots locked");
        let shape = |source: &&[u8]| {
            let shape = self.held_shape(db, source)?;
            Ok(shape.unwrap_or(StringShape::EMPTY))
        };
        let shapes: Vec<StringShape<'a>> = sources
            .iter()
            .map(shape)
            .collect::<Result<_, StoreError>>()?;
        self.change(|change| {
            let place = change.place(db, key);
            let reader = &change.writer.reader();
            let reads = shapes.iter().map(|&shape| StringRead { reader, shape });
            let strings: Vec<StringRead<'_, 'a>> = reads.collect();
            let mut make = |range, bytes: &mut Vec<u8>| make(&strings, range, bytes);
            if len < LARGE_STRING_BYTES_MIN {
                let mut bytes = Vec::with_capacity(len as usize);
                make(0..len, &mut bytes);
                return change.put_string(&place, &bytes, StringForm::Raw, ttl);
            }
            change.put_made(&place, len, ttl, &mut make)
        })
    }

    /// The text of the string at `key`, for who wants a number: one in chunks, too long to be one, reads as empty.
    pub fn number_text(&self, db: u8, key: &[u8]) -> Result<Option<Text<'a>>, StoreError> {
        let shape = self.string_shape(db, key)?;
        Ok(shape.map(StringShape::number_text))
    }

    /// Replaces the number at `key`, keeping its expiry, or makes one. `next` is told the text that is there, as
    /// [`View::number_text`] is, and answers the number; if it answers an error instead, nothing happens.
    pub fn update_int<E>(
        &mut self,
        db: u8,
        key: &[u8],
        next: impl FnOnce(Option<Text<'a>>) -> Result<i64, E>,
    ) -> Result<Result<i64, E>, StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            let (old, ttl) = match place.live() {
                Some(here) => {
                    let shape = StringShape::read(&change.writer.reader(), &here.blob)?;
                    (Some(shape.number_text()), Ttl::Keep)
                }
                None => (None, Ttl::Clear),
            };
            let next = next(old);
            if let Ok(value) = next {
                change.put_int(&place, value, ttl)?;
            }
            Ok(next)
        })
    }

    /// Sets keys to strings, one after the other, whatever they held before.
    pub fn set_strings(
        &mut self,
        db: u8,
        pairs: &[[&[u8]; 2]],
        form: StringForm,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.change(|change| {
            for [key, value] in pairs {
                change.writer.settle();
                let place = change.place(db, key);
                change.put_string(&place, value, form, ttl)?;
            }
            Ok(())
        })
    }

    /// Bytes that the string at `key`, whose slot is locked, takes besides its entry.
    pub fn string_bytes(&self, db: u8, key: &[u8]) -> Result<u64, StoreError> {
        assert!(
            self.may_write(),
            "chunks are counted with their slot locked"
        );
        Ok(match self.held_shape(db, key)? {
            Some(StringShape::Large(large)) => large.bytes(&self.reader()),
            _ => 0,
        })
    }

    /// Copies out a range of the string at `key`, as far as it reaches.
    pub fn string_part(
        &self,
        db: u8,
        key: &[u8],
        range: Range<u64>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.with_string(db, key, |string| {
            let mut part = Vec::new();
            string.pieces(range, &mut |piece| {
                piece.for_each(|bytes| part.extend_from_slice(bytes));
            });
            part
        })
    }
}
