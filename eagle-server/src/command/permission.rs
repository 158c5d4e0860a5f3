//! What access control says about a command: the one check all callers share.
//!
//! Clients are checked before a command runs or is queued, transactions again when they run, scripts
//! for each command they call. A user who may do everything costs the look at one flag.

use super::errors::CommandError;
use super::family::{self, client};
use super::keys;
use super::spec::{Categories, Flags, KeyFlags};
use super::table::Entry;
use crate::acl::{
    Catalogue, ChannelUse, CommandRow, Denial, Identity, KeyUse, LogEntry, Place, Reason, Request,
};
use crate::node::Node;
use crate::session::{ClientInfo, Session};
use smallvec::SmallVec;
use std::sync::OnceLock;

/// The commands as access control knows them, numbered as the table's entries are.
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        let mut rows = Vec::new();
        for command in family::FAMILIES.iter().flat_map(|family| family.commands) {
            let container = rows.len();
            rows.push(CommandRow {
                name: command.name,
                categories: command.categories().0,
                parent: None,
                is_open: command.flags.has(Flags::NO_AUTH),
            });
            for sub in command.subcommands {
                rows.push(CommandRow {
                    // Once a process.
                    name: format!("{}|{}", command.name, sub.name).leak(),
                    categories: sub.categories().0,
                    parent: Some(container),
                    is_open: sub.flags.has(Flags::NO_AUTH),
                });
            }
        }
        Catalogue::new(Categories::NAMES, rows)
    })
}

/// Commands whose arguments are channels: where those begin, whether there may be several, and
/// whether they are patterns. Whoever only stops listening needs no permission.
const CHANNELS: &[(&str, usize, bool, bool)] = &[
    ("subscribe", 1, true, false),
    ("psubscribe", 1, true, true),
    ("ssubscribe", 1, true, false),
    ("publish", 1, false, false),
    ("spublish", 1, false, false),
];

/// The request `argv`, which names `entry`, as access control sees it.
pub fn request<'a>(entry: &Entry, argv: &'a [&'a [u8]]) -> Request<'a> {
    let mut keys = keys::find_declared(entry, argv);
    if keys.is_empty() {
        // PFMERGE of nothing into a key: by its specs it has no keys, so that Redis lets anybody do it.
        keys = keys::find(entry, argv);
    }
    let writes = |flags: KeyFlags| {
        [KeyFlags::INSERT, KeyFlags::DELETE, KeyFlags::UPDATE]
            .iter()
            .any(|flag| flags.has(*flag))
    };
    let row = CHANNELS
        .iter()
        .find(|(name, ..)| entry.has(Flags::PUBSUB) && *name == entry.full_name);
    let channels = row.map_or_else(SmallVec::new, |(_, first, several, is_pattern)| {
        let end = if *several { argv.len() } else { first + 1 };
        (*first..end.min(argv.len()))
            .map(|position| ChannelUse {
                position,
                is_pattern: *is_pattern,
            })
            .collect()
    });
    Request {
        command: entry.id,
        argv,
        keys: keys
            .iter()
            .map(|key| KeyUse {
                position: key.position,
                reads: key.flags.has(KeyFlags::ACCESS),
                writes: writes(key.flags),
            })
            .collect(),
        channels,
    }
}

/// Whether `user` may run `argv`, which names `entry`. Callers log a denial with [`note_denial`].
pub fn check(user: &Identity, entry: &Entry, argv: &[&[u8]]) -> Result<(), Denial> {
    if user.is_unrestricted() {
        return Ok(());
    }
    if user.is_gone() {
        return Err(Denial::Command);
    }
    user.user().check(catalogue(), &request(entry, argv))
}

/// Whether `user` may run `argv` and also read any key whatever: what patterns of keys among the
/// arguments (SORT's BY and GET) ask for.
pub fn may_read_any_key(user: &Identity, entry: &Entry, argv: &[&[u8]]) -> bool {
    user.is_unrestricted()
        || (!user.is_gone()
            && user
                .user()
                .check_reading_any_key(catalogue(), &request(entry, argv)))
}

/// Whether `user` may listen to or publish to `channel`; a pattern must be allowed as it is.
pub fn may_access_channel(user: &Identity, channel: &[u8], is_pattern: bool) -> bool {
    user.is_unrestricted() || (!user.is_gone() && user.user().may_use_channel(channel, is_pattern))
}

/// The refusal of a client's command.
pub fn refusal(denial: Denial, entry: &Entry) -> CommandError {
    match denial {
        Denial::Command => CommandError::owned(format!(
            "NOPERM this user has no permissions to run the '{}' command",
            entry.full_name
        )),
        Denial::Key(_) => CommandError::new(
            "NOPERM this user has no permissions to access one of the keys used as arguments",
        ),
        Denial::Channel(_) => CommandError::new(
            "NOPERM this user has no permissions to access one of the channels used as arguments",
        ),
    }
}

/// The refusal of a command that was allowed when it was queued, but not when it is to run.
pub fn refusal_in_exec(denial: Denial) -> CommandError {
    let reason = match denial {
        Denial::Command => "no permission to execute the command or subcommand",
        Denial::Key(_) => "no permission to touch the specified keys",
        Denial::Channel(_) => "no permission to access one of the channels used as arguments",
    };
    CommandError::owned(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command \
         is no longer allowed for the following reason: {reason}"
    ))
}

/// What a script is told: the words after `The user executing the script `.
pub fn script_reason(denial: Denial) -> &'static str {
    match denial {
        Denial::Command => "can't run this command or subcommand",
        Denial::Key(_) => {
            "can't access at least one of the keys mentioned in the command arguments"
        }
        Denial::Channel(_) => "can't publish to the channel mentioned in the command",
    }
}

/// Puts a denial into ACL LOG.
pub fn note_denial(
    node: &Node,
    session: &Session,
    entry: &Entry,
    argv: &[&[u8]],
    denial: Denial,
    place: Place,
    now_ms: u64,
) {
    let (reason, object) = match denial {
        Denial::Command => (Reason::Command, entry.full_name.as_bytes()),
        Denial::Key(position) => (Reason::Key, argv[position]),
        Denial::Channel(position) => (Reason::Channel, argv[position]),
    };
    note(
        node,
        &session.info,
        session.user.name(),
        (reason, object),
        place,
        now_ms,
    );
}

/// Puts a failed log-in as `username` into ACL LOG; `command` is what the client called it.
pub(super) fn note_failed_login(
    node: &Node,
    session: &Session,
    username: &[u8],
    command: &[u8],
    now_ms: u64,
) {
    let place = place_of(session);
    note(
        node,
        &session.info,
        username,
        (Reason::Auth, command),
        place,
        now_ms,
    );
}

/// Where a client's own commands are refused.
pub(super) fn place_of(session: &Session) -> Place {
    if session.in_multi() {
        Place::Transaction
    } else {
        Place::TopLevel
    }
}

fn note(
    node: &Node,
    client: &ClientInfo,
    username: &[u8],
    (reason, object): (Reason, &[u8]),
    place: Place,
    now_ms: u64,
) {
    let mut line = String::new();
    client::describe(now_ms, client, &mut line);
    let entry = LogEntry {
        count: 1,
        reason,
        place,
        object: object.to_vec(),
        username: username.to_vec(),
        at_ms: now_ms,
        client: line.trim_end().to_owned(),
    };
    let len_max = node.config.load().security.acllog_max_len;
    node.acl
        .log
        .add(entry, usize::try_from(len_max).unwrap_or(usize::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::{Lookup, table};

    #[test]
    fn a_destination_alone_is_a_key_all_the_same() {
        let words: [&[u8]; 2] = [b"PFMERGE", b"k"];
        let Lookup::Found(entry) = table().lookup(&words) else {
            panic!("an unknown command")
        };
        assert!(keys::find_declared(entry, &words).is_empty());
        let keys = request(entry, &words).keys;
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn commands_bear_the_same_numbers_in_table_and_catalogue() {
        let (entries, rows) = (table().entries(), catalogue().rows());
        assert_eq!(entries.len(), rows.len());
        for (entry, row) in entries.iter().zip(rows) {
            assert_eq!(entry.full_name, row.name);
            assert_eq!(entry.parent, row.parent);
        }
    }
}
