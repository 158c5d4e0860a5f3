//! The values that BY and GET name: `weight_*`, `object_*->field`, or `#` for the element itself.

use crate::command::context::Context;
use eagle_core::store::StringValue;
use std::borrow::Cow;

/// The value that `pattern` gives for `element`; nothing if there is none of the right type.
pub(super) fn value<'t, 'a: 't>(
    cx: &Context<'a>,
    pattern: &[u8],
    element: &'t [u8],
) -> Option<Cow<'t, [u8]>> {
    if pattern == b"#" {
        return Some(Cow::Borrowed(element));
    }
    look_up(cx, pattern, element)
}

/// The value of the key, or of the field, that `pattern` names.
///
/// The keys lie anywhere: all slots are locked where a pattern has a star.
pub(super) fn look_up<'a>(
    cx: &Context<'a>,
    pattern: &[u8],
    element: &[u8],
) -> Option<Cow<'a, [u8]>> {
    let (key, field) = names(pattern, element)?;
    let db = cx.db();
    match field {
        None => {
            let found = cx.view.string(db, &key);
            cx.note_lookup(!matches!(found, Ok(None)));
            found.ok().flatten().map(StringValue::into_cow)
        }
        Some(field) => {
            let found = cx.view.hash(db, &key);
            cx.note_lookup(!matches!(found, Ok(None)));
            found.ok().flatten()?.get(field).map(Cow::Borrowed)
        }
    }
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
}
