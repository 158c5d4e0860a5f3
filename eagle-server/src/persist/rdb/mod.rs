//! RDB encodings as pure functions over byte slices: read every version up to 10, write 10.
//!
//! Layers, lowest first: `cursor` (bounded reading), `length`, `lzf`, `packed_string`, `string`, `double` (primitives),
//! `listpack`, `ziplist`, `zipmap`, `intset` (packed blobs inside strings), `value` (a whole value
//! behind its type byte), `dump` (the envelope of DUMP and RESTORE). Beside them `keyspace`, which writes the
//! values of keys and stores what was read, and `writer` and `reader` of whole files.

pub mod crc64;
pub mod cursor;
pub mod double;
pub mod dump;
pub mod element;
pub mod error;
pub mod function;
pub mod integer;
pub mod intset;
pub mod keyspace;
pub mod length;
pub mod list;
pub mod listpack;
pub mod lzf;
pub mod packed_string;
pub mod reader;
pub mod stream;
pub mod string;
pub mod timed_hash;
pub mod value;
pub mod writer;
pub mod ziplist;
pub mod zipmap;
mod zset;

pub use error::DecodeError;
pub use string::Compression;
pub use value::{HashForm, PackedHashLimits, Value};

/// The format version written, that of Redis 7.0, wherever it has a form for the value.
pub const VERSION: u16 = 10;

/// The version of values that 7.0 has no form for: hashes whose fields expire. Also the newest one read.
pub const VERSION_TIMED: u16 = 12;
