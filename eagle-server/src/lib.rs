//! EagleDB server.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod config;
pub mod persist;

/// Entry point of the `eagledb` binary.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
