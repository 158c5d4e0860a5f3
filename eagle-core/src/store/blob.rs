//! The blob: a key (or field) with its value, in one block.
//!
//! ```text
//!   u64  63..44 value bytes | 43..32 key bytes | 31 wide | 30 room | 29..27 encoding | 26..24 kind | 23..0 clock
//!   u64  value bytes << 32 | key bytes          only if `wide`; then the lengths above are zero
//!   u64  expiry, Unix time in milliseconds      only if `room`
//!        key, value
//! ```
//!
//! A string's value that is an integer is zeros up to a multiple of eight, then eight bytes: a word by itself, which a
//! later number replaces where it stands. (Layout version 1 had no zeros there; such a number is replaced with its blob.)
//!
//! A member without a value (of a set) has one of two other headers. The record says which blobs have the first
//! ([`is_short`]), so that these are read by way of it ([`Blob::of`]); it is for keys of at most 255 bytes:
//!
//! ```text
//!   u8   key bytes
//!        key
//!
//!   u32  31 wide: 1 | 30 room: 0 | 29..27 encoding: 7 | 26..24 zero | 23..0 key bytes
//!        key
//! ```
//!
//! A blob never changes once a record refers to it, with three exceptions that are words by themselves: the
//! clock, the expiry, and an integer. Whether the expiry counts is not said here but in the record ([`Meta`]), so that
//! setting and clearing it are each one store too. Large blobs have room for an expiry from the start: giving one to
//! a value of megabytes must not copy it.

use super::dash::layout::Record;
use super::entry::{Encoding, Kind};
use super::error::StoreError;
use super::medium::{Reader, Writer};

/// Key and value lengths up to these fit the first word.
const KEY_NARROW_MAX: usize = (1 << 12) - 1;
const VALUE_NARROW_MAX: usize = (1 << 20) - 1;

/// Values at least this long get room for an expiry even if they have none.
const ROOM_VALUE_MIN: usize = 512;

const CLOCK_MASK: u64 = (1 << 24) - 1;
const ROOM: u64 = 1 << 30;
const WIDE: u64 = 1 << 31;
/// With [`WIDE`]: the lean header.
const LEAN: u64 = 7 << 27;

/// Bytes of an integer.
const INT_BYTES: usize = 8;

/// Longer keys than this have no lean header.
const KEY_LEAN_MAX: usize = (1 << 24) - 1;
/// Longer ones than this have no short header.
const KEY_SHORT_MAX: usize = u8::MAX as usize;

/// Meta bit of a member's record: the blob's header is the short one.
const SHORT: u8 = 1 << 4;

/// The meta bits of a record: `0` has an expiry, `1..4` kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) kind: Kind,
    pub(super) has_ttl: bool,
}

impl Meta {
    /// The bits.
    pub(super) fn bits(self) -> u8 {
        u8::from(self.has_ttl) | self.kind.code() << 1
    }
}

/// Whether the entry of a record has an expiry; needs no look at the blob.
#[inline]
pub(super) fn has_ttl(record: Record) -> bool {
    record.meta() & 1 == 1
}

/// Whether the blob of a record has the short header.
#[inline]
fn is_short(record: Record) -> bool {
    record.meta() & SHORT != 0
}

/// A blob, its header read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blob {
    at: u64,
    header: u64,
    key_len: usize,
    value_len: usize,
    key_at: u64,
}

impl Blob {
    /// Reads the header of a record's blob.
    #[inline]
    pub(super) fn of(reader: &Reader<'_>, record: Record) -> Blob {
        let at = record.blob();
        if is_short(record) {
            return Blob {
                at,
                header: WIDE | LEAN,
                key_len: (reader.load_header(at) & KEY_SHORT_MAX as u64) as usize,
                value_len: 0,
                key_at: at + 1,
            };
        }
        Blob::read(reader, at)
    }

    /// Reads the header of the blob at byte offset `at`, which is not a short one: that of an entry, or of a member
    /// that something else than a record refers to.
    #[inline]
    pub(super) fn read(reader: &Reader<'_>, at: u64) -> Blob {
        let header = reader.load_header(at);
        let mut key_at = at + 8;
        let (key_len, value_len) = if header & WIDE == 0 {
            (
                (header >> 32) as usize & KEY_NARROW_MAX,
                (header >> 44) as usize,
            )
        } else if header & LEAN == LEAN {
            return Blob {
                at,
                header,
                key_len: (header & CLOCK_MASK) as usize,
                value_len: 0,
                key_at: at + 4,
            };
        } else {
            let lengths = reader.load_header(key_at);
            key_at += 8;
            (lengths as u32 as usize, (lengths >> 32) as usize)
        };
        if header & ROOM != 0 {
            key_at += 8;
        }
        Blob {
            at,
            header,
            key_len,
            value_len,
            key_at,
        }
    }

    /// The key.
    #[inline]
    pub(super) fn key<'a>(&self, reader: &Reader<'a>) -> &'a [u8] {
        reader.bytes(self.key_at, self.key_len)
    }

    /// Whether the key is `key`.
    #[inline]
    pub(super) fn key_is(&self, reader: &Reader<'_>, key: &[u8]) -> bool {
        self.key_len == key.len() && is_same(self.key(reader), key)
    }

    /// The blob of a record, if its key is `key`.
    #[inline]
    pub(super) fn of_key(reader: &Reader<'_>, record: Record, key: &[u8]) -> Option<Blob> {
        let blob = Blob::of(reader, record);
        blob.key_is(reader, key).then_some(blob)
    }

    /// The bytes of the value.
    #[inline]
    pub(super) fn value<'a>(&self, reader: &Reader<'a>) -> &'a [u8] {
        reader.bytes(self.key_at + self.key_len as u64, self.value_len)
    }

    /// The value as a word (an integer, or the offset of a large collection).
    #[inline]
    pub(super) fn value_word(&self, reader: &Reader<'_>) -> u64 {
        self.value(reader).try_into().map_or(0, u64::from_le_bytes)
    }

    /// The value as an integer, if it is a string that is one.
    #[inline]
    pub(super) fn int(&self, reader: &Reader<'_>) -> i64 {
        match self.int_word() {
            Some(at) => reader.load_header(at) as i64,
            None => self
                .value(reader)
                .last_chunk()
                .map_or(0, |bytes| i64::from_le_bytes(*bytes)),
        }
    }

    /// Byte offset of the word that such a value is, if it is one.
    #[inline]
    pub(super) fn int_word(&self) -> Option<u64> {
        let end = self.key_at + (self.key_len + self.value_len) as u64;
        (self.value_len >= INT_BYTES && end.is_multiple_of(8)).then(|| end - INT_BYTES as u64)
    }

    /// The type of the value.
    #[inline]
    pub(super) fn kind(&self) -> Kind {
        Kind::from_code((self.header >> 24) as u8 & 7)
    }

    /// The representation of the value.
    #[inline]
    pub(super) fn encoding(&self) -> Encoding {
        Encoding::from_code(self.kind(), (self.header >> 27) as u8 & 7)
    }

    /// The access clock, 24 bits.
    #[inline]
    pub(super) fn clock(&self) -> u32 {
        (self.header & CLOCK_MASK) as u32
    }

    /// The meta bits that the record of this blob has, but for the expiry.
    pub(super) fn meta(&self, has_ttl: bool) -> Meta {
        Meta {
            kind: self.kind(),
            has_ttl,
        }
    }

    /// Bytes from the first to the last.
    pub(super) fn len(&self) -> u64 {
        self.key_at - self.at + (self.key_len + self.value_len) as u64
    }

    /// Byte offset of the word for the expiry, if there is room for one.
    pub(super) fn ttl_word(&self) -> Option<u64> {
        (self.header & ROOM != 0).then(|| self.key_at - 8)
    }

    /// The expiry, if the record says that it counts.
    #[inline]
    pub(super) fn ttl_at(&self, reader: &Reader<'_>, record: Record) -> Option<u64> {
        if !has_ttl(record) {
            return None;
        }
        self.ttl_word().map(|at| reader.load_header(at))
    }

    /// Stores the access clock.
    #[inline]
    pub(super) fn set_clock(&self, reader: &Reader<'_>, clock: u32) {
        let header = self.header & !CLOCK_MASK | u64::from(clock) & CLOCK_MASK;
        if header != self.header {
            reader.store_hint(self.at, header);
        }
    }
}

/// Whether two keys are the same. Most have 8 to 32 bytes: of those the first and the last words, which overlap, take less
/// than a call that finds out how to compare so few.
#[inline]
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    /// The first and the last `N` bytes of both.
    #[inline(always)]
    fn ends<const N: usize>(a: &[u8], b: &[u8]) -> Option<[[u8; N]; 4]> {
        let head = (*a.first_chunk()?, *b.first_chunk()?);
        let tail = (*a.last_chunk()?, *b.last_chunk()?);
        Some([head.0, head.1, tail.0, tail.1])
    }
    match a.len() {
        len if len != b.len() => false,
        8..=16 => ends(a, b).is_some_and(|ends| {
            let [a0, b0, a1, b1] = ends.map(u64::from_le_bytes);
            (a0 ^ b0) | (a1 ^ b1) == 0
        }),
        17..=32 => ends(a, b).is_some_and(|ends| {
            let [a0, b0, a1, b1] = ends.map(u128::from_le_bytes);
            (a0 ^ b0) | (a1 ^ b1) == 0
        }),
        _ => a == b,
    }
}

/// Writes the blob of a member without a value, with the smallest header there is for its name, and makes the record
/// for it.
pub(super) fn write_lean(writer: &mut Writer<'_, '_>, key: &[u8]) -> Result<Record, StoreError> {
    if let Ok(len) = u8::try_from(key.len()) {
        let at = writer.alloc(1 + key.len())?;
        writer.fill_pieces(at, [&[len], key]);
        return Ok(Record::new(at, SHORT));
    }
    if key.len() > KEY_LEAN_MAX {
        let draft = Draft {
            kind: Kind::String,
            encoding: Encoding::Raw,
            clock: 0,
            ttl_at: None,
            key,
            value: b"",
        };
        return draft.write(writer);
    }
    let at = writer.alloc(4 + key.len())?;
    let header = (WIDE | LEAN | key.len() as u64) as u32;
    writer.fill(at, &header.to_le_bytes());
    writer.fill(at + 4, key);
    Ok(Record::new(at, 0))
}

/// A blob to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'d> {
    pub(super) kind: Kind,
    pub(super) encoding: Encoding,
    pub(super) clock: u32,
    pub(super) ttl_at: Option<u64>,
    pub(super) key: &'d [u8],
    /// Of an integer the last eight bytes count.
    pub(super) value: &'d [u8],
}

impl Draft<'_> {
    /// Writes the blob to a fresh block and makes the record for it.
    #[inline]
    pub(super) fn write(&self, writer: &mut Writer<'_, '_>) -> Result<Record, StoreError> {
        let (zeros, value) = match self.encoding {
            Encoding::Int => {
                let zeros = self.key.len().wrapping_neg() % 8;
                let number = self.value.len().saturating_sub(INT_BYTES);
                (&[0; 7][..zeros], &self.value[number..])
            }
            _ => (&[][..], self.value),
        };
        let (key_len, value_len) = (self.key.len(), zeros.len() + value.len());
        let (Ok(key_len_u32), Ok(value_len_u32)) =
            (u32::try_from(key_len), u32::try_from(value_len))
        else {
            return Err(StoreError::OutOfSpace);
        };
        let wide = key_len > KEY_NARROW_MAX || value_len > VALUE_NARROW_MAX;
        let room = self.ttl_at.is_some() || value_len >= ROOM_VALUE_MIN;
        let mut first = u64::from(self.clock) & CLOCK_MASK
            | u64::from(self.kind.code()) << 24
            | u64::from(self.encoding.code()) << 27;
        if room {
            first |= ROOM;
        }
        let mut lengths = [0; 8];
        if wide {
            first |= WIDE;
            let word = u64::from(key_len_u32) | u64::from(value_len_u32) << 32;
            lengths = word.to_le_bytes();
        } else {
            first |= (key_len as u64) << 32 | (value_len as u64) << 44;
        }
        let ttl = self.ttl_at.unwrap_or(0).to_le_bytes();
        let lengths = &lengths[..8 * usize::from(wide)];
        let ttl = &ttl[..8 * usize::from(room)];
        let at = writer.alloc(8 + lengths.len() + ttl.len() + key_len + value_len)?;
        let head = first.to_le_bytes();
        if lengths.len() + ttl.len() + zeros.len() == 0 {
            writer.fill_pieces(at, [&head, self.key, value]);
        } else {
            writer.fill_pieces(at, [&head, lengths, ttl, self.key, zeros, value]);
        }
        Ok(Record::new(
            at,
            Meta {
                kind: self.kind,
                has_ttl: self.ttl_at.is_some(),
            }
            .bits(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn keys_of_any_length_are_compared_to_the_last_byte() {
        for len in 0..80 {
            let key: Vec<u8> = (0..len).collect();
            assert!(is_same(&key, &key.clone()));
            assert!(!is_same(&key, &[&key[..], b"x"].concat()));
            for at in 0..key.len() {
                let mut other = key.clone();
                other[at] ^= 0x80;
                assert!(!is_same(&key, &other), "byte {at} of {len}");
            }
        }
    }
}
