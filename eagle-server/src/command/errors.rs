//! Wire texts of errors that more than one command replies, in one place.

use eagle_core::store::StoreError;
use std::borrow::Cow;

/// Why a command was refused or failed. Written as `-<text>\r\n`; the first word is the error code
/// that clients and `errorstats` go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError(Cow<'static, str>);

impl CommandError {
    pub const fn new(text: &'static str) -> CommandError {
        CommandError(Cow::Borrowed(text))
    }

    pub fn owned(text: String) -> CommandError {
        CommandError(Cow::Owned(text))
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// The error code: the text up to the first space.
    pub fn code(&self) -> &str {
        self.0.split(' ').next().unwrap_or("ERR")
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> CommandError {
        match error {
            StoreError::WrongType => WRONG_TYPE,
            StoreError::OutOfSpace => OUT_OF_MEMORY,
        }
    }
}

pub const WRONG_TYPE: CommandError =
    CommandError::new("WRONGTYPE Operation against a key holding the wrong kind of value");
pub const OUT_OF_MEMORY: CommandError =
    CommandError::new("OOM command not allowed when used memory > 'maxmemory'.");
pub const SYNTAX: CommandError = CommandError::new("ERR syntax error");
pub const NOT_INTEGER: CommandError =
    CommandError::new("ERR value is not an integer or out of range");
pub const NOT_FLOAT: CommandError = CommandError::new("ERR value is not a valid float");
pub const NOT_POSITIVE: CommandError =
    CommandError::new("ERR value is out of range, must be positive");
pub const OUT_OF_RANGE: CommandError = CommandError::new("ERR value is out of range");
pub const NO_SUCH_KEY: CommandError = CommandError::new("ERR no such key");
pub const SAME_OBJECT: CommandError =
    CommandError::new("ERR source and destination objects are the same");
pub const INVALID_CURSOR: CommandError = CommandError::new("ERR invalid cursor");
pub const INDEX_OUT_OF_RANGE: CommandError = CommandError::new("ERR index out of range");
pub const DB_OUT_OF_RANGE: CommandError = CommandError::new("ERR DB index is out of range");
pub const STRING_TOO_LONG: CommandError =
    CommandError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
pub const INCREMENT_OVERFLOWS: CommandError =
    CommandError::new("ERR increment or decrement would overflow");
pub const INCREMENT_NOT_FINITE: CommandError =
    CommandError::new("ERR increment would produce NaN or Infinity");
pub const NO_AUTH: CommandError = CommandError::new("NOAUTH Authentication required.");
pub const EXEC_ABORT: CommandError =
    CommandError::new("EXECABORT Transaction discarded because of previous errors.");
pub const CLUSTER_DISABLED: CommandError =
    CommandError::new("ERR This instance has cluster support disabled");

/// `ERR wrong number of arguments for 'name' command`.
pub fn wrong_arity(full_name: &str) -> CommandError {
    CommandError::owned(format!(
        "ERR wrong number of arguments for '{full_name}' command"
    ))
}

/// `ERR invalid expire time in 'name' command`.
pub fn invalid_expire(full_name: &str) -> CommandError {
    CommandError::owned(format!("ERR invalid expire time in '{full_name}' command"))
}

/// The refusal of a command nobody knows, quoting at most 128 bytes of it and of its arguments.
pub fn unknown_command(argv: &[&[u8]]) -> CommandError {
    const QUOTED_BYTES_MAX: usize = 128;
    let clip = |bytes: &[u8], room: usize| one_line(&bytes[..bytes.len().min(room)]);
    let mut arguments = String::new();
    for argument in &argv[1..] {
        if arguments.len() >= QUOTED_BYTES_MAX {
            break;
        }
        let room = QUOTED_BYTES_MAX - arguments.len();
        arguments.push_str(&format!("'{}' ", clip(argument, room)));
    }
    CommandError::owned(format!(
        "ERR unknown command '{}', with args beginning with: {arguments}",
        clip(argv[0], QUOTED_BYTES_MAX)
    ))
}

/// `ERR unknown subcommand 'x'. Try NAME HELP.`
pub fn unknown_subcommand(container: &str, subcommand: &[u8]) -> CommandError {
    let word = one_line(&subcommand[..subcommand.len().min(128)]);
    CommandError::owned(format!(
        "ERR unknown subcommand '{word}'. Try {} HELP.",
        container.to_uppercase()
    ))
}

/// Client bytes inside an error line: a line break would end the reply early.
pub fn one_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(['\r', '\n'], " ")
}
