//! All users of the server.

use super::catalogue::Catalogue;
use super::file::{Declaration, merge_selectors, read_file};
use super::identity::Identity;
use super::log::Log;
use super::rule_error::RuleError;
use super::selector::has_spaces;
use super::user::{Setting, User};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The user of connections that have not said who they are.
const DEFAULT: &[u8] = b"default";

/// Access control of one server.
pub struct Acl {
    catalogue: &'static Catalogue,
    /// By name, in the order of the bytes.
    users: RwLock<BTreeMap<Box<[u8]>, Arc<Identity>>>,
    default: Arc<Identity>,
    pub log: Log,
}

impl Acl {
    /// One user, `default`, who may do everything.
    pub fn new(catalogue: &'static Catalogue) -> Acl {
        let default = Arc::new(Identity::new(DEFAULT, User::all_powerful(catalogue)));
        Acl {
            catalogue,
            users: RwLock::new(BTreeMap::from([(DEFAULT.into(), default.clone())])),
            default,
            log: Log::default(),
        }
    }

    pub fn catalogue(&self) -> &'static Catalogue {
        self.catalogue
    }

    /// Who a connection is before it says so.
    pub fn default_user(&self) -> &Arc<Identity> {
        &self.default
    }

    pub fn find(&self, name: &[u8]) -> Option<Arc<Identity>> {
        self.users.read().get(name).cloned()
    }

    /// The user `name`, if `password` is right.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<Identity>> {
        self.find(name)
            .filter(|identity| identity.user().accepts(password))
    }

    /// Every user in the order of their names.
    pub fn all(&self) -> Vec<Arc<Identity>> {
        self.users.read().values().cloned().collect()
    }

    /// The words after `user` that give every user again.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let line = |identity: &Arc<Identity>| {
            let rules = identity.user().rules(self.catalogue);
            [identity.name(), b" ", &rules].concat()
        };
        self.users.read().values().map(line).collect()
    }

    /// Changes the user `name`, or creates it: all `rules` or none. Before they take effect
    /// `changing` is told the user, the old rules and the new ones.
    ///
    /// On error, the text after `ERR `.
    pub fn set(
        &self,
        name: &[u8],
        rules: &[&[u8]],
        all_channels: bool,
        changing: impl FnOnce(&Arc<Identity>, &User, &User),
    ) -> Result<(), Vec<u8>> {
        let setting = self.setting(all_channels);
        let rules = merge_selectors(rules).map_err(|index| {
            [
                b"Unmatched parenthesis in acl selector starting at '",
                rules[index],
                b"'.",
            ]
            .concat()
        })?;
        let mut users = self.users.write();
        let known = users.get(name).cloned();
        let mut user = match &known {
            Some(identity) => User::clone(&identity.user()),
            None => User::new(setting),
        };
        for rule in &rules {
            user.apply(setting, rule).map_err(|error| {
                let error = error.to_string();
                // Redis prints it as a C string.
                let shown = rule.split(|byte| *byte == 0).next().unwrap_or_default();
                let parts: [&[u8]; 4] = [
                    b"Error in ACL SETUSER modifier '",
                    shown,
                    b"': ",
                    error.as_bytes(),
                ];
                parts.concat()
            })?;
        }
        match known {
            Some(identity) => {
                changing(&identity, &identity.user(), &user);
                identity.replace(user);
            }
            None => {
                users.insert(name.into(), Arc::new(Identity::new(name, user)));
            }
        }
        Ok(())
    }

    /// Deletes users; those that there were, `default` never.
    pub fn delete(&self, names: &[&[u8]]) -> Vec<Arc<Identity>> {
        let mut users = self.users.write();
        let deletable = names.iter().filter(|name| ***name != *DEFAULT);
        let gone: Vec<_> = deletable.filter_map(|name| users.remove(*name)).collect();
        gone.iter().for_each(|identity| identity.retire());
        gone
    }

    /// `requirepass`: the one password of the default user, or none if it is empty.
    pub fn set_default_password(&self, password: &[u8]) {
        let setting = self.setting(false);
        let _users = self.users.write();
        let mut user = User::clone(&self.default.user());
        let rule = if password.is_empty() {
            b"nopass".to_vec()
        } else {
            [b">", password].concat()
        };
        let rule = zeroize::Zeroizing::new(rule);
        let applied = user
            .apply(setting, b"resetpass")
            .and_then(|()| user.apply(setting, &rule));
        debug_assert!(applied.is_ok(), "these rules exist");
        self.default.replace(user);
    }

    /// Creates the users of the configuration file.
    pub fn declare(&self, declarations: &[Declaration], all_channels: bool) -> Result<(), Vec<u8>> {
        let setting = self.setting(all_channels);
        let mut users = self.users.write();
        for Declaration { name, rules } in declarations {
            if has_spaces(name) {
                return Err(b"Spaces not allowed in ACL usernames".to_vec());
            }
            let mut user = User::new(setting);
            if **name == *DEFAULT {
                let reset = user.apply(setting, b"reset");
                debug_assert!(reset.is_ok(), "this rule exists");
            }
            for rule in rules {
                user.apply(setting, rule).map_err(|error| {
                    let error = error.to_string();
                    let parts: [&[u8]; 6] = [
                        b"Error loading ACL rule '",
                        rule,
                        b"' for the user named '",
                        name,
                        b"': ",
                        error.as_bytes(),
                    ];
                    parts.concat()
                })?;
            }
            if !user.is_enabled() {
                tracing::info!(
                    "The user '{}' is disabled (there is no 'on' modifier in the user description). Make sure this is \
                     not a configuration error.",
                    String::from_utf8_lossy(name)
                );
            }
            match users.get(&**name) {
                Some(identity) => identity.replace(user),
                None => {
                    let identity = Arc::new(Identity::new(name, user));
                    users.insert(name.clone(), identity);
                }
            }
        }
        Ok(())
    }

    /// Replaces all users by those of the ACL file `path`, or none. Returns those that are gone;
    /// users of the same names are others. On error, what is wrong with the file.
    pub fn load(&self, path: &str, all_channels: bool) -> Result<Vec<Arc<Identity>>, Vec<u8>> {
        let setting = self.setting(all_channels);
        let mut fresh = read_file(path, setting)?;
        let default = fresh
            .remove(DEFAULT)
            .unwrap_or_else(|| User::all_powerful(self.catalogue));
        let mut users = self.users.write();
        let mut old = std::mem::take(&mut *users);
        old.remove(DEFAULT);
        self.default.replace(default);
        users.insert(DEFAULT.into(), self.default.clone());
        for (name, user) in fresh {
            let identity = Arc::new(Identity::new(&name, user));
            users.insert(name, identity);
        }
        let gone: Vec<_> = old.into_values().collect();
        gone.iter().for_each(|identity| identity.retire());
        Ok(gone)
    }

    /// Writes all users to the ACL file `path`: the old file stays until the new one is whole.
    pub fn save(&self, path: &str) -> std::io::Result<()> {
        super::file::write_file(path, &self.lines())
    }

    /// Checks a declaration of the configuration file. Commands that do not exist are found later.
    pub fn check_declaration(
        catalogue: &Catalogue,
        declaration: &Declaration,
    ) -> Result<(), (usize, RuleError)> {
        let setting = Setting {
            catalogue,
            all_channels: false,
        };
        let mut user = User::new(setting);
        for (index, rule) in declaration.rules.iter().enumerate() {
            match user.apply(setting, rule) {
                Ok(()) | Err(RuleError::UnknownCommand) => {}
                Err(error) => return Err((index, error)),
            }
        }
        Ok(())
    }

    fn setting(&self, all_channels: bool) -> Setting<'static> {
        Setting {
            catalogue: self.catalogue,
            all_channels,
        }
    }
}
