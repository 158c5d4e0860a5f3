//! Byte strings as C sees them.

/// What C takes for the string that begins here: it ends before the first zero.
pub fn c_string(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_ends_it() {
        for (bytes, text) in [
            (&b"a\0b\0"[..], &b"a"[..]),
            (b"\0a", b""),
            (b"ab", b"ab"),
            (b"", b""),
        ] {
            assert_eq!(c_string(bytes), text);
        }
    }
}
