//! A user as connections hold it.

use super::user::User;
use arc_swap::{ArcSwap, Guard};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A name, and the rules that go with it now. The rules change under the connections that hold it.
pub struct Identity {
    name: Box<[u8]>,
    user: ArcSwap<User>,
    /// The rules forbid nothing: the one thing most requests look at.
    is_unrestricted: AtomicBool,
    /// New connections need no AUTH, if this is the default user.
    is_open: AtomicBool,
    /// The user was deleted: whoever still holds it may do nothing.
    is_gone: AtomicBool,
}

impl Identity {
    pub(super) fn new(name: &[u8], user: User) -> Identity {
        Identity {
            name: name.into(),
            is_unrestricted: user.allows_everything().into(),
            is_open: is_open(&user).into(),
            user: ArcSwap::from_pointee(user),
            is_gone: false.into(),
        }
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The rules now in force.
    pub fn user(&self) -> Guard<Arc<User>> {
        self.user.load()
    }

    /// Whether every request is allowed.
    pub fn is_unrestricted(&self) -> bool {
        self.is_unrestricted.load(Ordering::Acquire)
    }

    /// Whether one may log in as this user, with any password.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Whether the user was deleted.
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Replaces the rules.
    pub(super) fn replace(&self, user: User) {
        // What is taken away is taken away before the rest changes, what is given comes last.
        let (unrestricted, open) = (user.allows_everything(), is_open(&user));
        self.is_unrestricted
            .fetch_and(unrestricted, Ordering::AcqRel);
        self.is_open.fetch_and(open, Ordering::AcqRel);
        self.user.store(Arc::new(user));
        self.is_unrestricted.store(unrestricted, Ordering::Release);
        self.is_open.store(open, Ordering::Release);
    }

    /// Marks the user as deleted.
    pub(super) fn retire(&self) {
        self.is_unrestricted.store(false, Ordering::Release);
        self.is_open.store(false, Ordering::Release);
        self.is_gone.store(true, Ordering::Release);
    }
}

fn is_open(user: &User) -> bool {
    user.is_enabled() && user.is_nopass()
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", String::from_utf8_lossy(&self.name))
    }
}
