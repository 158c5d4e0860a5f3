//! LZF: byte-wise compression with back references of at most 8 KiB, fast and modest.
//!
//! ```text
//! 000nnnnn                        n + 1 literal bytes follow
//! nnndddd d + 1 byte              n + 2 bytes, n in 1..=6, from `distance` back
//! 111ddddd + 1 byte n + 1 byte    n + 9 bytes; distance = d (5 bits, 8 bits) + 1
//! ```
//!
//! Any compressor whose output this describes is right. Ours makes the choices Redis makes, so that
//! a dump is the same on either: one candidate for each hash of three bytes, the hash it uses, no
//! candidate at the very start, only the last two places of a match noted, and its moments of
//! giving up. (Redis does not clear its table, so that now and then what it compressed before
//! shows in its output; ours is what its gives with a clear table.)

use std::cell::RefCell;
use std::ops::Range;

use super::DecodeError;

const LITERALS_MAX: usize = 32;
const MATCH_BYTES_MIN: usize = 3;
const MATCH_BYTES_MAX: usize = 264;
/// So many bytes are compared before the end of the input is minded, if it is not closer by more
/// than [`MATCH_BYTES_MIN`] - 1.
const MATCH_BYTES_EAGER: usize = 19;
pub(super) const DISTANCE_MAX: usize = 1 << 13;
/// Bytes behind a position that one step looks at: a match, and the hashes of its last places.
const AHEAD: usize = MATCH_BYTES_MAX + 8;
const HASHES: usize = 1 << 16;
/// Three bytes of control give at most [`MATCH_BYTES_MAX`] bytes: no output is longer than this
/// many times its input.
const EXPANSION_MAX: usize = MATCH_BYTES_MAX / 3;

/// What is compressed.
pub trait Plain {
    /// How many bytes it has.
    fn size(&self) -> usize;

    /// Bytes of it, and the position of the first of them: from `DISTANCE_MAX` before `position`, which never falls, to
    /// `AHEAD` behind it at least, as far as there are any.
    fn around(&mut self, position: usize) -> (&[u8], usize);
}

/// Bytes in one piece.
impl Plain for &[u8] {
    fn size(&self) -> usize {
        self.len()
    }

    #[inline]
    fn around(&mut self, _: usize) -> (&[u8], usize) {
        (*self, 0)
    }
}

/// Bytes that are got piece by piece, of which no more are kept than compression looks at.
pub struct Window<F> {
    len: usize,
    /// Appends the bytes of a range.
    read: F,
    bytes: Vec<u8>,
    /// Position of the first of `bytes`.
    start: usize,
}

impl<F: FnMut(Range<usize>, &mut Vec<u8>)> Window<F> {
    /// Bytes got at once.
    const STEP: usize = 64 << 10;

    /// All of `len` bytes.
    pub fn new(len: usize, read: F) -> Window<F> {
        Window {
            len,
            read,
            bytes: Vec::new(),
            start: 0,
        }
    }
}

impl<F: FnMut(Range<usize>, &mut Vec<u8>)> Plain for Window<F> {
    fn size(&self) -> usize {
        self.len
    }

    #[inline]
    fn around(&mut self, position: usize) -> (&[u8], usize) {
        let end = self.start + self.bytes.len();
        if end < self.len && position + AHEAD > end {
            let start = position.saturating_sub(DISTANCE_MAX).max(self.start);
            self.bytes.drain(..start - self.start);
            self.start = start;
            let until = self.len.min(position + AHEAD + Self::STEP);
            (self.read)(end..until, &mut self.bytes);
        }
        (&self.bytes, self.start)
    }
}

/// Appends the compressed form of `input`, if it fits into `bytes_max` bytes; a form that would end within
/// the last few of them may be given up too, as Redis does. If it does not fit, `None`, and something may have been
/// appended.
pub fn compress(out: &mut Vec<u8>, mut input: impl Plain, bytes_max: usize) -> Option<()> {
    RECENT.with_borrow_mut(|recent| compress_with(recent, out, &mut input, bytes_max))
}

fn compress_with(
    recent: &mut Recent,
    out: &mut Vec<u8>,
    input: &mut impl Plain,
    bytes_max: usize,
) -> Option<()> {
    let input_len = input.size();
    recent.forget(input_len)?;
    let mut out = Output {
        start: out.len(),
        bytes: out,
        literals: 0,
        bytes_max,
    };
    let mut position = 0;
    while input_len - position >= MATCH_BYTES_MIN {
        let (bytes, start) = input.around(position);
        let here = &bytes[position - start..];
        let found = recent.exchange(here, position).map(|earlier| {
            let left = input_len - position;
            let len = match_len(&bytes[earlier - start..], here, left);
            (position - earlier, len)
        });
        match found.filter(|&(_, len)| len >= MATCH_BYTES_MIN) {
            None => {
                out.push_literal(here[0])?;
                position += 1;
            }
            Some((distance, len)) => {
                out.push_match(distance, len)?;
                position += len;
                if input_len - position < MATCH_BYTES_MIN {
                    break;
                }
                for inside in len - 2..len {
                    recent.exchange(&here[inside..], position - len + inside);
                }
            }
        }
    }
    let (bytes, start) = input.around(position);
    out.finish(&bytes[position - start..])
}

/// The `plain_len` bytes that `input` stands for.
pub fn decompress(input: &[u8], plain_len: u64) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    walk(input, plain_len, |plain_len, step| {
        if out.capacity() == 0 {
            out.reserve_exact(plain_len);
        }
        step.append_to(&mut out);
    })?;
    Ok(out)
}

/// Checks that `input` stands for `plain_len` bytes, and passes on each of its steps. What a step refers to is there.
///
/// What announces no bytes stands for none whatever it is: Redis, which decompresses it, cannot tell that from a fault.
pub(super) fn walk<'a>(
    input: &'a [u8],
    plain_len: u64,
    mut visit: impl FnMut(usize, Step<'a>),
) -> Result<(), DecodeError> {
    if plain_len == 0 {
        return Ok(());
    }
    let plain_len = usize::try_from(plain_len)
        .ok()
        .filter(|&len| len <= input.len().saturating_mul(EXPANSION_MAX))
        .ok_or(DecodeError::Corrupt(
            "compressed string announces more than it can hold",
        ))?;
    let (mut len, mut rest) = (0, input);
    while let Some(step) = Step::split_off(&mut rest)? {
        if step.len() > plain_len - len {
            return Err(DecodeError::Corrupt(
                "compressed string is longer than announced",
            ));
        }
        if matches!(step, Step::Match { distance, .. } if distance > len) {
            return Err(DecodeError::Corrupt(
                "compressed string refers to before its start",
            ));
        }
        len += step.len();
        visit(plain_len, step);
    }
    if len != plain_len {
        return Err(DecodeError::Corrupt(
            "compressed string is shorter than announced",
        ));
    }
    Ok(())
}

thread_local! {
    /// Kept, because clearing it costs more than compressing a short string.
    static RECENT: RefCell<Recent> = const { RefCell::new(Recent::new()) };
}

/// Where each hash of three bytes was last seen.
struct Recent {
    /// Positions in the present input plus `base`; smaller ones belong to inputs of the past.
    positions: Vec<u32>,
    base: u32,
    /// The first number that the present input does not use.
    end: u32,
}

impl Recent {
    const fn new() -> Recent {
        Recent {
            positions: Vec::new(),
            base: 1,
            end: 1,
        }
    }

    /// Makes ready for an input of `len` bytes. `None` when its positions do not fit.
    fn forget(&mut self, len: usize) -> Option<()> {
        let len = u32::try_from(len).ok().filter(|&len| len < u32::MAX)?;
        self.positions.resize(HASHES, 0);
        self.base = self.end;
        if self.base.checked_add(len).is_none() {
            self.positions.fill(0);
            self.base = 1;
        }
        self.end = self.base + len;
        Some(())
    }

    /// Notes `position`, where the bytes `here` are, three at least, and gives the earlier place with the same hash, if a
    /// match may refer to it.
    fn exchange(&mut self, here: &[u8], position: usize) -> Option<usize> {
        let &[a, b, c] = here.first_chunk()?;
        let three = u32::from_be_bytes([0, a, b, c]);
        let hash = (three >> 8).wrapping_sub(three.wrapping_mul(5)) as usize % HASHES;
        let noted = self.base + position as u32;
        let earlier = std::mem::replace(&mut self.positions[hash], noted).checked_sub(self.base);
        earlier
            .map(|earlier| earlier as usize)
            .filter(|&earlier| earlier > 0 && position - earlier <= DISTANCE_MAX)
    }
}

/// How many bytes at both places agree, as far as one match may go, `left` bytes before the end of the input: it leaves
/// the last two of them alone, unless it is within a few bytes of its shortest or of [`MATCH_BYTES_EAGER`].
fn match_len(earlier: &[u8], here: &[u8], left: usize) -> usize {
    let sparing = (left - 2).min(MATCH_BYTES_MAX);
    let len_max = if sparing > MATCH_BYTES_EAGER - MATCH_BYTES_MIN {
        sparing.max(MATCH_BYTES_EAGER)
    } else {
        sparing.max(MATCH_BYTES_MIN)
    };
    let pairs = earlier.iter().zip(here);
    pairs.take(len_max).take_while(|(a, b)| a == b).count()
}

/// The compressed form as it grows.
///
/// Every step asks for the room that Redis asks for, which is at times more than it takes.
struct Output<'o> {
    bytes: &'o mut Vec<u8>,
    /// Where it begins there.
    start: usize,
    /// How many bytes at the end of `bytes` are literals whose control byte, before them, is open.
    literals: usize,
    bytes_max: usize,
}

impl Output<'_> {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn push_literal(&mut self, byte: u8) -> Option<()> {
        // The control byte of the next run is reckoned in ahead of its first literal.
        let is_reckoned_in = self.literals == 0;
        if self.len() + usize::from(is_reckoned_in) >= self.bytes_max {
            return None;
        }
        self.append(byte);
        Some(())
    }

    fn append(&mut self, byte: u8) {
        if self.literals == 0 {
            self.bytes.push(0);
        }
        self.bytes.push(byte);
        self.literals += 1;
        if self.literals == LITERALS_MAX {
            self.end_run();
        }
    }

    fn end_run(&mut self) {
        if self.literals > 0 {
            let control = self.bytes.len() - self.literals - 1;
            self.bytes[control] = self.literals as u8 - 1;
            self.literals = 0;
        }
    }

    fn push_match(&mut self, distance: usize, len: usize) -> Option<()> {
        // The longest form and the control byte of the run behind it.
        if self.len() + 3 + 1 >= self.bytes_max {
            return None;
        }
        self.end_run();
        let [high, low] = (distance as u16 - 1).to_be_bytes();
        match len - 2 {
            short @ 1..7 => self
                .bytes
                .extend_from_slice(&[(short as u8) << 5 | high, low]),
            long => self
                .bytes
                .extend_from_slice(&[7 << 5 | high, (long - 7) as u8, low]),
        }
        Some(())
    }

    /// Adds what is left of the input, at most two bytes.
    fn finish(mut self, rest: &[u8]) -> Option<()> {
        let is_reckoned_in = self.literals == 0;
        if self.len() + usize::from(is_reckoned_in) + 3 > self.bytes_max {
            return None;
        }
        rest.iter().for_each(|&byte| self.append(byte));
        self.end_run();
        Some(())
    }
}

/// One control sequence.
pub(super) enum Step<'a> {
    Literals(&'a [u8]),
    Match { distance: usize, len: usize },
}

impl<'a> Step<'a> {
    pub(super) fn split_off(rest: &mut &'a [u8]) -> Result<Option<Step<'a>>, DecodeError> {
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

    /// Appends what it stands for to bytes that reach as far back as it refers.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        match *self {
            Step::Literals(bytes) => out.extend_from_slice(bytes),
            Step::Match { distance, len } => repeat(out, distance, len),
        }
    }

    fn len(&self) -> usize {
        match self {
            Step::Literals(bytes) => bytes.len(),
            Step::Match { len, .. } => *len,
        }
    }
}

/// Appends `len` bytes from `distance` back; the source may reach into what is being appended.
fn repeat(out: &mut Vec<u8>, distance: usize, len: usize) {
    let from = out.len() - distance;
    let mut missing = len;
    while missing > 0 {
        // What was appended continues the pattern, so each round may copy twice as much.
        let available = (out.len() - from).min(missing);
        out.extend_from_within(from..from + available);
        missing -= available;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compressed(input: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        compress(&mut out, input, bytes_max).map(|()| out)
    }

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
        for nothing in [&[][..], &[0, b'x'], &[1, b'x'], &[1 << 5]] {
            assert_eq!(decompress(nothing, 0).unwrap(), b"");
        }
    }

    #[test]
    fn lies_are_refused() {
        for (input, plain_len) in [
            (&[0, b'x'][..], 2),
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
        let packed = compressed(&long, long.len() - 4).unwrap();
        assert!(packed.len() < long.len() / 80);
        assert_eq!(decompress(&packed, 100_000).unwrap(), long);
        let distinct: Vec<u8> = (0..=255).collect();
        assert_eq!(compressed(&distinct, distinct.len() - 4), None);
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
            let packed = compressed(&plain, usize::MAX).unwrap();
            prop_assert_eq!(decompress(&packed, plain.len() as u64).unwrap(), plain);
        }

        #[test]
        fn what_is_got_piece_by_piece_is_compressed_the_same(
            pieces in proptest::collection::vec((any::<u8>(), 1..20_000usize, 1..9usize), 0..30),
            spare in 0..40usize,
        ) {
            let piece = |(seed, len, step): (u8, usize, usize)| {
                (0..len).map(move |at| seed.wrapping_add((at / step * step) as u8))
            };
            let plain: Vec<u8> = pieces.into_iter().flat_map(piece).collect();
            let bytes_max = plain.len().saturating_sub(spare);
            let mut out = b"before".to_vec();
            let mut longest = 0;
            let window = Window::new(plain.len(), |range: Range<usize>, bytes: &mut Vec<u8>| {
                bytes.extend_from_slice(&plain[range]);
                longest = longest.max(bytes.len());
            });
            let fits = compress(&mut out, window, bytes_max).is_some();
            let expected = compressed(&plain, bytes_max);
            prop_assert_eq!(fits, expected.is_some());
            if let Some(expected) = expected {
                prop_assert_eq!(&out[b"before".len()..], expected);
            }
            prop_assert!(longest < 100_000);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), len in 0..5000u64) {
            if let Ok(plain) = decompress(&bytes, len) {
                prop_assert_eq!(plain.len() as u64, len);
            }
        }
    }
}
