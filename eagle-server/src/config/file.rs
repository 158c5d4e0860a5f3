//! Reading the configuration at start-up: file, standard input and command line, in this order.
//!
//! The three sources are one text, read line by line, in which a later line wins. A line is a
//! directive and its words, quoted as in `requirepass "a b"`; `#` begins a comment line. `include`
//! reads another file, or all files a pattern matches, in its place.
//!
//! Relative names, of included files too, start at the directory in force at that line, since `dir`
//! takes effect at once. The process itself changes its directory only after all is read.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use eagle_core::text::glob;
use eagle_core::text::split_args::split_args;

use super::Config;
use super::command_line::Sources;
use super::directive::{Directive, Flags, find};
use super::kind::Reject;
use super::special::os_error_text;

/// Bytes of one configuration text. Far above any real one; a device or a data set named by mistake
/// ends here instead of filling the memory.
pub const TEXT_BYTES_MAX: u64 = 64 << 20;
/// How deep files may include each other.
const INCLUDE_DEPTH_MAX: usize = 16;

/// What reading the configuration depends on besides its text.
pub struct Surroundings<'a> {
    /// The directory the process runs in, absolute.
    pub dir: &'a str,
    /// Where `-` reads from.
    pub stdin: &'a mut dyn Read,
    /// Whether a command of this name (lower case) exists, for `rename-command`.
    pub is_command: &'a dyn Fn(&[u8]) -> bool,
    /// Checks the words after `user`.
    pub check_user: &'a UserCheck<'a>,
}

/// Takes the words after `user`, or says which word of the line to quote and what is wrong.
pub type UserCheck<'a> = dyn Fn(&[Vec<u8>]) -> Result<(), (usize, String)> + 'a;

/// The configuration a server starts with.
#[derive(Debug)]
pub struct Startup {
    pub config: Config,
    /// The configuration file, absolute: what CONFIG REWRITE rewrites.
    pub file: Option<PathBuf>,
    /// The words after `user` of each such line.
    pub users: Vec<Vec<Vec<u8>>>,
    /// Commands to rename, and their new names; an empty one removes the command.
    pub renames: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names of directives that were set but have no effect here, to be mentioned in the log.
    pub inert: Vec<&'static str>,
}

/// Why the server does not start. `Display` is the text Redis prints.
#[derive(Debug)]
pub enum ConfigError {
    /// A file cannot be read. Belongs into the log.
    Unreadable { path: PathBuf, error: io::Error },
    /// A line is wrong. Belongs on standard error.
    Line {
        number: usize,
        line: Vec<u8>,
        reason: Reject,
    },
    /// The lines are right, but not together. Belongs on standard error.
    Whole(Reject),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEAD: &str = "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\n";
        match self {
            ConfigError::Unreadable { path, error } => {
                let (path, text) = (path.display(), os_error_text(error));
                write!(f, "Fatal error, can't open config file '{path}': {text}")
            }
            ConfigError::Line {
                number,
                line,
                reason,
            } => {
                let line = String::from_utf8_lossy(line);
                write!(
                    f,
                    "{HEAD}Reading the configuration file, at line {number}\n>>> '{line}'\n{reason}"
                )
            }
            ConfigError::Whole(reason) => write!(f, "{HEAD}{reason}"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Reads the configuration from `sources`.
pub fn load(sources: &Sources, around: &mut Surroundings<'_>) -> Result<Startup, ConfigError> {
    let mut text = Vec::new();
    let mut file = None;
    if let Some(name) = &sources.file {
        let path = Path::new(around.dir).join(name);
        text = read_matching(Path::new(around.dir), name, &path)?;
        file = Some(std::path::absolute(&path).unwrap_or(path));
    }
    if sources.reads_stdin {
        let path = || PathBuf::from("-");
        let input = read_bounded(around.stdin).map_err(|error| unreadable(path(), error))?;
        text.extend_from_slice(&input);
    }
    if !sources.options.is_empty() {
        text.push(b'\n');
        text.extend_from_slice(&sources.options);
    }
    let mut loader = Loader {
        startup: Startup {
            config: Config::started_in(around.dir),
            file,
            users: Vec::new(),
            renames: Vec::new(),
            inert: Vec::new(),
        },
        accumulated: Vec::new(),
        depth: 0,
        around,
    };
    loader.read_text(&text)?;
    let mut startup = loader.startup;
    startup.config.settle();
    check_whole(&startup.config)?;
    Ok(startup)
}

struct Loader<'a, 'b> {
    startup: Startup,
    /// Directives of which a line was read, and whose further lines add up.
    accumulated: Vec<&'static str>,
    depth: usize,
    around: &'a Surroundings<'b>,
}

impl Loader<'_, '_> {
    fn read_text(&mut self, text: &[u8]) -> Result<(), ConfigError> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = trimmed(line);
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            self.read_line(line).map_err(|error| match error {
                LineError::Rejected(reason) => ConfigError::Line {
                    number: index + 1,
                    line: line.to_vec(),
                    reason,
                },
                LineError::Included(error) => error,
            })?;
        }
        Ok(())
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), LineError> {
        let words = split_args(line)
            .map_err(|_| Reject::from("Unbalanced quotes in configuration line"))?;
        let Some((name, values)) = words.split_first() else {
            return Ok(());
        };
        let name = name.to_ascii_lowercase();
        if let Some(directive) = find(&name) {
            return Ok(self.assign(directive, values)?);
        }
        match (name.as_slice(), values) {
            // Once directives, now without a meaning, and still in old files.
            (
                b"list-max-ziplist-entries" | b"list-max-ziplist-value" | b"lua-replicate-commands",
                [_],
            ) => Ok(()),
            (b"include", [pattern]) => self.include(pattern),
            (b"rename-command", [old, new]) => Ok(self.rename(old, new)?),
            (b"user", [_, ..]) => Ok(self.add_user(values)?),
            (b"loadmodule", [_, ..]) => Err(Reject::from("EagleDB does not load modules").into()),
            (b"sentinel", [_, ..]) => {
                Err(Reject::from("sentinel directive while not in sentinel mode").into())
            }
            _ => Err(Reject::from("Bad directive or wrong number of arguments").into()),
        }
    }

    fn assign(&mut self, directive: &'static Directive, values: &[Vec<u8>]) -> Result<(), Reject> {
        let split;
        let mut words: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        if directive.is_many() && words.len() == 1 && !words[0].is_empty() {
            // Several words in one pair of quotes are several words.
            split = split_args(words[0])
                .map_err(|_| Reject::from("Unbalanced quotes in configuration line"))?;
            words = split.iter().map(Vec::as_slice).collect();
        }
        if directive.flags.has(Flags::INERT) && !self.startup.inert.contains(&directive.name) {
            self.startup.inert.push(directive.name);
        }
        let config = &mut self.startup.config;
        if directive.flags.has(Flags::ACCUMULATES) {
            if !self.accumulated.contains(&directive.name) {
                self.accumulated.push(directive.name);
                directive.assign(config, &[])?;
            }
            return directive.append(config, &words);
        }
        directive.assign(config, &words)
    }

    fn include(&mut self, pattern: &[u8]) -> Result<(), LineError> {
        if self.depth == INCLUDE_DEPTH_MAX {
            return Err(Reject::from("files include each other too deeply").into());
        }
        let pattern = std::str::from_utf8(pattern)
            .map_err(|_| Reject::from("argument must be valid UTF-8"))?;
        let dir = PathBuf::from(&self.startup.config.process.dir);
        let text = read_matching(&dir, pattern, &dir.join(pattern))?;
        self.depth += 1;
        let outcome = self.read_text(&text);
        self.depth -= 1;
        Ok(outcome?)
    }

    fn rename(&mut self, old: &[u8], new: &[u8]) -> Result<(), Reject> {
        let (old, new) = (old.to_ascii_lowercase(), new.to_ascii_lowercase());
        if !self.is_command(&old) {
            return Err("No such command in rename-command".into());
        }
        if !new.is_empty() && new != old && self.is_command(&new) {
            return Err("Target command name already exists".into());
        }
        self.startup.renames.push((old, new));
        Ok(())
    }

    /// Whether a command has this name after the renames read so far.
    fn is_command(&self, name: &[u8]) -> bool {
        let renames = &self.startup.renames;
        let last = renames
            .iter()
            .rev()
            .find(|(old, new)| old == name || new == name);
        last.map_or_else(|| (self.around.is_command)(name), |(_, new)| new == name)
    }

    fn add_user(&mut self, words: &[Vec<u8>]) -> Result<(), Reject> {
        let is_known = self.startup.users.iter().any(|known| known[0] == words[0]);
        let checked = if is_known {
            let duplicate = "Duplicate user found. A user can only be defined once in config files";
            Err((1, duplicate.to_owned()))
        } else {
            (self.around.check_user)(words)
        };
        checked.map_err(|(position, reason)| {
            let word = match position.checked_sub(1) {
                None => "user".into(),
                Some(index) => String::from_utf8_lossy(&words[index]),
            };
            Reject::from(format!("Error in user declaration '{word}': {reason}"))
        })?;
        self.startup.users.push(words.to_vec());
        Ok(())
    }
}

/// Why one line was not taken: itself, or a line of the file it includes.
enum LineError {
    Rejected(Reject),
    Included(ConfigError),
}

impl From<Reject> for LineError {
    fn from(reason: Reject) -> LineError {
        LineError::Rejected(reason)
    }
}

impl From<ConfigError> for LineError {
    fn from(error: ConfigError) -> LineError {
        LineError::Included(error)
    }
}

/// Checks that span directives.
fn check_whole(config: &Config) -> Result<(), ConfigError> {
    let logfile = &config.process.logfile;
    if !logfile.is_empty() {
        let path = Path::new(&config.process.dir).join(logfile);
        let opened = OpenOptions::new().append(true).create(true).open(path);
        opened.map_err(|error| {
            ConfigError::Whole(format!("Can't open the log file: {}", os_error_text(&error)).into())
        })?;
    }
    if config.cluster.cluster_enabled && config.replication.replicaof.is_some() {
        return Err(ConfigError::Whole(
            "replicaof directive not allowed in cluster mode".into(),
        ));
    }
    Ok(())
}

fn unreadable(path: PathBuf, error: io::Error) -> ConfigError {
    ConfigError::Unreadable { path, error }
}

/// `line` without the blanks around it.
pub(super) fn trimmed(line: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = line
        .iter()
        .position(|byte| !is_blank(byte))
        .unwrap_or(line.len());
    let end = line
        .iter()
        .rposition(|byte| !is_blank(byte))
        .map_or(start, |last| last + 1);
    &line[start..end]
}

/// The text of the file `path`, called `name` in error texts; of all files it matches one after the
/// other, in the order of their names, if it is a pattern. A pattern may match no file.
fn read_matching(dir: &Path, name: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    if !name.contains(['*', '?', '[']) {
        let file = File::open(path).and_then(|file| read_bounded(&mut &file));
        return file.map_err(|error| unreadable(PathBuf::from(name), error));
    }
    let mut text = Vec::new();
    for path in expand(dir, name) {
        let file = File::open(&path).and_then(|file| read_bounded(&mut &file));
        text.extend(file.map_err(|error| unreadable(path.clone(), error))?);
        if text.last().is_some_and(|last| *last != b'\n') {
            text.push(b'\n');
        }
    }
    Ok(text)
}

/// The paths `pattern` matches below `dir`, sorted. Wildcards match within one name and never a
/// leading dot.
fn expand(dir: &Path, pattern: &str) -> Vec<PathBuf> {
    let root = if pattern.starts_with('/') {
        PathBuf::from("/")
    } else {
        dir.to_path_buf()
    };
    let mut paths = vec![root];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if !part.contains(['*', '?', '[']) {
            paths.iter_mut().for_each(|path| path.push(part));
            paths.retain(|path| path.exists());
            continue;
        }
        let matches = |name: &str| {
            let is_shown = !name.starts_with('.') || part.starts_with('.');
            is_shown && glob::matches(part.as_bytes(), name.as_bytes(), glob::Case::Sensitive)
        };
        let names_below = |path: PathBuf| {
            // A directory that cannot be listed matches nothing, as in a shell.
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            names
                .filter(|name| matches(name))
                .map(move |name| path.join(name))
                .collect::<Vec<_>>()
        };
        paths = paths.into_iter().flat_map(names_below).collect();
    }
    paths.sort();
    paths
}

fn read_bounded(source: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    source.take(TEXT_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::special::{BindAddress, SavePoint};

    fn load_text(dir: &Path, text: &str, args: &[&str]) -> Result<Startup, ConfigError> {
        std::fs::write(dir.join("eagle.conf"), text).unwrap();
        let mut args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        args.insert(0, b"eagle.conf");
        load_args(dir, &args, "")
    }

    fn load_args(dir: &Path, args: &[&[u8]], stdin: &str) -> Result<Startup, ConfigError> {
        let mut around = Surroundings {
            dir: dir.to_str().unwrap(),
            stdin: &mut stdin.as_bytes(),
            is_command: &|name| matches!(name, b"get" | b"set" | b"flushall"),
            check_user: &|words| {
                if words.len() > 1 {
                    Ok(())
                } else {
                    Err((1, "Syntax error".into()))
                }
            },
        };
        load(&Sources::from_args(args), &mut around)
    }

    fn tempdir() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        (dir, path)
    }

    fn points(startup: &Startup) -> Vec<(u64, u64)> {
        startup
            .config
            .persistence
            .save
            .iter()
            .map(|SavePoint { seconds, changes }| (*seconds, *changes))
            .collect()
    }

    #[test]
    fn later_lines_win_and_quotes_hold_words_together() {
        let (_guard, dir) = tempdir();
        let text =
            "# comment\n\nPORT 1\r\n  port 2  \nrequirepass \"a b\"\nbind \"127.0.0.1 -::1\"\n";
        let startup = load_text(&dir, text, &["--port", "3", "--maxmemory 1gb"]).unwrap();
        assert_eq!(startup.config.network.port, 3);
        assert_eq!(startup.config.memory.maxmemory, 1 << 30);
        assert_eq!(startup.config.security.requirepass.as_bytes(), b"a b");
        let address = |host: &str, is_optional| BindAddress {
            host: host.into(),
            is_optional,
        };
        assert_eq!(
            startup.config.network.bind,
            [address("127.0.0.1", false), address("::1", true)]
        );
        assert_eq!(startup.file, Some(dir.join("eagle.conf")));
    }

    #[test]
    fn save_lines_add_up() {
        let (_guard, dir) = tempdir();
        let save = |text: &str, args: &[&str]| points(&load_text(&dir, text, args).unwrap());
        assert_eq!(save("", &[]), [(3600, 1), (300, 100), (60, 10_000)]);
        assert_eq!(
            save("save 900 1\n", &["--save", "100", "100"]),
            [(900, 1), (100, 100)]
        );
        assert_eq!(save("save 1 1\nsave\nSAVE 2 2\n", &[]), [(1, 1), (2, 2)]);
        assert_eq!(save("save 900 1\nsave \"\"\nsave 5 5", &[]), [(5, 5)]);
        assert_eq!(save("save \"1 2 3 4\"", &[]), [(1, 2), (3, 4)]);
        for args in [
            &["--save", ""][..],
            &["--save"],
            &["--save", "--port", "1"],
            &["--save ", ""],
        ] {
            assert_eq!(save("save 900 1", args), [], "{args:?}");
        }
        assert_eq!(save("save   \n", &[]), []);
    }

    #[test]
    fn includes_start_at_the_directory_in_force() {
        let (_guard, dir) = tempdir();
        std::fs::create_dir(dir.join("data")).unwrap();
        std::fs::write(dir.join("data/a.conf"), "hz 20").unwrap();
        std::fs::write(dir.join("data/b.conf"), "hz 30\nport 7\ninclude c.*").unwrap();
        std::fs::write(dir.join("data/c.txt"), "timeout 9").unwrap();
        let startup = load_text(
            &dir,
            "dir data\ninclude *.conf\ninclude no*such\nport 8",
            &[],
        )
        .unwrap();
        let config = startup.config;
        assert_eq!(
            (
                config.process.hz,
                config.network.port,
                config.clients.timeout
            ),
            (30, 8, 9)
        );
        assert_eq!(Path::new(&config.process.dir), dir.join("data"));
        let error = load_text(&dir, "include none.conf", &[])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "Fatal error, can't open config file 'none.conf': No such file or directory"
        );
        let error = load_text(&dir, "include eagle.conf", &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("files include each other too deeply"),
            "{error}"
        );
    }

    #[test]
    fn errors_quote_the_line() {
        let (_guard, dir) = tempdir();
        let cases: &[(&str, &[&str], usize, &str, &str)] = &[
            (
                "port 1\nxyz 1 2\n",
                &[],
                2,
                "xyz 1 2",
                "Bad directive or wrong number of arguments",
            ),
            (
                "port \"1",
                &[],
                1,
                "port \"1",
                "Unbalanced quotes in configuration line",
            ),
            (
                "",
                &["--port", "--bla"],
                2,
                "port \"--bla\"",
                "argument couldn't be parsed into an integer",
            ),
            (
                "",
                &["--port 1x"],
                2,
                "port 1x",
                "argument couldn't be parsed into an integer",
            ),
            (
                "",
                &["--port", "1", "2"],
                2,
                "port \"1\" \"2\"",
                "wrong number of arguments",
            ),
            ("", &["--port"], 2, "port", "wrong number of arguments"),
            (
                "",
                &["--replicaof", "127.0.0.1", "--port"],
                2,
                "replicaof \"127.0.0.1\"",
                "wrong number of arguments",
            ),
            (
                "",
                &["-x"],
                2,
                "\"-x\"",
                "Bad directive or wrong number of arguments",
            ),
            (
                "rename-command foo bar",
                &[],
                1,
                "rename-command foo bar",
                "No such command in rename-command",
            ),
            (
                "rename-command get set",
                &[],
                1,
                "rename-command get set",
                "Target command name already exists",
            ),
            (
                "user a",
                &[],
                1,
                "user a",
                "Error in user declaration 'a': Syntax error",
            ),
            (
                "loadmodule x.so",
                &[],
                1,
                "loadmodule x.so",
                "EagleDB does not load modules",
            ),
        ];
        for (text, args, number, line, reason) in cases {
            let error = load_text(&dir, text, args).unwrap_err().to_string();
            let expected = format!(
                "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\nReading the configuration file, at line {number}\n>>> '{line}'\n{reason}"
            );
            assert_eq!(error, expected);
        }
        let error = load_text(&dir, "cluster-enabled yes\nslaveof a 1", &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("***\nreplicaof directive not allowed in cluster mode"),
            "{error}"
        );
        let error = load_text(&dir, "logfile /nonexistent/log", &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("***\nCan't open the log file: No such file or directory"),
            "{error}"
        );
    }

    #[test]
    fn standard_input_comes_between_file_and_options() {
        let (_guard, dir) = tempdir();
        std::fs::write(dir.join("eagle.conf"), "port 1\nhz 20\ntimeout 1\n").unwrap();
        let args: [&[u8]; 4] = [b"eagle.conf", b"--timeout", b"3", b"-"];
        let startup = load_args(&dir, &args, "hz 30\ntimeout 2").unwrap();
        let config = startup.config;
        assert_eq!(
            (
                config.network.port,
                config.process.hz,
                config.clients.timeout
            ),
            (1, 30, 3)
        );
    }

    #[test]
    fn users_renames_and_directives_without_effect_are_handed_on() {
        let (_guard, dir) = tempdir();
        let text = "user a on\nrename-command FLUSHALL \"\"\nrename-command get fetch\nrename-command fetch get2\nio-threads 4\nlua-replicate-commands yes";
        let startup = load_text(&dir, text, &[]).unwrap();
        assert_eq!(startup.users, [[b"a".to_vec(), b"on".to_vec()]]);
        assert_eq!(startup.renames.len(), 3);
        assert_eq!(startup.renames[2], (b"fetch".to_vec(), b"get2".to_vec()));
        assert_eq!(startup.inert, ["io-threads"]);
    }
}
