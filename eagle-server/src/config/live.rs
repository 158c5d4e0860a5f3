//! The configuration in force, and changing it while the server runs.
//!
//! Readers take a snapshot: an atomic load, no lock, and a view that does not change under them.
//! Writers take a lock, build the next configuration beside the current one, let every hook look at
//! it, and publish it whole. So a CONFIG SET of several directives happens at once or not at all.
//!
//! A hook is how a part of the server acts on a change that needs more than the next reader seeing
//! it: rebinding a port, raising the limit of open files. It names the directives it is about and
//! runs only if one of them is set, before the new values are published. If it refuses, hooks that
//! already acted are called again with the roles of both configurations swapped, so that they undo
//! what they did.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use eagle_core::text::glob;
use parking_lot::{Mutex, RwLock};

use super::Config;
use super::directive::{Directive, Flags, all, find};
use super::kind::Reject;
use super::rewrite::rewrite;

/// A change about to be published.
pub struct Change<'a> {
    /// The values in force.
    pub old: &'a Config,
    /// The values asked for; a hook may adjust them.
    pub new: &'a mut Config,
    /// The directives that were set, even if to the value they had.
    pub directives: &'a [&'static Directive],
}

impl Change<'_> {
    /// Whether any directive called one of `names` is part of the change.
    pub fn touches(&self, names: &[&str]) -> bool {
        self.directives
            .iter()
            .any(|directive| names.contains(&directive.name))
    }
}

/// Acts on a change, or refuses it with the reason.
type Act = dyn Fn(&mut Change<'_>) -> Result<(), Reject> + Send + Sync;

struct Hook {
    names: &'static [&'static str],
    act: Box<Act>,
}

/// What CONFIG SET depends on besides the values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// The caller may set protected directives.
    pub may_set_protected: bool,
    /// The dataset is being loaded.
    pub is_loading: bool,
}

/// Why a CONFIG SET was refused as a whole. `Display` is the text of the error reply, without `ERR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// No directive has this name.
    Unknown(String),
    /// The dataset is being loaded; the reply is `-LOADING`.
    Loading,
    /// A directive refused its value.
    Refused(Refusal),
}

/// A directive, as the caller spelled it, and why it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub name: String,
    pub reason: Reject,
}

impl std::fmt::Display for SetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SetError::Unknown(name) => {
                write!(
                    f,
                    "Unknown option or number of arguments for CONFIG SET - '{name}'"
                )
            }
            SetError::Loading => f.write_str("Redis is loading the dataset in memory"),
            SetError::Refused(Refusal { name, reason }) => {
                write!(
                    f,
                    "CONFIG SET failed (possibly related to argument '{name}') - {reason}"
                )
            }
        }
    }
}

/// One thread's view of the configuration: a copy that the thread may share without touching what others write.
pub type Snapshot = Rc<Arc<Config>>;

/// One thread's snapshot, taken anew when the configuration has changed.
#[derive(Default)]
pub struct Local {
    version: Cell<u64>,
    snapshot: RefCell<Option<Snapshot>>,
}

impl Local {
    /// The values in force.
    #[inline]
    pub fn get(&self, live: &Live) -> Snapshot {
        self.look(live, Snapshot::clone)
    }

    /// What `read` makes of the values in force.
    #[inline]
    pub fn with<T>(&self, live: &Live, read: impl FnOnce(&Config) -> T) -> T {
        self.look(live, |snapshot| read(snapshot))
    }

    #[inline]
    fn look<T>(&self, live: &Live, read: impl FnOnce(&Snapshot) -> T) -> T {
        // Read first: a change meanwhile is noticed the next time.
        let version = live.version.load(Ordering::Acquire);
        if version != self.version.get() || self.snapshot.borrow().is_none() {
            self.take(live, version);
        }
        let snapshot = self.snapshot.borrow();
        read(snapshot.as_ref().expect("it was just taken"))
    }

    #[cold]
    fn take(&self, live: &Live, version: u64) {
        self.snapshot.replace(Some(Rc::new(live.snapshot())));
        self.version.set(version);
    }
}

/// The configuration of a running server.
pub struct Live {
    current: ArcSwap<Config>,
    /// How many configurations there have been.
    version: AtomicU64,
    writing: Mutex<()>,
    hooks: RwLock<Vec<Hook>>,
}

impl Live {
    pub fn new(config: Config) -> Live {
        Live {
            current: ArcSwap::from_pointee(config),
            version: AtomicU64::new(0),
            writing: Mutex::new(()),
            hooks: RwLock::new(Vec::new()),
        }
    }

    /// Brings `file` up to date with the values in force; see [`rewrite()`].
    pub fn rewrite(&self, file: &Path, users: &[Vec<u8>], forces_all: bool) -> io::Result<()> {
        let _writing = self.writing.lock();
        rewrite(file, &self.current.load(), users, forces_all)
    }

    /// The values in force. Cheap; hold it for one command, not for the life of a connection.
    pub fn load(&self) -> Guard<Arc<Config>> {
        self.current.load()
    }

    /// The values in force, to keep.
    pub fn snapshot(&self) -> Arc<Config> {
        self.current.load_full()
    }

    fn publish(&self, new: Config) {
        self.current.store(Arc::new(new));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Adds a hook, to be called on every later change of one of the directives `names`. It must not
    /// change the configuration itself, except through [`Change::new`].
    pub fn on_apply(
        &self,
        names: &'static [&'static str],
        act: impl Fn(&mut Change<'_>) -> Result<(), Reject> + Send + Sync + 'static,
    ) {
        debug_assert!(
            names
                .iter()
                .all(|name| find(name.as_bytes()).is_some_and(|d| d.name == *name))
        );
        self.hooks.write().push(Hook {
            names,
            act: Box::new(act),
        });
    }

    /// Sets each directive to its value, all or none: CONFIG SET.
    pub fn set_many(&self, pairs: &[(&[u8], &[u8])], caller: Caller) -> Result<(), SetError> {
        let _writing = self.writing.lock();
        let directives = admissible(pairs, caller, &self.current.load())?;
        let old = self.snapshot();
        let mut new = Config::clone(&old);
        for (directive, (name, value)) in directives.iter().zip(pairs) {
            let words = if directive.is_many() {
                words_of(value)
            } else {
                vec![*value]
            };
            directive
                .assign(&mut new, &words)
                .map_err(|reason| refusal(name, reason))?;
        }
        new.settle();
        self.run_hooks(&old, &mut new, &directives).map_err(|(culprit, reason)| {
            tracing::warn!("Failed applying new configuration. Possibly related to new {culprit} setting. Restoring previous settings.");
            refusal(culprit.as_bytes(), reason)
        })?;
        self.publish(new);
        Ok(())
    }

    /// Changes values the server itself decides about, without asking hooks: `replicaof` after a
    /// failover, `appendonly` after an error.
    pub fn update(&self, change: impl FnOnce(&mut Config)) {
        let _writing = self.writing.lock();
        let mut new = Config::clone(&self.current.load());
        change(&mut new);
        self.publish(new);
    }

    /// Runs the hooks the change concerns. On refusal, also tells the first directive of the hook.
    fn run_hooks(
        &self,
        old: &Config,
        new: &mut Config,
        directives: &[&'static Directive],
    ) -> Result<(), (&'static str, Reject)> {
        let hooks = self.hooks.read();
        let cause = |hook: &Hook| {
            directives
                .iter()
                .map(|d| d.name)
                .find(|name| hook.names.contains(name))
        };
        let concerned: Vec<(&Hook, &'static str)> = hooks
            .iter()
            .filter_map(|hook| Some((hook, cause(hook)?)))
            .collect();
        for (index, (hook, cause)) in concerned.iter().enumerate() {
            let Err(reason) = (hook.act)(&mut Change {
                old,
                new,
                directives,
            }) else {
                continue;
            };
            let mut back = old.clone();
            for (hook, _) in concerned[..index].iter().rev() {
                let mut change = Change {
                    old: new,
                    new: &mut back,
                    directives,
                };
                if let Err(error) = (hook.act)(&mut change) {
                    tracing::warn!("cannot go back to the old configuration: {error}");
                }
            }
            return Err((cause, reason));
        }
        Ok(())
    }
}

/// The directives of `pairs`, if every one may be set by `caller`; the first that may not decides.
fn admissible(
    pairs: &[(&[u8], &[u8])],
    caller: Caller,
    current: &Config,
) -> Result<Vec<&'static Directive>, SetError> {
    let mut directives: Vec<&'static Directive> = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let Some(directive) = find(name) else {
            return Err(SetError::Unknown(
                String::from_utf8_lossy(name).into_owned(),
            ));
        };
        // Tools that set everything they read back do not know which of our own directives to spare.
        let changes_nothing = directive.flags.has(Flags::OWN) && directive.show(current) == *value;
        if directive.flags.has(Flags::IMMUTABLE) && !changes_nothing {
            return Err(refusal(name, "can't set immutable config".into()));
        }
        if directive.flags.has(Flags::PROTECTED) && !caller.may_set_protected {
            return Err(refusal(name, "can't set protected config".into()));
        }
        if caller.is_loading && directive.flags.has(Flags::DENY_LOADING) {
            return Err(SetError::Loading);
        }
        if directives
            .iter()
            .any(|other| std::ptr::eq(*other, directive))
        {
            return Err(refusal(name, "duplicate parameter".into()));
        }
        directives.push(directive);
    }
    Ok(directives)
}

fn refusal(name: &[u8], reason: Reject) -> SetError {
    SetError::Refused(Refusal {
        name: String::from_utf8_lossy(name).into_owned(),
        reason,
    })
}

/// The words of a value given as one argument: separated by single blanks, none if it is empty.
fn words_of(value: &[u8]) -> Vec<&[u8]> {
    if value.is_empty() {
        return Vec::new();
    }
    value.split(|byte| *byte == b' ').collect()
}

/// The directives that match any of `patterns`, with the names to list them under: CONFIG GET.
///
/// A pattern without wildcards is a name, which also finds hidden directives and is listed as the
/// caller spelled it. An alias matches on its own.
pub fn matching(patterns: &[&[u8]]) -> Vec<(Vec<u8>, &'static Directive)> {
    let mut found: Vec<(Vec<u8>, &'static Directive)> = Vec::new();
    let add = |found: &mut Vec<(Vec<u8>, &'static Directive)>, name: &[u8], directive| {
        if !found
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
        {
            found.push((name.to_vec(), directive));
        }
    };
    for pattern in patterns {
        if !pattern
            .iter()
            .any(|byte| matches!(byte, b'*' | b'?' | b'['))
        {
            if let Some(directive) = find(pattern) {
                add(&mut found, pattern, directive);
            }
            continue;
        }
        for directive in all().filter(|directive| !directive.flags.has(Flags::HIDDEN)) {
            for name in [&directive.name].into_iter().chain(directive.aliases) {
                if glob::matches(pattern, name.as_bytes(), glob::Case::Insensitive) {
                    add(&mut found, name.as_bytes(), directive);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn set(live: &Live, pairs: &[(&str, &str)]) -> Result<(), String> {
        let pairs: Vec<(&[u8], &[u8])> = pairs
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        live.set_many(&pairs, Caller::default())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn several_directives_are_set_at_once_or_not_at_all() {
        let live = Live::new(Config::default());
        set(&live, &[("maxmemory", "10mb"), ("HZ", "1000")]).unwrap();
        assert_eq!(live.load().memory.maxmemory, 10 << 20);
        assert_eq!(live.load().process.hz, 500);
        let error = set(&live, &[("maxmemory", "1"), ("hz", "x")]).unwrap_err();
        assert_eq!(
            error,
            "CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer"
        );
        assert_eq!(live.load().memory.maxmemory, 10 << 20);
    }

    #[test]
    fn refusals_name_the_argument() {
        let live = Live::new(Config::default());
        for (pairs, error) in [
            (
                &[("maxmemory", "1"), ("nosuch", "2")][..],
                "Unknown option or number of arguments for CONFIG SET - 'nosuch'",
            ),
            (
                &[("maxmemory", "1"), ("MaxMemory", "2")],
                "CONFIG SET failed (possibly related to argument 'MaxMemory') - duplicate parameter",
            ),
            (
                &[("aclfile", "x"), ("nosuch", "y")],
                "CONFIG SET failed (possibly related to argument 'aclfile') - can't set immutable config",
            ),
            (
                &[("dbfilename", "x")],
                "CONFIG SET failed (possibly related to argument 'dbfilename') - can't set protected config",
            ),
        ] {
            assert_eq!(set(&live, pairs).unwrap_err(), error);
        }
        let loading = Caller {
            is_loading: true,
            ..Caller::default()
        };
        assert_eq!(
            live.set_many(&[(b"appendonly", b"yes")], loading),
            Err(SetError::Loading)
        );
    }

    #[test]
    fn a_veto_undoes_what_earlier_hooks_did() {
        let live = Live::new(Config::default());
        let bound = Arc::new(AtomicU32::new(6379));
        let port = Arc::clone(&bound);
        live.on_apply(&["port"], move |change| {
            port.store(u32::from(change.new.network.port), Ordering::Relaxed);
            Ok(())
        });
        live.on_apply(&["maxclients"], |change| {
            if change.new.clients.maxclients > 100 {
                Err("too many".into())
            } else {
                Ok(())
            }
        });
        let error = set(&live, &[("port", "7000"), ("maxclients", "101")]).unwrap_err();
        assert_eq!(
            error,
            "CONFIG SET failed (possibly related to argument 'maxclients') - too many"
        );
        assert_eq!(bound.load(Ordering::Relaxed), 6379);
        assert_eq!(live.load().network.port, 6379);
        set(&live, &[("port", "7000"), ("maxclients", "100")]).unwrap();
        assert_eq!(bound.load(Ordering::Relaxed), 7000);
    }

    #[test]
    fn get_lists_aliases_and_hides_what_is_hidden() {
        let names = |patterns: &[&str]| -> Vec<String> {
            let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
            let found = matching(&patterns).into_iter();
            found
                .map(|(name, _)| String::from_utf8(name).unwrap())
                .collect()
        };
        assert_eq!(names(&["REPLICAOF"]), ["REPLICAOF"]);
        assert_eq!(
            names(&["*-priority", "slave-priority"]),
            ["replica-priority", "slave-priority"]
        );
        assert_eq!(names(&["watchdog*"]), [""; 0]);
        assert_eq!(names(&["watchdog-period", "nosuch"]), ["watchdog-period"]);
    }
}
