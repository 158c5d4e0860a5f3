//! `nodes.conf` as a file: locked for the life of the process, replaced as a whole.
//!
//! The lock tells another server that the file is in use; Redis takes the same one. A save writes a new file beside
//! the old, locks it, and renames it over the old, so the file is at every moment one text or the other, and locked.
//! The data is always flushed before the rename, because a rename alone may survive a power cut without the data;
//! whether the rename itself is flushed is the caller's choice.

use super::config_file::{ClusterFile, ParseError};
use crate::whole_file::{Draft, sync_folder};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes: some hundred thousand nodes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The open, locked file.
#[derive(Debug)]
pub struct ConfigStore {
    path: PathBuf,
    /// Held for its lock.
    locked: File,
}

/// Why the file cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another process holds the lock.
    InUse(PathBuf),
    /// The file cannot be opened, created or read.
    Io(io::Error),
    /// The content makes no sense.
    Corrupted(ParseError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "Sorry, the cluster configuration file {} is already used by a different Redis Cluster node. \
                 Please make sure that different nodes use different cluster configuration files.",
                path.display()
            ),
            Self::Io(error) => write!(f, "cluster config file: {error}"),
            Self::Corrupted(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ConfigStore {
    /// Opens the file, or creates it empty, and locks it. The content is `None` if there is none yet.
    pub fn open(path: &Path) -> Result<(Self, Option<ClusterFile>), OpenError> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path)?;
        lock(&file, path)?;
        // Between open and lock the holder may have replaced the file; then this is a lock on a file without a name.
        let (held, named) = (file.metadata()?, std::fs::metadata(path)?);
        if (held.dev(), held.ino()) != (named.dev(), named.ino()) {
            return Err(OpenError::InUse(path.to_owned()));
        }
        if held.len() > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 MiB").into());
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let content = ClusterFile::parse(&text).map_err(OpenError::Corrupted)?;
        Ok((
            Self {
                path: path.to_owned(),
                locked: file,
            },
            content,
        ))
    }

    /// Replaces the content. With `fsync` it survives a power cut from the moment this returns.
    pub fn save(&mut self, text: &str, fsync: bool) -> io::Result<()> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(format!(".tmp-{}", std::process::id()));
        let mut draft = Draft::create(beside.into(), &self.path, 0o666)?;
        draft.file().try_lock().map_err(io::Error::from)?;
        draft.write_all(text.as_bytes())?;
        self.locked = draft.replace()?;
        if fsync {
            sync_folder(&self.path)?;
        }
        Ok(())
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(file: &File, path: &Path) -> Result<(), OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::Io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::NodeId;
    use crate::whole_file::testing::{every_call_fails, folder};

    #[test]
    fn the_file_is_created_locked_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes.conf");
        let (mut store, content) = ConfigStore::open(&path).unwrap();
        assert_eq!(content, None);
        assert!(matches!(ConfigStore::open(&path), Err(OpenError::InUse(_))));
        let mut file = ClusterFile::fresh(NodeId::parse(&[b'a'; 40]).unwrap());
        for (epoch, fsync) in [(1, true), (2, false)] {
            file.current_epoch = epoch;
            store.save(&file.to_string(), fsync).unwrap();
            assert!(
                matches!(ConfigStore::open(&path), Err(OpenError::InUse(_))),
                "the new file is locked as well"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), file.to_string());
        }
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside the file"
        );
        drop(store);
        assert_eq!(ConfigStore::open(&path).unwrap().1, Some(file));
    }

    #[test]
    fn whatever_fails_the_file_is_whole() {
        let folder = folder();
        let path = folder.path().join("nodes.conf");
        every_call_fails(&path, |number| {
            let (mut store, _) = ConfigStore::open(&path).expect("neither torn nor in use");
            let mut file = ClusterFile::fresh(NodeId::parse(&[b'a'; 40]).unwrap());
            file.current_epoch = u64::from(number);
            store.save(&file.to_string(), true)
        });
    }

    #[test]
    fn a_corrupted_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes.conf");
        std::fs::write(&path, "garbage\n").unwrap();
        assert!(matches!(
            ConfigStore::open(&path),
            Err(OpenError::Corrupted(_))
        ));
    }
}
