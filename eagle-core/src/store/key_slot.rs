//! The hash slot of a key.
//!
//! Most keys have no hash tag; for those CRC16 is computed eight bytes at a time: the table `TABLES[k]` tells what a
//! byte with `k` zero bytes behind it contributes, and the contributions of eight bytes add up.

use super::SLOTS;

/// Of the variant called XMODEM.
const POLYNOMIAL: u16 = 0x1021;

static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = crc << 1 ^ if crc >> 15 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc: u16 = tables[zeros - 1][byte];
            tables[zeros][byte] = crc << 8 ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// The hash slot of a key: CRC16 (XMODEM) of the key, or of its hash tag (the bytes between the first
/// `{` and the next `}`, if there are any), modulo 16384.
#[inline]
pub fn key_slot(key: &[u8]) -> u16 {
    match crc_without_brace(key) {
        Some(crc) => crc % SLOTS as u16,
        None => slot_of_tagged(key),
    }
}

#[cold]
fn slot_of_tagged(key: &[u8]) -> u16 {
    let tag = memchr::memchr(b'{', key).and_then(|open| {
        let rest = &key[open + 1..];
        memchr::memchr(b'}', rest)
            .filter(|&len| len > 0)
            .map(|len| &rest[..len])
    });
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key)) % SLOTS as u16
}

/// The CRC of `key`; `None` if there is a `{` in it.
#[inline]
fn crc_without_brace(key: &[u8]) -> Option<u16> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const BRACES: u64 = ONES * b'{' as u64;
    let mut crc = 0;
    let (words, rest) = key.as_chunks::<8>();
    for word in words {
        // Some byte of the difference is zero if there is a brace.
        let difference = u64::from_le_bytes(*word) ^ BRACES;
        if difference.wrapping_sub(ONES) & !difference & (0x80 * ONES) != 0 {
            return None;
        }
        crc = after_word(crc, word);
    }
    for byte in rest {
        if *byte == b'{' {
            return None;
        }
        crc = after_byte(crc, *byte);
    }
    Some(crc)
}

#[inline]
fn after_word(crc: u16, word: &[u8; 8]) -> u16 {
    let [high, low] = crc.to_be_bytes();
    TABLES[7][usize::from(word[0] ^ high)]
        ^ TABLES[6][usize::from(word[1] ^ low)]
        ^ TABLES[5][usize::from(word[2])]
        ^ TABLES[4][usize::from(word[3])]
        ^ TABLES[3][usize::from(word[4])]
        ^ TABLES[2][usize::from(word[5])]
        ^ TABLES[1][usize::from(word[6])]
        ^ TABLES[0][usize::from(word[7])]
}

#[inline]
fn after_byte(crc: u16, byte: u8) -> u16 {
    crc << 8 ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots_follow_the_hash_tag_rule() {
        assert_eq!(key_slot(b"foo"), 12182);
        assert_eq!(key_slot(b"123456789"), 12739);
        assert_eq!(
            key_slot(b"{user1000}.following"),
            key_slot(b"{user1000}.followers")
        );
        assert_eq!(key_slot(b"foo{}{bar}"), key_slot(b"foo{}{bar}"));
        assert_ne!(key_slot(b"foo{}{bar}"), key_slot(b"bar"));
        assert_eq!(key_slot(b"foo{{bar}}zap"), key_slot(b"{bar"));
        assert_eq!(key_slot(b"foo{bar}{zap}"), key_slot(b"bar"));
        assert_eq!(key_slot(b""), 0);
    }

    /// The rule, byte by byte.
    fn slowly(key: &[u8]) -> u16 {
        let open = key.iter().position(|byte| *byte == b'{');
        let tag = open.and_then(|open| {
            let rest = &key[open + 1..];
            let len = rest.iter().position(|byte| *byte == b'}')?;
            (len > 0).then(|| &rest[..len])
        });
        crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key)) % SLOTS as u16
    }

    proptest! {
        #[test]
        fn slots_are_those_of_the_rule(
            key in prop::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), any::<u8>()], 0..40),
        ) {
            prop_assert_eq!(key_slot(&key), slowly(&key));
        }
    }
}
