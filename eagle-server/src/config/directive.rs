//! The one table of directives: names, aliases, flags, and the door to the typed field.
//!
//! A directive is declared once, in a file of `topic/`, as one entry of a `topic!` block: the field
//! of the typed struct, its documentation, its type, its default, its name and its kind. The file
//! reader, the command line, CONFIG GET, SET and REWRITE are loops over this table.

use std::sync::LazyLock;

use hashbrown::HashMap;

use super::Config;
use super::kind::{Kind, Line, Reject};

/// One directive of the configuration.
pub struct Directive {
    /// The name, in lower case.
    pub name: &'static str,
    /// Older names that mean the same; CONFIG GET lists them too.
    pub aliases: &'static [&'static str],
    /// Where and how it may be used.
    pub flags: Flags,
    pub(super) access: &'static dyn Access,
}

/// Properties of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// An ordinary directive: CONFIG SET may change it at any time.
    pub const NONE: Flags = Flags(0);
    /// Only the file and the command line set it.
    pub const IMMUTABLE: Flags = Flags(1);
    /// CONFIG GET shows it only when asked by its exact name.
    pub const HIDDEN: Flags = Flags(1 << 1);
    /// Its value is a secret: logs, SLOWLOG and MONITOR must not show it.
    pub const SENSITIVE: Flags = Flags(1 << 2);
    /// CONFIG SET needs `enable-protected-configs`.
    pub const PROTECTED: Flags = Flags(1 << 3);
    /// CONFIG SET is refused while the dataset is being loaded.
    pub const DENY_LOADING: Flags = Flags(1 << 4);
    /// Accepted and shown, but without any effect here, because EagleDB has nothing it could set.
    pub const INERT: Flags = Flags(1 << 5);
    /// The lines of a configuration file add up. The first one replaces the default.
    pub const ACCUMULATES: Flags = Flags(1 << 6);
    /// EagleDB's own; Redis does not know it.
    pub const OWN: Flags = Flags(1 << 7);

    /// Both sets of flags together.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other`'s flags are set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Directive {
    /// Whether it takes several words.
    pub fn is_many(&self) -> bool {
        self.access.is_many()
    }

    /// Reads `words` into `config`. On error `config` is unchanged.
    pub fn assign(&self, config: &mut Config, words: &[&[u8]]) -> Result<(), Reject> {
        self.access.assign(config, words)
    }

    /// Reads `words` of one line more than the one `config` already has.
    pub fn append(&self, config: &mut Config, words: &[&[u8]]) -> Result<(), Reject> {
        self.access.append(config, words)
    }

    /// The value as CONFIG GET shows it.
    pub fn show(&self, config: &Config) -> Vec<u8> {
        self.access.show(config)
    }

    /// The lines CONFIG REWRITE writes, without the name.
    pub fn lines(&self, config: &Config, default: &Config) -> Vec<Line> {
        self.access.lines(config, default)
    }

    /// Whether both configurations have the same value of it.
    pub fn is_same(&self, one: &Config, other: &Config) -> bool {
        self.access.is_same(one, other)
    }
}

/// Every directive, ordered by topic as the modules of `topic/` list them.
pub fn all() -> impl Iterator<Item = &'static Directive> {
    super::topic::ALL.iter().copied().flatten()
}

/// The directive called `name` (or aliased so), without regard to case.
pub fn find(name: &[u8]) -> Option<&'static Directive> {
    static BY_NAME: LazyLock<HashMap<&'static [u8], &'static Directive>> = LazyLock::new(|| {
        let names = |d: &'static Directive| {
            d.aliases
                .iter()
                .chain([&d.name])
                .map(move |n| (n.as_bytes(), d))
        };
        all().flat_map(names).collect()
    });
    BY_NAME.get(name.to_ascii_lowercase().as_slice()).copied()
}

/// The door from a directive to its field.
pub(super) trait Access: Sync {
    fn is_many(&self) -> bool;
    fn assign(&self, config: &mut Config, words: &[&[u8]]) -> Result<(), Reject>;
    fn append(&self, config: &mut Config, words: &[&[u8]]) -> Result<(), Reject>;
    fn show(&self, config: &Config) -> Vec<u8>;
    fn lines(&self, config: &Config, default: &Config) -> Vec<Line>;
    fn is_same(&self, one: &Config, other: &Config) -> bool;
}

/// A field of [`Config`] and the kind of its value.
pub(super) struct Field<T: 'static, K> {
    pub get: fn(&Config) -> &T,
    pub get_mut: fn(&mut Config) -> &mut T,
    pub kind: K,
}

impl<T: PartialEq, K: Kind<T>> Access for Field<T, K> {
    fn is_many(&self) -> bool {
        self.kind.is_many()
    }

    fn assign(&self, config: &mut Config, words: &[&[u8]]) -> Result<(), Reject> {
        let value = self.kind.read(words, (self.get)(config))?;
        *(self.get_mut)(config) = value;
        Ok(())
    }

    fn append(&self, config: &mut Config, words: &[&[u8]]) -> Result<(), Reject> {
        let value = self.kind.append(words, (self.get)(config))?;
        *(self.get_mut)(config) = value;
        Ok(())
    }

    fn show(&self, config: &Config) -> Vec<u8> {
        self.kind.show((self.get)(config))
    }

    fn lines(&self, config: &Config, default: &Config) -> Vec<Line> {
        self.kind.lines((self.get)(config), (self.get)(default))
    }

    fn is_same(&self, one: &Config, other: &Config) -> bool {
        (self.get)(one) == (self.get)(other)
    }
}

/// Declares one topic: a struct of typed values, its defaults, and its rows of the directive table.
///
/// Each entry reads `field: Type = default, "name" | "alias", kind, FLAG, ...;`.
macro_rules! topic {
    (
        $(#[$meta:meta])* $topic:ident at $path:ident;
        $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr,
            $name:literal $(| $alias:literal)*, $kind:expr $(, $flag:ident)*;)+
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $topic { $($(#[$doc])* pub $field: $type,)+ }

        impl Default for $topic {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// This topic's rows of the directive table.
        pub(in crate::config) static ROWS: &[$crate::config::directive::Directive] = &[$(
            $crate::config::directive::Directive {
                name: $name,
                aliases: &[$($alias),*],
                flags: $crate::config::directive::Flags::NONE
                    $(.with($crate::config::directive::Flags::$flag))*,
                access: &$crate::config::directive::Field {
                    get: |config| &config.$path.$field,
                    get_mut: |config| &mut config.$path.$field,
                    kind: $kind,
                },
            },
        )+];
    };
}
pub(super) use topic;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lower_case() {
        let names: Vec<&str> = all()
            .flat_map(|d| d.aliases.iter().copied().chain([d.name]))
            .collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name} stands twice");
            assert_eq!(*name, name.to_ascii_lowercase());
        }
        assert_eq!(find(b"SlaveOf").unwrap().name, "replicaof");
        assert!(find(b"nosuch").is_none());
    }

    /// Tools save what CONFIG GET shows and set it again; that has to change nothing.
    #[test]
    fn every_directive_takes_the_value_it_shows() {
        let config = Config::started_in("/");
        for directive in all() {
            let shown = directive.show(&config);
            let words: Vec<&[u8]> = match directive.is_many() {
                true if shown.is_empty() => Vec::new(),
                true => shown.split(|byte| *byte == b' ').collect(),
                false => vec![&shown],
            };
            let mut again = config.clone();
            // No primary shows as nothing, which is not how it is set; it is immutable anyway.
            if directive.name != "replicaof" {
                directive
                    .assign(&mut again, &words)
                    .unwrap_or_else(|e| panic!("{}: {e}", directive.name));
            }
            assert!(directive.is_same(&config, &again), "{}", directive.name);
        }
    }

    #[test]
    fn a_refused_value_leaves_the_old_one() {
        let config = Config::started_in("/");
        for directive in all().filter(|d| d.name != "replicaof") {
            let mut again = config.clone();
            if directive
                .assign(&mut again, &[b"\xff\xfe", b"\xff", b"3"])
                .is_err()
            {
                assert_eq!(again, config, "{}", directive.name);
            }
        }
    }

    #[test]
    fn what_has_no_effect_is_never_our_own() {
        for directive in all() {
            assert!(!(directive.flags.has(Flags::OWN) && directive.flags.has(Flags::INERT)));
        }
    }
}
