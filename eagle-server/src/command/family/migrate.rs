//! MIGRATE: the command around [`crate::cluster::migrate`]. It serializes the keys, starts the
//! transfer as a task, and removes here what was taken over there; that module's head says why
//! nothing is lost in between.

use super::dump::payload;
use crate::cluster::migrate::{Credentials, Item, SlotClaim, Target, Transfer, TransferError};
use crate::command::args::{Args, parse_integer};
use crate::command::call;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::event::Notice;
use crate::command::keys::{KeyRef, KeyRefs};
use crate::command::spec::{Categories, Command, Docs, Family, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use crate::node::{Thread, unix_ms};
use crate::persist::rdb::Compression;
use crate::propagation::Stream;
use eagle_core::resp::{Protocol, Writer};
use eagle_core::store::{View, key_slot};
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
    let mut items = Vec::new();
    for key in &argv[options.keys] {
        if let Some(entry) = cx.view.find(db, key) {
            items.push(Item {
                key: key.to_vec(),
                expires_at_ms: entry.ttl_at(),
                payload: payload(&cx.view, db, &entry, compression)?,
            });
        }
    }
    if items.is_empty() {
        cx.out.simple("NOKEY");
        return Ok(Flow::Done);
    }
    let claim = (!options.copy).then(|| cx.node.slots_in_transfer.begin(&slots_of(&items)));
    let move_out = MoveOut {
        thread: cx.thread.clone(),
        db,
        compression,
        claim,
        transfer: Transfer {
            target: Target {
                host: String::from_utf8_lossy(argv[1]).into_owned(),
                // A port that is none cannot be connected to, which is how it is reported.
                port: parse_integer(argv[2]).map_or(0, |port| u16::try_from(port).unwrap_or(0)),
                with_auth: options.credentials.is_some(),
            },
            credentials: options.credentials,
            db: target_db,
            step_time_max,
            replace: options.replace,
            asking: cx.config.cluster.cluster_enabled,
            items,
        },
    };
    Ok(Flow::Later(Box::pin(async {
        // A task of its own: what has begun is finished even if the client goes away.
        let task = tokio::task::spawn_local(move_out.run());
        task.await.unwrap_or_else(|_| {
            error_line(&CommandError::new(
                "ERR The transfer of the keys was broken off",
            ))
        })
    })))
}

fn slots_of(items: &[Item]) -> Vec<u16> {
    let mut slots: Vec<u16> = items.iter().map(|item| key_slot(&item.key)).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// A transfer under way.
struct MoveOut {
    thread: Rc<Thread>,
    /// The database here.
    db: u8,
    compression: Compression,
    /// The slots whose writers wait; none for a copy, which removes nothing.
    claim: Option<SlotClaim>,
    transfer: Transfer,
}

impl MoveOut {
    /// Sends the keys and removes them here; the reply to the client.
    async fn run(self) -> Vec<u8> {
        let sockets = &self.thread.migrate_sockets;
        let report = self.transfer.run(sockets, unix_ms).await;
        let removed = match &self.claim {
            Some(claim) => call::apply(&self.thread, claim.slots(), |view, stream, notices| {
                self.remove(view, stream, notices, &report.accepted)
            }),
            None => Ok(()),
        };
        let failure = report.error.as_ref().map(TransferError::text);
        let outcome = failure.map_or(removed, |text| Err(CommandError::owned(text)));
        match outcome {
            Ok(()) => b"+OK\r\n".to_vec(),
            Err(error) => {
                self.thread.stats.error_replies.add(1);
                self.thread.node.errors.record(error.code());
                error_line(&error)
            }
        }
    }

    /// Removes the keys that were taken over, unless they are not what was sent.
    fn remove(
        &self,
        view: &mut View<'_>,
        stream: &mut Stream,
        notices: &mut Vec<Notice>,
        accepted: &[usize],
    ) -> Result<(), CommandError> {
        let mut words: Vec<&[u8]> = vec![b"DEL"];
        let outcome = self.remove_each(view, notices, accepted, &mut words);
        if words.len() > 1 {
            stream.push(self.db, &words);
        }
        outcome
    }

    fn remove_each<'s>(
        &'s self,
        view: &mut View<'_>,
        notices: &mut Vec<Notice>,
        accepted: &[usize],
        removed: &mut Vec<&'s [u8]>,
    ) -> Result<(), CommandError> {
        let wanted = self.thread.node.config.load();
        let wanted = wanted.monitoring.notify_keyspace_events;
        let mut outcome = Ok(());
        for item in accepted.iter().map(|at| &self.transfer.items[*at]) {
            let Some(entry) = view.find(self.db, &item.key) else {
                continue;
            };
            let unchanged = entry.ttl_at() == item.expires_at_ms
                && payload(view, self.db, &entry, self.compression)? == item.payload;
            if unchanged {
                view.remove(self.db, &item.key)?;
                if wanted.publish(EventClasses::GENERIC) {
                    let key = item.key.as_slice().into();
                    let (db, name) = (self.db, "del");
                    notices.push(Notice::Key { db, name, key });
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

#[cfg(test)]
mod tests {
    use super::*;

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
