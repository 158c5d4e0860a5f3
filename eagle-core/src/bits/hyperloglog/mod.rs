//! HyperLogLog: how many different elements were added, about, in at most 12 KiB.
//!
//! ```text
//!   "HYLL" | u8 encoding: 0 dense, 1 sparse | 3 zero bytes | u64 cached count, top bit: it is out of date
//!   16384 registers, dense or sparse
//! ```
//!
//! The hash of an element (MurmurHash2) chooses a register by its low 14 bits; the register keeps the longest run of
//! zero bits, plus one, that the other 50 bits began with. Bytes, hash and estimate are those of Redis, so that a
//! string moved from one server to the other goes on counting the same. The cached count lies in the string too:
//! reading the count of a string that has changed changes it.

mod dense;
mod estimate;
mod murmur;
mod sparse;

/// Number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;

/// Bits of the hash that choose the register.
const INDEX_BITS: u32 = 14;

/// Bits of the hash that are left for the run.
const RUN_BITS: u32 = 64 - INDEX_BITS;

/// Bytes before the registers.
const HEADER_BYTES: usize = 16;

/// Bytes of the dense form.
const DENSE_BYTES: usize = HEADER_BYTES + dense::BYTES;

const MAGIC: &[u8; 4] = b"HYLL";

/// The bit of the last header byte that says that the cached count is out of date.
const STALE: u8 = 0x80;

/// The registers do not add up: the string was damaged, or never was a HyperLogLog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// How the registers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Six bits each.
    Dense,
    /// Run lengths, while most registers are zero.
    Sparse,
}

/// All registers, a byte each.
pub type Registers = [u8; REGISTERS];

/// A HyperLogLog in the bytes of a string, borrowed or owned.
#[derive(Clone, Debug)]
pub struct HyperLogLog<B> {
    bytes: B,
}

impl<B: AsRef<[u8]>> HyperLogLog<B> {
    /// The HyperLogLog in these bytes, if their header says that they are one. Sparse registers are checked when they
    /// are read.
    pub fn new(bytes: B) -> Option<HyperLogLog<B>> {
        let head: &[u8; HEADER_BYTES] = bytes.as_ref().first_chunk()?;
        is_one(head, bytes.as_ref().len() as u64).then_some(HyperLogLog { bytes })
    }

    /// The string.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// The string.
    pub fn into_bytes(self) -> B {
        self.bytes
    }

    /// How the registers are kept.
    pub fn form(&self) -> Form {
        match self.as_bytes()[4] {
            0 => Form::Dense,
            _ => Form::Sparse,
        }
    }

    fn body(&self) -> &[u8] {
        &self.as_bytes()[HEADER_BYTES..]
    }

    /// The cached count, unless it is out of date.
    pub fn cached(&self) -> Option<u64> {
        let (_, word) = self.as_bytes()[..HEADER_BYTES].split_last_chunk()?;
        let word = u64::from_le_bytes(*word);
        (word >> 63 == 0).then_some(word)
    }

    /// Raises each of `registers` to the register of this one.
    pub fn merge_into(&self, registers: &mut Registers) -> Result<(), Corrupt> {
        match self.form() {
            Form::Dense => {
                for (at, register) in registers.iter_mut().enumerate() {
                    *register = dense::get(self.body(), at).max(*register);
                }
                Ok(())
            }
            Form::Sparse => sparse::runs(self.body(), |range, value| {
                registers[range]
                    .iter_mut()
                    .for_each(|register| *register = value.max(*register));
            }),
        }
    }

    /// The registers.
    pub fn registers(&self) -> Result<Box<Registers>, Corrupt> {
        let mut registers = Box::new([0; REGISTERS]);
        self.merge_into(&mut registers)?;
        Ok(registers)
    }

    /// The estimate, computed from the registers.
    pub fn count(&self) -> Result<u64, Corrupt> {
        Ok(count(&*self.registers()?))
    }

    /// The sparse registers in words: `z:n` and `Z:n` for runs of zeros in one byte and in two, `v:x,n` for `n`
    /// registers of value `x`.
    pub fn describe_sparse(&self) -> String {
        sparse::describe(self.body())
    }
}

/// The estimate for these registers.
pub fn count(registers: &Registers) -> u64 {
    let mut histogram = [0; 64];
    for register in registers {
        histogram[usize::from(register & 63)] += 1;
    }
    estimate::estimate(&histogram)
}

/// The register that an element belongs to, and what it raises that to.
pub fn register_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur::hash(element);
    // The bit behind the last one ends every run.
    let run = (hash >> INDEX_BITS | 1 << RUN_BITS).trailing_zeros() + 1;
    (hash as usize & (REGISTERS - 1), run as u8)
}

/// Position of the cached count, a little-endian word.
pub const CACHED_AT: u64 = HEADER_BYTES as u64 - 8;

/// Most bytes that one may have. Of a longer string that is one by its header, the sparse registers in this many bytes,
/// each run taking two at most, are more than there are.
pub const BYTES_MAX: u64 = (HEADER_BYTES + 2 * REGISTERS + 1) as u64;

/// Whether a string that begins like this and has so many bytes is a HyperLogLog by its header.
pub fn is_one(head: &[u8; HEADER_BYTES], len: u64) -> bool {
    let is_sound = match head[4] {
        0 => len == DENSE_BYTES as u64,
        1 => len >= HEADER_BYTES as u64,
        _ => false,
    };
    head.starts_with(MAGIC) && is_sound
}

/// Whether a string that begins like this and has so many bytes is a dense HyperLogLog.
pub fn is_dense(head: &[u8; HEADER_BYTES], len: u64) -> bool {
    head.starts_with(MAGIC) && head[4] == 0 && len == DENSE_BYTES as u64
}

/// The byte of a dense string in which a register begins.
pub fn dense_position(register: usize) -> u64 {
    (HEADER_BYTES + dense::position(register)) as u64
}

/// Raises a register in the bytes of a dense string from its [position](dense_position) on, two at least; how many of
/// them have changed if it was lower.
pub fn raise_dense(window: &mut [u8], register: usize, value: u8) -> Option<usize> {
    dense::raise_at(window, register, value)
}

/// The byte of the header that says that the cached count is out of date, and its position.
pub fn stale(head: &[u8; HEADER_BYTES]) -> (usize, u8) {
    (HEADER_BYTES - 1, head[HEADER_BYTES - 1] | STALE)
}

impl HyperLogLog<Vec<u8>> {
    /// One that no element was added to.
    pub fn empty() -> HyperLogLog<Vec<u8>> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4] = 1;
        bytes.extend_from_slice(&sparse::EMPTY);
        HyperLogLog { bytes }
    }

    /// Adds an element; whether a register has changed. The sparse form becomes dense beyond `sparse_bytes_max`.
    pub fn add(&mut self, element: &[u8], sparse_bytes_max: usize) -> Result<bool, Corrupt> {
        let (register, run) = register_of(element);
        self.raise(register, run, sparse_bytes_max)
    }

    /// Raises a register; whether it was lower before.
    pub fn raise(
        &mut self,
        register: usize,
        value: u8,
        sparse_bytes_max: usize,
    ) -> Result<bool, Corrupt> {
        if self.form() == Form::Sparse {
            let body_max = sparse_bytes_max.saturating_sub(HEADER_BYTES);
            match sparse::raise(&mut self.bytes, HEADER_BYTES, register, value, body_max)? {
                sparse::Raised::Yes => {
                    self.invalidate();
                    return Ok(true);
                }
                sparse::Raised::No => return Ok(false),
                sparse::Raised::DoesNotFit => self.make_dense()?,
            }
        }
        let body = &mut self.bytes[HEADER_BYTES..];
        if dense::get(body, register) >= value {
            return Ok(false);
        }
        dense::set(body, register, value);
        Ok(true)
    }

    /// Turns the sparse form into the dense one.
    pub fn make_dense(&mut self) -> Result<(), Corrupt> {
        if self.form() == Form::Dense {
            return Ok(());
        }
        let registers = self.registers()?;
        self.bytes.truncate(HEADER_BYTES);
        self.bytes.resize(DENSE_BYTES, 0);
        self.bytes[4] = 0;
        let body = &mut self.bytes[HEADER_BYTES..];
        for (at, value) in registers
            .iter()
            .enumerate()
            .filter(|(_, value)| **value > 0)
        {
            dense::set(body, at, *value);
        }
        Ok(())
    }

    /// Marks the cached count as out of date.
    pub fn invalidate(&mut self) {
        self.bytes[HEADER_BYTES - 1] |= STALE;
    }

    /// Caches the count.
    pub fn set_cached(&mut self, count: u64) {
        self.bytes[HEADER_BYTES - 8..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPARSE_MAX: usize = 3000;

    fn of(elements: impl Iterator<Item = u64>, sparse_max: usize) -> HyperLogLog<Vec<u8>> {
        let mut hll = HyperLogLog::empty();
        for element in elements {
            hll.add(&element.to_le_bytes(), sparse_max).unwrap();
        }
        hll
    }

    #[test]
    fn an_empty_one_is_that_of_redis() {
        let hll = HyperLogLog::empty();
        assert_eq!(hll.as_bytes(), b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
        assert_eq!((hll.cached(), hll.count()), (Some(0), Ok(0)));
        assert_eq!(hll.describe_sparse(), "Z:16384");
    }

    /// The string that redis-server 7.0.15 makes of PFADD k a b c d e f g.
    #[test]
    fn elements_have_the_places_that_redis_gives_them() {
        let mut hll = HyperLogLog::empty();
        for element in [b"a", b"b", b"c", b"d", b"e", b"f", b"g"] {
            assert_eq!(hll.add(element, SPARSE_MAX), Ok(true));
            assert_eq!(hll.add(element, SPARSE_MAX), Ok(false));
        }
        assert_eq!(hll.count(), Ok(7));
        assert_eq!(
            hll.describe_sparse(),
            "Z:1646 v:1,1 Z:5645 v:1,1 Z:1085 v:2,1 z:57 v:1,1 Z:4274 v:2,1 Z:2445 v:1,1 Z:622 v:1,1 Z:603"
        );
    }

    #[test]
    fn what_is_no_hyperloglog_is_refused() {
        assert!(HyperLogLog::new(&b""[..]).is_none());
        assert!(HyperLogLog::new(&b"HYLL\x01\0\0\0\0\0\0\0\0\0\0"[..]).is_none());
        assert!(
            HyperLogLog::new(&b"HYLL\x00\0\0\0\0\0\0\0\0\0\0\0"[..]).is_none(),
            "dense, too short"
        );
        assert!(HyperLogLog::new(&b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0"[..]).is_none());
        assert!(HyperLogLog::new(&b"HYL-\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff"[..]).is_none());
        let mut longer = HyperLogLog::empty().into_bytes();
        longer.extend_from_slice(b"hello");
        let hll = HyperLogLog::new(longer).unwrap();
        assert_eq!(hll.count(), Err(Corrupt));
    }

    #[test]
    fn estimates_are_close_and_the_form_does_not_matter() {
        for n in [10, 100, 1000, 20_000] {
            let (sparse, dense) = (of(0..n, usize::MAX), of(0..n, 0));
            assert_eq!(
                (sparse.form(), dense.form()),
                (
                    if n < 10_000 {
                        Form::Sparse
                    } else {
                        sparse.form()
                    },
                    Form::Dense
                )
            );
            assert_eq!(sparse.registers(), dense.registers());
            let error = dense.count().unwrap().abs_diff(n) as f64 / n as f64;
            assert!(error < 0.04, "{n}: off by {error}");
        }
    }

    #[test]
    fn the_count_is_cached_until_something_changes() {
        let mut hll = of(0..100, SPARSE_MAX);
        assert_eq!(hll.cached(), None);
        hll.set_cached(101);
        assert_eq!(hll.cached(), Some(101));
        hll.make_dense().unwrap();
        assert_eq!((hll.cached(), hll.form()), (Some(101), Form::Dense));
        assert_eq!(hll.as_bytes().len(), 12304);
    }

    proptest! {
        #[test]
        fn registers_are_the_maxima_in_either_form(
            raises in prop::collection::vec((prop_oneof![0..40usize, 0..REGISTERS], 1..35u8), 1..300),
            sparse_max in prop_oneof![Just(0), Just(60usize), Just(3000)],
        ) {
            let mut model = Box::new([0; REGISTERS]);
            let mut hll = HyperLogLog::empty();
            for (register, value) in raises {
                let changes = model[register] < value;
                prop_assert_eq!(hll.raise(register, value, sparse_max), Ok(changes));
                model[register] = value.max(model[register]);
                if hll.form() == Form::Sparse {
                    prop_assert!(hll.as_bytes().len() <= sparse_max.max(18));
                }
            }
            prop_assert!(hll.registers() == Ok(model));
        }

        #[test]
        fn damaged_ones_never_panic(mut body in prop::collection::vec(any::<u8>(), 0..40), register in 0..REGISTERS, value in 1..40u8) {
            let mut bytes = HyperLogLog::empty().into_bytes();
            bytes.truncate(HEADER_BYTES);
            bytes.append(&mut body);
            let mut hll = HyperLogLog::new(bytes).unwrap();
            let _ = (hll.count(), hll.describe_sparse(), hll.raise(register, value, 3000), hll.make_dense());
        }
    }
}
