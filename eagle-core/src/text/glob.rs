//! Patterns for KEYS, SCAN, PSUBSCRIBE, ACL rules and CONFIG GET.
//!
//! `*` any bytes, `?` one byte, `[a-z]` one of a class, `[^a-z]` one outside it, `\` the next byte
//! as it is. A class that is not closed ends with the pattern. Ranges compare bytes as signed, as
//! Redis does where C's `char` is signed: `[a-\xff]` therefore holds -1 to 97.
//!
//! The work is bounded by pattern length times text length: whenever a later `*` is reached the
//! choice made at an earlier one can stay, since any text the later part matches, it matches there
//! too. So only the last `*` is ever tried again.

/// Whether upper and lower case ASCII letters differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// They do: keys and channels.
    Sensitive,
    /// They do not: names of commands and directives.
    Insensitive,
}

/// Whether `text` as a whole matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    // Redis looks at the pattern only while text is left, so that `*` does not match nothing.
    // Where a lone star shall mean all, as in KEYS and SCAN, the command says so.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // The pattern after the last star, and the text its next try begins at.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
        } else if t == text.len() {
            // Every element but a star takes one byte, so with text at its end only the pattern's
            // end matches, and no later try can do with less text.
            return p == pattern.len();
        } else if let Some(next) = element(&pattern[p..], text[t], case) {
            p += next;
            t += 1;
        } else if let Some((after_star, tried)) = retry {
            p = after_star;
            t = tried + 1;
            retry = Some((p, t));
        } else {
            return false;
        }
        // A star at the pattern's end takes all that is left.
        if p == pattern.len() && retry.is_some_and(|(after_star, _)| after_star == p) {
            return true;
        }
    }
}

/// Whether `pattern` has no byte with a meaning of its own, so that it matches only itself.
pub fn is_literal(pattern: &[u8]) -> bool {
    !pattern
        .iter()
        .any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// Matches one byte with the element at the beginning of `pattern`; returns the element's length.
fn element(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    let (len, matched) = match pattern {
        [] => return None,
        [b'?', ..] => (1, true),
        [b'[', ..] => class(pattern, byte, case),
        [b'\\', escaped, ..] => (2, equal(*escaped, byte, case)),
        [literal, ..] => (1, equal(*literal, byte, case)),
    };
    matched.then_some(len)
}

/// Matches one byte with the class at the beginning of `pattern`; returns the class's length.
fn class(pattern: &[u8], byte: u8, case: Case) -> (usize, bool) {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        match &pattern[at..] {
            [] => break,
            // An escaped byte keeps its case whatever `case` says, as in Redis.
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [from, b'-', to, ..] => {
                found |= in_range(*from, *to, byte, case);
                at += 3;
            }
            [one, ..] => {
                found |= equal(*one, byte, case);
                at += 1;
            }
        }
    }
    (at, found != negated)
}

fn in_range(from: u8, to: u8, byte: u8, case: Case) -> bool {
    // The ends are put in order before their case is folded, as in Redis: `[Z-a]` without case is
    // the empty range from z to a.
    let (low, high) = if (from as i8) <= (to as i8) {
        (from, to)
    } else {
        (to, from)
    };
    let (low, high, byte) = match case {
        Case::Sensitive => (low, high, byte),
        Case::Insensitive => (
            low.to_ascii_lowercase(),
            high.to_ascii_lowercase(),
            byte.to_ascii_lowercase(),
        ),
    };
    (low as i8..=high as i8).contains(&(byte as i8))
}

fn equal(pattern: u8, byte: u8, case: Case) -> bool {
    match case {
        Case::Sensitive => pattern == byte,
        Case::Insensitive => pattern.eq_ignore_ascii_case(&byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sensitive(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive)
    }

    #[test]
    fn elements() {
        assert!(sensitive("h?llo", "hello") && !sensitive("h?llo", "hllo"));
        assert!(sensitive("h*llo", "hllo") && sensitive("h*llo", "heeeello"));
        assert!(sensitive("h[ae]llo", "hallo") && !sensitive("h[ae]llo", "hillo"));
        assert!(sensitive("h[^e]llo", "hallo") && !sensitive("h[^e]llo", "hello"));
        assert!(sensitive("h[b-a]llo", "hallo") && !sensitive("h[a-b]llo", "hcllo"));
        assert!(sensitive("h\\*llo", "h*llo") && !sensitive("h\\*llo", "hello"));
        assert!(sensitive("[\\]]", "]") && sensitive("a[b", "ab") && sensitive("a\\", "a\\"));
        assert!(sensitive("a/*", "a/b/c"));
    }

    #[test]
    fn text_at_its_end() {
        assert!(sensitive("", "") && !sensitive("", "a"));
        // Measured on 7.0.15 with `**`: KEYS and SCAN do not match against a lone star at all.
        assert!(!sensitive("*", "") && !sensitive("**", ""));
        assert!(sensitive("a***", "a") && !sensitive("a*b", "a") && !sensitive("*?", ""));
    }

    #[test]
    fn case_is_folded_when_asked() {
        let insensitive = |pattern: &[u8], text: &[u8]| matches(pattern, text, Case::Insensitive);
        assert!(insensitive(b"MAX*", b"maxmemory") && insensitive(b"[A-C]", b"b"));
        assert!(!sensitive("MAX*", "maxmemory"));
        assert!(
            !insensitive(b"[\\A]", b"a"),
            "an escaped byte keeps its case"
        );
        assert!(
            !insensitive(b"[Z-a]", b"b"),
            "ends are ordered before folding"
        );
    }

    #[test]
    fn ranges_are_of_signed_bytes() {
        assert!(matches(b"[a-\xff]", b"\x00", Case::Sensitive));
        assert!(!matches(b"[a-\xff]", b"b", Case::Sensitive));
    }

    #[test]
    fn many_stars_stay_cheap() {
        let pattern = b"a*".repeat(5_000);
        let text = [vec![b'a'; 20_000], b"b".to_vec()].concat();
        assert!(matches(&pattern, &text, Case::Sensitive));
        let pattern = [pattern, b"c".to_vec()].concat();
        assert!(!matches(&pattern, &text, Case::Sensitive));
    }

    /// The textbook definition, exponential in the number of stars.
    fn model(pattern: &[u8], text: &[u8], case: Case) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|from| model(rest, &text[from..], case)),
            _ => {
                !text.is_empty()
                    && element(pattern, text[0], case)
                        .is_some_and(|len| model(&pattern[len..], &text[1..], case))
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab?*\\[\\]^\\\\-]{0,8}", text in "[abA\\]-]{1,7}") {
            for case in [Case::Sensitive, Case::Insensitive] {
                prop_assert_eq!(
                    matches(pattern.as_bytes(), text.as_bytes(), case),
                    model(pattern.as_bytes(), text.as_bytes(), case)
                );
            }
        }

        #[test]
        fn any_bytes_do(pattern: Vec<u8>, text: Vec<u8>) {
            matches(&pattern, &text, Case::Insensitive);
            if is_literal(&pattern) {
                prop_assert!(matches(&pattern, &pattern, Case::Sensitive));
            }
        }
    }
}
