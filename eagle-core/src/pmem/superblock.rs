//! The superblock: identity, geometry and trust of a pool, in two checksummed copies.
//!
//! ```text
//! 0    [u8; 8]   magic
//! 8    u32       format version
//! 12   u32       flags: bit 0 = closed cleanly
//! 16   u64       sequence; the valid copy with the higher one counts
//! 24   [u8; 16]  pool id
//! 40   [u8; 16]  hash seed
//! 56   [u8; 16]  boot id of the machine run that opened the pool last
//! 72   u64       pages of the page table
//! 80   u64       lanes
//! 88   [u8; 16]  origin: what the pool's data was loaded from, zero if it grew here
//! 104  ...       zero
//! 248  u32       CRC-32C of bytes 0..248
//! ```

use super::{
    OpenError,
    layout::{
        FORMAT_VERSION, FORMAT_VERSION_MIN, Geometry, LANES_MAX, MAGIC, PAGES_MAX, SUPERBLOCK_BYTES,
    },
};

/// Bytes of a copy that are in use.
pub const ENCODED_BYTES: usize = 256;

const CHECK_AT: usize = 248;
const FLAG_CLEAN: u32 = 1;

/// The decoded superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Closed cleanly.
    pub clean: bool,
    /// Number of updates.
    pub sequence: u64,
    /// Identity of the pool.
    pub pool_id: [u8; 16],
    /// Seed of the key hash.
    pub hash_seed: [u8; 16],
    /// Boot id at the last open.
    pub boot_id: [u8; 16],
    /// Where things lie.
    pub geometry: Geometry,
    /// What the data was loaded from, as the server names it; zero if nothing was loaded.
    pub origin: [u8; 16],
}

impl Superblock {
    /// Offset of the copy that an update with this sequence number overwrites.
    pub fn home(&self) -> u64 {
        self.sequence % 2 * SUPERBLOCK_BYTES
    }

    /// The bytes of a copy.
    pub fn encode(&self) -> [u8; ENCODED_BYTES] {
        let mut bytes = [0; ENCODED_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let flags = if self.clean { FLAG_CLEAN } else { 0 };
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.pool_id);
        bytes[40..56].copy_from_slice(&self.hash_seed);
        bytes[56..72].copy_from_slice(&self.boot_id);
        bytes[72..80].copy_from_slice(&self.geometry.pages().to_le_bytes());
        bytes[80..88].copy_from_slice(&(self.geometry.lanes() as u64).to_le_bytes());
        bytes[88..104].copy_from_slice(&self.origin);
        let sum = crc32c::crc32c(&bytes[..CHECK_AT]);
        bytes[CHECK_AT..CHECK_AT + 4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Chooses the valid copy with the highest sequence from the first two pages of a pool.
    pub fn choose(pages: &[u8]) -> Result<Superblock, OpenError> {
        let copies: Vec<Result<Superblock, OpenError>> = (0..2)
            .map(|copy| copy * SUPERBLOCK_BYTES as usize)
            .map(|start| match pages.get(start..start + ENCODED_BYTES) {
                Some(bytes) => Superblock::decode(bytes),
                None => Err(OpenError::Foreign),
            })
            .collect();
        let best = copies
            .iter()
            .flatten()
            .max_by_key(|copy| copy.sequence)
            .cloned();
        let too_new = copies
            .iter()
            .position(|copy| matches!(copy, Err(OpenError::OtherVersion { .. })));
        match (best, too_new) {
            (None, None) => {
                // One copy that begins like a pool is enough to call the file a damaged pool.
                let known = copies.into_iter().flat_map(Result::err);
                Err(known
                    .reduce(|a, b| {
                        if matches!(a, OpenError::Foreign) {
                            b
                        } else {
                            a
                        }
                    })
                    .unwrap_or(OpenError::Foreign))
            }
            (_, Some(copy)) => Err(copies
                .into_iter()
                .nth(copy)
                .and_then(Result::err)
                .unwrap_or(OpenError::Foreign)),
            (Some(best), None) => Ok(best),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Superblock, OpenError> {
        if bytes[0..8] != MAGIC {
            return Err(OpenError::Foreign);
        }
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let id_at = |at: usize| -> [u8; 16] { bytes[at..at + 16].try_into().expect("16 bytes") };
        // The version stands before the checksum, whose place a later version may change.
        let found = u32_at(8);
        if found > FORMAT_VERSION {
            return Err(OpenError::OtherVersion {
                found,
                supported: FORMAT_VERSION,
            });
        }
        if crc32c::crc32c(&bytes[..CHECK_AT]) != u32_at(CHECK_AT) {
            return Err(OpenError::Damaged("checksum of the superblock".into()));
        }
        if found < FORMAT_VERSION_MIN {
            return Err(OpenError::OtherVersion {
                found,
                supported: FORMAT_VERSION,
            });
        }
        let (pages, lanes) = (u64_at(72), u64_at(80));
        if !(1..=PAGES_MAX).contains(&pages)
            || !(1..=LANES_MAX as u64).contains(&lanes)
            || u32_at(12) & !FLAG_CLEAN != 0
        {
            return Err(OpenError::Damaged("figures in the superblock".into()));
        }
        Ok(Superblock {
            clean: u32_at(12) & FLAG_CLEAN != 0,
            sequence: u64_at(16),
            pool_id: id_at(24),
            hash_seed: id_at(40),
            boot_id: id_at(56),
            geometry: Geometry::new(lanes as usize, pages),
            origin: id_at(88),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sequence: u64) -> Superblock {
        Superblock {
            clean: sequence.is_multiple_of(3),
            sequence,
            pool_id: [1; 16],
            hash_seed: [2; 16],
            boot_id: [3; 16],
            geometry: Geometry::new(7, 4096),
            origin: [4; 16],
        }
    }

    fn medium(copies: [Option<&Superblock>; 2]) -> Vec<u8> {
        let mut pages = vec![0; 2 * SUPERBLOCK_BYTES as usize];
        for (copy, block) in copies.into_iter().enumerate() {
            if let Some(block) = block {
                let start = copy * SUPERBLOCK_BYTES as usize;
                pages[start..start + ENCODED_BYTES].copy_from_slice(&block.encode());
            }
        }
        pages
    }

    #[test]
    fn the_newest_valid_copy_counts() {
        let (old, new) = (sample(8), sample(9));
        assert_eq!(
            Superblock::choose(&medium([Some(&old), Some(&new)])).unwrap(),
            new
        );
        let mut torn = medium([Some(&old), Some(&new)]);
        torn[SUPERBLOCK_BYTES as usize + 30] ^= 1;
        assert_eq!(Superblock::choose(&torn).unwrap(), old);
        torn[30] ^= 1;
        assert!(matches!(
            Superblock::choose(&torn),
            Err(OpenError::Damaged(_))
        ));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let block = sample(4);
        for bit in 0..ENCODED_BYTES * 8 {
            let mut bytes = block.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // The last four bytes are padding after the checksum.
            assert_eq!(
                Superblock::decode(&bytes).is_err(),
                bit / 8 < CHECK_AT + 4,
                "bit {bit}"
            );
        }
    }

    #[test]
    fn strangers_and_successors_are_told_apart() {
        assert!(matches!(
            Superblock::choose(b"short"),
            Err(OpenError::Foreign)
        ));
        assert!(matches!(
            Superblock::choose(&medium([None, None])),
            Err(OpenError::Foreign)
        ));
        for (version, is_read) in [(1, false), (2, true), (3, true), (4, false)] {
            let mut other = sample(5).encode();
            other[8] = version;
            let sum = crc32c::crc32c(&other[..CHECK_AT]);
            other[CHECK_AT..CHECK_AT + 4].copy_from_slice(&sum.to_le_bytes());
            let read = Superblock::decode(&other);
            assert_eq!(
                read.is_ok_and(|block| block == sample(5)),
                is_read,
                "{version}"
            );
        }
        let mut newer = medium([Some(&sample(0)), None]);
        newer[8] = 99;
        assert!(matches!(
            Superblock::choose(&newer),
            Err(OpenError::OtherVersion {
                found: 99,
                supported: FORMAT_VERSION
            })
        ));
    }
}
