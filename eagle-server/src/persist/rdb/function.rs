//! Function libraries, as an RDB file, FUNCTION DUMP and the pool's catalogue spell them.
//!
//! ```text
//! 245 . string (the library's code)                                     as of 7.0
//! 246 . string name . string engine . length . [string] . string code   7.0 rc1 and rc2, only read
//! ```

use super::cursor::Cursor;
use super::string::Compression;
use super::{length, string};
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
        length::read_plain(cursor).map_err(|_| "Failed loading library description indicator")?;
    if described != 0 {
        string::read(cursor).map_err(|_| "Failed loading library description")?;
    }
    let code = string::read(cursor).map_err(|_| "Failed loading library blob")?;
    let parts: [&[u8]; 6] = [b"#!", &engine, b" name=", &name, b"\n", &code];
    Ok(Cow::Owned(parts.concat()))
}

/// The codes of libraries one after the other; the error is what FUNCTION RESTORE replies.
pub fn read_all(bytes: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, &'static str> {
    let mut cursor = Cursor::new(bytes);
    let mut codes = Vec::new();
    while !cursor.is_empty() {
        let opcode = cursor.byte().map_err(|_| "can not read data type")?;
        if opcode != OPCODE && opcode != OPCODE_OLD {
            return Err("given type is not a function");
        }
        codes.push(read(opcode, &mut cursor)?);
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
