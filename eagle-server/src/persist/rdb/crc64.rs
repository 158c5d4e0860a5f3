//! The checksum of RDB files and DUMP payloads: CRC-64 with the Jones polynomial.

use crc::{CRC_64_REDIS, Crc, Digest, Table};

/// Sixteen bytes a step: DUMP and RESTORE of large values spend most of their time here.
static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The checksum of `bytes`.
pub fn checksum(bytes: &[u8]) -> u64 {
    CRC.checksum(bytes)
}

/// A checksum that is still being computed, of a file that is not in memory.
pub struct Running(Digest<'static, u64, Table<16>>);

impl Default for Running {
    fn default() -> Running {
        Running(CRC.digest())
    }
}

impl Running {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all that was added.
    pub fn end(self) -> u64 {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_value_comes_out() {
        assert_eq!(checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(checksum(b""), 0);
        let mut running = Running::default();
        running.add(b"1234");
        running.add(b"56789");
        assert_eq!(running.end(), checksum(b"123456789"));
    }
}
