//! Lists: read in every form, written as quicklists (type 18).
//!
//! ```text
//!  1  count, string element
//! 10  string with a ziplist
//! 14  count, string with a ziplist
//! 18  count, container (1: one element by itself, 2: packed), string (the element, or a listpack)
//! ```
//!
//! Redis writes its nodes as they lie in memory. Here lists lie otherwise, so nodes are made for writing, as they would
//! be if the elements were pushed at the tail one after another.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::string::{self, Compression};
use super::value::{listpack_strings, unpack, ziplist_strings};
use super::{DecodeError, length, listpack};

pub(super) const LIST: u8 = 1;
pub(super) const LIST_ZIPLIST: u8 = 10;
pub(super) const LIST_QUICKLIST: u8 = 14;
pub(super) const LIST_QUICKLIST_2: u8 = 18;

const PLAIN: u64 = 1;
const PACKED: u64 = 2;

type Elements<'a> = Vec<Cow<'a, [u8]>>;

/// Reads a list behind its type byte: the elements, of which there is at least one.
pub(super) fn read<'a>(kind: u8, cursor: &mut Cursor<'a>) -> Result<Elements<'a>, DecodeError> {
    const ELEMENT_BYTES_MIN: usize = 1;
    let mut elements = Vec::new();
    if kind == LIST_ZIPLIST {
        elements = unpack(string::read(cursor)?, ziplist_strings)?;
    } else {
        let count = length::read_count(cursor, ELEMENT_BYTES_MIN)?;
        for _ in 0..count {
            match kind {
                LIST => elements.push(string::read(cursor)?),
                LIST_QUICKLIST => elements.extend(unpack(string::read(cursor)?, ziplist_strings)?),
                _ => match length::read_plain(cursor)? {
                    PLAIN => {
                        let element = string::read(cursor)?;
                        if element.is_empty() {
                            return Err(DecodeError::Corrupt("list node without bytes"));
                        }
                        elements.push(element);
                    }
                    PACKED => elements.extend(unpack(string::read(cursor)?, listpack_strings)?),
                    _ => return Err(DecodeError::Corrupt("list node of an unknown container")),
                },
            }
        }
    }
    if elements.is_empty() {
        return Err(DecodeError::EmptyCollection);
    }
    Ok(elements)
}

/// How elements are grouped into nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// `list-max-listpack-size`: elements, or if negative one of five sizes.
    pub fill: i32,
    /// Elements this long have a node of their own (DEBUG QUICKLIST-PACKED-THRESHOLD).
    pub plain_bytes_min: usize,
}

impl NodeLimits {
    /// Whether a node of `elements` and `bytes` takes another element of `len` bytes.
    fn admit(&self, elements: usize, bytes: usize, len: usize) -> bool {
        const SIZES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];
        const SAFE_BYTES_MAX: usize = 8192;
        const ELEMENT_OVERHEAD_BYTES: usize = 8;
        let bytes = bytes + len + ELEMENT_OVERHEAD_BYTES;
        match usize::try_from(self.fill) {
            Ok(fill) => bytes <= SAFE_BYTES_MAX && elements < fill,
            Err(_) => {
                let size = self.fill.unsigned_abs() as usize;
                bytes <= SIZES[size.min(SIZES.len()) - 1]
            }
        }
    }
}

/// Appends a list with its type byte.
pub fn write<'e>(
    out: &mut Vec<u8>,
    elements: impl Iterator<Item = &'e [u8]>,
    limits: NodeLimits,
    compression: Compression,
) {
    let mut nodes = 0;
    let mut packed = listpack::Writer::default();
    let mut end = |out: &mut Vec<u8>, container, bytes: &[u8]| {
        nodes += 1;
        length::write(out, container);
        string::write(out, bytes, compression);
    };
    out.push(LIST_QUICKLIST_2);
    // How many nodes there are is known behind them.
    let start = out.len();
    out.resize(start + length::BYTES_MAX, 0);
    for element in elements {
        let is_plain = element.len() >= limits.plain_bytes_min;
        let fits = !is_plain && limits.admit(packed.len(), packed.bytes(), element.len());
        if !fits && !packed.is_empty() {
            end(out, PACKED, &std::mem::take(&mut packed).finish());
        }
        if is_plain {
            end(out, PLAIN, element);
        } else {
            packed.push(element);
        }
    }
    if !packed.is_empty() {
        end(out, PACKED, &packed.finish());
    }
    let mut count = Vec::with_capacity(length::BYTES_MAX);
    length::write(&mut count, nodes);
    out[start..][..count.len()].copy_from_slice(&count);
    out.drain(start + count.len()..start + length::BYTES_MAX);
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;

    const LIMITS: NodeLimits = NodeLimits {
        fill: 2,
        plain_bytes_min: 5,
    };

    fn read_back(bytes: &[u8]) -> Result<Vec<Vec<u8>>, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        match Value::read(&mut cursor)? {
            Value::List(elements) if cursor.is_empty() => {
                Ok(elements.into_iter().map(Cow::into_owned).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nodes_are_filled_and_long_elements_stand_alone() {
        let elements = [&b"a"[..], b"17", b"c", b"longer", b"d"];
        let mut out = Vec::new();
        write(&mut out, elements.into_iter(), LIMITS, Compression::Off);
        assert_eq!(out[..2], [LIST_QUICKLIST_2, 4]);
        assert_eq!(read_back(&out).unwrap(), elements);
    }

    #[test]
    fn older_forms_are_read() {
        assert_eq!(
            read_back(b"\x01\x02\x01a\xc0\x05").unwrap(),
            [&b"a"[..], b"5"]
        );
        let ziplist = super::super::ziplist::tests::blob_of(&[vec![0xf6]]);
        for kind in [LIST_ZIPLIST, LIST_QUICKLIST] {
            let mut out = vec![kind];
            if kind == LIST_QUICKLIST {
                out.push(1);
            }
            string::write(&mut out, &ziplist, Compression::Off);
            assert_eq!(read_back(&out).unwrap(), [b"5"]);
        }
    }

    #[test]
    fn an_empty_list_and_a_strange_container_are_refused() {
        assert_eq!(read_back(b"\x01\x00"), Err(DecodeError::EmptyCollection));
        for damaged in [&b"\x12\x01\x03\x01a"[..], b"\x12\x01\x01\x00"] {
            let refused = read_back(damaged);
            assert!(
                matches!(refused, Err(DecodeError::Corrupt(_))),
                "{damaged:?}"
            );
        }
    }
}
