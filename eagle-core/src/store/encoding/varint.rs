//! Numbers of seven bits a byte, low bits first; the top bit says that more follow.

/// Appends a number.
pub(crate) fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number off the front; `None` if there is none that fits 64 bits.
#[inline]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(u64::from(first));
    }
    let mut value = u64::from(first & 0x7f);
    for (i, &byte) in rest.iter().enumerate().take(9) {
        let shift = 7 * (i as u32 + 1);
        let bits = u64::from(byte & 0x7f);
        value |= bits << shift;
        if bits << shift >> shift != bits {
            return None;
        }
        if byte < 0x80 {
            *bytes = &rest[i + 1..];
            return Some(value);
        }
    }
    None
}

/// Appends a length and the bytes.
pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes bytes with their length in front off the front.
#[inline]
pub(crate) fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take(from)?).ok()?;
    let (bytes, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_number_comes_back(value: u64, shift in 0u32..64, tail: Vec<u8>) {
            let value = value >> shift;
            let mut out = Vec::new();
            push(&mut out, value);
            out.extend_from_slice(&tail);
            let mut rest = &out[..];
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert_eq!(rest, &tail[..]);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in prop::collection::vec(0x70u8.., 0..12)) {
            let mut rest = &bytes[..];
            while take_bytes(&mut rest).is_some() {}
        }
    }
}
