//! The log of a lane: undo entries and allocation entries of the transaction in flight.
//!
//! Entries are 32 bytes plus payload, in units of 32 bytes, so that a small one never straddles
//! a cache line:
//!
//! ```text
//! 0   u32 check    over everything below, the lane, the generation and the entry's position
//! 4   u32 kind
//! 8   u32 seq      strictly increasing within a transaction
//! 12  u32 len      payload bytes
//! 16  u64 at       the offset the entry is about
//! 24  u64 value    old word | new word | extent of the block | bytes of the next chunk
//! 32  payload      old bytes, or the names of blocks; zero padded
//! ```
//!
//! There is no length field and no end mark: the log ends at the first entry that does not
//! check. The generation takes part in the check, hence a single store of the lane's generation
//! truncates the log. `seq` keeps entries apart which a rollback to a savepoint has cut off: what
//! is appended over them has higher numbers, so that a remnant behind it is not taken for its
//! continuation.

use super::{GRANULE, GRANULE_BITS, Offset, medium::Medium, medium::Site};
use std::sync::atomic::Ordering;

/// Bytes of an entry without payload, and the unit of all entries.
pub const ENTRY_BYTES: u64 = 32;

/// Most payload bytes of one entry.
pub const PAYLOAD_BYTES_MAX: usize = 4096;

/// Most blocks that one entry names.
pub const NAMES_MAX: usize = 32;

/// Bytes of an entry that names as many blocks as it can.
pub const NAMES_BYTES: u64 = entry_bytes(8 * NAMES_MAX);

/// Room that is kept free at the end of every chunk: one entry for the link to the next chunk, and
/// what a commit needs: two for a record in the log ring, and the last one, which names blocks.
pub const RESERVE_BYTES: u64 = 3 * ENTRY_BYTES + NAMES_BYTES;

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// The word at `at` was `value`.
    UndoWord = 1,
    /// The `len` bytes at `at` were the payload.
    UndoBytes = 2,
    /// The run at `at` with extent `value` belongs to this transaction. (In logs of format 2 this may be the block of a
    /// slab, and so may the next.)
    Alloc = 3,
    /// The run at `at` with extent `value` is given up by this transaction.
    Free = 4,
    /// The last store of this transaction puts `value` at `at`; it is the commit point. The payload is that of `Blocks`.
    Publish = 5,
    /// The log goes on at `at`, in a chunk of `value` bytes.
    Link = 6,
    /// The transaction has a record in the log ring, and is committed once the ring's head (the
    /// word at `at`) has reached `value`.
    Ring = 7,
    /// The blocks of slabs that the payload [names](Name) belong to this transaction, or are given up by it.
    Blocks = 8,
}

impl Kind {
    fn from_u32(raw: u32) -> Option<Kind> {
        Some(match raw {
            1 => Kind::UndoWord,
            2 => Kind::UndoBytes,
            3 => Kind::Alloc,
            4 => Kind::Free,
            5 => Kind::Publish,
            6 => Kind::Link,
            7 => Kind::Ring,
            8 => Kind::Blocks,
            _ => return None,
        })
    }
}

/// A block of a slab, and what becomes of it: a word of the payload.
///
/// ```text
/// 63..56 size class | 42..3 offset / 8 | 0 given up
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// Where the block begins.
    pub at: Offset,
    /// The size class of its slab.
    pub class: u8,
    /// Whether the transaction gives it up; else it has allocated it.
    pub freed: bool,
}

impl Name {
    const CLASS_SHIFT: u32 = 56;
    const AT_MASK: u64 = ((1 << GRANULE_BITS) - 1) * GRANULE;

    /// The word.
    #[inline]
    pub fn encode(self) -> u64 {
        self.at.raw() | u64::from(self.class) << Name::CLASS_SHIFT | u64::from(self.freed)
    }

    /// Reads a word, or `None` if it is not one that [`Name::encode`] makes.
    pub fn decode(word: u64) -> Option<Name> {
        let name = Name {
            at: Offset::from_raw(word & Name::AT_MASK),
            class: (word >> Name::CLASS_SHIFT) as u8,
            freed: word & 1 == 1,
        };
        (name.encode() == word).then_some(name)
    }
}

/// An entry without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub kind: Kind,
    /// Payload bytes.
    pub len: u32,
    /// The offset it is about.
    pub at: Offset,
    /// See [`Kind`].
    pub value: u64,
}

/// What makes entries of one lane and one transaction unlike all others.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Secret of the pool, mixed with the lane's number.
    pub salt: u64,
    /// The lane's generation.
    pub generation: u64,
}

impl Identity {
    /// The identity of a lane in a pool.
    pub fn new(hash_seed: &[u8; 16], lane: usize, generation: u64) -> Identity {
        let half = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let salt = fold(
            half(&hash_seed[..8]) ^ lane as u64,
            half(&hash_seed[8..]) ^ FOLD_B,
        );
        Identity { salt, generation }
    }
}

const FOLD_A: u64 = 0x9e37_79b9_7f4a_7c15;
const FOLD_B: u64 = 0xd1b5_4a32_d192_ed03;

/// Multiplies to 128 bits and folds the halves: a fast mixing step in which every input bit
/// reaches every output bit.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Of an entry without payload, or of what comes before the payload.
#[inline]
fn check_words(identity: Identity, position: Offset, words: [u64; 4]) -> u64 {
    let tag = words[0] >> 32;
    let hash = fold(
        identity.salt ^ identity.generation ^ tag.rotate_left(48),
        position.raw() ^ words[1] ^ FOLD_A,
    );
    fold(
        hash ^ words[2] ^ FOLD_B,
        words[3] ^ FOLD_A.rotate_left(17) ^ identity.salt,
    )
}

#[inline]
fn check(identity: Identity, position: Offset, words: [u64; 4], payload: &[u8]) -> u32 {
    let mut hash = check_words(identity, position, words);
    let (words, rest) = payload.as_chunks();
    for word in words {
        hash = fold(hash ^ u64::from_le_bytes(*word), FOLD_A);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = fold(hash ^ u64::from_le_bytes(word), FOLD_A);
    }
    (hash ^ hash >> 32) as u32
}

/// Writes an entry whose payload, if any, is words, at `position`, and starts flushing it. The caller fences.
#[inline(always)]
pub fn write_words(
    medium: &Medium,
    identity: Identity,
    position: Offset,
    seq: u32,
    kind: Kind,
    (at, value): (Offset, u64),
    payload: &[u64],
) {
    if cfg!(no_undo_log) {
        return;
    }
    let len = 8 * payload.len() as u64;
    let mut words = [
        u64::from(kind as u32) << 32,
        u64::from(seq) | len << 32,
        at.raw(),
        value,
    ];
    let hash = check_words(identity, position, words);
    let step = |hash, word| fold(hash ^ word, FOLD_A);
    // Said apart, the common lengths take no loop with all that goes round one.
    let hash = match *payload {
        [] => hash,
        [only] => step(hash, only),
        [first, second] => step(step(hash, first), second),
        ref words => words.iter().fold(hash, |hash, &word| step(hash, word)),
    };
    words[0] |= (hash ^ hash >> 32) & 0xffff_ffff;
    // SAFETY: a lane's log is reached by the thread that has checked the lane out, only.
    unsafe { medium.write_entry_owned(position, words, payload) };
}

/// Bytes an entry with `len` payload bytes takes.
#[inline]
pub const fn entry_bytes(len: usize) -> u64 {
    ENTRY_BYTES + (len as u64).next_multiple_of(ENTRY_BYTES)
}

/// Writes an entry at `position` and starts flushing it. The caller fences.
#[inline]
pub fn write(
    medium: &Medium,
    identity: Identity,
    position: Offset,
    seq: u32,
    entry: Entry,
    payload: &[u8],
) {
    debug_assert_eq!(entry.len as usize, payload.len());
    // What a log costs is measured by leaving it out: such a build survives no crash.
    if cfg!(no_undo_log) {
        return;
    }
    let mut words = [
        u64::from(entry.kind as u32) << 32,
        u64::from(seq) | u64::from(entry.len) << 32,
        entry.at.raw(),
        entry.value,
    ];
    words[0] |= u64::from(check(identity, position, words, payload));
    if medium.loses_log_entries() {
        return;
    }
    // SAFETY: a lane's log is reached by the thread that has checked the lane out, only.
    unsafe {
        if !payload.is_empty() {
            medium.write_owned(position.plus(ENTRY_BYTES), payload);
        }
        medium.write_words_owned(position, words);
    }
    medium.flush(position, ENTRY_BYTES as usize + payload.len(), Site::Log);
}

/// Reads the entry at `position` if it is valid and has a higher number than `seq_before`.
/// `end` is the end of the chunk. Answers the entry and its number.
pub fn read(
    medium: &Medium,
    identity: Identity,
    position: Offset,
    end: Offset,
    seq_before: u32,
) -> Option<(Entry, u32)> {
    if position.plus(ENTRY_BYTES) > end {
        return None;
    }
    let words: [u64; 4] =
        std::array::from_fn(|word| medium.load(position.plus(word as u64 * 8), Ordering::Relaxed));
    let kind = Kind::from_u32((words[0] >> 32) as u32)?;
    let (seq, len) = (words[1] as u32, (words[1] >> 32) as u32);
    let has_payload = matches!(kind, Kind::UndoBytes | Kind::Publish | Kind::Blocks);
    let bounded = (len as usize) <= PAYLOAD_BYTES_MAX && (has_payload || len == 0);
    if !bounded || seq <= seq_before || position.plus(entry_bytes(len as usize)) > end {
        return None;
    }
    let mut payload = [0; PAYLOAD_BYTES_MAX];
    let payload = &mut payload[..len as usize];
    medium.read_shared(position.plus(ENTRY_BYTES), payload);
    let sum = check(identity, position, words, payload);
    (sum == words[0] as u32).then_some((
        Entry {
            kind,
            len,
            at: Offset::from_raw(words[2]),
            value: words[3],
        },
        seq,
    ))
}

const _: () = {
    assert!(ENTRY_BYTES == 32);
    assert!(super::layout::LANE_HEADER_BYTES.is_multiple_of(ENTRY_BYTES));
    assert!(super::layout::LANE_BYTES.is_multiple_of(ENTRY_BYTES));
    // A chunk of its own always has room for the largest entry and the reserve.
    assert!(
        super::layout::PAGE_BYTES > 2 * (ENTRY_BYTES + PAYLOAD_BYTES_MAX as u64) + RESERVE_BYTES
    );
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pmem::map::Mapping;

    const CHUNK: Offset = Offset::from_raw(4096);
    const END: Offset = Offset::from_raw(8192);

    fn medium() -> Medium {
        let map = Mapping::anonymous(65536).unwrap();
        map.map(0, 65536).unwrap();
        Medium::new(map, 65536)
    }

    fn identity(lane: usize, generation: u64) -> Identity {
        Identity::new(&[7; 16], lane, generation)
    }

    fn word(value: u64) -> Entry {
        Entry {
            kind: Kind::UndoWord,
            len: 0,
            at: Offset::from_raw(12288),
            value,
        }
    }

    #[test]
    fn entries_round_trip() {
        let (medium, own) = (medium(), identity(3, 9));
        let payload: Vec<u8> = (0..=99).collect();
        let bytes = Entry {
            kind: Kind::UndoBytes,
            len: 100,
            at: Offset::from_raw(77),
            value: 0,
        };
        write(&medium, own, CHUNK, 1, word(5), &[]);
        write(&medium, own, CHUNK.plus(32), 2, bytes, &payload);
        assert_eq!(read(&medium, own, CHUNK, END, 0), Some((word(5), 1)));
        assert_eq!(read(&medium, own, CHUNK.plus(32), END, 1), Some((bytes, 2)));
        assert_eq!(entry_bytes(100), 160);
        assert_eq!(read(&medium, own, CHUNK.plus(192), END, 2), None);
    }

    #[test]
    fn entries_with_words_are_read_like_those_with_bytes() {
        let (medium, own) = (medium(), identity(3, 9));
        let names: Vec<u64> = (0..NAMES_MAX as u64).map(|name| name << 56 | 8).collect();
        for len in 0..=NAMES_MAX {
            let publish = (Offset::from_raw(77 * 8), 5);
            write_words(
                &medium,
                own,
                CHUNK,
                1,
                Kind::Publish,
                publish,
                &names[..len],
            );
            let (entry, seq) = read(&medium, own, CHUNK, END, 0).unwrap();
            assert_eq!(
                (entry.kind, entry.at, entry.value),
                (Kind::Publish, publish.0, publish.1)
            );
            assert_eq!((seq, entry.len as usize), (1, 8 * len));
            let mut payload = vec![0; 8 * len];
            medium.read_shared(CHUNK.plus(ENTRY_BYTES), &mut payload);
            let words = payload.as_chunks().0.iter();
            assert!(
                words
                    .map(|word| u64::from_le_bytes(*word))
                    .eq(names[..len].iter().copied())
            );
            // What follows the payload is not touched.
            let beyond = medium.load(CHUNK.plus(entry_bytes(8 * len)), Ordering::Relaxed);
            assert_eq!(beyond, 0);
        }
    }

    #[test]
    fn names_are_words() {
        for (class, freed) in [(0, false), (127, true), (255, false)] {
            let at = Offset::from_raw((1 << 43) - 8);
            let name = Name { at, class, freed };
            assert_eq!(Name::decode(name.encode()), Some(name));
        }
        for word in [1 << 43, 2, 4, 1 << 55] {
            assert_eq!(Name::decode(word), None, "{word:#x}");
        }
        let name = Name {
            at: Offset::from_raw(0x1_2348),
            class: 7,
            freed: true,
        };
        assert_eq!(name.encode(), 0x0700_0000_0001_2349);
    }

    #[test]
    fn entries_of_others_do_not_count() {
        let (medium, own) = (medium(), identity(3, 9));
        write(&medium, own, CHUNK, 4, word(5), &[]);
        for other in [identity(2, 9), identity(3, 8), identity(3, 10)] {
            assert_eq!(read(&medium, other, CHUNK, END, 0), None);
        }
        let other_seed = Identity::new(&[8; 16], 3, 9);
        assert_eq!(read(&medium, other_seed, CHUNK, END, 0), None);
        assert_eq!(read(&medium, own, CHUNK, END, 4), None, "seq must increase");
        assert_eq!(
            read(&medium, own, CHUNK, CHUNK.plus(31), 0),
            None,
            "no room"
        );
        // The same bytes elsewhere are another entry.
        let words = std::array::from_fn(|index| {
            medium.load(CHUNK.plus(index as u64 * 8), Ordering::Relaxed)
        });
        // SAFETY: the medium is this test's own.
        unsafe { medium.write_words_owned::<4>(CHUNK.plus(64), words) };
        assert_eq!(read(&medium, own, CHUNK.plus(64), END, 0), None);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let (medium, own) = (medium(), identity(0, 1));
        let entry = Entry {
            kind: Kind::UndoBytes,
            len: 13,
            at: Offset::from_raw(40),
            value: 0,
        };
        write(&medium, own, CHUNK, 1, entry, b"thirteen char");
        for bit in 0..(32 + 13) * 8 {
            let at = CHUNK.plus(bit / 64 * 8);
            let before = medium.load(at, Ordering::Relaxed);
            medium.store(at, before ^ 1 << (bit % 64));
            assert_eq!(read(&medium, own, CHUNK, END, 0), None, "bit {bit}");
            medium.store(at, before);
        }
        assert!(read(&medium, own, CHUNK, END, 0).is_some());
    }

    #[test]
    fn the_check_is_pinned() {
        let words = [1 << 32, 1, 12288, 5];
        assert_eq!(
            check(identity(3, 9), CHUNK, words, b"payload of 21 bytes !"),
            0x9859_130e
        );
    }
}
