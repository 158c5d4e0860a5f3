//! Why a rule was not taken.

use std::fmt;

/// What is wrong with a rule; `Display` is the text Redis has for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleError {
    /// No command or category has this name.
    UnknownCommand,
    Syntax,
    /// A key pattern where all keys are allowed already.
    KeysAfterAll,
    /// A channel pattern where all channels are allowed already.
    ChannelsAfterAll,
    NoSuchPassword,
    NotAHash,
    DuplicateUser,
    /// `+container|sub|argument`.
    ArgumentOfSubcommand,
    /// A selector that does not end.
    Unmatched,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RuleError::UnknownCommand => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::KeysAfterAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::ChannelsAfterAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            RuleError::NotAHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::DuplicateUser => {
                "Duplicate user found. A user can only be defined once in config files"
            }
            RuleError::ArgumentOfSubcommand => "Allowing first-arg of a subcommand is not supported",
            RuleError::Unmatched => "Wrong format",
        })
    }
}
