//! Function libraries, as an RDB file, FUNCTION DUMP and the pool's catalogue spell them.
//!
//! ```text
//! 245 . string (the library's code)                                     as of 7.0
//! 246 . string name . string engine . length . [string] . string code   7.0 rc1 and rc2, only read
//! ```

use super::cursor::Cursor;
use super::length::Length;
use super::string::Compression;
use super::{length, string};
use eagle_core::text::c_string::c_string;
use std::borrow::Cow;

/// The byte before a library.
pub const OPCODE: u8 = 245;
/// The byte before a library of a release candidate.
pub const OPCODE_OLD: u8 = 246;

/// Appends one library.
pub fn write(out: &mut Vec<u8>, code: &[u8], compression: Compression) {
    out.push(OPCODE);
    string::write(out, code, compression);
}

/// The code of a library behind the byte `opcode`; the error is what FUNCTION RESTORE replies.
pub fn read<'a>(opcode: u8, cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, &'static str> {
    if opcode == OPCODE {
        return string::read(cursor).map_err(|_| "Failed loading library payload");
    }
    let name = string::read(cursor).map_err(|_| "Failed loading library name")?;
    let engine = string::read(cursor).map_err(|_| "Failed loading engine name")?;
    let described =
        length::read(cursor).map_err(|_| "Failed loading library description indicator")?;
    // Redis takes the marker of a special form for a number here.
    if !matches!(described, Length::Plain(0) | Length::Special(0)) {
        string::read(cursor).map_err(|_| "Failed loading library description")?;
    }
    let code = string::read(cursor).map_err(|_| "Failed loading library blob")?;
    // Redis puts them together as C strings.
    let [engine, name, code] = [&engine, &name, &code].map(|part| c_string(part));
    let parts = [b"#!", engine, b" name=", name, b"\n", code];
    Ok(Cow::Owned(parts.concat()))
}

/// The codes of libraries that stand one after the other, each read as it is asked for, up to the first that can't be:
/// that error is what FUNCTION RESTORE replies.
///
/// No library begins in the last `footer` bytes; but as in Redis, the damaged length of one may reach into them.
pub fn each(
    bytes: &[u8],
    footer: usize,
) -> impl Iterator<Item = Result<Cow<'_, [u8]>, &'static str>> {
    let mut cursor = Cursor::new(bytes);
    let mut is_damaged = false;
    std::iter::from_fn(move || {
        if is_damaged || cursor.remaining() <= footer {
            return None;
        }
        let code = next(&mut cursor);
        is_damaged = code.is_err();
        Some(code)
    })
}

fn next<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, &'static str> {
    let opcode = cursor.byte().map_err(|_| "can not read data type")?;
    if opcode != OPCODE && opcode != OPCODE_OLD {
        return Err("given type is not a function");
    }
    read(opcode, cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, &'static str> {
        each(bytes, 0).collect()
    }

    #[test]
    fn libraries_of_both_kinds_are_read() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"#!lua name=a\ncode", Compression::Lzf);
        bytes.extend(b"\xf6\x01b\x03lua\x01\x04text\x03end");
        let codes = read_all(&bytes).unwrap();
        assert_eq!(*codes[0], *b"#!lua name=a\ncode");
        assert_eq!(*codes[1], *b"#!lua name=b\nend");
        assert_eq!(read_all(b"\x00"), Err("given type is not a function"));
        for cut in 1..bytes.len() {
            // A cut between the libraries leaves one.
            let whole = cut == 2 + b"#!lua name=a\ncode".len();
            assert_eq!(read_all(&bytes[..cut]).is_ok(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn damage_is_told_after_the_libraries_before_it_and_ends_the_reading() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"first", Compression::Off);
        bytes.extend(b"\x00\xf5\x01x");
        let codes: Vec<_> = each(&bytes, 0).collect();
        let first = Ok(Cow::Borrowed(&b"first"[..]));
        assert_eq!(codes, [first, Err("given type is not a function")]);
    }

    #[test]
    fn a_damaged_length_reaches_into_the_footer() {
        let codes: Vec<_> = each(b"\xf5\x03a12", 2).collect();
        assert_eq!(codes, [Ok(Cow::Borrowed(&b"a12"[..]))]);
        assert_eq!(each(b"12", 2).count(), 0);
    }

    #[test]
    fn what_release_candidates_wrote_is_cut_at_zero_bytes() {
        let codes = read_all(b"\xf6\x03b\0c\x03lua\x00\x05end\0x").unwrap();
        assert_eq!(*codes[0], *b"#!lua name=b\nend");
    }
}
