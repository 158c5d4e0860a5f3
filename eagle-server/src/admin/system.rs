//! `--check-system` and `--test-memory`: running a diagnosis and printing what it found.

use super::diagnose;
use std::io::{self, Write};
use std::process::ExitCode;

/// Looks for settings of the machine that hurt a server, as far as they can be read.
pub fn check_system() -> ExitCode {
    let (report, is_good) = diagnose::system_report(&diagnose::check_system());
    print!("{report}");
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Writes patterns over `megabytes` of memory and reads them back.
pub fn test_memory(megabytes: usize) -> ExitCode {
    const PASSES: u32 = 50;
    let tested = diagnose::test_memory(megabytes, PASSES, |pass| {
        print!("\rTested {megabytes} MB, pass {pass} of {PASSES}");
        // Progress is for a person who watches; nothing depends on it.
        let _ = io::stdout().flush();
    });
    match tested {
        Ok(()) => {
            println!("\nYour memory passed this test.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("\n{error}");
            ExitCode::FAILURE
        }
    }
}
