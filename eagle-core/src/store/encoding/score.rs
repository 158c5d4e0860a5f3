//! Scores as integers that sort alike.
//!
//! The bits of a positive double grow with it; those of a negative one shrink. Both zeros are one place in the order,
//! as they are equal to every command; which of them a member has is kept beside the member.

/// A score's place in the order. Not for NaN, which no sorted set holds.
pub(crate) fn order_key(score: f64) -> u64 {
    let bits = if score == 0.0 { 0 } else { score.to_bits() };
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_compare_like_scores(a: f64, b: f64) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(a.partial_cmp(&b), Some(order_key(a).cmp(&order_key(b))));
        }
    }

    #[test]
    fn zeros_are_equal_and_infinities_outermost() {
        assert_eq!(order_key(-0.0), order_key(0.0));
        let ascending = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.0,
            -5e-324,
            0.0,
            5e-324,
            1.0,
            f64::MAX,
            f64::INFINITY,
        ];
        assert!(ascending.is_sorted_by_key(|&score| order_key(score)));
    }
}
