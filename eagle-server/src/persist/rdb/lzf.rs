//! LZF: byte-wise compression with back references of at most 8 KiB, fast and modest.
//!
//! ```text
//! 000nnnnn                        n + 1 literal bytes follow
//! nnndddd d + 1 byte              n + 2 bytes, n in 1..=6, from `distance` back
//! 111ddddd + 1 byte n + 1 byte    n + 9 bytes; distance = d (5 bits, 8 bits) + 1
//! ```
//!
//! Any compressor whose output this describes is right; ours is greedy with one candidate for each
//! hash of three bytes and so compresses a little better, not worse, than a sparser one.

use super::DecodeError;

const LITERALS_MAX: usize = 32;
const MATCH_BYTES_MIN: usize = 3;
const MATCH_BYTES_MAX: usize = 264;
const DISTANCE_MAX: usize = 1 << 13;
/// Three bytes of control give at most [`MATCH_BYTES_MAX`] bytes: no output is longer than this
/// many times its input.
const EXPANSION_MAX: usize = MATCH_BYTES_MAX / 3;

/// The compressed form of `input`, if it takes at most `bytes_max` bytes.
pub fn compress(input: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes_max.min(input.len()));
    let mut recent = Recent::for_input(input)?;
    let (mut position, mut literals_from) = (0, 0);
    while let Some(candidate) = recent.exchange(input, position) {
        let found =
            candidate.map(|earlier| (position - earlier, match_len(input, earlier, position)));
        match found.filter(|&(_, len)| len >= MATCH_BYTES_MIN) {
            None => position += 1,
            Some((distance, len)) => {
                push_literals(&mut out, &input[literals_from..position]);
                push_match(&mut out, distance, len);
                for inside in position + 1..position + len {
                    recent.exchange(input, inside);
                }
                position += len;
                literals_from = position;
            }
        }
        // Literals not yet written count too, or incompressible input would be walked to its end.
        if out.len() + (position - literals_from) > bytes_max {
            return None;
        }
    }
    push_literals(&mut out, &input[literals_from..]);
    (out.len() <= bytes_max).then_some(out)
}

/// The `plain_len` bytes that `input` stands for.
pub fn decompress(input: &[u8], plain_len: u64) -> Result<Vec<u8>, DecodeError> {
    let plain_len = usize::try_from(plain_len)
        .ok()
        .filter(|&len| len <= input.len().saturating_mul(EXPANSION_MAX))
        .ok_or(DecodeError::Corrupt(
            "compressed string announces more than it can hold",
        ))?;
    let mut out = Vec::with_capacity(plain_len);
    let mut rest = input;
    while let Some(step) = Step::split_off(&mut rest)? {
        if step.len() > plain_len - out.len() {
            return Err(DecodeError::Corrupt(
                "compressed string is longer than announced",
            ));
        }
        match step {
            Step::Literals(bytes) => out.extend_from_slice(bytes),
            Step::Match { distance, len } => repeat(&mut out, distance, len)?,
        }
    }
    if out.len() != plain_len {
        return Err(DecodeError::Corrupt(
            "compressed string is shorter than announced",
        ));
    }
    Ok(out)
}

/// Where each hash of three bytes was last seen.
struct Recent {
    /// Positions plus one; zero is "never". The size is a power of two.
    positions: Vec<u32>,
    shift: u32,
}

impl Recent {
    /// A table sized to the input: clearing a large one would cost more than compressing a short
    /// string. `None` when positions do not fit.
    fn for_input(input: &[u8]) -> Option<Recent> {
        u32::try_from(input.len())
            .ok()
            .filter(|&len| len < u32::MAX)?;
        let bits = (usize::BITS - input.len().leading_zeros()).clamp(6, 14);
        Some(Recent {
            positions: vec![0; 1 << bits],
            shift: u32::BITS - bits,
        })
    }

    /// Notes `position` and gives the earlier place with the same hash, if it is near enough.
    /// The outer `None` says that fewer than three bytes are left.
    fn exchange(&mut self, input: &[u8], position: usize) -> Option<Option<usize>> {
        let &[a, b, c] = input.get(position..)?.first_chunk()?;
        let hash = u32::from_le_bytes([a, b, c, 0]).wrapping_mul(0x9e37_79b1) >> self.shift;
        let earlier = std::mem::replace(&mut self.positions[hash as usize], position as u32 + 1);
        let earlier = (earlier as usize).checked_sub(1);
        Some(earlier.filter(|earlier| position - earlier <= DISTANCE_MAX))
    }
}

fn match_len(input: &[u8], earlier: usize, position: usize) -> usize {
    let pairs = input[earlier..].iter().zip(&input[position..]);
    pairs
        .take(MATCH_BYTES_MAX)
        .take_while(|(a, b)| a == b)
        .count()
}

fn push_literals(out: &mut Vec<u8>, literals: &[u8]) {
    for run in literals.chunks(LITERALS_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

fn push_match(out: &mut Vec<u8>, distance: usize, len: usize) {
    let [high, low] = (distance as u16 - 1).to_be_bytes();
    match len - 2 {
        short @ 1..7 => out.extend_from_slice(&[(short as u8) << 5 | high, low]),
        long => out.extend_from_slice(&[7 << 5 | high, (long - 7) as u8, low]),
    }
}

/// One control sequence.
enum Step<'a> {
    Literals(&'a [u8]),
    Match { distance: usize, len: usize },
}

impl<'a> Step<'a> {
    fn split_off(rest: &mut &'a [u8]) -> Result<Option<Step<'a>>, DecodeError> {
        const CUT: DecodeError = DecodeError::Corrupt("compressed string ends inside a sequence");
        let Some(&control) = rest.split_off_first() else {
            return Ok(None);
        };
        if usize::from(control) < LITERALS_MAX {
            let literals = rest.split_off(..usize::from(control) + 1).ok_or(CUT)?;
            return Ok(Some(Step::Literals(literals)));
        }
        let mut byte = || rest.split_off_first().copied().ok_or(CUT);
        let len = match control >> 5 {
            7 => 7 + 2 + usize::from(byte()?),
            short => 2 + usize::from(short),
        };
        let distance = 1 + usize::from(u16::from_be_bytes([control & 0x1f, byte()?]));
        Ok(Some(Step::Match { distance, len }))
    }

    fn len(&self) -> usize {
        match self {
            Step::Literals(bytes) => bytes.len(),
            Step::Match { len, .. } => *len,
        }
    }
}

/// Appends `len` bytes from `distance` back; the source may reach into what is being appended.
fn repeat(out: &mut Vec<u8>, distance: usize, len: usize) -> Result<(), DecodeError> {
    let from = out.len().checked_sub(distance).ok_or(DecodeError::Corrupt(
        "compressed string refers to before its start",
    ))?;
    let mut missing = len;
    while missing > 0 {
        // What was appended continues the pattern, so each round may copy twice as much.
        let available = (out.len() - from).min(missing);
        out.extend_from_within(from..from + available);
        missing -= available;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_format_is_read_as_specified() {
        assert_eq!(
            decompress(&[2, b'a', b'b', b'c', 1 << 5, 2], 6).unwrap(),
            b"abcabc"
        );
        assert_eq!(
            decompress(&[0, b'x', 7 << 5, 255, 0], 265).unwrap(),
            [b'x'; 265]
        );
        assert_eq!(
            decompress(&[1, b'a', b'b', 3 << 5, 1], 7).unwrap(),
            b"abababa"
        );
        assert_eq!(decompress(&[], 0).unwrap(), b"");
    }

    #[test]
    fn lies_are_refused() {
        for (input, plain_len) in [
            (&[0, b'x'][..], 2),
            (&[0, b'x'], 0),
            (&[1, b'x'], 2),
            (&[0, b'x', 1 << 5], 4),
            (&[0, b'x', 7 << 5, 1], 11),
            (&[0, b'x', 1 << 5, 1], 4),
            (&[0, b'x', 1 << 5, 0], 3),
            (&[0, b'x'], u64::MAX),
            (&[], 1),
        ] {
            assert!(
                decompress(input, plain_len).is_err(),
                "{input:?} as {plain_len}"
            );
        }
    }

    #[test]
    fn compression_pays_or_is_refused() {
        let long = [b'a'; 100_000];
        let packed = compress(&long, long.len() - 4).unwrap();
        assert!(packed.len() < long.len() / 80);
        assert_eq!(decompress(&packed, 100_000).unwrap(), long);
        let distinct: Vec<u8> = (0..=255).collect();
        assert_eq!(compress(&distinct, distinct.len() - 4), None);
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            words in proptest::collection::vec(prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                (any::<u8>(), 1..600usize).prop_map(|(byte, len)| vec![byte; len]),
                Just(b"a fixed phrase that returns".to_vec()),
            ], 0..60),
        ) {
            let plain = words.concat();
            let packed = compress(&plain, usize::MAX).unwrap();
            prop_assert_eq!(decompress(&packed, plain.len() as u64).unwrap(), plain);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), len in 0..5000u64) {
            if let Ok(plain) = decompress(&bytes, len) {
                prop_assert_eq!(plain.len() as u64, len);
            }
        }
    }
}
