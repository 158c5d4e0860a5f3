//! The values that BY and GET name: `weight_*`, `object_*->field`, or `#` for the element itself.
//!
//! A long string lies in chunks. Where its bytes are wanted one after the other, as in a reply or a comparison, they are
//! read there and not joined: many elements may have such values.

use super::number;
use crate::command::context::Context;
use crate::command::lookup::write_string;
use eagle_core::store::StringValue;
use eagle_core::text::c_string::c_string;
use std::borrow::Cow;
use std::cmp::Ordering;

/// Bytes of a long string that are looked at at once.
const PART_BYTES: u64 = 16 << 10;

/// What a pattern stands for.
pub(super) enum Found<'a> {
    Bytes(Cow<'a, [u8]>),
    /// The string at this key, which lies in chunks.
    Long(Vec<u8>),
}

/// Replies the value that `pattern` gives for `element`; null if there is none of the right type.
pub(super) fn reply(cx: &mut Context<'_>, pattern: &[u8], element: &[u8]) {
    if pattern == b"#" {
        return cx.out.bulk(element);
    }
    match look_up(cx, pattern, element) {
        None => cx.out.null(),
        Some(Found::Bytes(bytes)) => cx.out.bulk(bytes),
        Some(Found::Long(key)) => {
            let (db, out) = (cx.db(), &mut *cx.out);
            let written = cx
                .view
                .with_string(db, &key, |string| write_string(out, string));
            if !matches!(written, Ok(Some(()))) {
                cx.out.null();
            }
        }
    }
}

/// The value that `pattern` gives for `element`, to be an element of a list. What a list is made of lies in one piece,
/// so that a long string has to be joined for it.
pub(super) fn value<'t, 'a: 't>(
    cx: &Context<'a>,
    pattern: &[u8],
    element: &'t [u8],
) -> Option<Cow<'t, [u8]>> {
    if pattern == b"#" {
        return Some(Cow::Borrowed(element));
    }
    match look_up(cx, pattern, element)? {
        Found::Bytes(bytes) => Some(bytes),
        Found::Long(key) => {
            let found = cx.view.string(cx.db(), &key).ok()?;
            found.map(StringValue::into_cow)
        }
    }
}

/// The value of the key, or of the field, that `pattern` names.
///
/// The keys lie anywhere: all slots are locked where a pattern has a star.
pub(super) fn look_up<'a>(cx: &Context<'a>, pattern: &[u8], element: &[u8]) -> Option<Found<'a>> {
    let (key, field) = names(pattern, element)?;
    let db = cx.db();
    match field {
        None => {
            let found = cx.view.with_string(db, &key, |string| string.text());
            cx.note_lookup(!matches!(found, Ok(None)));
            Some(match found.ok()?? {
                Some(text) => Found::Bytes(text.to_cow()),
                None => Found::Long(key),
            })
        }
        Some(field) => {
            let found = cx.view.hash(db, &key);
            cx.note_lookup(!matches!(found, Ok(None)));
            let value = found.ok().flatten()?.get(field)?;
            Some(Found::Bytes(Cow::Borrowed(value)))
        }
    }
}

impl Found<'_> {
    /// The number that it is, as C reads it.
    pub(super) fn number(&self, cx: &Context<'_>) -> Option<f64> {
        let key = match self {
            Found::Bytes(bytes) => return number(bytes),
            Found::Long(key) => key,
        };
        // Hardly any long string is a number, and most show that soon.
        let mut text = Vec::new();
        for at in (0..).step_by(PART_BYTES as usize) {
            let part = part_of(cx, key, at);
            let part = c_string(&part);
            if !part.iter().all(|byte| is_in_numbers(*byte)) {
                return None;
            }
            text.extend_from_slice(part);
            if (part.len() as u64) < PART_BYTES {
                break;
            }
        }
        number(&text)
    }

    /// The order of two of them, as C strings or with all their bytes.
    pub(super) fn compare(&self, cx: &Context<'_>, other: &Found<'_>, as_c: bool) -> Ordering {
        if let (Found::Bytes(a), Found::Bytes(b)) = (self, other) {
            return cut(a, as_c).cmp(cut(b, as_c));
        }
        for at in (0..).step_by(PART_BYTES as usize) {
            let (a, b) = (self.part(cx, at), other.part(cx, at));
            let (a, b) = (cut(&a, as_c), cut(&b, as_c));
            let order = a.cmp(b);
            if order != Ordering::Equal || (a.len() as u64) < PART_BYTES {
                return order;
            }
        }
        Ordering::Equal
    }

    /// The bytes from a position on, [`PART_BYTES`] if there are so many.
    fn part(&self, cx: &Context<'_>, at: u64) -> Cow<'_, [u8]> {
        match self {
            Found::Bytes(bytes) => {
                let len = bytes.len() as u64;
                let range = at.min(len) as usize..(at + PART_BYTES).min(len) as usize;
                Cow::Borrowed(&bytes[range])
            }
            Found::Long(key) => Cow::Owned(part_of(cx, key, at)),
        }
    }
}

fn cut(bytes: &[u8], as_c: bool) -> &[u8] {
    if as_c { c_string(bytes) } else { bytes }
}

fn part_of(cx: &Context<'_>, key: &[u8], at: u64) -> Vec<u8> {
    let part = cx.view.string_part(cx.db(), key, at..at + PART_BYTES);
    part.ok().flatten().unwrap_or_default()
}

/// Whether a byte occurs in anything that C reads as a number, with what may stand before it.
fn is_in_numbers(byte: u8) -> bool {
    let is_spelled = b"+-.xpinty".contains(&byte.to_ascii_lowercase());
    byte.is_ascii_hexdigit() || is_spelled || matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The key, and the field if one is named, that a pattern stands for: its first star is the element.
fn names<'p>(pattern: &'p [u8], element: &[u8]) -> Option<(Vec<u8>, Option<&'p [u8]>)> {
    let star = pattern.iter().position(|byte| *byte == b'*')?;
    let (prefix, rest) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = rest.windows(2).position(|pair| pair == b"->");
    let (postfix, field) = match arrow {
        Some(at) if at + 2 < rest.len() => (&rest[..at], Some(&rest[at + 2..])),
        _ => (rest, None),
    };
    Some(([prefix, element, postfix].concat(), field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_a_key_and_perhaps_a_field() {
        let shown = |pattern: &str| {
            let (key, field) = names(pattern.as_bytes(), b"5")?;
            let field = field.map_or("-", |field| std::str::from_utf8(field).unwrap());
            Some(format!("{} {field}", String::from_utf8(key).unwrap()))
        };
        assert_eq!(shown("w_*").as_deref(), Some("w_5 -"));
        assert_eq!(shown("*").as_deref(), Some("5 -"));
        assert_eq!(shown("a*b*c").as_deref(), Some("a5b*c -"));
        assert_eq!(shown("h_*->f").as_deref(), Some("h_5 f"));
        assert_eq!(shown("h_*_x->f->g").as_deref(), Some("h_5_x f->g"));
        assert_eq!(shown("h_*->").as_deref(), Some("h_5-> -"));
        assert_eq!(shown("h->f_*").as_deref(), Some("h->f_5 -"));
        assert_eq!(shown("fixed"), None);
    }

    #[test]
    fn all_that_is_read_as_a_number_is_made_of_the_bytes_of_numbers() {
        for text in ["-0x1.8P-3", "+INFINITY", " \t12e+5", "inf", "1E5", "\x0b7"] {
            assert!(number(text.as_bytes()).is_some(), "{text}");
            assert!(text.bytes().all(is_in_numbers), "{text}");
        }
        assert!(!is_in_numbers(b'z') && !is_in_numbers(b':') && !is_in_numbers(b'\n' - 2));
    }
}
