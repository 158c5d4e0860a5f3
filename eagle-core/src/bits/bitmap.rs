//! Single bits of a string: reading, counting, finding, and combining strings bit by bit.

use std::ops::RangeInclusive;

/// The bit at a position; beyond the end all bits are zero.
pub fn get(bytes: &[u8], bit: u64) -> bool {
    usize::try_from(bit >> 3)
        .ok()
        .and_then(|at| bytes.get(at))
        .is_some_and(|byte| byte & mask(bit) != 0)
}

/// Sets or clears the bit at a position within the string.
pub fn set(bytes: &mut [u8], bit: u64, on: bool) {
    let byte = &mut bytes[(bit >> 3) as usize];
    if on {
        *byte |= mask(bit);
    } else {
        *byte &= !mask(bit);
    }
}

/// The place of a bit in its byte.
fn mask(bit: u64) -> u8 {
    0x80 >> (bit & 7)
}

/// How many bits are set.
pub fn count(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words: u64 = words
        .iter()
        .map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()))
        .sum();
    let in_rest: u64 = rest.iter().map(|byte| u64::from(byte.count_ones())).sum();
    in_words + in_rest
}

/// How many bits of a range, which is not empty and lies within the string, are set.
pub fn count_in(bytes: &[u8], bits: &RangeInclusive<u64>) -> u64 {
    let (first, last) = ((bits.start() >> 3) as usize, (bits.end() >> 3) as usize);
    let before = bytes[first] & !(0xff >> (bits.start() & 7));
    let behind = bytes[last] & !(0xff << (7 - (bits.end() & 7)));
    let outside = u64::from(before.count_ones() + behind.count_ones());
    count(&bytes[first..=last]) - outside
}

/// The first bit of a range, which is not empty and lies within the string, that is `on`.
pub fn find_in(bytes: &[u8], bits: &RangeInclusive<u64>, on: bool) -> Option<u64> {
    let (first, last) = ((bits.start() >> 3) as usize, (bits.end() >> 3) as usize);
    // Looking for a zero is looking for a one in the complement.
    let flip = if on { 0 } else { 0xff };
    let found =
        |at: usize, byte: u8| (byte != 0).then(|| 8 * at as u64 + u64::from(byte.leading_zeros()));
    let head = (bytes[first] ^ flip) & 0xff >> (bits.start() & 7);
    let at = if let Some(at) = found(first, head) {
        at
    } else {
        let skip = first + 1;
        let tail = bytes.get(skip..=last)?;
        let uninteresting = [flip; 8];
        let (words, _) = tail.as_chunks::<8>();
        let plain = words
            .iter()
            .take_while(|word| **word == uninteresting)
            .count();
        let from = skip + 8 * plain;
        let at = (from..=last).find(|&at| bytes[at] != flip)?;
        found(at, bytes[at] ^ flip)?
    };
    (at <= *bits.end()).then_some(at)
}

/// How strings are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    And,
    Or,
    Xor,
    /// The complement of the only string.
    Not,
}

/// The strings combined; shorter ones count as filled up with zeros.
pub fn combine(operation: Operation, strings: &[&[u8]]) -> Vec<u8> {
    let len = strings.iter().map(|string| string.len()).max().unwrap_or(0);
    let Some((first, others)) = strings.split_first() else {
        return Vec::new();
    };
    let mut result = first.to_vec();
    result.resize(len, 0);
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
        return result;
    }
    for other in others {
        let (shared, rest) = result.split_at_mut(other.len());
        let pairs = shared.iter_mut().zip(*other);
        match operation {
            Operation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                rest.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Operation::Xor | Operation::Not => pairs.for_each(|(byte, other)| *byte ^= other),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(bytes: &[u8]) -> Vec<bool> {
        (0..8 * bytes.len() as u64)
            .map(|bit| get(bytes, bit))
            .collect()
    }

    fn sparse_bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![10 => Just(0u8), 10 => Just(0xffu8), 1 => any::<u8>()];
        prop::collection::vec(byte, 1..60)
    }

    proptest! {
        #[test]
        fn ranges_agree_with_single_bits(bytes in sparse_bytes(), a: prop::sample::Index, b: prop::sample::Index) {
            let bits = bits(&bytes);
            let (a, b) = (a.index(bits.len()), b.index(bits.len()));
            let (first, last) = (a.min(b), a.max(b));
            let range = first as u64..=last as u64;
            let part = &bits[first..=last];
            prop_assert_eq!(count_in(&bytes, &range), part.iter().filter(|bit| **bit).count() as u64);
            for on in [false, true] {
                let expected = part.iter().position(|bit| *bit == on).map(|at| (first + at) as u64);
                prop_assert_eq!(find_in(&bytes, &range, on), expected);
            }
        }

        #[test]
        fn setting_changes_one_bit(mut bytes in sparse_bytes(), at: prop::sample::Index, on: bool) {
            let mut expected = bits(&bytes);
            let at = at.index(expected.len());
            expected[at] = on;
            set(&mut bytes, at as u64, on);
            prop_assert_eq!(bits(&bytes), expected);
            prop_assert!(!get(&bytes, u64::MAX));
        }

        #[test]
        fn combining_goes_bit_by_bit(strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..5)) {
            let slices: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
            let len = strings.iter().map(Vec::len).max().unwrap();
            let byte = |string: &Vec<u8>, at: usize| string.get(at).copied().unwrap_or(0);
            let fold = |f: fn(u8, u8) -> u8| -> Vec<u8> {
                (0..len).map(|at| strings.iter().map(|s| byte(s, at)).reduce(f).unwrap()).collect()
            };
            prop_assert_eq!(combine(Operation::And, &slices), fold(|a, b| a & b));
            prop_assert_eq!(combine(Operation::Or, &slices), fold(|a, b| a | b));
            prop_assert_eq!(combine(Operation::Xor, &slices), fold(|a, b| a ^ b));
            let complement: Vec<u8> = strings[0].iter().map(|byte| !byte).collect();
            prop_assert_eq!(combine(Operation::Not, &slices[..1]), complement);
        }
    }
}
