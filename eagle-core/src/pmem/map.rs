//! Memory behind the medium: a reserved address range, filled with extents of a file or of
//! anonymous memory as the pool grows.
//!
//! The range is reserved once, without access rights, so that the base address never changes.
//! File extents are really allocated before they are mapped: on a sparse file a full disk would
//! arrive as SIGBUS in the middle of a store.

use super::{MediumKind, dax, faults};
use rustix::{
    fs::{self, FallocateFlags},
    io::Errno,
    mm::{self, MapFlags, MprotectFlags, MsyncFlags, ProtFlags},
};
use std::{fs::File, io, ptr};

const TMPFS_MAGIC: i64 = 0x0102_1994;

/// The least by which a pool grows, unless there is no room for it.
const GROWTH_MIN: u64 = 8 << 20;
/// The most by which it grows, unless one allocation needs more.
const GROWTH_MAX: u64 = 64 << 20;
/// By how much it grows on tmpfs, which clears what it allocates at once: the write that needs it waits half a millisecond,
/// and not nine.
const GROWTH_TMPFS: u64 = 4 << 20;

/// A reserved range of addresses and what is mapped into it.
#[derive(Debug)]
pub struct Mapping {
    base: *mut u8,
    reserved: usize,
    file: Option<File>,
    kind: MediumKind,
}

// SAFETY: the base address is a plain value; access to the memory behind it is governed by
// `Medium`, which uses atomics for everything shared.
unsafe impl Send for Mapping {}
// SAFETY: as above; growing is serialised by the page map's lock.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `reserved` bytes for anonymous memory.
    pub fn anonymous(reserved: u64) -> io::Result<Mapping> {
        Mapping::reserve(reserved, None, MediumKind::Anonymous)
    }

    /// Reserves `reserved` bytes for a file and finds out what it lies on.
    pub fn file(file: File, reserved: u64) -> io::Result<Mapping> {
        let kind = if Mapping::is_dax(&file) {
            MediumKind::Dax
        } else if is_tmpfs(&file)? {
            MediumKind::Tmpfs
        } else {
            MediumKind::File
        };
        Mapping::reserve(reserved, Some(file), kind)
    }

    fn reserve(reserved: u64, file: Option<File>, kind: MediumKind) -> io::Result<Mapping> {
        let reserved = usize::try_from(reserved).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
        let base = unsafe {
            mm::mmap_anonymous(
                ptr::null_mut(),
                reserved,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        Ok(Mapping {
            base: base.cast(),
            reserved,
            file,
            kind,
        })
    }

    /// Whether the file accepts a synchronous mapping, which only DAX does. Maps a page and
    /// does not touch it.
    pub fn is_dax(file: &File) -> bool {
        if !dax::SUPPORTED {
            return false;
        }
        let probe_bytes = 4096;
        // SAFETY: the kernel chooses the address; the mapping is not accessed and removed below.
        let probe = unsafe {
            mm::mmap(
                ptr::null_mut(),
                probe_bytes,
                ProtFlags::READ,
                MapFlags::SHARED_VALIDATE | MapFlags::SYNC,
                file,
                0,
            )
        };
        match probe {
            Ok(address) => {
                // SAFETY: exactly the mapping made above.
                let _ = unsafe { mm::munmap(address, probe_bytes) };
                true
            }
            Err(_) => false,
        }
    }

    /// What lies behind the range.
    pub fn kind(&self) -> MediumKind {
        self.kind
    }

    /// By how many bytes a pool should grow that has `bytes` accessible.
    pub fn growth(&self, bytes: u64) -> u64 {
        match self.kind {
            MediumKind::Tmpfs => GROWTH_TMPFS,
            _ => bytes.clamp(GROWTH_MIN, GROWTH_MAX),
        }
    }

    /// First address of the range.
    #[inline]
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// Allocates storage for `at..at + len` of the file, so that stores there cannot fail.
    /// Contents that exist are kept, new ones are zero. Does nothing for anonymous memory.
    pub fn allocate(&self, at: u64, len: u64) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        faults::call()?;
        loop {
            match fs::fallocate(file, FallocateFlags::empty(), at, len) {
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP) => return Err(unallocatable()),
                other => return Ok(other?),
            }
        }
    }

    /// Gives the storage of `at..at + len` back to the system; it reads as zero from now on. To be
    /// [allocated](Mapping::allocate) again before anything is stored there. Nobody may be accessing it.
    pub fn discard(&self, at: u64, len: u64) -> io::Result<()> {
        faults::call()?;
        if let Some(file) = &self.file {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            return Ok(fs::fallocate(file, how, at, len)?);
        }
        let address = self.base.wrapping_add(at as usize).cast();
        // SAFETY: the range is inside our mapping and its contents are of no use to anybody.
        unsafe { mm::madvise(address, len as usize, mm::Advice::LinuxDontNeed)? };
        Ok(())
    }

    /// Makes `at..at + len` accessible. Both are multiples of the system's page size.
    pub fn map(&self, at: u64, len: u64) -> io::Result<()> {
        faults::call()?;
        let end = at.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
        if end > self.reserved as u64 {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let address = self.base.wrapping_add(at as usize).cast();
        let Some(file) = &self.file else {
            // SAFETY: the range is inside our reservation and nobody accesses it yet.
            unsafe {
                mm::mprotect(
                    address,
                    len as usize,
                    MprotectFlags::READ | MprotectFlags::WRITE,
                )?;
            }
            return Ok(());
        };
        let flags = if self.kind == MediumKind::Dax {
            MapFlags::SHARED_VALIDATE | MapFlags::SYNC | MapFlags::FIXED
        } else {
            MapFlags::SHARED | MapFlags::FIXED
        };
        // SAFETY: MAP_FIXED replaces only a part of our own reservation that nobody accesses.
        unsafe {
            mm::mmap(
                address,
                len as usize,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
                file,
                at,
            )?;
        }
        Ok(())
    }

    /// Writes `at..at + len`, and what the file system needs to find it, to stable storage. Not
    /// the rest of the file: after a crash that could be gigabytes, and a start must not wait.
    pub fn sync(&self, at: u64, len: u64) -> io::Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        faults::call()?;
        // SAFETY: the range is mapped; msync changes no contents.
        unsafe {
            mm::msync(
                self.base.wrapping_add(at as usize).cast(),
                len as usize,
                MsyncFlags::SYNC,
            )?;
        }
        Ok(())
    }

    /// Lets other processes open the file.
    pub fn unlock(&self) {
        if let Some(file) = &self.file {
            let _ = fs::flock(file, fs::FlockOperation::Unlock);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our reservation with all that is mapped in it; no reference into it outlives
        // the `Medium` that owns this mapping.
        let _ = unsafe { mm::munmap(self.base.cast(), self.reserved) };
    }
}

fn is_tmpfs(file: &File) -> io::Result<bool> {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the field's width differs between targets"
    )]
    let magic = fs::fstatfs(file)?.f_type as i64;
    Ok(magic == TMPFS_MAGIC)
}

fn unallocatable() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "the file system cannot preallocate space, which a pool needs",
    )
}
