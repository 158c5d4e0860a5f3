//! The command line of the server proper: `eagledb [file] [options] [-]`.
//!
//! Options are turned into the text of a configuration file, one line per `--name`, and read as one,
//! so that every directive is an option and errors look the same. An argument after a `--name` is
//! its value even if it begins with two dashes; only from the second value on such an argument
//! begins the next option. `--save` alone may go without a value. Administrative subcommands are
//! parsed elsewhere.

use eagle_core::text::split_args::{quote_into, split_args};

/// The version of Redis whose behaviour this server has, which clients and scripts decide by.
pub const REDIS_VERSION: &str = "7.0.15";

/// Where a configuration comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The configuration file, or a pattern for several.
    pub file: Option<String>,
    /// Read standard input after the file.
    pub reads_stdin: bool,
    /// The options as lines of a configuration file.
    pub options: Vec<u8>,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Serve.
    Run(Sources),
    /// Print the version.
    Version,
    /// Print a summary of the usage.
    Help,
    /// Test that many megabytes of memory; without a number, tell how to call it.
    TestMemory(Option<usize>),
    /// Look for settings of the system that are bad for a server.
    CheckSystem,
}

impl Invocation {
    /// Reads the arguments after the program's name.
    pub fn from_args(args: &[&[u8]]) -> Invocation {
        match args {
            [b"-v" | b"--version", ..] => Invocation::Version,
            [b"-h" | b"--help", ..] => Invocation::Help,
            [b"--test-memory", rest @ ..] => {
                let megabytes = match rest {
                    [number] => std::str::from_utf8(number)
                        .ok()
                        .and_then(|text| text.parse().ok()),
                    _ => None,
                };
                Invocation::TestMemory(megabytes)
            }
            [b"--check-system", ..] => Invocation::CheckSystem,
            _ => Invocation::Run(Sources::from_args(args)),
        }
    }
}

impl Sources {
    /// Reads the arguments after the program's name.
    pub fn from_args(args: &[&[u8]]) -> Sources {
        let mut sources = Sources::default();
        let mut first_option = 0;
        if let Some(name) = args.first().filter(|arg| !arg.starts_with(b"-")) {
            sources.file = Some(String::from_utf8_lossy(name).into_owned());
            first_option = 1;
        }
        let mut awaits_value = false;
        for (index, arg) in args.iter().enumerate().skip(first_option) {
            let is_last = index + 1 == args.len();
            if *arg == b"-" && (index == 0 || is_last) {
                sources.reads_stdin = true;
                continue;
            }
            match arg.strip_prefix(b"--").filter(|_| !awaits_value) {
                Some(option) => {
                    if !sources.options.is_empty() {
                        sources.options.push(b'\n');
                    }
                    sources.options.extend_from_slice(option);
                    sources.options.push(b' ');
                    awaits_value = split_args(arg).is_ok_and(|words| words.len() == 1);
                    let next_is_option = args
                        .get(index + 1)
                        .is_none_or(|next| next.starts_with(b"--"));
                    if arg.eq_ignore_ascii_case(b"--save") && next_is_option {
                        sources.options.extend_from_slice(b"\"\"");
                        awaits_value = false;
                    }
                }
                None => {
                    quote_into(arg, &mut sources.options);
                    sources.options.push(b' ');
                    awaits_value = false;
                }
            }
        }
        sources
    }
}

/// The answer to `--version`. The first line has the form of Redis's own, since installation scripts
/// and test frameworks take the version after `v=` from it.
pub fn version_text() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let bits = usize::BITS;
    format!(
        "Redis server v={REDIS_VERSION} sha=00000000:0 malloc=eagledb bits={bits} build=eagledb-{version}\n\
         EagleDB {version}, compatible with Redis {REDIS_VERSION}"
    )
}

/// The answer to `--help`, for a program called `program`.
pub fn help_text(program: &str) -> String {
    format!(
        "Usage: {program} [configuration file] [options] [-]\n\
         \x20      {program} -                      read the configuration from standard input\n\
         \x20      {program} -v, --version\n\
         \x20      {program} -h, --help\n\
         \x20      {program} --test-memory <megabytes>\n\
         \x20      {program} --check-system\n\
         \x20      {program} cluster|pool --help    administration\n\
         \n\
         Every directive of the configuration file is an option: --name value ...\n\
         \n\
         Examples:\n\
         \x20      {program} --port 7777 --pool-path /mnt/pmem0/eagle.pool\n\
         \x20      {program} /etc/eagledb.conf --loglevel verbose\n\
         \x20      {program} --port 7777 --replicaof 127.0.0.1 8888\n\
         \x20      echo 'maxmemory 128mb' | {program} -"
    )
}

/// The answer to `--test-memory` without a size.
pub fn test_memory_usage(program: &str) -> String {
    format!(
        "Please specify the amount of memory to test in megabytes.\nExample: {program} --test-memory 4096\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> String {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        String::from_utf8(Sources::from_args(&args).options).unwrap()
    }

    #[test]
    fn options_become_lines() {
        assert_eq!(
            options(&["--port", "7777", "--save", "1", "2"]),
            "port \"7777\" \nsave \"1\" \"2\" "
        );
        assert_eq!(
            options(&["f.conf", "--port 7777", "--hz", "9"]),
            "port 7777 \nhz \"9\" "
        );
        assert_eq!(
            options(&["--masterauth", "--x", "--hz", "9"]),
            "masterauth \"--x\" \nhz \"9\" "
        );
        assert_eq!(
            options(&["--save", "--hz", "9", "--save"]),
            "save \"\"\nhz \"9\" \nsave \"\""
        );
        assert_eq!(
            options(&["--requirepass", "a \"b\""]),
            "requirepass \"a \\\"b\\\"\" "
        );
    }

    #[test]
    fn a_dash_reads_standard_input_only_at_either_end() {
        let sources = |args: &[&[u8]]| Sources::from_args(args);
        assert!(sources(&[b"-"]).reads_stdin);
        assert!(sources(&[b"f", b"--port", b"1", b"-"]).reads_stdin);
        assert!(!sources(&[b"f", b"-", b"--port", b"1"]).reads_stdin);
        assert_eq!(sources(&[b"f"]).file.as_deref(), Some("f"));
    }

    #[test]
    fn special_options_are_known_only_in_first_place() {
        let read = |args: &[&[u8]]| Invocation::from_args(args);
        assert_eq!(read(&[b"-v"]), Invocation::Version);
        assert_eq!(read(&[b"--help"]), Invocation::Help);
        assert_eq!(
            read(&[b"--test-memory", b"12"]),
            Invocation::TestMemory(Some(12))
        );
        assert_eq!(read(&[b"--test-memory"]), Invocation::TestMemory(None));
        assert_eq!(read(&[b"--check-system"]), Invocation::CheckSystem);
        assert!(matches!(read(&[b"f", b"--version"]), Invocation::Run(_)));
        assert!(matches!(read(&[]), Invocation::Run(_)));
    }

    #[test]
    fn the_version_is_where_scripts_look_for_it() {
        let text = version_text();
        let version = text
            .split_whitespace()
            .nth(2)
            .and_then(|word| word.strip_prefix("v="));
        assert_eq!(version, Some(REDIS_VERSION));
    }
}
