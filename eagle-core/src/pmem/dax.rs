//! Cache line write-back for memory that is its own persistence domain (DAX with MAP_SYNC).

#[cfg(target_arch = "x86_64")]
use std::arch::{asm, x86_64};

/// The instruction that writes a cache line back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteBack {
    /// Writes back and may keep the line.
    #[cfg(target_arch = "x86_64")]
    Clwb,
    /// Writes back and drops the line, weakly ordered.
    #[cfg(target_arch = "x86_64")]
    Clflushopt,
    /// Writes back and drops the line, strongly ordered: every processor has it.
    #[cfg(target_arch = "x86_64")]
    Clflush,
    /// There is none that we know: such a machine is never given DAX mode.
    #[cfg(not(target_arch = "x86_64"))]
    Unsupported,
}

/// Whether this build can order stores on DAX at all.
pub const SUPPORTED: bool = cfg!(target_arch = "x86_64");

impl WriteBack {
    /// The best instruction of this processor.
    #[cfg(target_arch = "x86_64")]
    pub fn detect() -> WriteBack {
        if x86_64::__cpuid(0).eax >= 7 {
            let features = x86_64::__cpuid_count(7, 0).ebx;
            if features & (1 << 24) != 0 {
                return WriteBack::Clwb;
            }
            if features & (1 << 23) != 0 {
                return WriteBack::Clflushopt;
            }
        }
        WriteBack::Clflush
    }

    /// There is nothing to choose from.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn detect() -> WriteBack {
        WriteBack::Unsupported
    }

    /// Starts writing back every line of `start..start + len`, which must be mapped memory.
    pub fn lines(self, start: *const u8, len: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            const LINE_BYTES: usize = 64;
            let skip = start.addr() % LINE_BYTES;
            for offset in (0..len + skip).step_by(LINE_BYTES) {
                let line = start.wrapping_sub(skip).wrapping_add(offset);
                // SAFETY: the three instructions change no memory contents; the line overlaps
                // the mapped range that the caller gave, and the processor has the
                // instruction (`detect`).
                unsafe {
                    match self {
                        WriteBack::Clwb => {
                            asm!("clwb [{}]", in(reg) line, options(nostack, preserves_flags));
                        }
                        WriteBack::Clflushopt => {
                            asm!("clflushopt [{}]", in(reg) line, options(nostack, preserves_flags));
                        }
                        WriteBack::Clflush => {
                            asm!("clflush [{}]", in(reg) line, options(nostack, preserves_flags));
                        }
                    }
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (self, start, len);
    }
}

/// Waits until the write-backs started by this thread have reached the persistence domain.
pub fn drain() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a store fence has no requirements.
    unsafe {
        x86_64::_mm_sfence();
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_of_this_processor_leaves_contents_alone() {
        let best = WriteBack::detect();
        let data: Vec<u8> = (0..=255).collect();
        for write_back in [best, WriteBack::Clflush] {
            write_back.lines(data[3..].as_ptr(), 200);
            drain();
        }
        assert!(
            data.iter()
                .enumerate()
                .all(|(index, &byte)| index == usize::from(byte))
        );
    }
}
