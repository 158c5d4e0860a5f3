//! Patterns: never a panic, and what is quoted matches itself.
#![no_main]

use eagle_core::text::glob::{Case, is_literal, matches};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (pattern, text) = input;
    let sensitive = matches(pattern, text, Case::Sensitive);
    if is_literal(pattern) {
        assert_eq!(sensitive, pattern == text);
    }
    matches(pattern, text, Case::Insensitive);
    let escaped: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
    assert!(matches(&escaped, text, Case::Sensitive));
    if !text.is_empty() {
        assert!(matches(
            &[b"*", &escaped[..], b"*"].concat(),
            text,
            Case::Insensitive
        ));
    }
});
