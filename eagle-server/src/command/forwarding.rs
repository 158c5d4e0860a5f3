//! What proxy mode does with each command: a field of its row, or what follows from the rest of the row.
//!
//! `eagle-server/FORWARDING.md` is written from here and from the table, by the test at the foot of this file; a test
//! over a running cluster holds the server to it.

use super::spec::{Command, Flags};

/// How the replies to the parts of a command become its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merge {
    /// `MGET`: elements, in the order of the keys.
    Elements,
    /// Counts, added up.
    Sum,
    /// `+OK` from all.
    Ok,
}

/// Where a command that waits has its timeout among the arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeout {
    /// The last word, in seconds.
    Last,
    /// The first word behind the name, in seconds.
    First,
    /// The word behind the first BLOCK, in milliseconds. Without BLOCK it does not wait.
    Block,
}

/// What proxy mode does with a command for keys of other nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forwarding {
    /// It has no keys: it always runs where it arrives.
    Here,
    /// It has no keys, touches neither the connection nor the node, and may be part of a transaction at another node.
    Anywhere,
    /// It goes to the node that serves its slot.
    Owner,
    /// So it does, and is split if its keys have several slots. So many words, the key first, belong to each key.
    Split { words: usize, merge: Merge },
    /// It goes there on a connection of its own, as it may wait for long.
    Wait(Timeout),
    /// It goes there on a connection of its own, and takes the time that it says itself.
    Errand,
    /// It runs a script, which may call anything: it goes there for those who may do everything.
    Script,
    /// It begins, ends or guards a transaction, which runs where its keys are.
    Transaction,
    /// This node listens there for its clients.
    Listen,
    /// It ends what [`Forwarding::Listen`] began.
    Unlisten,
    /// It is redirected even so: nodes send it to each other.
    Redirect,
}

impl Command {
    /// What proxy mode does with this command.
    pub fn forwarding(&self) -> Forwarding {
        if let Some(forwarding) = self.forwarding {
            forwarding
        } else if self.keys.is_empty() && self.find_keys.is_none() {
            Forwarding::Here
        } else if self.flags.has(Flags::ASKING) {
            Forwarding::Redirect
        } else if self.runs_script() {
            Forwarding::Script
        } else {
            Forwarding::Owner
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::{Entry, table};
    use std::fmt::Write;
    use std::path::Path;

    /// The words of the document for each kind, in its order.
    const KINDS: &[(&str, &str)] = &[
        (
            "owner",
            "It goes to the node that serves its slot, over the pooled connections, and the reply comes back as it is. \
             Keys of several slots get `CROSSSLOT`, as at any cluster node.",
        ),
        (
            "split",
            "As `owner`; with keys of several slots it is split by slot, and the replies are merged. The whole is not \
             atomic: if a part fails, its error is the reply and the other parts have taken effect.",
        ),
        (
            "wait",
            "It goes to the owner on a connection that serves this client alone while it waits. The wait ends by what it \
             waits for, its timeout, CLIENT UNBLOCK at this node, the end of the client's connection, or the owner's \
             failure (`CLUSTERDOWN`). If the slot moves the wait goes on at the new owner with the time that is left; `$` \
             of XREAD means the end of the stream at that moment. XREAD and XREADGROUP without BLOCK are as `owner`.",
        ),
        (
            "errand",
            "It goes to the owner on a connection that serves this client alone, and may take the time it names plus \
             `cluster-proxy-timeout`.",
        ),
        (
            "script",
            "It goes to the owner of its keys, which must have one slot. Without keys it runs here. A script that this \
             node knows is loaded at the owner before its EVALSHA; functions must be loaded at each node, as in every \
             cluster. The owner does not know the client's user, so users with any restriction are refused.",
        ),
        (
            "transaction",
            "Commands are queued here. EXEC runs the queue here or sends it whole to the node that serves its slot; \
             see below.",
        ),
        (
            "listen",
            "This node subscribes at the owner, once for all of its clients, and hands on what it gets. The channels \
             may have several slots. If a slot moves this node follows it; if the new owner cannot be reached in \
             `cluster-proxy-timeout` the client gets the `sunsubscribe` message that a slot move means in 7.0.15.",
        ),
        (
            "unlisten",
            "It ends subscriptions of this client. Nothing is sent by itself: this node listens no more at the owner once \
             no client is left.",
        ),
        (
            "redirect",
            "MOVED or ASK, also in proxy mode: nodes send it to each other.",
        ),
        (
            "anywhere",
            "It has no keys: it runs at this node, or with the rest of its transaction wherever that runs.",
        ),
        (
            "here",
            "It has no keys: it runs at this node and concerns this node (KEYS, SCAN and DBSIZE see its keys, \
             FLUSHALL empties it). Not allowed in a transaction at another node.",
        ),
    ];

    fn word(forwarding: Forwarding) -> &'static str {
        match forwarding {
            Forwarding::Here => "here",
            Forwarding::Anywhere => "anywhere",
            Forwarding::Owner => "owner",
            Forwarding::Split { .. } => "split",
            Forwarding::Wait(_) => "wait",
            Forwarding::Errand => "errand",
            Forwarding::Script => "script",
            Forwarding::Transaction => "transaction",
            Forwarding::Listen => "listen",
            Forwarding::Unlisten => "unlisten",
            Forwarding::Redirect => "redirect",
        }
    }

    const BEGIN: &str = "<!-- The part from here on is written from the command table: EAGLEDB_WRITE=1 cargo test -p eagle-server --lib forwarding -->\n";

    fn tables() -> String {
        let mut text = BEGIN.to_owned();
        text.push_str("\n## Kinds\n\n| kind | what happens in proxy mode |\n|---|---|\n");
        for (kind, meaning) in KINDS {
            writeln!(text, "| {kind} | {meaning} |").unwrap();
        }
        text.push_str("\n## Commands\n\n| command | kind |\n|---|---|\n");
        let mut rows: Vec<(&str, &str)> = table()
            .entries()
            .iter()
            .filter(|entry| entry.subcommands.is_empty())
            .map(|entry| (entry.full_name.as_str(), word(entry.command.forwarding())))
            .collect();
        rows.sort_unstable();
        for (name, kind) in rows {
            writeln!(text, "| {} | {kind} |", name.replace('|', " ")).unwrap();
        }
        text
    }

    #[test]
    fn the_document_says_what_the_table_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("FORWARDING.md");
        let found = std::fs::read_to_string(&path).unwrap();
        let (prose, _) = found
            .split_once(BEGIN)
            .expect("the mark of the written part");
        let due = format!("{prose}{}", tables());
        if std::env::var_os("EAGLEDB_WRITE").is_some() {
            std::fs::write(&path, &due).unwrap();
        } else {
            assert!(
                found == due,
                "FORWARDING.md is out of date: EAGLEDB_WRITE=1 cargo test -p eagle-server --lib forwarding"
            );
        }
    }

    fn has_keys(entry: &Entry) -> bool {
        !entry.command.keys.is_empty() || entry.command.find_keys.is_some()
    }

    #[test]
    fn every_row_fits_its_kind() {
        for entry in table().entries() {
            let (name, command) = (entry.full_name.as_str(), entry.command);
            let kind = command.forwarding();
            let keyless = [
                Forwarding::Here,
                Forwarding::Anywhere,
                Forwarding::Transaction,
            ];
            assert_eq!(
                keyless.contains(&kind) && name != "watch",
                !has_keys(entry),
                "{name}: {kind:?}"
            );
            assert_eq!(
                matches!(kind, Forwarding::Wait(_)),
                has_keys(entry) && entry.has(Flags::BLOCKING),
                "{name}: what waits must not hold up the pooled connections"
            );
            assert_eq!(kind == Forwarding::Script, command.runs_script(), "{name}");
            if let Forwarding::Split { words, .. } = kind {
                assert_eq!(words, if name == "mset" { 2 } else { 1 });
            }
        }
    }
}
