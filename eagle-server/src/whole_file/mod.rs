//! Files that are replaced as a whole: `nodes.conf`, the ACL file, the configuration file, snapshots, the
//! manifest of a local cluster.
//!
//! The new content is written to a draft beside the file, made durable, and renamed over it. So at every moment, also after
//! a crash or a power cut, the file is the old one or the new one:
//!
//! ```text
//!   create draft | write ... | sync draft | rename | sync folder
//!                                          ^ from here on the new one
//! ```
//!
//! The draft is synced before the rename, because a rename may outlive a power cut that its data does not. Whether the rename
//! itself is to be durable at once ([`sync_folder`]) is the caller's choice. A draft that does not get that far is removed; one
//! that a killed process left behind is removed by the next.
//!
//! Every system call passes `faults` first, in which tests let each of them fail in turn.

mod faults;
#[cfg(test)]
pub mod testing;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use faults::Call;

/// A file that is going to replace another one.
#[derive(Debug)]
pub struct Draft {
    file: File,
    name: Name,
    target: PathBuf,
}

/// The draft's name, which goes with it unless it has become the other file's.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    is_renamed: bool,
}

impl Draft {
    /// Begins a draft at `path`, which lies in the folder of `target`. `mode` is subject to the process's mask.
    pub fn create(path: PathBuf, target: &Path, mode: u32) -> io::Result<Draft> {
        // A process of the same number may have left one behind.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        faults::pass(Call::Create)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)?;
        Ok(Draft {
            file,
            name: Name {
                path,
                is_renamed: false,
            },
            target: target.to_owned(),
        })
    }

    /// The draft's file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it exactly this mode.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        faults::pass(Call::Mode)?;
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    /// Makes durable what was written, and lets the draft take the place of the other file.
    pub fn replace(mut self) -> io::Result<File> {
        faults::pass(Call::Sync)?;
        self.file.sync_all()?;
        faults::pass(Call::Rename)?;
        fs::rename(&self.name.path, &self.target)?;
        self.name.is_renamed = true;
        Ok(self.file)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let passed = faults::pass_bytes(bytes.len())?;
        self.file.write(&bytes[..passed])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if !self.is_renamed && !faults::is_killed() {
            // The failure that led here is told; a draft that stays is removed by the next.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes durable which files the folder of `path` has.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    faults::pass(Call::SyncFolder)?;
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
