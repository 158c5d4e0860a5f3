//! What `--test-memory` and `--check-system` look for.

use std::fs;
use std::hint::black_box;
use std::path::Path;

/// A memory cell that did not keep what was written to it.
#[derive(Debug, PartialEq, Eq)]
pub struct BadCell {
    /// Bytes from the start of the memory under test.
    pub offset: usize,
    pub written: u64,
    pub read: u64,
}

/// Why a memory test failed.
#[derive(Debug, PartialEq, Eq)]
pub enum MemoryTestError {
    /// There is not that much memory.
    OutOfMemory,
    /// The memory is broken.
    Broken(BadCell),
}

impl std::fmt::Display for MemoryTestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MemoryTestError::OutOfMemory => f.write_str("Unable to allocate that much memory"),
            MemoryTestError::Broken(BadCell {
                offset,
                written,
                read,
            }) => write!(
                f,
                "*** MEMORY ERROR at byte {offset}: wrote {written:#018x}, read {read:#018x} ***"
            ),
        }
    }
}

/// Writes and reads back `megabytes` of memory in `passes` passes of four patterns, and calls
/// `progress` with the number of each finished pass.
pub fn test_memory(
    megabytes: usize,
    passes: u32,
    mut progress: impl FnMut(u32),
) -> Result<(), MemoryTestError> {
    const CELLS_PER_MEGABYTE: usize = (1 << 20) / size_of::<u64>();
    let cell_count = megabytes
        .checked_mul(CELLS_PER_MEGABYTE)
        .ok_or(MemoryTestError::OutOfMemory)?;
    let mut cells: Vec<u64> = Vec::new();
    cells
        .try_reserve_exact(cell_count)
        .map_err(|_| MemoryTestError::OutOfMemory)?;
    cells.resize(cell_count, 0);
    for pass in 1..=passes {
        // Each cell its own number finds address lines that stick together, the checkerboard and
        // the solid bits neighbours that leak, the mixed bits what depends on the data.
        let patterns: [fn(u64, u64) -> u64; 4] = [
            |index, _| index,
            |index, pass| if (index ^ pass) & 1 == 0 { u64::MAX } else { 0 },
            |index, pass| 0x5555_5555_5555_5555 << ((index ^ pass) & 1),
            |index, pass| mixed(index.wrapping_add(pass << 48)),
        ];
        for pattern in patterns {
            fill(&mut cells, |index| pattern(index, u64::from(pass)));
            verify(black_box(&cells), |index| pattern(index, u64::from(pass)))
                .map_err(MemoryTestError::Broken)?;
        }
        progress(pass);
    }
    Ok(())
}

fn fill(cells: &mut [u64], pattern: impl Fn(u64) -> u64) {
    for (index, cell) in cells.iter_mut().enumerate() {
        *cell = pattern(index as u64);
    }
}

fn verify(cells: &[u64], pattern: impl Fn(u64) -> u64) -> Result<(), BadCell> {
    for (index, &read) in cells.iter().enumerate() {
        let written = pattern(index as u64);
        if read != written {
            return Err(BadCell {
                offset: index * size_of::<u64>(),
                written,
                read,
            });
        }
    }
    Ok(())
}

/// The finalizer of SplitMix64: a bijection whose output bits look random.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// One look at a setting of the system.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// What is bad about it and how to mend it; `None` if nothing is.
    pub warning: Option<String>,
}

/// Looks at settings of the system below `/sys` and `/proc`. Settings the system does not show count
/// as good.
pub fn check_system() -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
    vec![
        Finding {
            name: "slow-clocksource",
            warning: clock_source(&read(
                "/sys/devices/system/clocksource/clocksource0/current_clocksource",
            )),
        },
        Finding {
            name: "open-files-limit",
            warning: open_files(&read("/proc/self/limits")),
        },
        Finding {
            name: "THP",
            warning: huge_pages(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
        },
    ]
}

/// The report `--check-system` prints, and whether nothing is to be mended.
pub fn system_report(findings: &[Finding]) -> (String, bool) {
    let line = |finding: &Finding| match &finding.warning {
        None => format!("[{}]...OK\n", finding.name),
        Some(warning) => format!("[{}]...WARNING:\n{warning}\n", finding.name),
    };
    (
        findings.iter().map(line).collect(),
        findings.iter().all(|finding| finding.warning.is_none()),
    )
}

fn clock_source(current: &str) -> Option<String> {
    let current = current.trim();
    let is_slow = matches!(current, "hpet" | "acpi_pm" | "xen" | "jiffies" | "pit");
    is_slow.then(|| {
        format!(
            "The kernel reads the time from '{current}', which is slow, and a server reads it for every \
             command. See /sys/devices/system/clocksource/clocksource0/available_clocksource for a \
             better one, such as tsc."
        )
    })
}

fn open_files(limits: &str) -> Option<String> {
    const CLIENTS: u64 = 10_000;
    /// Descriptors a server needs besides those of its clients.
    const RESERVED: u64 = 32;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let hard: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    (hard < CLIENTS + RESERVED).then(|| {
        format!(
            "At most {hard} files may be open, too few for the default of {CLIENTS} clients. Raise the \
             limit (LimitNOFILE of systemd, ulimit -n), or lower maxclients."
        )
    })
}

fn huge_pages(enabled: &str) -> Option<String> {
    enabled.contains("[always]").then(|| {
        "Transparent huge pages are used for all memory, which makes the server's own memory grow and \
         stall. Use 'madvise': echo madvise > /sys/kernel/mm/transparent_hugepage/enabled. The pool \
         asks for huge pages by itself where they help."
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_memory_passes() {
        let mut passes = Vec::new();
        assert_eq!(test_memory(2, 2, |pass| passes.push(pass)), Ok(()));
        assert_eq!(passes, [1, 2]);
        assert_eq!(
            test_memory(usize::MAX, 1, |_| ()),
            Err(MemoryTestError::OutOfMemory)
        );
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let mut cells = vec![0; 100];
        fill(&mut cells, mixed);
        assert_eq!(verify(&cells, mixed), Ok(()));
        cells[42] ^= 1 << 17;
        let bad = verify(&cells, mixed).unwrap_err();
        assert_eq!((bad.offset, bad.written ^ bad.read), (42 * 8, 1 << 17));
    }

    #[test]
    fn bad_settings_are_named() {
        assert_eq!(clock_source("tsc\n"), None);
        assert!(clock_source("xen\n").unwrap().contains("'xen'"));
        let limits = "Limit    Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert!(open_files(limits).unwrap().contains("4096"));
        assert_eq!(open_files(&limits.replace("4096", "65535")), None);
        assert_eq!(open_files(""), None);
        assert_eq!(huge_pages("always [madvise] never"), None);
        assert!(huge_pages("[always] madvise never").is_some());
        let findings = [
            Finding {
                name: "a",
                warning: None,
            },
            Finding {
                name: "b",
                warning: Some("bad".into()),
            },
        ];
        assert_eq!(
            system_report(&findings),
            ("[a]...OK\n[b]...WARNING:\nbad\n".to_owned(), false)
        );
    }
}
