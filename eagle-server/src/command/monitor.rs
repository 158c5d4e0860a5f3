//! The line that clients in MONITOR see of a command.

use super::context::Context;
use super::spec::{Categories, Flags};
use super::table::Entry;
use bytes::Bytes;
use eagle_core::text::split_args::quote_into;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// When the line of a command is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shown {
    /// Scripts come before the commands they run.
    Before,
    /// All others once they have run: only then is known which of their arguments are secret.
    After,
    /// Administration is too dangerous to be shown.
    Never,
}

pub(super) fn shown(entry: &Entry) -> Shown {
    if entry.has(Flags::SKIP_MONITOR) && entry.command.family.has(Categories::SCRIPTING) {
        Shown::Before
    } else if entry.has(Flags::SKIP_MONITOR) || entry.has(Flags::ADMIN) {
        Shown::Never
    } else {
        Shown::After
    }
}

impl Context<'_> {
    /// Shows a command to the clients in MONITOR.
    pub(super) fn show(&self, argv: &[&[u8]]) {
        let line = Bytes::from(self.line(argv));
        let node = self.node;
        node.monitors
            .for_each(|client| node.send(client, line.clone()));
    }

    fn line(&self, argv: &[&[u8]]) -> Vec<u8> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let (info, db) = (&self.session.info, self.session.db);
        let mut line = Vec::with_capacity(64);
        let from = if self.session.in_script {
            "lua".to_owned()
        } else if info.unix_socket {
            format!("unix:{}", self.config.network.unixsocket)
        } else {
            info.addr.clone()
        };
        let (s, us) = (now.as_secs(), now.subsec_micros());
        write!(line, "+{s}.{us:06} [{db} {from}] ").expect("a vector takes all bytes");
        for (position, word) in argv.iter().enumerate() {
            if position > 0 {
                line.push(b' ');
            }
            if self.session.redacted().contains(&position) {
                quote_into(b"(redacted)", &mut line);
            } else {
                quote_into(word, &mut line);
            }
        }
        line.extend_from_slice(b"\r\n");
        line
    }
}
