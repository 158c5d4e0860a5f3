//! `eagledb pool check FILE`, `eagledb pool log FILE`.

use crate::opening::boot_id;
use crate::propagation;
use clap::Subcommand;
use eagle_core::store;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum Action {
    /// Check a pool file: every allocated block reachable exactly once, counters and tables sound.
    Check {
        /// The pool file.
        file: PathBuf,
    },
    /// Print the commands in the log ring of a pool file, one a line, each behind its position in the stream.
    Log {
        /// The pool file.
        file: PathBuf,
        /// Write the bytes as they are, as replicas and `redis-cli --pipe` read them.
        #[arg(long)]
        raw: bool,
    },
}

pub fn run(action: Action) -> ExitCode {
    match action {
        Action::Check { file } => check(&file),
        Action::Log { file, raw } => log(&file, raw),
    }
}

fn log(file: &Path, raw: bool) -> ExitCode {
    let (floor, bytes) = match store::read_ring(file, boot_id()) {
        Ok(ring) => ring,
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    };
    let mut text = Vec::new();
    let mut at = begin(&bytes);
    if raw {
        text.extend_from_slice(&bytes[at..]);
    }
    while !raw && at < bytes.len() {
        let Some((words, len)) = propagation::parse_request(&bytes[at..]) else {
            eprintln!("The stream is broken at {}", floor + at as u64);
            return ExitCode::FAILURE;
        };
        text.extend_from_slice(format!("{}", floor + at as u64).as_bytes());
        for word in words {
            text.push(b' ');
            quote(word, &mut text);
        }
        text.push(b'\n');
        at += len;
    }
    match io::stdout().write_all(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Where the first whole command begins: what is left of the stream may begin in the midst of one.
fn begin(bytes: &[u8]) -> usize {
    let stars = memchr::memchr_iter(b'*', bytes);
    let mut starts = stars.filter(|&at| at == 0 || bytes[..at].ends_with(b"\r\n"));
    starts
        .find(|&at| propagation::parse_request(&bytes[at..]).is_some())
        .unwrap_or(bytes.len())
}

/// Puts a word in quotes, with escapes for what is not printable.
fn quote(word: &[u8], text: &mut Vec<u8>) {
    text.push(b'"');
    for byte in word {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            b' '..=b'~' => text.push(*byte),
            _ => text.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    text.push(b'"');
}

fn check(file: &Path) -> ExitCode {
    match store::check(file, boot_id()) {
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            ExitCode::FAILURE
        }
        Ok(report) => {
            println!(
                "{}: {} keys, {} blocks",
                file.display(),
                report.keys,
                report.blocks
            );
            for fault in &report.faults {
                println!("fault: {fault}");
            }
            if report.faults.is_empty() {
                println!("The pool is sound.");
                ExitCode::SUCCESS
            } else {
                println!("{} faults found.", report.faults.len());
                ExitCode::FAILURE
            }
        }
    }
}
