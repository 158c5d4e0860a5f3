//! The one table of commands: every family's rows, found by name without allocating.

use super::family;
use super::names::Names;
use super::spec::{BeginSearch, Command, FindKeys, Flags, KeyFlags, KeySpec};
use crate::session::Queued;
use hashbrown::HashMap;
use std::sync::OnceLock;

/// A command's place in the table.
#[derive(Debug)]
pub struct Entry {
    /// Position in [`Table::entries`]; indexes per-command statistics.
    pub id: usize,
    pub command: &'static Command,
    /// `get`, `config|set`.
    pub full_name: String,
    /// The container's entry for a subcommand.
    pub parent: Option<usize>,
    /// Entries of the subcommands of a container, in table order.
    pub subcommands: Vec<usize>,
    /// Where the key stands, if the command always has exactly one, there.
    pub only_key: Option<usize>,
}

/// See [`Entry::only_key`].
fn only_key(command: &Command) -> Option<usize> {
    const ONE: FindKeys = FindKeys::Range {
        last: 0,
        step: 1,
        limit: 0,
    };
    match command.keys {
        [
            KeySpec {
                begin: BeginSearch::Index(position),
                find: ONE,
                flags,
                ..
            },
        ] if !flags.has(KeyFlags::NOT_KEY)
            // A function that finds the keys may differ in what is done with them only.
            && (command.find_keys.is_none() || flags.has(KeyFlags::VARIABLE_FLAGS)) =>
        {
            Some(usize::from(*position))
        }
        _ => None,
    }
}

impl Entry {
    /// Words that name the command: 1, or 2 for a subcommand.
    pub fn name_words(&self) -> usize {
        1 + usize::from(self.parent.is_some())
    }

    pub fn has(&self, flag: Flags) -> bool {
        self.command.flags.has(flag)
    }
}

/// Result of a look-up by the first words of a request.
#[derive(Clone, Copy, Debug)]
pub enum Lookup {
    Found(&'static Entry),
    /// The container exists, its subcommand does not.
    UnknownSubcommand(&'static Entry),
    Unknown,
}

/// Longest name a command is declared with. `rename-command` may give it a longer one.
const NAME_BYTES_MAX: usize = 32;

#[derive(Debug)]
pub struct Table {
    entries: Vec<Entry>,
    by_name: HashMap<Box<[u8]>, usize>,
    /// The short ones of these, found faster.
    names: Names,
    /// Length of the longest name; longer words cannot match.
    longest_name: usize,
}

static TABLE: OnceLock<Table> = OnceLock::new();

/// The entry of a queued command.
pub fn queued_entry(queued: &Queued) -> &'static Entry {
    &table().entries[queued.command_id]
}

/// The table of this server.
pub fn table() -> &'static Table {
    TABLE.get_or_init(|| Table::build(&[]))
}

/// Whether a command is declared as `name` (in lower case), whatever it is renamed to.
pub fn is_declared(name: &[u8]) -> bool {
    let mut commands = family::FAMILIES.iter().flat_map(|family| family.commands);
    commands.any(|command| command.name.as_bytes() == name)
}

/// Renames commands (`rename-command`): pairs of an old name and a new one, which is empty for a
/// command that is to be out of reach. To be called once, before anything looks into the table.
pub fn rename(renames: &[(Vec<u8>, Vec<u8>)]) {
    let set = TABLE.set(Table::build(renames));
    assert!(set.is_ok(), "commands are renamed before the table is used");
}

impl Table {
    fn build(renames: &[(Vec<u8>, Vec<u8>)]) -> Table {
        let mut table = Table {
            entries: Vec::new(),
            by_name: HashMap::new(),
            names: Names::default(),
            longest_name: 0,
        };
        for family in family::FAMILIES {
            for command in family.commands {
                let id = table.push(command, command.name.to_owned(), None);
                table.by_name.insert(command.name.as_bytes().into(), id);
                for sub in command.subcommands {
                    let sub_id =
                        table.push(sub, format!("{}|{}", command.name, sub.name), Some(id));
                    table.entries[id].subcommands.push(sub_id);
                }
            }
        }
        for (old, new) in renames {
            if let Some(id) = table.by_name.remove(old.to_ascii_lowercase().as_slice())
                && !new.is_empty()
            {
                table.by_name.insert(new.to_ascii_lowercase().into(), id);
            }
        }
        table.names = Names::of(table.by_name.iter().map(|(name, id)| (&**name, *id)));
        table.longest_name = table
            .by_name
            .keys()
            .map(|name| name.len())
            .max()
            .unwrap_or(0);
        table
    }

    fn push(
        &mut self,
        command: &'static Command,
        full_name: String,
        parent: Option<usize>,
    ) -> usize {
        let id = self.entries.len();
        self.entries.push(Entry {
            id,
            command,
            full_name,
            parent,
            subcommands: Vec::new(),
            only_key: only_key(command),
        });
        id
    }

    /// Every command and subcommand, containers before their subcommands.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Commands without their subcommands.
    pub fn top_level(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.parent.is_none())
    }

    /// The top-level command called `name`, in any case.
    #[inline]
    pub fn command(&self, name: &[u8]) -> Option<&Entry> {
        match self.names.find(name) {
            Some(id) => Some(&self.entries[id]),
            None if Names::holds(name) => None,
            None => self.long_command(name),
        }
    }

    #[cold]
    fn long_command(&self, name: &[u8]) -> Option<&Entry> {
        if name.len() > self.longest_name {
            return None;
        }
        let mut lower = [0u8; NAME_BYTES_MAX];
        let Some(lower) = lower.get_mut(..name.len()) else {
            let id = self.by_name.get(name.to_ascii_lowercase().as_slice());
            return id.map(|id| &self.entries[*id]);
        };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_name.get(&*lower).map(|id| &self.entries[*id])
    }

    /// The subcommand `word` of container `entry`.
    pub fn subcommand(&self, entry: &Entry, word: &[u8]) -> Option<&Entry> {
        entry
            .subcommands
            .iter()
            .map(|id| &self.entries[*id])
            .find(|sub| sub.command.name.as_bytes().eq_ignore_ascii_case(word))
    }

    /// Finds the command that `argv` names.
    pub fn lookup(&'static self, argv: &[&[u8]]) -> Lookup {
        let Some(entry) = argv.first().and_then(|name| self.command(name)) else {
            return Lookup::Unknown;
        };
        if entry.subcommands.is_empty() || argv.len() < 2 {
            return Lookup::Found(entry);
        }
        match self.subcommand(entry, argv[1]) {
            Some(sub) => Lookup::Found(sub),
            None => Lookup::UnknownSubcommand(entry),
        }
    }

    /// The entry called `name` as `COMMAND INFO` spells it: `get`, `config|set`.
    pub fn by_full_name(&self, name: &[u8]) -> Option<&Entry> {
        match name.iter().position(|byte| *byte == b'|') {
            None => self.command(name),
            Some(bar) => self.subcommand(self.command(&name[..bar])?, &name[bar + 1..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::FindKeys;

    #[test]
    fn rows_are_consistent() {
        let mut names = std::collections::HashSet::new();
        for entry in table().entries() {
            let command = entry.command;
            let name = &entry.full_name;
            assert!(names.insert(name.clone()), "{name} stands twice");
            assert_eq!(*name, name.to_lowercase());
            assert!(name.len() <= 2 * NAME_BYTES_MAX);
            assert!(
                !(entry.has(Flags::WRITE) && entry.has(Flags::READONLY)),
                "{name} both writes and only reads"
            );
            assert!(
                !entry.has(Flags::DENYOOM) || entry.has(Flags::WRITE),
                "{name} denies OOM but does not write"
            );
            assert!(command.arity != 0, "{name} has no arity");
            assert!(!command.docs.summary.is_empty(), "{name} has no summary");
            for spec in command.keys {
                if let FindKeys::Range { step, .. } = spec.find {
                    assert!(step > 0, "{name}: a key step of zero never ends");
                }
            }
        }
    }

    #[test]
    fn renamed_commands_are_found_under_their_new_name_only() {
        let long = [b'x'; 40].to_vec();
        let renames = [
            (b"echo".to_vec(), long.clone()),
            (b"ping".to_vec(), Vec::new()),
        ];
        let table = Table::build(&renames);
        assert!(
            table
                .command(&long.to_ascii_uppercase())
                .is_some_and(|e| e.full_name == "echo")
        );
        assert!(table.command(b"echo").is_none());
        assert!(is_declared(b"ping") && table.command(b"ping").is_none());
    }

    #[test]
    fn lookup_ignores_case_and_bounds_length() {
        assert!(table().command(b"PiNg").is_some());
        assert!(table().command(&[b'a'; 300]).is_none());
        assert!(table().command(b"").is_none());
    }
}
