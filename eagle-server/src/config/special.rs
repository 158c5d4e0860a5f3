//! Directives whose value is more than one word or number: save points, output buffer limits,
//! event classes, bind addresses and the like.

use std::net::IpAddr;
use std::path::Path;

use eagle_core::text::integer::parse_i64;
use eagle_core::text::memory_size::parse_memory_size;
use eagle_core::text::split_args::quoted;

use super::kind::{Kind, Line, Reject, choice, choices, memory_words};

fn joined<W: AsRef<[u8]>>(words: impl IntoIterator<Item = W>) -> Vec<u8> {
    let words: Vec<W> = words.into_iter().collect();
    let slices: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
    slices.join(&b' ')
}

/// A single empty word means no words at all: `save ""`.
fn without_lone_empty<'a, 'b>(words: &'b [&'a [u8]]) -> &'b [&'a [u8]] {
    match words {
        [[]] => &[],
        _ => words,
    }
}

/// A snapshot is due when this many changes happened and this much time passed since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last snapshot.
    pub seconds: u64,
    /// Changes since the last snapshot.
    pub changes: u64,
}

/// The list of save points; within one file, lines add up.
pub struct SavePoints;

impl Kind<Vec<SavePoint>> for SavePoints {
    fn is_many(&self) -> bool {
        true
    }

    fn read(&self, words: &[&[u8]], _: &Vec<SavePoint>) -> Result<Vec<SavePoint>, Reject> {
        const INVALID: &str = "Invalid save parameters";
        let (pairs, []) = without_lone_empty(words).as_chunks::<2>() else {
            return Err(INVALID.into());
        };
        let number = |word, min| parse_i64(word).filter(|n| *n >= min && *n <= i64::from(i32::MAX));
        let points = pairs.iter().map(|[seconds, changes]| {
            Some(SavePoint {
                seconds: number(seconds, 1)? as u64,
                changes: number(changes, 0)? as u64,
            })
        });
        points.collect::<Option<_>>().ok_or_else(|| INVALID.into())
    }

    /// `save ""` forgets the lines before it; a bare `save` adds nothing.
    fn append(&self, words: &[&[u8]], before: &Vec<SavePoint>) -> Result<Vec<SavePoint>, Reject> {
        let mut points = if words == [b""] {
            Vec::new()
        } else {
            before.clone()
        };
        points.extend(self.read(words, before)?);
        Ok(points)
    }

    fn show(&self, value: &Vec<SavePoint>) -> Vec<u8> {
        joined(value.iter().map(|p| format!("{} {}", p.seconds, p.changes)))
    }

    /// One line each, or an explicit `save ""`, since a file without any would mean the default.
    fn lines(&self, value: &Vec<SavePoint>, _: &Vec<SavePoint>) -> Vec<Line> {
        if value.is_empty() {
            return vec![Line {
                words: b"\"\"".to_vec(),
                forced: true,
            }];
        }
        let words = value
            .iter()
            .map(|p| format!("{} {}", p.seconds, p.changes).into_bytes());
        words
            .map(|words| Line {
                words,
                forced: true,
            })
            .collect()
    }
}

/// Output buffer bounds of one client class; 0 means no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes at which the client is closed at once.
    pub hard_bytes_max: u64,
    /// Bytes the buffer may exceed only for `soft_seconds_max`.
    pub soft_bytes_max: u64,
    /// Seconds above `soft_bytes_max` after which the client is closed.
    pub soft_seconds_max: u32,
}

/// Output buffer bounds by client class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    pub replica: OutputLimit,
    pub pubsub: OutputLimit,
}

impl OutputLimit {
    pub const fn new(
        hard_bytes_max: u64,
        soft_bytes_max: u64,
        soft_seconds_max: u32,
    ) -> OutputLimit {
        OutputLimit {
            hard_bytes_max,
            soft_bytes_max,
            soft_seconds_max,
        }
    }
}

/// `class hard soft seconds`, any number of times; classes not named keep their bounds.
pub struct OutputLimitsByClass;

impl Kind<OutputLimits> for OutputLimitsByClass {
    fn is_many(&self) -> bool {
        true
    }

    fn read(&self, words: &[&[u8]], current: &OutputLimits) -> Result<OutputLimits, Reject> {
        let (rows, []) = words.as_chunks::<4>() else {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        };
        let mut limits = *current;
        for [class, hard, soft, seconds] in rows {
            let limit = match class.to_ascii_lowercase().as_slice() {
                b"normal" => &mut limits.normal,
                b"slave" | b"replica" => &mut limits.replica,
                b"pubsub" => &mut limits.pubsub,
                _ => {
                    return Err(
                        "Invalid client class specified in buffer limit configuration.".into(),
                    );
                }
            };
            let seconds = parse_i64(seconds)
                .and_then(|s| i32::try_from(s).ok())
                .and_then(|s| u32::try_from(s).ok());
            let (Some(hard), Some(soft), Some(seconds)) =
                (parse_memory_size(hard), parse_memory_size(soft), seconds)
            else {
                let text =
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
                return Err(text.into());
            };
            *limit = OutputLimit::new(hard, soft, seconds);
        }
        Ok(limits)
    }

    fn show(&self, value: &OutputLimits) -> Vec<u8> {
        let rows = [
            ("normal", value.normal),
            ("slave", value.replica),
            ("pubsub", value.pubsub),
        ];
        joined(rows.map(|(class, limit)| {
            let OutputLimit {
                hard_bytes_max,
                soft_bytes_max,
                soft_seconds_max,
            } = limit;
            format!("{class} {hard_bytes_max} {soft_bytes_max} {soft_seconds_max}")
        }))
    }

    fn lines(&self, value: &OutputLimits, default: &OutputLimits) -> Vec<Line> {
        let rows = [
            ("normal", value.normal, default.normal),
            ("replica", value.replica, default.replica),
            ("pubsub", value.pubsub, default.pubsub),
        ];
        let line = |(class, limit, default): (&str, OutputLimit, OutputLimit)| {
            let (hard, soft) = (
                memory_words(limit.hard_bytes_max),
                memory_words(limit.soft_bytes_max),
            );
            let words = format!("{class} {hard} {soft} {}", limit.soft_seconds_max);
            Line {
                words: words.into_bytes(),
                forced: limit != default,
            }
        };
        rows.map(line).into()
    }
}

/// Which keyspace events are published, as a set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(u16);

impl EventClasses {
    /// Publish on `__keyspace@db__` channels (`K`).
    pub const KEYSPACE: EventClasses = EventClasses(1);
    /// Publish on `__keyevent@db__` channels (`E`).
    pub const KEYEVENT: EventClasses = EventClasses(1 << 1);
    /// Commands of no type, such as DEL and EXPIRE (`g`).
    pub const GENERIC: EventClasses = EventClasses(1 << 2);
    pub const STRING: EventClasses = EventClasses(1 << 3);
    pub const LIST: EventClasses = EventClasses(1 << 4);
    pub const SET: EventClasses = EventClasses(1 << 5);
    pub const HASH: EventClasses = EventClasses(1 << 6);
    pub const ZSET: EventClasses = EventClasses(1 << 7);
    pub const EXPIRED: EventClasses = EventClasses(1 << 8);
    pub const EVICTED: EventClasses = EventClasses(1 << 9);
    pub const STREAM: EventClasses = EventClasses(1 << 10);
    /// Reads of keys that do not exist (`m`); not part of `A`.
    pub const KEY_MISS: EventClasses = EventClasses(1 << 11);
    /// Events of module types (`d`).
    pub const MODULE: EventClasses = EventClasses(1 << 12);
    /// Creation of keys (`n`); not part of `A`.
    pub const NEW_KEY: EventClasses = EventClasses(1 << 13);
    /// What `A` stands for.
    pub const ALL: EventClasses = EventClasses(0b1_0111_1111_1100);

    /// The letters, in the order CONFIG GET prints them.
    const LETTERS: [(u8, EventClasses); 14] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::ZSET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW_KEY),
        (b'K', Self::KEYSPACE),
        (b'E', Self::KEYEVENT),
        (b'm', Self::KEY_MISS),
    ];

    /// Whether all of `other`'s classes are in this set.
    pub const fn has(self, other: EventClasses) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no class is in this set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn letters(self) -> Vec<u8> {
        let has_all = self.has(Self::ALL);
        let mut letters = if has_all { vec![b'A'] } else { Vec::new() };
        for (letter, class) in Self::LETTERS {
            // Redis prints `n` only in the branch without `A`; CONFIG GET has to agree.
            let is_covered = has_all && (Self::ALL.has(class) || class == Self::NEW_KEY);
            if self.has(class) && !is_covered {
                letters.push(letter);
            }
        }
        letters
    }
}

/// A string of event class letters.
pub struct EventLetters;

impl Kind<EventClasses> for EventLetters {
    fn read(&self, words: &[&[u8]], _: &EventClasses) -> Result<EventClasses, Reject> {
        let [word] = words else {
            return Err(Reject::WORD_COUNT);
        };
        let mut classes = EventClasses::default();
        for byte in *word {
            let known = EventClasses::LETTERS
                .iter()
                .find(|(letter, _)| letter == byte);
            classes.0 |= match (byte, known) {
                (b'A', _) => EventClasses::ALL.0,
                (_, Some((_, class))) => class.0,
                _ => return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
            };
        }
        Ok(classes)
    }

    fn show(&self, value: &EventClasses) -> Vec<u8> {
        value.letters()
    }

    fn lines(&self, value: &EventClasses, default: &EventClasses) -> Vec<Line> {
        vec![Line {
            words: quoted(&value.letters()),
            forced: value != default,
        }]
    }
}

/// `oom_score_adj` of the process in its three roles: primary, replica, child.
pub struct OomScores;

impl Kind<[i32; 3]> for OomScores {
    fn is_many(&self) -> bool {
        true
    }

    fn read(&self, words: &[&[u8]], _: &[i32; 3]) -> Result<[i32; 3], Reject> {
        const BOUND: i64 = 2000;
        let words: &[&[u8]; 3] = words.try_into().map_err(|_| Reject::WORD_COUNT)?;
        let mut scores = [0; 3];
        for (score, word) in scores.iter_mut().zip(words) {
            let number = parse_i64(word).filter(|n| (-BOUND..=BOUND).contains(n));
            *score = number
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?
                as i32;
        }
        Ok(scores)
    }

    fn show(&self, value: &[i32; 3]) -> Vec<u8> {
        joined(value.map(|score| score.to_string()))
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAddress {
    /// An address, a host name, or `*` (IPv4) and `::*` (IPv6) for all interfaces.
    pub host: String,
    /// Written with a leading `-`: an address this host does not have is skipped in silence.
    pub is_optional: bool,
}

impl BindAddress {
    /// The addresses Redis listens on by default: all, IPv6 only if there is any.
    pub fn everywhere() -> Vec<BindAddress> {
        let address = |host: &str, is_optional| BindAddress {
            host: host.to_owned(),
            is_optional,
        };
        vec![address("*", false), address("::*", true)]
    }

    /// Whether only this machine can reach the address.
    pub fn is_loopback(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// A list of addresses; none means to accept no TCP connection.
pub struct BindAddresses;

impl Kind<Vec<BindAddress>> for BindAddresses {
    fn is_many(&self) -> bool {
        true
    }

    fn read(&self, words: &[&[u8]], _: &Vec<BindAddress>) -> Result<Vec<BindAddress>, Reject> {
        const ADDRESSES_MAX: usize = 16;
        let words = without_lone_empty(words);
        if words.len() > ADDRESSES_MAX {
            return Err("Too many bind addresses specified.".into());
        }
        let address = |word: &&[u8]| {
            let text = std::str::from_utf8(word).ok()?;
            let (host, is_optional) = match text.strip_prefix('-') {
                Some(host) => (host, true),
                None => (text, false),
            };
            Some(BindAddress {
                host: host.to_owned(),
                is_optional,
            })
        };
        let addresses = words.iter().map(address).collect::<Option<_>>();
        addresses.ok_or_else(|| "argument must be valid UTF-8".into())
    }

    fn show(&self, value: &Vec<BindAddress>) -> Vec<u8> {
        joined(value.iter().map(|address| {
            let prefix = if address.is_optional { "-" } else { "" };
            format!("{prefix}{}", address.host)
        }))
    }

    fn lines(&self, value: &Vec<BindAddress>, default: &Vec<BindAddress>) -> Vec<Line> {
        let words = if value.is_empty() {
            b"\"\"".to_vec()
        } else {
            self.show(value)
        };
        vec![Line {
            words,
            forced: value != default,
        }]
    }
}

/// The primary this node replicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryAddress {
    pub host: String,
    pub port: u16,
}

/// `host port`, or `no one`.
pub struct PrimaryHostPort;

impl Kind<Option<PrimaryAddress>> for PrimaryHostPort {
    fn is_many(&self) -> bool {
        true
    }

    fn read(
        &self,
        words: &[&[u8]],
        _: &Option<PrimaryAddress>,
    ) -> Result<Option<PrimaryAddress>, Reject> {
        let [host, port] = words else {
            return Err(Reject::WORD_COUNT);
        };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            return Ok(None);
        }
        let port = std::str::from_utf8(port)
            .ok()
            .and_then(|port| port.parse().ok());
        let port = port.ok_or("Invalid master port")?;
        let host = std::str::from_utf8(host).map_err(|_| "argument must be valid UTF-8")?;
        Ok(Some(PrimaryAddress {
            host: host.to_owned(),
            port,
        }))
    }

    fn show(&self, value: &Option<PrimaryAddress>) -> Vec<u8> {
        let text = value
            .as_ref()
            .map(|primary| format!("{} {}", primary.host, primary.port));
        text.unwrap_or_default().into_bytes()
    }

    fn lines(&self, value: &Option<PrimaryAddress>, _: &Option<PrimaryAddress>) -> Vec<Line> {
        value
            .iter()
            .map(|_| Line {
                words: self.show(value),
                forced: true,
            })
            .collect()
    }
}

/// Percentiles shown by INFO latencystats, each within 0 and 100.
pub struct Percentiles;

impl Kind<Vec<f64>> for Percentiles {
    fn is_many(&self) -> bool {
        true
    }

    fn read(&self, words: &[&[u8]], _: &Vec<f64>) -> Result<Vec<f64>, Reject> {
        let percentile = |word: &&[u8]| {
            let text = std::str::from_utf8(word)
                .ok()
                .filter(|text| !text.starts_with(char::is_whitespace));
            let number = text
                .and_then(|text| text.parse::<f64>().ok())
                .filter(|number| !number.is_nan());
            let number = number.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&number) {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                        .into(),
                );
            }
            Ok(number)
        };
        without_lone_empty(words).iter().map(percentile).collect()
    }

    fn show(&self, value: &Vec<f64>) -> Vec<u8> {
        joined(value.iter().map(f64::to_string))
    }

    fn lines(&self, value: &Vec<f64>, _: &Vec<f64>) -> Vec<Line> {
        let words = if value.is_empty() {
            b"\"\"".to_vec()
        } else {
            self.show(value)
        };
        vec![Line {
            words,
            forced: true,
        }]
    }
}

choices! {
    /// A word of `shutdown-on-sigterm` and `shutdown-on-sigint`.
    pub enum ShutdownWord {
        Default = "default",
        Save = "save",
        NoSave = "nosave",
        Now = "now",
        Force = "force",
    }
}

/// What a signal that ends the server does; all false means to save if save points are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalShutdown {
    /// Save in any case.
    pub save: bool,
    /// Do not save.
    pub no_save: bool,
    /// Do not wait for replicas.
    pub now: bool,
    /// Go on even if saving fails.
    pub force: bool,
}

/// One or more shutdown words.
pub struct ShutdownWords;

impl Kind<SignalShutdown> for ShutdownWords {
    fn is_many(&self) -> bool {
        true
    }

    fn read(&self, words: &[&[u8]], _: &SignalShutdown) -> Result<SignalShutdown, Reject> {
        if words.is_empty() {
            return choice::<ShutdownWord>(b"").map(|_| SignalShutdown::default());
        }
        let mut shutdown = SignalShutdown::default();
        for word in words {
            match choice::<ShutdownWord>(word)? {
                ShutdownWord::Default => {}
                ShutdownWord::Save => shutdown.save = true,
                ShutdownWord::NoSave => shutdown.no_save = true,
                ShutdownWord::Now => shutdown.now = true,
                ShutdownWord::Force => shutdown.force = true,
            }
        }
        if shutdown.save && shutdown.no_save {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        Ok(shutdown)
    }

    fn show(&self, value: &SignalShutdown) -> Vec<u8> {
        let words = [
            (value.save, "save"),
            (value.no_save, "nosave"),
            (value.now, "now"),
            (value.force, "force"),
        ];
        if *value == SignalShutdown::default() {
            return b"default".to_vec();
        }
        joined(
            words
                .into_iter()
                .filter(|(set, _)| *set)
                .map(|(_, word)| word),
        )
    }
}

/// A directory that exists; relative names start at the directory in force.
pub struct Directory;

impl Kind<String> for Directory {
    fn read(&self, words: &[&[u8]], current: &String) -> Result<String, Reject> {
        let [word] = words else {
            return Err(Reject::WORD_COUNT);
        };
        let word = std::str::from_utf8(word).map_err(|_| "argument must be valid UTF-8")?;
        let os_text = |error: std::io::Error| Reject::from(os_error_text(&error));
        if word.is_empty() {
            return Err(os_error_text(&std::io::Error::from_raw_os_error(libc::ENOENT)).into());
        }
        let path = Path::new(current)
            .join(word)
            .canonicalize()
            .map_err(os_text)?;
        // A trailing "." asks for the right to enter the directory, which is what chdir needs.
        path.join(".").metadata().map_err(os_text)?;
        path.into_os_string()
            .into_string()
            .map_err(|_| "argument must be valid UTF-8".into())
    }

    fn show(&self, value: &String) -> Vec<u8> {
        value.as_bytes().to_vec()
    }

    /// Always written, since the default is wherever the server was started.
    fn lines(&self, value: &String, _: &String) -> Vec<Line> {
        vec![Line {
            words: quoted(value.as_bytes()),
            forced: true,
        }]
    }
}

/// The operating system's own words for `error`, as C's `strerror` gives them.
pub fn os_error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_owned()
}
