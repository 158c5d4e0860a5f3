//! `--check-system` and `--test-memory`.

use std::process::ExitCode;

/// The advice, if there is any to give.
type Check = fn() -> Result<(), String>;

/// Looks for settings of the machine that hurt a server, as far as they can be read.
pub fn check_system() -> ExitCode {
    let checks: [(&str, Check); 2] = [
        ("transparent-huge-pages", huge_pages),
        ("open-files", open_files),
    ];
    let mut failed = false;
    for (name, check) in checks {
        match check() {
            Ok(()) => println!("[{name}] OK"),
            Err(advice) => {
                failed = true;
                println!("[{name}] WARNING: {advice}");
            }
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn huge_pages() -> Result<(), String> {
    let setting =
        std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if setting.contains("[always]") {
        return Err("transparent huge pages are always on, which makes private memory grow and page faults slow; \
                    'madvise' is the better setting"
            .to_owned());
    }
    Ok(())
}

fn open_files() -> Result<(), String> {
    const WANTED: u64 = 10_032;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.maximum {
        Some(maximum) if maximum < WANTED => Err(format!(
            "at most {maximum} files may be open, {WANTED} are needed for 10000 clients"
        )),
        _ => Ok(()),
    }
}

/// Writes patterns over `megabytes` of memory and reads them back.
pub fn test_memory(megabytes: usize) -> ExitCode {
    const WORDS_PER_MEGABYTE: usize = (1 << 20) / size_of::<u64>();
    const PATTERNS: [u64; 4] = [0, u64::MAX, 0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa];
    let mut memory: Vec<u64> = Vec::new();
    let Some(words) = megabytes.checked_mul(WORDS_PER_MEGABYTE) else {
        eprintln!("Unable to allocate {megabytes} megabytes");
        return ExitCode::FAILURE;
    };
    if memory.try_reserve_exact(words).is_err() {
        eprintln!("Unable to allocate {megabytes} megabytes");
        return ExitCode::FAILURE;
    }
    memory.resize(words, 0);
    let mut bad = 0usize;
    for pattern in PATTERNS {
        // The address goes into the pattern, so that a word that answers for another is found.
        let expected = |index: usize| pattern ^ (index as u64).rotate_left(32);
        memory
            .iter_mut()
            .enumerate()
            .for_each(|(index, word)| *word = expected(index));
        let memory = std::hint::black_box(&memory);
        bad += memory
            .iter()
            .enumerate()
            .filter(|(index, word)| **word != expected(*index))
            .count();
    }
    if bad > 0 {
        eprintln!("*** MEMORY ERROR DETECTED: {bad} words differ ***");
        return ExitCode::FAILURE;
    }
    println!("Your memory passed this test.");
    ExitCode::SUCCESS
}
