//! Integers of 1 to 64 bits at any bit of a string, and what happens when one gets too large.
//!
//! An integer is big endian, its highest bit at the position it is said to stand at.

/// The type of an integer: signed up to 64 bits, unsigned up to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldType {
    pub signed: bool,
    pub bits: u32,
}

/// What becomes of a value that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Only the low bits are kept.
    Wrap,
    /// The closest value that fits is taken.
    Saturate,
    /// Nothing is stored.
    Fail,
}

impl FieldType {
    /// The type that `i8` or `u16` means.
    pub fn parse(word: &[u8]) -> Option<FieldType> {
        let (signed, bits_max) = match word.first()? {
            b'i' => (true, 64),
            b'u' => (false, 63),
            _ => return None,
        };
        let bits = crate::text::integer::parse_i64(&word[1..])?;
        let bits = u32::try_from(bits).ok()?;
        (1..=bits_max)
            .contains(&bits)
            .then_some(FieldType { signed, bits })
    }

    /// The values that fit.
    fn bounds(self) -> (i128, i128) {
        if self.signed {
            (-1 << (self.bits - 1), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        }
    }

    /// The integer at a bit position; beyond the end all bits are zero.
    pub fn get(self, bytes: &[u8], bit: u64) -> i64 {
        let first = usize::try_from(bit >> 3).unwrap_or(usize::MAX);
        let mut window = [0; 16];
        if let Some(rest) = bytes.get(first..) {
            let len = rest.len().min(9);
            window[..len].copy_from_slice(&rest[..len]);
        }
        let raw = u128::from_be_bytes(window) << (bit & 7) >> (128 - self.bits);
        self.value_of(raw as u64)
    }

    /// The value that the low bits of `raw` have in this type.
    fn value_of(self, raw: u64) -> i64 {
        let shift = 64 - self.bits;
        if self.signed {
            (raw << shift) as i64 >> shift
        } else {
            (raw << shift >> shift) as i64
        }
    }

    /// Stores the low bits of `value` at a bit position; the string reaches as far.
    pub fn set(self, bytes: &mut [u8], bit: u64, value: i64) {
        let first = (bit >> 3) as usize;
        let last = ((bit + u64::from(self.bits) - 1) >> 3) as usize;
        let shift = 128 - self.bits - (bit & 7) as u32;
        let ones = u128::MAX >> (128 - self.bits) << shift;
        let mut window = [0; 16];
        window[..=last - first].copy_from_slice(&bytes[first..=last]);
        let raw = u128::from(value as u64) << (128 - self.bits) >> (bit & 7);
        let new = u128::from_be_bytes(window) & !ones | raw & ones;
        bytes[first..=last].copy_from_slice(&new.to_be_bytes()[..=last - first]);
    }

    /// What is to be stored for `value`; `None` if it does not fit and is to be refused.
    ///
    /// An unsigned type takes a negative value for the large one that has the same bits, as C does.
    pub fn fit(self, value: i64, overflow: Overflow) -> Option<i64> {
        let exact = if self.signed {
            i128::from(value)
        } else {
            i128::from(value as u64)
        };
        self.fit_wide(exact, value, overflow)
    }

    /// What is to be stored for `old` increased by `increment`; `None` if it does not fit and is to be refused.
    pub fn increase(self, old: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        let exact = i128::from(old) + i128::from(increment);
        self.fit_wide(exact, old.wrapping_add(increment), overflow)
    }

    fn fit_wide(self, exact: i128, wrapped: i64, overflow: Overflow) -> Option<i64> {
        let (min, max) = self.bounds();
        match overflow {
            _ if (min..=max).contains(&exact) => Some(wrapped),
            Overflow::Wrap => Some(self.value_of(wrapped as u64)),
            Overflow::Saturate => Some(exact.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bitmap;
    use super::*;

    fn field(word: &str) -> FieldType {
        FieldType::parse(word.as_bytes()).unwrap()
    }

    #[test]
    fn types_are_named_by_sign_and_width() {
        assert_eq!(
            field("i64"),
            FieldType {
                signed: true,
                bits: 64
            }
        );
        assert_eq!(
            field("u1"),
            FieldType {
                signed: false,
                bits: 1
            }
        );
        for word in ["", "i", "u64", "i65", "u0", "i-1", "8", "I8", "u08"] {
            assert_eq!(FieldType::parse(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn what_does_not_fit_wraps_saturates_or_fails() {
        use Overflow::{Fail, Saturate, Wrap};
        let i8 = field("i8");
        assert_eq!(i8.increase(100, 100, Wrap), Some(-56));
        assert_eq!(i8.increase(100, 100, Saturate), Some(127));
        assert_eq!(i8.increase(-100, -100, Saturate), Some(-128));
        assert_eq!(i8.increase(100, 100, Fail), None);
        assert_eq!(i8.increase(100, 27, Fail), Some(127));
        let u2 = field("u2");
        assert_eq!(u2.increase(3, 1, Wrap), Some(0));
        assert_eq!(u2.increase(0, -1, Wrap), Some(3));
        assert_eq!(u2.increase(0, -1, Saturate), Some(0));
        assert_eq!(u2.fit(-1, Saturate), Some(3), "a large number to C");
        assert_eq!(u2.fit(-1, Wrap), Some(3));
        let i64 = field("i64");
        assert_eq!(i64.increase(i64::MAX, 1, Wrap), Some(i64::MIN));
        assert_eq!(i64.increase(i64::MAX, 1, Saturate), Some(i64::MAX));
        assert_eq!(field("u63").increase(i64::MAX, 1, Wrap), Some(0));
    }

    proptest! {
        #[test]
        fn what_was_set_is_read_back_and_the_rest_stays(
            bytes in prop::collection::vec(any::<u8>(), 12..20), signed: bool, bits in 1..=64u32, bit in 0..30u64, value: i64,
        ) {
            let field = FieldType { signed, bits: bits.min(63 + u32::from(signed)) };
            let mut changed = bytes.clone();
            field.set(&mut changed, bit, value);
            prop_assert_eq!(field.get(&changed, bit), field.value_of(value as u64));
            let inside = bit..bit + u64::from(field.bits);
            for at in (0..8 * bytes.len() as u64).filter(|at| !inside.contains(at)) {
                prop_assert_eq!(bitmap::get(&bytes, at), bitmap::get(&changed, at));
            }
            for (i, at) in inside.enumerate() {
                let expected = value >> (field.bits as usize - 1 - i) & 1 == 1;
                prop_assert_eq!(bitmap::get(&changed, at), expected);
            }
        }
    }
}
