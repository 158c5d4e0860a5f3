//! Access control: users, what each may do, and the log of what was refused.
//!
//! ```text
//!   Acl ── users ──> Identity (a name; connections hold it) ──> User (rules, replaced whole)
//!                                                                 ├ passwords, on, nopass
//!                                                                 ├ root Selector
//!                                                                 └ further Selectors
//! ```
//!
//! A request is allowed if one selector of the user allows its command, its keys and its channels.
//! A change of a user builds the new rules beside the old ones and publishes them at once, so every
//! connection of the user goes by them from its next command on, and none ever sees half of them.
//!
//! This layer knows commands only as rows of a [`Catalogue`]; where keys and channels stand among the
//! arguments of a request, its caller tells.

mod catalogue;
mod describe;
mod file;
mod identity;
mod log;
mod password;
mod rule_error;
mod selector;
mod user;
mod users;

#[cfg(test)]
mod tests;

pub use catalogue::{Catalogue, CommandRow};
pub use file::Declaration;
pub use identity::Identity;
pub use log::{Log, LogEntry, Place, Reason};
pub use rule_error::RuleError;
pub use selector::{ChannelUse, Denial, KeyUse, Request, Selector};
pub use user::User;
pub use users::Acl;
