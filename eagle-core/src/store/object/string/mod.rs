//! Strings: one blob, replaced whole; or, when they are long and parts of them change, chunks.
//!
//! A string that is a canonical integer is stored as its eight bytes (`int`); others as they are, called
//! `embstr` up to 44 bytes and `raw` above, or `raw` when they have been modified in place. [`large`] has the form in
//! which SETBIT, SETRANGE and APPEND cost what they touch.

mod combine;
pub(in crate::store) mod edit;
pub(in crate::store) mod large;
pub(in crate::store) mod read;

use crate::store::blob::Blob;
use crate::store::change::{Change, Place};
use crate::store::dash::WordsMut;
use crate::store::entry::{Encoding, Kind, StringForm, Text, Ttl};
use crate::store::error::StoreError;
use crate::store::medium::Reader;
use crate::text::integer::parse_i64;
use large::Large;

/// The longest text an integer has: `-9223372036854775808`.
const INT_TEXT_MAX: usize = 20;

/// The longest string that is called `embstr`.
const EMBSTR_MAX: usize = 44;

/// A string in either form.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum StringShape<'a> {
    Text(Text<'a>),
    Large(Large),
}

impl<'a> StringShape<'a> {
    /// No string, as commands that change parts see it.
    pub(in crate::store) const EMPTY: StringShape<'static> = StringShape::Text(Text::Bytes(b""));

    /// The text, for who wants a number: a string in chunks, too long to be one, reads as empty.
    #[inline]
    pub(in crate::store) fn number_text(self) -> Text<'a> {
        match self {
            StringShape::Text(text) => text,
            StringShape::Large(_) => Text::Bytes(b""),
        }
    }

    /// The string in an entry's blob.
    #[inline]
    pub(in crate::store) fn read(
        reader: &Reader<'a>,
        blob: &Blob,
    ) -> Result<StringShape<'a>, StoreError> {
        match blob.encoding() {
            _ if blob.kind() != Kind::String => Err(StoreError::WrongType),
            Encoding::Int => Ok(StringShape::Text(Text::Int(blob.int(reader)))),
            Encoding::Chunked => Ok(StringShape::Large(Large::read(reader, blob))),
            _ => Ok(StringShape::Text(Text::Bytes(blob.value(reader)))),
        }
    }
}

impl Change<'_, '_> {
    /// Puts a string at a place.
    pub(in crate::store) fn put_string(
        &mut self,
        place: &Place<'_>,
        value: &[u8],
        form: StringForm,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        let encoding = match form {
            StringForm::Auto if value.len() <= INT_TEXT_MAX => match parse_i64(value) {
                Some(number) => return self.put_int(place, number, ttl),
                None => Encoding::Embstr,
            },
            StringForm::Auto | StringForm::Plain if value.len() <= EMBSTR_MAX => Encoding::Embstr,
            StringForm::Auto | StringForm::Plain | StringForm::Raw => Encoding::Raw,
        };
        self.put_value(place, (Kind::String, encoding), value, ttl)
    }

    /// Puts an integer at a place. Where another one stands, with the same expiry, its word is stored and nothing else.
    pub(in crate::store) fn put_int(
        &mut self,
        place: &Place<'_>,
        value: i64,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        if let Some(here) = place.live()
            && (here.blob.kind(), here.blob.encoding()) == (Kind::String, Encoding::Int)
            && let Some(at) = here.blob.int_word()
            && place.ttl_after(ttl) == here.ttl_at
        {
            here.blob.set_clock(&self.writer.reader(), place.clock());
            self.writer.publish(at, value as u64)?;
            self.note_change(place.db, place.key);
            return Ok(());
        }
        self.put_value(
            place,
            (Kind::String, Encoding::Int),
            &value.to_le_bytes(),
            ttl,
        )
    }
}
