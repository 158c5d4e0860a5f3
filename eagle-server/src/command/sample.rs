//! Drawing elements of a collection at random: HRANDFIELD, SRANDMEMBER, SPOP and their kin.

use super::errors::CommandError;
use hashbrown::HashSet;
use std::hash::Hash;

/// The refusal of a count below `-i64::MAX`, whose absolute value is no number.
pub const COUNT_OUT_OF_RANGE: CommandError = CommandError::new(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
);

/// The refusal of a draw with repetition whose reply would be longer than [`REPLY_BYTES_MAX`].
pub const REPLY_TOO_LONG: CommandError = CommandError::new("ERR reply exceeds the maximum size");

/// The longest reply to a draw with repetition, whose count the client may choose at will. A reply
/// is made in memory before it is sent.
pub const REPLY_BYTES_MAX: usize = 1 << 30;

/// How to draw without repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// All of them, in order.
    Whole,
    /// Collect all, shuffle as many as are wanted.
    Shuffle,
    /// Draw until enough different ones came.
    Redraw,
}

/// Collecting costs the whole collection, redrawing at most 1.5 draws an element on average while
/// less than a third is wanted.
pub fn plan(count: usize, len: usize) -> Plan {
    if count >= len {
        Plan::Whole
    } else if count > len / 3 {
        Plan::Shuffle
    } else {
        Plan::Redraw
    }
}

/// Puts a uniform sample of `count` items, in random order, at the front.
pub fn shuffle_front<T>(items: &mut [T], count: usize, rng: &mut impl FnMut() -> u64) {
    for front in 0..count {
        let left = (items.len() - front) as u128;
        // The high half of the product: uniform but for a bias of `left` in 2^64.
        let offset = (u128::from(rng()) * left) >> 64;
        items.swap(front, front + offset as usize);
    }
}

/// Passes on `count` draws whose keys differ; there must be as many.
pub fn distinct<T, K: Hash + Eq>(
    count: usize,
    mut draw: impl FnMut() -> T,
    key: impl Fn(&T) -> K,
    mut found: impl FnMut(T),
) {
    let mut seen = HashSet::with_capacity(count);
    while seen.len() < count {
        let drawn = draw();
        if seen.insert(key(&drawn)) {
            found(drawn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator good enough to see that every item has its chance (SplitMix64).
    fn generator(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    #[test]
    fn plans_follow_the_share_that_is_wanted() {
        assert_eq!(plan(0, 1), Plan::Redraw);
        assert_eq!(plan(30, 90), Plan::Redraw);
        assert_eq!(plan(31, 90), Plan::Shuffle);
        assert_eq!(plan(90, 90), Plan::Whole);
    }

    #[test]
    fn every_item_has_the_same_chance_to_be_shuffled_to_the_front() {
        let mut rng = generator(7);
        let mut hits = [0u32; 10];
        for _ in 0..10_000 {
            let mut items: [usize; 10] = std::array::from_fn(|index| index);
            shuffle_front(&mut items, 4, &mut rng);
            items[..4].iter().for_each(|item| hits[*item] += 1);
        }
        // 4000 are expected; the standard deviation is 49.
        assert!(
            hits.iter().all(|hits| (3750..4250).contains(hits)),
            "{hits:?}"
        );
    }

    #[test]
    fn distinct_draws_differ() {
        let mut rng = generator(11);
        let mut found = Vec::new();
        distinct(10, || rng() % 30, |item| *item, |item| found.push(item));
        assert_eq!(found.len(), 10);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 10);
    }
}
