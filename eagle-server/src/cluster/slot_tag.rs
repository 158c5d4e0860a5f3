//! For every hash slot a word that hashes to it: the shortest of ASCII letters and digits, and the first of these. In
//! braces it makes a key, or a cursor, belong to the slot.

use super::SLOT_COUNT;
use eagle_core::store::key_slot;
use std::sync::OnceLock;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// No word is longer.
const BYTES_MAX: usize = 4;

#[derive(Clone, Copy, Default)]
struct Tag {
    bytes: [u8; BYTES_MAX],
    len: u8,
}

/// The word of `slot`.
pub fn slot_tag(slot: u16) -> &'static str {
    static TAGS: OnceLock<Box<[Tag]>> = OnceLock::new();
    let tag = &TAGS.get_or_init(find_all)[usize::from(slot)];
    std::str::from_utf8(&tag.bytes[..usize::from(tag.len)]).unwrap_or_default()
}

fn find_all() -> Box<[Tag]> {
    let mut tags = vec![Tag::default(); usize::from(SLOT_COUNT)];
    let mut missing = tags.len();
    for len in 1..=BYTES_MAX {
        for number in 0..ALPHABET.len().pow(len as u32) {
            if missing == 0 {
                break;
            }
            let mut word = [0; BYTES_MAX];
            let mut rest = number;
            for byte in word[..len].iter_mut().rev() {
                *byte = ALPHABET[rest % ALPHABET.len()];
                rest /= ALPHABET.len();
            }
            let tag = &mut tags[usize::from(key_slot(&word[..len]))];
            if tag.len == 0 {
                *tag = Tag {
                    bytes: word,
                    len: len as u8,
                };
                missing -= 1;
            }
        }
    }
    tags.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_its_word() {
        for slot in 0..SLOT_COUNT {
            let tag = slot_tag(slot);
            assert!(!tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert_eq!(key_slot(format!("0-{{{tag}}}-0").as_bytes()), slot);
        }
    }
}
