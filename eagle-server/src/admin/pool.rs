//! `eagledb pool check FILE`.

use crate::server::boot_id;
use clap::Subcommand;
use eagle_core::store;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum Action {
    /// Check a pool file: every allocated block reachable exactly once, counters and tables sound.
    Check {
        /// The pool file.
        file: PathBuf,
    },
}

pub fn run(action: Action) -> ExitCode {
    let Action::Check { file } = action;
    match store::check(&file, boot_id()) {
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
