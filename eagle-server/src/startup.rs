//! From the command line to a running server, or to whatever else the command line asks for.

use crate::acl::{Acl, Declaration};
use crate::admin;
use crate::command;
use crate::config::command_line::{
    Invocation, Sources, help_text, test_memory_usage, version_text,
};
use crate::config::file::{self, ConfigError, Startup, Surroundings};
use crate::server;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, ExitCode, Stdio};

/// Tells a detached child that it is one, so that it does not detach again.
const DETACHED: &str = "EAGLEDB_DETACHED";

/// Entry point of the `eagledb` binary.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let program = args
        .first()
        .map_or("eagledb".into(), |name| name.to_string_lossy().into_owned());
    let words: Vec<&[u8]> = args.iter().skip(1).map(|word| word.as_bytes()).collect();
    if words.first().is_some_and(|word| admin::is_subcommand(word)) {
        return admin::run(&args);
    }
    match Invocation::from_args(&words) {
        Invocation::Version => println!("{}", version_text()),
        Invocation::Help => print!("{}", help_text(&program)),
        Invocation::TestMemory(None) => {
            eprint!("{}", test_memory_usage(&program));
            return ExitCode::FAILURE;
        }
        Invocation::TestMemory(Some(megabytes)) => return admin::test_memory(megabytes),
        Invocation::CheckSystem => return admin::check_system(),
        Invocation::Run(sources) => return run(&sources),
    }
    ExitCode::SUCCESS
}

fn run(sources: &Sources) -> ExitCode {
    let startup = match load(sources) {
        Ok(startup) => startup,
        // An unreadable file is a matter of the log, which is still standard output.
        Err(error @ ConfigError::Unreadable { .. }) => {
            println!("{}:C # {error}", std::process::id());
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    command::rename(&startup.renames);
    let process = &startup.config.process;
    if process.daemonize && std::env::var_os(DETACHED).is_none() {
        return detach(&process.dir);
    }
    if let Err(error) = rustix::process::chdir(process.dir.as_str()) {
        eprintln!("Can't chdir to '{}': {error}", process.dir);
        return ExitCode::FAILURE;
    }
    leave_terminal();
    server::run(startup)
}

fn load(sources: &Sources) -> Result<Startup, ConfigError> {
    let dir = std::env::current_dir()
        .map_or_else(|_| "/".to_owned(), |dir| dir.to_string_lossy().into_owned());
    file::load(
        sources,
        &mut Surroundings {
            dir: &dir,
            stdin: &mut io::stdin(),
            is_command: &command::is_declared,
            check_user: &check_user,
        },
    )
}

/// Checks a `user` line. Like Redis, an error counts the rules from the line's first word.
fn check_user(words: &[Vec<u8>]) -> Result<(), (usize, String)> {
    Declaration::read(words)
        .and_then(|user| Acl::check_declaration(command::acl_catalogue(), &user))
        .map_err(|(index, error)| (index, error.to_string()))
}

/// Starts this program again in a session of its own and leaves it running. No fork: the child
/// begins as any other process does, before there are threads or open pools.
fn detach(dir: &str) -> ExitCode {
    let spawned = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(DETACHED, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    });
    match spawned {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Can't start the background process for '{dir}': {error}");
            ExitCode::FAILURE
        }
    }
}

/// In a detached process: leaves the terminal's session.
fn leave_terminal() {
    if std::env::var_os(DETACHED).is_some() {
        let _ = rustix::process::setsid();
    }
}
