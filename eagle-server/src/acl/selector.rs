//! One set of permissions: commands, keys, channels.

use super::catalogue::Catalogue;
use super::rule_error::RuleError;
use eagle_core::text::glob;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// A key of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyUse {
    /// Its place among the arguments.
    pub position: usize,
    /// Its value is read and told.
    pub reads: bool,
    /// Its value is changed, added to or removed.
    pub writes: bool,
}

/// A channel of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelUse {
    /// Its place among the arguments.
    pub position: usize,
    /// It is itself a pattern of channels.
    pub is_pattern: bool,
}

/// A request, as far as permissions go.
pub struct Request<'a> {
    /// The command's number in the catalogue.
    pub command: usize,
    pub argv: &'a [&'a [u8]],
    pub keys: SmallVec<[KeyUse; 4]>,
    pub channels: SmallVec<[ChannelUse; 4]>,
}

/// Why a request is refused. Of several selectors' reasons the greatest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Denial {
    Command,
    /// The key at this position.
    Key(usize),
    /// The channel at this position.
    Channel(usize),
}

/// Keys whose names match `pattern`, and what may be done with them.
#[derive(Clone, PartialEq, Eq, Debug)]
struct KeyPattern {
    pattern: Box<[u8]>,
    reads: bool,
    writes: bool,
}

/// A set of permissions. Rules add to it and take from it.
#[derive(Clone, Debug)]
pub struct Selector {
    /// A bit for each command of the catalogue.
    commands: Box<[u64]>,
    /// `+@all` was said, and nothing against it since: no bit need be looked at.
    all_commands: bool,
    /// `+@all` was said: commands of later versions are allowed too.
    future_commands: bool,
    /// Arguments that allow a command which is not allowed as such.
    first_arguments: BTreeMap<usize, Vec<Box<[u8]>>>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Box<[u8]>>,
}

impl Selector {
    /// Permissions for nothing, but for all channels if `all_channels` says so.
    pub fn new(catalogue: &Catalogue, all_channels: bool) -> Selector {
        Selector {
            commands: vec![0; catalogue.rows().len().div_ceil(64)].into(),
            all_commands: false,
            future_commands: false,
            first_arguments: BTreeMap::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
        }
    }

    /// Applies one rule. On error the selector may have changed in part.
    pub fn apply(&mut self, catalogue: &Catalogue, rule: &[u8]) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if is("allkeys") || is("~*") {
            self.all_keys = true;
            self.keys.clear();
        } else if is("resetkeys") {
            self.all_keys = false;
            self.keys.clear();
        } else if is("allchannels") || is("&*") {
            self.all_channels = true;
            self.channels.clear();
        } else if is("resetchannels") {
            self.all_channels = false;
            self.channels.clear();
        } else if is("allcommands") || is("+@all") {
            self.set_all_commands(true);
        } else if is("nocommands") || is("-@all") {
            self.set_all_commands(false);
        } else {
            match rule {
                [b'~', pattern @ ..] => self.add_keys(pattern, true, true)?,
                [b'%', rest @ ..] => {
                    let (reads, writes, pattern) = parse_key_permission(rest)?;
                    self.add_keys(pattern, reads, writes)?;
                }
                [b'&', pattern @ ..] => self.add_channels(pattern)?,
                [sign @ (b'+' | b'-'), b'@', name @ ..] => {
                    let bit = catalogue.category(name).ok_or(RuleError::UnknownCommand)?;
                    for id in catalogue.in_category(bit) {
                        self.set_command(catalogue, id, *sign == b'+');
                    }
                }
                [b'+', name @ ..] => self.allow(catalogue, name)?,
                [b'-', name @ ..] => {
                    let id = catalogue.find(name).ok_or(RuleError::UnknownCommand)?;
                    self.set_command(catalogue, id, false);
                }
                _ => return Err(RuleError::Syntax),
            }
        }
        Ok(())
    }

    fn set_all_commands(&mut self, allowed: bool) {
        self.commands.fill(if allowed { u64::MAX } else { 0 });
        self.all_commands = allowed;
        self.future_commands = allowed;
        self.first_arguments.clear();
    }

    /// Allows or forbids a command, and a container's subcommands with it.
    pub(super) fn set_command(&mut self, catalogue: &Catalogue, id: usize, allowed: bool) {
        self.set_bit(id, allowed);
        self.first_arguments.remove(&id);
        for sub in catalogue.subcommands(id) {
            self.set_bit(*sub, allowed);
        }
    }

    fn set_bit(&mut self, id: usize, allowed: bool) {
        let (word, bit) = (id / 64, 1 << (id % 64));
        if allowed {
            self.commands[word] |= bit;
        } else {
            self.commands[word] &= !bit;
            self.all_commands = false;
        }
    }

    /// `+name`, `+container|sub`, `+command|argument`.
    fn allow(&mut self, catalogue: &Catalogue, name: &[u8]) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let id = catalogue.find(name).ok_or(RuleError::UnknownCommand)?;
            self.set_command(catalogue, id, true);
            return Ok(());
        };
        let (outer, inner) = (&name[..bar], &name[bar + 1..]);
        let id = catalogue.find(outer).ok_or(RuleError::UnknownCommand)?;
        if catalogue.rows()[id].parent.is_some() {
            return Err(RuleError::ArgumentOfSubcommand);
        }
        if inner.is_empty() {
            return Err(RuleError::Syntax);
        }
        if !catalogue.subcommands(id).is_empty() {
            let id = catalogue.find(name).ok_or(RuleError::UnknownCommand)?;
            self.set_command(catalogue, id, true);
            return Ok(());
        }
        tracing::warn!(
            "Deprecation warning: Allowing a first arg of an otherwise blocked command is a misuse of ACL and may get \
             disabled in the future (offender: +{})",
            String::from_utf8_lossy(name)
        );
        let allowed = self.first_arguments.entry(id).or_default();
        if !allowed.iter().any(|word| word.eq_ignore_ascii_case(inner)) {
            allowed.push(inner.into());
        }
        Ok(())
    }

    fn add_keys(&mut self, pattern: &[u8], reads: bool, writes: bool) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeysAfterAll);
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        match self
            .keys
            .iter_mut()
            .find(|known| *known.pattern == *pattern)
        {
            Some(known) => {
                known.reads |= reads;
                known.writes |= writes;
            }
            None => self.keys.push(KeyPattern {
                pattern: pattern.into(),
                reads,
                writes,
            }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelsAfterAll);
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| **known == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    /// Whether nothing is forbidden.
    pub fn allows_everything(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Whether `request` is allowed.
    pub fn check(&self, catalogue: &Catalogue, request: &Request<'_>) -> Result<(), Denial> {
        if !self.may_run(catalogue, request) {
            return Err(Denial::Command);
        }
        for key in &request.keys {
            if !self.may_use_key(request.argv[key.position], key.reads, key.writes) {
                return Err(Denial::Key(key.position));
            }
        }
        for channel in &request.channels {
            if !self.may_use_channel(request.argv[channel.position], channel.is_pattern) {
                return Err(Denial::Channel(channel.position));
            }
        }
        Ok(())
    }

    fn may_run(&self, catalogue: &Catalogue, request: &Request<'_>) -> bool {
        let row = &catalogue.rows()[request.command];
        if self.all_commands || row.is_open || self.has_command(request.command) {
            return true;
        }
        let argument = request.argv.get(1 + usize::from(row.parent.is_some()));
        let allowed = self.first_arguments.get(&request.command);
        argument.zip(allowed).is_some_and(|(argument, allowed)| {
            allowed
                .iter()
                .any(|word| word.eq_ignore_ascii_case(argument))
        })
    }

    /// Whether `key` may be used so.
    pub fn may_use_key(&self, key: &[u8], reads: bool, writes: bool) -> bool {
        self.all_keys
            || self.keys.iter().any(|known| {
                known.permits(reads, writes)
                    && glob::matches(&known.pattern, key, glob::Case::Sensitive)
            })
    }

    /// Whether any key at all may be used so.
    pub fn may_use_any_key(&self, reads: bool, writes: bool) -> bool {
        self.all_keys
            || self
                .keys
                .iter()
                .any(|known| known.permits(reads, writes) && *known.pattern == *b"*")
    }

    /// Whether `channel` may be used. A pattern must itself be among those that are allowed.
    pub fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|known| {
                if is_pattern {
                    **known == *channel
                } else {
                    glob::matches(known, channel, glob::Case::Sensitive)
                }
            })
    }

    pub(super) fn has_command(&self, id: usize) -> bool {
        self.commands[id / 64] & 1 << (id % 64) != 0
    }

    pub(super) fn has_future_commands(&self) -> bool {
        self.future_commands
    }

    pub(super) fn first_arguments(&self, id: usize) -> &[Box<[u8]>] {
        self.first_arguments.get(&id).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has_all_channels(&self) -> bool {
        self.all_channels
    }

    pub(super) fn channel_patterns(&self) -> &[Box<[u8]>] {
        &self.channels
    }

    /// The key rules, as GETUSER shows them.
    pub fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let rules: Vec<Vec<u8>> = self.keys.iter().map(KeyPattern::rule).collect();
        rules.join(&b' ')
    }

    /// The channel rules, as GETUSER shows them.
    pub fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let rules: Vec<Vec<u8>> = self
            .channels
            .iter()
            .map(|pattern| [b"&", &**pattern].concat())
            .collect();
        rules.join(&b' ')
    }
}

impl KeyPattern {
    fn permits(&self, reads: bool, writes: bool) -> bool {
        (self.reads || !reads) && (self.writes || !writes)
    }

    fn rule(&self) -> Vec<u8> {
        let prefix: &[u8] = match (self.reads, self.writes) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        };
        [prefix, &self.pattern].concat()
    }
}

/// `R~pattern`, `W~pattern`, `RW~pattern`.
fn parse_key_permission(rest: &[u8]) -> Result<(bool, bool, &[u8]), RuleError> {
    let (mut reads, mut writes) = (false, false);
    for (index, byte) in rest.iter().enumerate() {
        match byte.to_ascii_uppercase() {
            b'R' if !reads => reads = true,
            b'W' if !writes => writes = true,
            b'~' => return Ok((reads, writes, &rest[index + 1..])),
            _ => return Err(RuleError::Syntax),
        }
    }
    // Redis takes permissions without a pattern for permissions on the key of no name.
    Ok((reads, writes, b""))
}

/// Spaces and zero bytes would not survive being written down.
pub(super) fn has_spaces(text: &[u8]) -> bool {
    text.iter()
        .any(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0))
}
