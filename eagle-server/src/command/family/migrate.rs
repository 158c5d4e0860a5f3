//! MIGRATE: the command around [`crate::cluster::migrate`]. It serializes the keys, starts the
//! transfer as a task, and removes here what was taken over there; that module's head says why
//! nothing is lost in between.

use super::dump::payload;
use crate::cluster::migrate::{Credentials, Item, SlotClaim, Target, Transfer, TransferError};
use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::event::Notice;
use crate::command::forwarding::Forwarding;
use crate::command::keys::{KeyRef, KeyRefs};
use crate::command::spec::{Categories, Command, Docs, Family, Flags, KeyFlags, KeySpec};
use crate::command::{bulk, call};
use crate::config::special::EventClasses;
use crate::node::{Node, Thread, unix_ms};
use crate::persist::rdb::Compression;
use crate::propagation::Stream;
use eagle_core::resp::{Protocol, Writer};
use eagle_core::store::{Access, Entry, View, Worker, key_slot};
use std::rc::Rc;
use std::time::Duration;
use zeroize::Zeroizing;

pub const FAMILY: Family = Family {
    name: "migrate",
    commands: &[&MIGRATE],
};

const KEY_FLAGS: &[KeyFlags] = &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE];

/// MIGRATE host port key|"" db timeout [options] -- moves keys to another server.
const MIGRATE: Command = Command::new(
    "migrate",
    -6,
    migrate,
    Docs::new(
        "generic",
        "2.6.0",
        "Atomically transfer a key from a Redis instance to another one.",
    )
    .complexity(
        "This command actually executes a DUMP+DEL in the source instance, and a RESTORE in the target instance. See \
         the pages of these commands for time complexity. Also an O(N) data transfer between the two instances is \
         performed.",
    )
    .syntax("host port key_or_empty_string=<key | empty_string=''> destination-db timeout [COPY]{3.0.0} [REPLACE]{3.0.0} authentication=[[AUTH password]{4.0.7} | [AUTH2 <username password>]{6.0.0}] [KEYS key [key ...]]{3.0.6}")
    .history(&[
        ("3.0.0", "Added the `COPY` and `REPLACE` options."),
        ("3.0.6", "Added the `KEYS` option."),
        ("4.0.7", "Added the `AUTH` option."),
        ("6.0.0", "Added the `AUTH2` option."),
    ]),
)
.flags(&[Flags::WRITE, Flags::MOVABLE_KEYS])
.secretive()
.family(Categories::KEYSPACE.with(Categories::DANGEROUS))
.keys(&[
    KeySpec::index(3, KEY_FLAGS),
    KeySpec::keyword(
        "KEYS",
        -2,
        -1,
        &[
            KeyFlags::RW,
            KeyFlags::ACCESS,
            KeyFlags::DELETE,
            KeyFlags::INCOMPLETE,
        ],
    ),
])
.find_keys(find_keys)
.forwarded(Forwarding::Errand)
.tips(&["nondeterministic_output"]);

/// Position of the key, or of the empty word that stands for it.
const KEY_AT: usize = 3;
const OPTIONS_AT: usize = 6;
/// The limit for each step when none, or none that makes sense, is given.
const STEP_TIME_DEFAULT: Duration = Duration::from_secs(1);

/// The keys cannot be told from the key specs alone: with KEYS the word at [`KEY_AT`] is no key, and
/// a password may be spelled `keys`.
fn find_keys(argv: &[&[u8]]) -> KeyRefs {
    let refs = |positions: std::ops::Range<usize>| {
        let flags = KeyFlags::all(KEY_FLAGS);
        positions
            .map(|position| KeyRef { position, flags })
            .collect()
    };
    let mut at = OPTIONS_AT;
    while at < argv.len() {
        let is = |name: &str| argv[at].eq_ignore_ascii_case(name.as_bytes());
        if is("keys") {
            // With a key besides there is an error, and no key.
            let keys = if argv[KEY_AT].is_empty() {
                at + 1..argv.len()
            } else {
                0..0
            };
            return refs(keys);
        }
        at += match () {
            () if is("auth") => 2,
            () if is("auth2") => 3,
            () => 1,
        };
    }
    refs(KEY_AT..(KEY_AT + 1).min(argv.len()))
}

#[derive(Debug, Default)]
struct Options {
    copy: bool,
    replace: bool,
    credentials: Option<Credentials>,
    /// Positions of words that logs must not show.
    secrets: Vec<usize>,
    /// Positions of the keys.
    keys: std::ops::Range<usize>,
}

impl Options {
    fn parse(argv: &[&[u8]]) -> Result<Options, CommandError> {
        let mut options = Options {
            keys: KEY_AT..KEY_AT + 1,
            ..Options::default()
        };
        let secret = |word: &[u8]| Zeroizing::new(word.to_vec());
        let mut args = Args::new(argv, OPTIONS_AT);
        while !args.is_empty() {
            if args.accept("copy") {
                options.copy = true;
            } else if args.accept("replace") {
                options.replace = true;
            } else if args.accept("auth") {
                options.secrets.push(argv.len() - args.len());
                options.credentials = Some(Credentials {
                    username: None,
                    password: secret(args.word()?),
                });
            } else if args.accept("auth2") {
                let user_at = argv.len() - args.len();
                options.secrets.extend([user_at, user_at + 1]);
                options.credentials = Some(Credentials {
                    username: Some(secret(args.word()?)),
                    password: secret(args.word()?),
                });
            } else if args.accept("keys") {
                if !argv[KEY_AT].is_empty() {
                    return Err(CommandError::new(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                    ));
                }
                options.keys = argv.len() - args.len()..argv.len();
                break;
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok(options)
    }
}

fn migrate(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let argv = args.argv();
    let options = Options::parse(argv)?;
    options
        .secrets
        .iter()
        .for_each(|position| cx.session.redact(*position));
    let step_time_max = match u64::try_from(parse_integer(argv[5])?) {
        Ok(millis @ 1..) => Duration::from_millis(millis),
        _ => STEP_TIME_DEFAULT,
    };
    let target_db = parse_integer(argv[4])?;
    let (db, compression) = (cx.db(), cx.compression());
    let mut chosen = Vec::new();
    for key in &argv[options.keys.clone()] {
        if let Some(entry) = cx.view.find(db, key) {
            let item = if cx.may_block && cx.view.is_bulky(db, key) {
                None
            } else {
                Some(item(&cx.view, db, &entry, compression)?)
            };
            let key = key.to_vec();
            chosen.push(Chosen { key, item });
        }
    }
    if chosen.is_empty() {
        cx.out.simple("NOKEY");
        return Ok(Flow::Done);
    }
    let transfer = Transfer {
        target: Target {
            host: String::from_utf8_lossy(argv[1]).into_owned(),
            // What begins with no number is port 0, which refuses; a number that is no port leads nowhere.
            port: u16::try_from(atoi(argv[2])).ok(),
            with_auth: options.credentials.is_some(),
        },
        credentials: options.credentials,
        db: target_db,
        step_time_max,
        replace: options.replace,
        asking: cx.config.cluster.cluster_enabled,
        items: Vec::new(),
    };
    if !cx.may_block {
        let items = chosen.into_iter().filter_map(|chosen| chosen.item);
        let items = items.collect();
        return migrate_now(cx, Transfer { items, ..transfer }, options.copy);
    }
    let slots = slots_of(&chosen);
    let move_out = MoveOut {
        thread: cx.thread.clone(),
        db,
        compression,
        claim: (!options.copy).then(|| cx.node.slots_in_transfer.begin(&slots)),
        chosen,
        transfer,
    };
    Ok(Flow::Later(Box::pin(async {
        // A task of its own: what has begun is finished even if the client goes away.
        let task = tokio::task::spawn_local(move_out.run());
        task.await.unwrap_or_else(|_| error_line(&BROKEN_OFF))
    })))
}

const BROKEN_OFF: CommandError = CommandError::new("ERR The transfer of the keys was broken off");

/// A key that is to be sent.
struct Chosen {
    key: Vec<u8>,
    /// `None` if its value takes long to encode: that is done on another thread.
    item: Option<Item>,
}

/// What is sent of `entry`, a key whose slot is locked.
fn item(
    view: &View<'_>,
    db: u8,
    entry: &Entry<'_>,
    compression: Compression,
) -> Result<Item, CommandError> {
    Ok(Item {
        key: entry.key().to_vec(),
        expires_at_ms: entry.ttl_at(),
        payload: payload(view, db, entry, compression)?,
    })
}

fn slots_of(chosen: &[Chosen]) -> Vec<u16> {
    let mut slots: Vec<u16> = chosen.iter().map(|one| key_slot(&one.key)).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// MIGRATE inside a transaction or a script: its slots stay locked, and its thread waits, until the answers are there.
fn migrate_now(cx: &mut Context<'_>, transfer: Transfer, copy: bool) -> Outcome {
    // The runtime of this thread cannot be waited for from inside it.
    let report = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            let sockets = Rc::default();
            let run = transfer.run(&sockets, unix_ms);
            Some(tokio::task::LocalSet::new().block_on(&runtime, run))
        });
        thread.join().ok().flatten()
    });
    let report = report.ok_or(BROKEN_OFF)?;
    let db = cx.db();
    let mut words: Vec<&[u8]> = vec![b"DEL"];
    if !copy {
        for item in report.accepted.iter().map(|at| &transfer.items[*at]) {
            if cx.view.remove(db, &item.key)? {
                cx.notify(EventClasses::GENERIC, "del", &item.key);
                words.push(&item.key);
            }
        }
    }
    if words.len() > 1 {
        cx.effects.instead(db, &words);
    }
    match report.error {
        None => cx.reply_ok(),
        Some(error) => {
            // No error of the handler: what was taken over there stays removed here.
            let error = CommandError::owned(error.text());
            call::reply_error(cx.thread, cx.out, &error);
            Ok(Flow::Done)
        }
    }
}

/// A transfer under way.
struct MoveOut {
    thread: Rc<Thread>,
    /// The database here.
    db: u8,
    compression: Compression,
    /// The slots whose writers wait; none for a copy, which removes nothing.
    claim: Option<SlotClaim>,
    chosen: Vec<Chosen>,
    /// Its items are still to be put in.
    transfer: Transfer,
}

impl MoveOut {
    /// Sends the keys and removes them here; the reply to the client.
    async fn run(self) -> Vec<u8> {
        let thread = self.thread.clone();
        match self.move_out().await {
            Ok(reply) => reply.to_vec(),
            Err(error) => {
                thread.stats.error_replies.add(1);
                thread.node.errors.record(error.code());
                error_line(&error)
            }
        }
    }

    async fn move_out(self) -> Result<&'static [u8], CommandError> {
        let MoveOut {
            thread,
            db,
            compression,
            claim,
            chosen,
            mut transfer,
        } = self;
        let node = &thread.node;
        let is_bulky = chosen.iter().any(|one| one.item.is_none());
        transfer.items = if is_bulky {
            let encoded = bulk::run(node, move |node, worker| {
                encode(node, worker, db, compression, chosen)
            });
            encoded.await.ok_or(BROKEN_OFF)??
        } else {
            chosen.into_iter().filter_map(|one| one.item).collect()
        };
        if transfer.items.is_empty() {
            // All have expired since they were found.
            return Ok(b"+NOKEY\r\n");
        }
        let report = transfer.run(&thread.migrate_sockets, unix_ms).await;
        let removed = match claim {
            None => Ok(()),
            Some(claim) => {
                let removal = Removal {
                    db,
                    compression,
                    claim,
                    items: transfer.items,
                    accepted: report.accepted,
                };
                if is_bulky {
                    let removed = bulk::run(node, move |node, worker| removal.run(node, worker));
                    removed.await.unwrap_or(Err(BROKEN_OFF))
                } else {
                    removal.run(node, &mut thread.worker.borrow_mut())
                }
            }
        };
        match report.error.as_ref().map(TransferError::text) {
            Some(text) => Err(CommandError::owned(text)),
            None => removed.map(|()| &b"+OK\r\n"[..]),
        }
    }
}

/// Encodes what is not encoded yet, a key at a time. What has gone meanwhile is left out.
fn encode(
    node: &Node,
    worker: &mut Worker,
    db: u8,
    compression: Compression,
    chosen: Vec<Chosen>,
) -> Result<Vec<Item>, CommandError> {
    let mut items = Vec::with_capacity(chosen.len());
    for one in chosen {
        if let Some(item) = one.item {
            items.push(item);
            continue;
        }
        let (guard, slot) = (node.keyspace.pin(), [key_slot(&one.key)]);
        let access = Access::Slots(&slot);
        let view = node.keyspace.view(worker, &guard, access, unix_ms());
        if let Some(entry) = view.find(db, &one.key) {
            items.push(item(&view, db, &entry, compression)?);
        }
    }
    Ok(items)
}

/// The removal of the keys that were taken over.
struct Removal {
    db: u8,
    compression: Compression,
    /// Let go of when the keys are removed.
    claim: SlotClaim,
    items: Vec<Item>,
    accepted: Vec<usize>,
}

impl Removal {
    /// Removes the keys that were taken over, unless they are not what was sent.
    fn run(&self, node: &Node, worker: &mut Worker) -> Result<(), CommandError> {
        let slots = self.claim.slots();
        let work = |view: &mut View<'_>, stream: &mut Stream, notices: &mut Vec<Notice>| {
            let mut words: Vec<&[u8]> = vec![b"DEL"];
            let outcome = self.remove_each(node, view, notices, &mut words);
            if words.len() > 1 {
                stream.push(self.db, &words);
            }
            outcome
        };
        call::apply_on(node, worker, slots, None, work).0
    }

    fn remove_each<'s>(
        &'s self,
        node: &Node,
        view: &mut View<'_>,
        notices: &mut Vec<Notice>,
        removed: &mut Vec<&'s [u8]>,
    ) -> Result<(), CommandError> {
        let wanted = node.config.load().monitoring.notify_keyspace_events;
        // Hardly ever: then the values tell.
        let is_disturbed = self.claim.is_disturbed();
        let mut outcome = Ok(());
        for item in self.accepted.iter().map(|at| &self.items[*at]) {
            let Some(entry) = view.find(self.db, &item.key) else {
                continue;
            };
            let unchanged = entry.ttl_at() == item.expires_at_ms
                && (!is_disturbed
                    || payload(view, self.db, &entry, self.compression)? == item.payload);
            if unchanged {
                view.remove(self.db, &item.key)?;
                if wanted.publish(EventClasses::GENERIC) {
                    let key = item.key.as_slice().into();
                    let (db, name) = (self.db, "del");
                    notices.push(Notice::Key {
                        db,
                        name,
                        key,
                        wanted,
                    });
                }
                removed.push(&item.key);
            } else {
                outcome = Err(CommandError::new(
                    "ERR A key changed while it was being transferred, and was not removed",
                ));
            }
        }
        outcome
    }
}

fn error_line(error: &CommandError) -> Vec<u8> {
    let mut out = Writer::new(Protocol::Resp2);
    out.error(error.as_bytes());
    out.take().into()
}

/// The number that `word` begins with, as C's `atoi` reads it: 0 if there is none, and what is too large is cut to an int.
fn atoi(word: &[u8]) -> i32 {
    let word = word.trim_ascii_start();
    let (negative, digits) = match word.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, word),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0i64, |number, digit| {
        let digit = i64::from(digit - b'0');
        let digit = if negative { -digit } else { digit };
        number.saturating_mul(10).saturating_add(digit)
    });
    number as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (word, number) in [
            ("7000", 7000),
            (" +12x", 12),
            ("-1", -1),
            ("x", 0),
            ("", 0),
            ("4294967297", 1),
            ("99999999999999999999", -1),
            ("-99999999999999999999", 0),
        ] {
            assert_eq!(atoi(word.as_bytes()), number, "{word}");
        }
    }

    fn words(line: &'static str) -> Vec<&'static [u8]> {
        line.split(' ')
            .map(|word| {
                if word == "''" {
                    &b""[..]
                } else {
                    word.as_bytes()
                }
            })
            .collect()
    }

    fn positions(line: &'static str) -> Vec<usize> {
        find_keys(&words(line))
            .iter()
            .map(|key| key.position)
            .collect()
    }

    #[test]
    fn keys_are_found_among_options() {
        assert_eq!(positions("MIGRATE h 1 key 0 9"), [3]);
        assert_eq!(positions("MIGRATE h 1 key 0 9 COPY REPLACE"), [3]);
        assert_eq!(positions("MIGRATE h 1 '' 0 9 REPLACE KEYS a b"), [8, 9]);
        assert_eq!(positions("MIGRATE h 1 '' 0 9 AUTH keys KEYS a"), [9]);
        assert_eq!(positions("MIGRATE h 1 '' 0 9 AUTH2 u keys keys a"), [10]);
        assert_eq!(positions("MIGRATE h 1 key 0 9 NONSENSE"), [3]);
    }

    #[test]
    fn options_are_refused_as_redis_refuses_them() {
        let error = |line| Options::parse(&words(line)).map(|_| ()).unwrap_err();
        assert_eq!(error("MIGRATE h 1 k 0 9 AUTH"), errors::SYNTAX);
        assert_eq!(error("MIGRATE h 1 k 0 9 AUTH2 user"), errors::SYNTAX);
        assert_eq!(error("MIGRATE h 1 k 0 9 MOVE"), errors::SYNTAX);
        assert!(
            error("MIGRATE h 1 k 0 9 KEYS a")
                .text()
                .starts_with("ERR When using MIGRATE KEYS")
        );
    }
}
