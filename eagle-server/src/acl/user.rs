//! The rules of one user.

use super::catalogue::Catalogue;
use super::password::PasswordHash;
use super::rule_error::RuleError;
use super::selector::{Denial, Request, Selector};
use eagle_core::text::split_args::split_args;

/// What is asked of RESTORE payloads the user sends; kept and shown, as every payload is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sanitize {
    Unsaid,
    Skip,
    Always,
}

/// A user's rules. A value: changes are made to a copy.
#[derive(Clone, Debug)]
pub struct User {
    enabled: bool,
    /// Any password will do.
    nopass: bool,
    sanitize: Sanitize,
    passwords: Vec<PasswordHash>,
    root: Selector,
    selectors: Vec<Selector>,
}

/// What rules depend on besides their text.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub catalogue: &'a Catalogue,
    /// `acl-pubsub-default allchannels`.
    pub all_channels: bool,
}

impl User {
    /// A user that may not log in, nor do anything.
    pub(super) fn new(setting: Setting<'_>) -> User {
        User {
            enabled: false,
            nopass: false,
            sanitize: Sanitize::Unsaid,
            passwords: Vec::new(),
            root: Selector::new(setting.catalogue, setting.all_channels),
            selectors: Vec::new(),
        }
    }

    /// The user of a server nobody has configured: everything, without a password.
    pub(super) fn all_powerful(catalogue: &Catalogue) -> User {
        let setting = Setting {
            catalogue,
            all_channels: true,
        };
        let mut user = User::new(setting);
        for rule in ["+@all", "~*", "&*", "on", "nopass"] {
            let applied = user.apply(setting, rule.as_bytes());
            debug_assert!(applied.is_ok(), "these rules exist");
        }
        user
    }

    /// Applies one rule. On error the user may have changed in part.
    pub(super) fn apply(&mut self, setting: Setting<'_>, rule: &[u8]) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if rule.is_empty() {
            return Ok(());
        }
        if is("on") {
            self.enabled = true;
        } else if is("off") {
            self.enabled = false;
        } else if is("skip-sanitize-payload") {
            self.sanitize = Sanitize::Skip;
        } else if is("sanitize-payload") {
            self.sanitize = Sanitize::Always;
        } else if is("nopass") {
            self.nopass = true;
            self.passwords.clear();
        } else if is("resetpass") {
            self.nopass = false;
            self.passwords.clear();
        } else if is("clearselectors") {
            self.selectors.clear();
        } else if is("reset") {
            *self = User {
                sanitize: Sanitize::Always,
                ..User::new(setting)
            };
        } else {
            match rule {
                [b'>', password @ ..] => self.add_password(PasswordHash::of(password)),
                [b'#', hash @ ..] => {
                    self.add_password(PasswordHash::parse(hash).ok_or(RuleError::NotAHash)?);
                }
                [b'<', password @ ..] => self.remove_password(&PasswordHash::of(password))?,
                [b'!', hash @ ..] => {
                    let hash = PasswordHash::parse(hash).ok_or(RuleError::NotAHash)?;
                    self.remove_password(&hash)?;
                }
                [b'(', rules @ .., b')'] => self.add_selector(setting, rules)?,
                _ => self.root.apply(setting.catalogue, rule)?,
            }
        }
        Ok(())
    }

    fn add_password(&mut self, hash: PasswordHash) {
        self.nopass = false;
        if !self.passwords.iter().any(|known| known.is(&hash)) {
            self.passwords.push(hash);
        }
    }

    fn remove_password(&mut self, hash: &PasswordHash) -> Result<(), RuleError> {
        let found = self.passwords.iter().position(|known| known.is(hash));
        self.passwords
            .remove(found.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    fn add_selector(&mut self, setting: Setting<'_>, rules: &[u8]) -> Result<(), RuleError> {
        let mut selector = Selector::new(setting.catalogue, setting.all_channels);
        // Unbalanced quotes hold no rules.
        for rule in split_args(rules).unwrap_or_default() {
            selector.apply(setting.catalogue, &rule)?;
        }
        self.selectors.push(selector);
        Ok(())
    }

    /// Whether `password` opens the user's account, in a time that does not depend on it.
    pub(super) fn accepts(&self, password: &[u8]) -> bool {
        let hash = PasswordHash::of(password);
        let matching = self
            .passwords
            .iter()
            .filter(|known| known.is(&hash))
            .count();
        self.enabled && (self.nopass || matching > 0)
    }

    /// Whether one may log in as this user.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether any password will do.
    pub fn is_nopass(&self) -> bool {
        self.nopass
    }

    /// Whether nothing is forbidden.
    pub(super) fn allows_everything(&self) -> bool {
        self.selectors().any(Selector::allows_everything)
    }

    /// Whether one of the selectors allows `request`; if none does, the reason that is told.
    pub fn check(&self, catalogue: &Catalogue, request: &Request<'_>) -> Result<(), Denial> {
        let mut told = Denial::Command;
        for selector in self.selectors() {
            match selector.check(catalogue, request) {
                Ok(()) => return Ok(()),
                Err(denial) => told = told.max(denial),
            }
        }
        Err(told)
    }

    /// Whether `request` is allowed by a selector that also allows reading any key.
    pub fn check_reading_any_key(&self, catalogue: &Catalogue, request: &Request<'_>) -> bool {
        self.selectors().any(|selector| {
            selector.check(catalogue, request).is_ok() && selector.may_use_any_key(true, false)
        })
    }

    /// Whether a channel, or pattern of channels, may be used.
    pub fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors()
            .any(|selector| selector.may_use_channel(channel, is_pattern))
    }

    /// Whether every channel `older` was allowed is allowed still: nobody needs to be looked at.
    pub fn keeps_channels_of(&self, older: &User) -> bool {
        if self.selectors().any(Selector::has_all_channels) {
            return true;
        }
        let is_kept = |pattern: &[u8]| {
            self.selectors().any(|selector| {
                let mut patterns = selector.channel_patterns().iter();
                patterns.any(|known| **known == *pattern)
            })
        };
        older.selectors().all(|selector| {
            let mut patterns = selector.channel_patterns().iter();
            !selector.has_all_channels() && patterns.all(|pattern| is_kept(pattern))
        })
    }

    /// The permissions given to the user itself.
    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// The permissions in parentheses.
    pub fn further_selectors(&self) -> &[Selector] {
        &self.selectors
    }

    fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Names of the flags, in Redis's order.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        if self.nopass {
            flags.push("nopass");
        }
        match self.sanitize {
            Sanitize::Unsaid => {}
            Sanitize::Skip => flags.push("skip-sanitize-payload"),
            Sanitize::Always => flags.push("sanitize-payload"),
        }
        flags
    }

    /// Hashes of the passwords, in hex.
    pub fn password_hashes(&self) -> Vec<String> {
        self.passwords.iter().map(PasswordHash::to_string).collect()
    }

    /// Rules that give this user again, in one line.
    pub fn rules(&self, catalogue: &Catalogue) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = self
            .flags()
            .iter()
            .map(|flag| flag.as_bytes().to_vec())
            .collect();
        words.extend(
            self.passwords
                .iter()
                .map(|hash| format!("#{hash}").into_bytes()),
        );
        words.push(self.root.rules(catalogue));
        let selectors = self.selectors.iter();
        words.extend(selectors.map(|selector| [b"(", &*selector.rules(catalogue), b")"].concat()));
        words.join(&b' ')
    }
}
