//! The checksum of RDB files and DUMP payloads: CRC-64 with the Jones polynomial.

use crc::{CRC_64_REDIS, Crc, Table};

/// Sixteen bytes a step: DUMP and RESTORE of large values spend most of their time here.
static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The checksum of `bytes`.
pub fn checksum(bytes: &[u8]) -> u64 {
    CRC.checksum(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_value_comes_out() {
        assert_eq!(checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(checksum(b""), 0);
    }
}
