//! The small file that remembers how a local cluster was started, so that it is started alike again.
//!
//! ```text
//! magic "EAGLELC1" (8)   crc32 of the body, little-endian (4)   body: `Manifest` in bincode
//! ```
//! The magic's last character is the version of the body.

use crate::whole_file::{Draft, sync_folder};
use crc::{CRC_32_ISO_HDLC, Crc};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"EAGLELC1";
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
/// Far above any real manifest.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What a local cluster consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub nodes: u16,
    pub base_port: u16,
}

impl Manifest {
    /// Reads the manifest; `None` if there is none.
    pub fn read(path: &Path) -> io::Result<Option<Manifest>> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err(damaged("too long")),
            Ok(_) => {}
        }
        Manifest::decode(&std::fs::read(path)?).map(Some)
    }

    /// Writes the manifest so that it is there whole or not at all, and durable.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut draft = Draft::create(path.with_extension("tmp"), path, 0o666)?;
        draft.write_all(&self.encode()?)?;
        draft.replace()?;
        sync_folder(path)
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        let body = bincode::serialize(self).map_err(io::Error::other)?;
        Ok([MAGIC.as_slice(), &CRC.checksum(&body).to_le_bytes(), &body].concat())
    }

    fn decode(bytes: &[u8]) -> io::Result<Manifest> {
        let body = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| damaged("not a manifest of this version"))?;
        let (crc, body) = body
            .split_first_chunk::<4>()
            .ok_or_else(|| damaged("truncated"))?;
        if CRC.checksum(body) != u32::from_le_bytes(*crc) {
            return Err(damaged("checksum mismatch"));
        }
        bincode::deserialize(body).map_err(|error| damaged(&error.to_string()))
    }
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the cluster manifest is damaged: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whole_file::testing;

    #[test]
    fn round_trip_and_any_damage_is_noticed() {
        let manifest = Manifest {
            nodes: 3,
            base_port: 7000,
        };
        let bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
        for index in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[index] ^= 1;
            assert!(Manifest::decode(&bad).is_err(), "byte {index}");
            assert!(Manifest::decode(&bytes[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn whatever_fails_the_manifest_is_whole() {
        let folder = testing::folder();
        let path = folder.path().join("cluster.manifest");
        testing::every_call_fails(&path, |number| {
            let manifest = Manifest {
                nodes: 3,
                base_port: 7000 + number as u16,
            };
            manifest.write(&path)
        });
    }

    #[test]
    fn a_missing_file_is_no_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.manifest");
        assert_eq!(Manifest::read(&path).unwrap(), None);
        let manifest = Manifest {
            nodes: 5,
            base_port: 9000,
        };
        manifest.write(&path).unwrap();
        assert_eq!(Manifest::read(&path).unwrap(), Some(manifest));
    }
}
