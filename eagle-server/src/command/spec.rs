//! The row of a command: everything the server knows about it besides its handler's body.
//!
//! Rows are built with `const fn`s beside their handlers (`family/*.rs`). Dispatch, COMMAND, ACL
//! categories, cluster routing, MULTI and script bans, statistics and the docs all read the row;
//! nothing else knows a command's name.

use super::args::Args;
use super::context::{Context, Outcome};
use super::forwarding::Forwarding;
use super::keys::KeyRefs;

/// Runs one command: parses its arguments, reads or changes the keyspace, writes one reply.
///
/// The handler touches no socket, thread or clock. When it returns an error whatever it wrote is
/// taken back and the error is replied instead.
pub type Handler = fn(&mut Context<'_>, Args<'_>) -> Outcome;

/// Positions of the keys among all arguments, name included.
pub type KeyFinder = fn(&[&[u8]]) -> KeyRefs;

/// Behaviour bits of a command, with the meaning `COMMAND INFO` gives them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub u32);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const WRITE: Flags = Flags(1 << 0);
    pub const READONLY: Flags = Flags(1 << 1);
    /// Refused when the pool is full or `maxmemory` is exceeded.
    pub const DENYOOM: Flags = Flags(1 << 2);
    pub const ADMIN: Flags = Flags(1 << 3);
    pub const PUBSUB: Flags = Flags(1 << 4);
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    pub const BLOCKING: Flags = Flags(1 << 6);
    pub const LOADING: Flags = Flags(1 << 7);
    pub const STALE: Flags = Flags(1 << 8);
    pub const SKIP_MONITOR: Flags = Flags(1 << 9);
    pub const SKIP_SLOWLOG: Flags = Flags(1 << 10);
    pub const ASKING: Flags = Flags(1 << 11);
    pub const FAST: Flags = Flags(1 << 12);
    pub const NO_AUTH: Flags = Flags(1 << 13);
    pub const MAY_REPLICATE: Flags = Flags(1 << 14);
    pub const NO_ASYNC_LOADING: Flags = Flags(1 << 15);
    pub const NO_MULTI: Flags = Flags(1 << 16);
    /// Keys are not described by the first/last/step triple alone.
    pub const MOVABLE_KEYS: Flags = Flags(1 << 17);
    pub const ALLOW_BUSY: Flags = Flags(1 << 18);
    /// The command has a `GETKEYS` function of its own.
    pub const GETKEYS: Flags = Flags(1 << 19);
    /// Refused unless `enable-debug-command` or its kin allow it.
    pub const PROTECTED: Flags = Flags(1 << 20);
    pub const TOUCHES_ARBITRARY_KEYS: Flags = Flags(1 << 21);
    /// The keys its specs describe may number none (EVAL).
    pub const NO_MANDATORY_KEYS: Flags = Flags(1 << 22);
    /// It replies before it says what it has changed. What its client is told then in another client's place
    /// (client side caching) comes behind the reply.
    pub const REPLIES_FIRST: Flags = Flags(1 << 23);
    /// There may be passwords among its arguments: of a request, nothing is left where it was read into.
    pub const SECRETIVE: Flags = Flags(1 << 24);

    /// Both sets of bits.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// These bits but those.
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Names in the order `COMMAND INFO` prints them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: &[(Flags, &str)] = &[
            (Flags::WRITE, "write"),
            (Flags::READONLY, "readonly"),
            (Flags::DENYOOM, "denyoom"),
            (Flags::ADMIN, "admin"),
            (Flags::PUBSUB, "pubsub"),
            (Flags::NOSCRIPT, "noscript"),
            (Flags::BLOCKING, "blocking"),
            (Flags::LOADING, "loading"),
            (Flags::STALE, "stale"),
            (Flags::SKIP_MONITOR, "skip_monitor"),
            (Flags::SKIP_SLOWLOG, "skip_slowlog"),
            (Flags::ASKING, "asking"),
            (Flags::FAST, "fast"),
            (Flags::NO_AUTH, "no_auth"),
            (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
            (Flags::NO_ASYNC_LOADING, "no_async_loading"),
            (Flags::NO_MULTI, "no_multi"),
            (Flags::MOVABLE_KEYS, "movablekeys"),
            (Flags::ALLOW_BUSY, "allow_busy"),
        ];
        NAMES
            .iter()
            .filter(move |(flag, _)| self.has(*flag))
            .map(|(_, name)| *name)
    }
}

/// ACL categories. `READ`, `WRITE`, `FAST`, `SLOW`, `ADMIN`, `DANGEROUS`, `PUBSUB`, `BLOCKING` are
/// derived from the flags by [`Command::categories`]; a family adds its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Categories(pub u32);

impl Categories {
    pub const NONE: Categories = Categories(0);
    pub const KEYSPACE: Categories = Categories(1 << 0);
    pub const READ: Categories = Categories(1 << 1);
    pub const WRITE: Categories = Categories(1 << 2);
    pub const SET: Categories = Categories(1 << 3);
    pub const SORTEDSET: Categories = Categories(1 << 4);
    pub const LIST: Categories = Categories(1 << 5);
    pub const HASH: Categories = Categories(1 << 6);
    pub const STRING: Categories = Categories(1 << 7);
    pub const BITMAP: Categories = Categories(1 << 8);
    pub const HYPERLOGLOG: Categories = Categories(1 << 9);
    pub const GEO: Categories = Categories(1 << 10);
    pub const STREAM: Categories = Categories(1 << 11);
    pub const PUBSUB: Categories = Categories(1 << 12);
    pub const ADMIN: Categories = Categories(1 << 13);
    pub const FAST: Categories = Categories(1 << 14);
    pub const SLOW: Categories = Categories(1 << 15);
    pub const BLOCKING: Categories = Categories(1 << 16);
    pub const DANGEROUS: Categories = Categories(1 << 17);
    pub const CONNECTION: Categories = Categories(1 << 18);
    pub const TRANSACTION: Categories = Categories(1 << 19);
    pub const SCRIPTING: Categories = Categories(1 << 20);

    /// Names by bit position, in the order Redis lists categories.
    pub const NAMES: &'static [&'static str] = &[
        "keyspace",
        "read",
        "write",
        "set",
        "sortedset",
        "list",
        "hash",
        "string",
        "bitmap",
        "hyperloglog",
        "geo",
        "stream",
        "pubsub",
        "admin",
        "fast",
        "slow",
        "blocking",
        "dangerous",
        "connection",
        "transaction",
        "scripting",
    ];

    pub const fn with(self, other: Categories) -> Categories {
        Categories(self.0 | other.0)
    }

    pub const fn has(self, other: Categories) -> bool {
        self.0 & other.0 == other.0
    }

    /// Names of the set categories, without the `@`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| *name)
    }
}

/// What a command does with the keys of one spec; the names `COMMAND INFO` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyFlags(pub u32);

impl KeyFlags {
    pub const RO: KeyFlags = KeyFlags(1 << 0);
    pub const RW: KeyFlags = KeyFlags(1 << 1);
    pub const OW: KeyFlags = KeyFlags(1 << 2);
    pub const RM: KeyFlags = KeyFlags(1 << 3);
    pub const ACCESS: KeyFlags = KeyFlags(1 << 4);
    pub const UPDATE: KeyFlags = KeyFlags(1 << 5);
    pub const INSERT: KeyFlags = KeyFlags(1 << 6);
    pub const DELETE: KeyFlags = KeyFlags(1 << 7);
    pub const NOT_KEY: KeyFlags = KeyFlags(1 << 8);
    pub const INCOMPLETE: KeyFlags = KeyFlags(1 << 9);
    pub const VARIABLE_FLAGS: KeyFlags = KeyFlags(1 << 10);

    pub const NAMES: &'static [&'static str] = &[
        "RO",
        "RW",
        "OW",
        "RM",
        "access",
        "update",
        "insert",
        "delete",
        "not_key",
        "incomplete",
        "variable_flags",
    ];

    /// All of `flags`.
    pub const fn all(flags: &[KeyFlags]) -> KeyFlags {
        let mut all = KeyFlags(0);
        let mut index = 0;
        while index < flags.len() {
            all.0 |= flags[index].0;
            index += 1;
        }
        all
    }

    pub const fn has(self, other: KeyFlags) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| *name)
    }
}

/// Where the search for keys starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BeginSearch {
    /// At a fixed argument position; 0 is the command name.
    Index(u16),
    /// After a keyword, searched from `start` (negative: backwards from the end).
    Keyword {
        keyword: &'static str,
        start: i16,
    },
    Unknown,
}

/// How keys are found from there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindKeys {
    /// Every `step`th argument up to `last` (relative to the first; negative: from the end), the
    /// last only 1/`limit` of the remaining arguments when `limit` > 1.
    Range {
        last: i16,
        step: u16,
        limit: u16,
    },
    /// The number of keys is itself an argument.
    KeyNum {
        index: u16,
        first: u16,
        step: u16,
    },
    Unknown,
}

/// One key specification, as of Redis 7.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeySpec {
    pub begin: BeginSearch,
    pub find: FindKeys,
    pub flags: KeyFlags,
    pub notes: &'static str,
}

impl KeySpec {
    /// The single key at argument position `position`.
    pub const fn index(position: u16, flags: &[KeyFlags]) -> KeySpec {
        KeySpec {
            begin: BeginSearch::Index(position),
            find: FindKeys::Range {
                last: 0,
                step: 1,
                limit: 0,
            },
            flags: KeyFlags::all(flags),
            notes: "",
        }
    }

    /// Keys from `position` to the end, every `step`th argument.
    pub const fn range(position: u16, last: i16, step: u16, flags: &[KeyFlags]) -> KeySpec {
        KeySpec {
            begin: BeginSearch::Index(position),
            find: FindKeys::Range {
                last,
                step,
                limit: 0,
            },
            flags: KeyFlags::all(flags),
            notes: "",
        }
    }

    /// `numkeys` at `position`, keys right after it.
    pub const fn key_num(position: u16, flags: &[KeyFlags]) -> KeySpec {
        KeySpec {
            begin: BeginSearch::Index(position),
            find: FindKeys::KeyNum {
                index: 0,
                first: 1,
                step: 1,
            },
            flags: KeyFlags::all(flags),
            notes: "",
        }
    }

    /// Keys after the word `keyword`, looked for from argument `start` on (backwards if negative),
    /// up to argument `last` (from the end if negative).
    pub const fn keyword(
        keyword: &'static str,
        start: i16,
        last: i16,
        flags: &[KeyFlags],
    ) -> KeySpec {
        KeySpec {
            begin: BeginSearch::Keyword { keyword, start },
            find: FindKeys::Range {
                last,
                step: 1,
                limit: 0,
            },
            flags: KeyFlags::all(flags),
            notes: "",
        }
    }

    pub const fn notes(mut self, notes: &'static str) -> KeySpec {
        self.notes = notes;
        self
    }
}

/// How a command reaches the keyspace; decides what is locked around its handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Nothing is locked: reads are lock-free, writes impossible.
    LockFree,
    /// The slots of the command's keys, exclusively, in ascending order.
    Keys,
    /// The slots of the command's keys, or every slot if an argument behind BY or GET names keys by a
    /// pattern (SORT).
    Patterns,
    /// Every slot (FLUSHALL, SWAPDB).
    All,
}

/// Documentation of a command, as `COMMAND DOCS` replies it.
#[derive(Clone, Copy, Debug)]
pub struct Docs {
    pub summary: &'static str,
    pub since: &'static str,
    pub group: &'static str,
    pub complexity: &'static str,
    /// Human syntax of the arguments, for example `key value [NX | XX] [EX seconds | KEEPTTL]`.
    pub syntax: &'static str,
    /// Pairs (version, what changed).
    pub history: &'static [(&'static str, &'static str)],
    /// Version that deprecated the command, and what replaces it; empty when it is not deprecated.
    pub deprecated: (&'static str, &'static str),
    /// Spoken between servers, not by applications.
    pub is_internal: bool,
}

impl Docs {
    pub const fn new(group: &'static str, since: &'static str, summary: &'static str) -> Docs {
        Docs {
            summary,
            since,
            group,
            complexity: "",
            syntax: "",
            history: &[],
            deprecated: ("", ""),
            is_internal: false,
        }
    }

    /// Marks a command that only servers speak.
    pub const fn internal(mut self) -> Docs {
        self.is_internal = true;
        self
    }

    pub const fn complexity(mut self, complexity: &'static str) -> Docs {
        self.complexity = complexity;
        self
    }

    pub const fn syntax(mut self, syntax: &'static str) -> Docs {
        self.syntax = syntax;
        self
    }

    pub const fn history(mut self, history: &'static [(&'static str, &'static str)]) -> Docs {
        self.history = history;
        self
    }

    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Docs {
        self.deprecated = (since, replaced_by);
        self
    }
}

/// One command or subcommand.
#[derive(Debug)]
pub struct Command {
    /// Lower case; for a subcommand, the subcommand's own word.
    pub name: &'static str,
    pub handler: Handler,
    /// Number of arguments including the command's name (and the container's); negative: at least.
    pub arity: i16,
    pub flags: Flags,
    /// Categories that do not follow from the flags.
    pub family: Categories,
    pub keys: &'static [KeySpec],
    /// Finds the keys where the specs alone do not tell.
    pub find_keys: Option<KeyFinder>,
    pub scope: Scope,
    /// What proxy mode does with it, where that does not follow from the rest of the row.
    pub forwarding: Option<Forwarding>,
    pub tips: &'static [&'static str],
    pub docs: Docs,
    /// Not empty for a container; its own handler then only serves as a fallback.
    pub subcommands: &'static [&'static Command],
}

impl Command {
    pub const fn new(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
        Command {
            name,
            handler,
            arity,
            flags: Flags::NONE,
            family: Categories::NONE,
            keys: &[],
            find_keys: None,
            scope: Scope::LockFree,
            forwarding: None,
            tips: &[],
            docs,
            subcommands: &[],
        }
    }

    /// Sets the flags; a command that writes locks the slots of its keys.
    pub const fn flags(mut self, flags: &[Flags]) -> Command {
        let mut index = 0;
        while index < flags.len() {
            self.flags = self.flags.with(flags[index]);
            index += 1;
        }
        if self.flags.has(Flags::WRITE) {
            self.scope = Scope::Keys;
        }
        self
    }

    /// Adds [`Flags::SECRETIVE`].
    pub const fn secretive(mut self) -> Command {
        self.flags = self.flags.with(Flags::SECRETIVE);
        self
    }

    /// Adds [`Flags::REPLIES_FIRST`].
    pub const fn replies_first(mut self) -> Command {
        self.flags = self.flags.with(Flags::REPLIES_FIRST);
        self
    }

    pub const fn family(mut self, family: Categories) -> Command {
        self.family = family;
        self
    }

    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Command {
        self.keys = keys;
        self
    }

    /// Overrides how keys are found; the specs then only serve COMMAND.
    pub const fn find_keys(mut self, find: KeyFinder) -> Command {
        self.find_keys = Some(find);
        self
    }

    /// Overrides what is locked. Reads that look at more than one word of an object, and must see
    /// them at one instant, take `Scope::Keys`.
    pub const fn scope(mut self, scope: Scope) -> Command {
        self.scope = scope;
        self
    }

    /// Overrides what proxy mode does with the command.
    pub const fn forwarded(mut self, forwarding: Forwarding) -> Command {
        self.forwarding = Some(forwarding);
        self
    }

    pub const fn tips(mut self, tips: &'static [&'static str]) -> Command {
        self.tips = tips;
        self
    }

    pub const fn subcommands(mut self, subcommands: &'static [&'static Command]) -> Command {
        self.subcommands = subcommands;
        self
    }

    /// All ACL categories: the family's and those the flags imply.
    pub fn categories(&self) -> Categories {
        let mut all = self.family;
        let mut imply = |flag: Flags, category: Categories| {
            if self.flags.has(flag) {
                all = all.with(category);
            }
        };
        imply(Flags::WRITE, Categories::WRITE);
        imply(Flags::ADMIN, Categories::ADMIN.with(Categories::DANGEROUS));
        imply(Flags::PUBSUB, Categories::PUBSUB);
        imply(Flags::FAST, Categories::FAST);
        imply(Flags::BLOCKING, Categories::BLOCKING);
        if self.flags.has(Flags::READONLY) && !self.family.has(Categories::SCRIPTING) {
            all = all.with(Categories::READ);
        }
        if !all.has(Categories::FAST) {
            all = all.with(Categories::SLOW);
        }
        all
    }

    /// Whether this runs a script, which calls other commands.
    pub fn runs_script(&self) -> bool {
        self.flags.has(Flags::NO_MANDATORY_KEYS) && self.family.has(Categories::SCRIPTING)
    }

    /// Whether `argc` arguments (name included) fit the arity.
    pub const fn accepts(&self, argc: usize) -> bool {
        if self.arity >= 0 {
            argc == self.arity as usize
        } else {
            argc >= -self.arity as usize
        }
    }

    /// The (first, last, step) triple of `COMMAND INFO`, from the key specs as Redis derives it.
    pub fn legacy_range(&self) -> (i64, i64, i64) {
        let (mut first, mut last, mut step) = (0i64, 0i64, 0i64);
        for spec in self.keys {
            let (
                BeginSearch::Index(position),
                FindKeys::Range {
                    last: to, step: by, ..
                },
            ) = (spec.begin, spec.find)
            else {
                continue;
            };
            let position = i64::from(position);
            let end = if to >= 0 {
                position + i64::from(to)
            } else {
                i64::from(to)
            };
            if first == 0 {
                (first, last, step) = (position, end, i64::from(by));
            } else if last >= 0 && position == last + 1 && by == 1 && step == 1 {
                last = end;
            }
        }
        (first, last, step)
    }
}

/// The commands of one source file.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub commands: &'static [&'static Command],
}
