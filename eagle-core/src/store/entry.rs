//! What a key holds, as readers see it.

use std::borrow::Cow;

use crate::text::integer::{decimal_len, parse_i64};

/// The type of a value, as `TYPE` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    String,
    Hash,
    List,
    Set,
    Zset,
    Stream,
}

impl Kind {
    /// All types, in the order of their numbers.
    pub const ALL: [Kind; 6] = [
        Kind::String,
        Kind::Hash,
        Kind::List,
        Kind::Set,
        Kind::Zset,
        Kind::Stream,
    ];

    /// The number that stands for the type on the medium.
    pub(super) fn code(self) -> u8 {
        match self {
            Kind::String => 0,
            Kind::Hash => 1,
            Kind::List => 2,
            Kind::Set => 3,
            Kind::Zset => 4,
            Kind::Stream => 5,
        }
    }

    /// The type of a number; an unknown one reads as a string.
    pub(super) fn from_code(code: u8) -> Kind {
        match code {
            1 => Kind::Hash,
            2 => Kind::List,
            3 => Kind::Set,
            4 => Kind::Zset,
            5 => Kind::Stream,
            _ => Kind::String,
        }
    }
}

/// The representation of a value, as `OBJECT ENCODING` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A string that is a 64-bit integer.
    Int,
    /// A string of at most 44 bytes.
    Embstr,
    /// A longer string, or one that was modified in place.
    Raw,
    /// A small collection, packed and replaced whole.
    Listpack,
    /// A large hash or set: a table of its own.
    Hashtable,
    /// A small hash whose fields may expire, packed.
    ListpackEx,
    /// A large hash whose fields may expire. Those who ask for a key's encoding are told [`Encoding::Hashtable`].
    HashtableEx,
    /// A small set of integers, sorted and replaced whole.
    Intset,
    /// A large sorted set: a table of members and a tree of their order.
    Skiplist,
    /// A list; a large one is a tree of packed chunks.
    Quicklist,
    /// A stream.
    Stream,
    /// A long string of which parts have been changed: chunks. Clients know it as `raw`.
    Chunked,
}

impl Encoding {
    /// The number that stands for the representation on the medium.
    pub(super) fn code(self) -> u8 {
        match self {
            Encoding::Raw => 0,
            Encoding::Embstr => 1,
            Encoding::Int => 2,
            Encoding::Listpack => 3,
            Encoding::Hashtable => 4,
            Encoding::Intset | Encoding::ListpackEx => 5,
            Encoding::Skiplist | Encoding::Quicklist | Encoding::Stream | Encoding::Chunked => 6,
            Encoding::HashtableEx => 6,
        }
    }

    /// The representation of a number in a value of this type; an unknown one reads as `raw`.
    pub(super) fn from_code(kind: Kind, code: u8) -> Encoding {
        match (code, kind) {
            (1, _) => Encoding::Embstr,
            (2, _) => Encoding::Int,
            (3, _) => Encoding::Listpack,
            (4, _) => Encoding::Hashtable,
            (5, Kind::Hash) => Encoding::ListpackEx,
            (5, _) => Encoding::Intset,
            (6, Kind::Hash) => Encoding::HashtableEx,
            (6, Kind::Zset) => Encoding::Skiplist,
            (6, Kind::List) => Encoding::Quicklist,
            (6, Kind::Stream) => Encoding::Stream,
            (6, Kind::String) => Encoding::Chunked,
            _ => Encoding::Raw,
        }
    }

    /// The word `OBJECT ENCODING` answers.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Int => "int",
            Encoding::Embstr => "embstr",
            Encoding::Raw | Encoding::Chunked => "raw",
            Encoding::Listpack => "listpack",
            Encoding::Hashtable | Encoding::HashtableEx => "hashtable",
            Encoding::ListpackEx => "listpackex",
            Encoding::Intset => "intset",
            Encoding::Skiplist => "skiplist",
            Encoding::Quicklist => "quicklist",
            Encoding::Stream => "stream",
        }
    }
}

/// What becomes of a key's expiry when its value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// The old expiry stays (`SET ... KEEPTTL`, and every command that modifies a value).
    Keep,
    /// The key does not expire.
    Clear,
    /// The key expires at this Unix time, in milliseconds.
    At(u64),
}

/// What becomes of the expiry of a hash's field when its value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldTtl {
    /// The field does not expire (`HSET`).
    Clear,
    /// The old expiry stays (`HINCRBY`, `HSETEX ... KEEPTTL`).
    Keep,
    /// The field expires at this Unix time, in milliseconds; not zero.
    At(u64),
}

/// A field of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashField<'a> {
    /// The field's name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Unix time in milliseconds at which the field expires, if it does; not zero.
    pub ttl_at: Option<u64>,
}

impl HashField<'_> {
    /// Whether the field's time has come.
    #[inline]
    pub fn expired(&self, now_ms: u64) -> bool {
        self.ttl_at.is_some_and(|at| now_ms > at)
    }
}

/// How a string is to be stored, which `OBJECT ENCODING` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringForm {
    /// As `SET` does: `int` if the bytes are a canonical integer, else by length.
    Auto,
    /// By length (`embstr` or `raw`), never `int`.
    Plain,
    /// Always `raw`, as after `APPEND`, `SETRANGE`, `SETBIT`.
    Raw,
}

/// A string value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Text<'a> {
    /// Stored as a number; its text is the canonical decimal form.
    Int(i64),
    /// Stored as bytes.
    Bytes(&'a [u8]),
}

impl<'a> Text<'a> {
    /// The value as bytes; `buffer` holds the digits of an integer.
    pub fn as_bytes<'b>(&self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Text::Int(n) => buffer.format(n).as_bytes(),
            Text::Bytes(bytes) => bytes,
        }
    }

    /// The number that the text is the canonical form of, if there is one.
    pub fn integer(&self) -> Option<i64> {
        match *self {
            Text::Int(number) => Some(number),
            Text::Bytes(bytes) => parse_i64(bytes),
        }
    }

    /// The same text in one form: a number if it can be one.
    pub fn canonical(self) -> Text<'a> {
        self.integer().map_or(self, Text::Int)
    }

    /// The value as bytes, which only the digits of an integer are copied for.
    pub fn to_cow(&self) -> Cow<'a, [u8]> {
        match *self {
            Text::Int(number) => Cow::Owned(itoa::Buffer::new().format(number).into()),
            Text::Bytes(bytes) => Cow::Borrowed(bytes),
        }
    }

    /// Length in bytes of the text.
    pub fn len(&self) -> usize {
        match *self {
            Text::Int(n) => decimal_len(n),
            Text::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether the text has no bytes.
    pub fn is_empty(&self) -> bool {
        matches!(self, Text::Bytes(b""))
    }

    /// An owned copy of the text.
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_bytes(&mut itoa::Buffer::new()).to_vec()
    }
}

/// A string as a view answers it: as it lies in the pool, or copied together from chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringValue<'a> {
    /// One piece.
    Text(Text<'a>),
    /// Was chunks.
    Joined(Vec<u8>),
}

impl<'a> StringValue<'a> {
    /// The text.
    #[inline]
    pub fn text(&self) -> Text<'_> {
        match self {
            StringValue::Text(text) => *text,
            StringValue::Joined(bytes) => Text::Bytes(bytes),
        }
    }

    /// Length in bytes of the text.
    pub fn len(&self) -> usize {
        self.text().len()
    }

    /// Whether the text has no bytes.
    pub fn is_empty(&self) -> bool {
        self.text().is_empty()
    }

    /// The value as bytes; `buffer` holds the digits of an integer.
    pub fn as_bytes<'b>(&'b self, buffer: &'b mut itoa::Buffer) -> &'b [u8] {
        match self {
            StringValue::Text(Text::Int(number)) => buffer.format(*number).as_bytes(),
            StringValue::Text(Text::Bytes(bytes)) => bytes,
            StringValue::Joined(bytes) => bytes,
        }
    }

    /// The value as bytes, which only the digits of an integer are copied for.
    pub fn into_cow(self) -> Cow<'a, [u8]> {
        match self {
            StringValue::Text(text) => text.to_cow(),
            StringValue::Joined(bytes) => Cow::Owned(bytes),
        }
    }

    /// The bytes, owned.
    pub fn into_vec(self) -> Vec<u8> {
        self.into_cow().into_owned()
    }

    /// An owned copy of the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self.text().to_vec()
    }
}

/// A key and what is known of its value without reading the value.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) kind: Kind,
    pub(super) encoding: Encoding,
    pub(super) ttl_at: Option<u64>,
    pub(super) clock: u32,
    pub(super) bytes: u64,
}

impl<'a> Entry<'a> {
    /// The key.
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The type of the value.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The representation of the value.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Unix time in milliseconds at which the key expires, if it does.
    pub fn ttl_at(&self) -> Option<u64> {
        self.ttl_at
    }

    /// The 24-bit access clock (LRU or LFU, the caller's meaning), as last stored by
    /// [`View::touch`](super::View::touch).
    pub fn clock(&self) -> u32 {
        self.clock
    }

    /// Bytes of the pool that the entry itself occupies (a large collection's table not included).
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
