//! Wire texts of errors that more than one command replies, in one place.

use crate::script::ScriptError;
use eagle_core::store::StoreError;
use eagle_core::text::c_string::c_string;
use std::borrow::Cow;

/// Why a command was refused or failed. Written as `-<text>\r\n`; the first word is the error code
/// that clients and `errorstats` go by. It may quote what the client sent, which need not be text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError(Cow<'static, [u8]>);

impl CommandError {
    pub const fn new(text: &'static str) -> CommandError {
        CommandError(Cow::Borrowed(text.as_bytes()))
    }

    pub fn owned(text: String) -> CommandError {
        CommandError(Cow::Owned(text.into_bytes()))
    }

    /// An error of these parts, each cut at its first zero byte: Redis prints them as C strings.
    pub fn quoting(parts: &[&[u8]]) -> CommandError {
        let parts: Vec<&[u8]> = parts.iter().map(|part| c_string(part)).collect();
        CommandError(Cow::Owned(parts.concat()))
    }

    /// The line as it goes to the client; line breaks in it are the writer's to replace.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The line for people and logs.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The error code: the text up to the first space.
    pub fn code(&self) -> &str {
        let word = self.0.split(|byte| *byte == b' ').next();
        word.and_then(|word| std::str::from_utf8(word).ok())
            .unwrap_or("ERR")
    }
}

impl From<ScriptError> for CommandError {
    fn from(error: ScriptError) -> CommandError {
        CommandError::quoting(&[&error.0])
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
pub const NO_REPLICAS: CommandError =
    CommandError::new("NOREPLICAS Not enough good replicas to write.");
pub const SNAPSHOTS_FAIL: CommandError = CommandError::new(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may \
     modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
     snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
     error.",
);
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
pub const UNBLOCKED: CommandError =
    CommandError::new("UNBLOCKED client unblocked via CLIENT UNBLOCK");
pub const LOADING: CommandError =
    CommandError::new("LOADING Redis is loading the dataset in memory");
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

/// Bytes of a name or of arguments that a refusal quotes.
const QUOTED_BYTES_MAX: usize = 128;

/// The refusal of a command nobody knows, quoting at most 128 bytes of it and of its arguments.
pub fn unknown_command(argv: &[&[u8]]) -> CommandError {
    let mut arguments = Vec::new();
    for argument in &argv[1..] {
        if arguments.len() >= QUOTED_BYTES_MAX {
            break;
        }
        let quoted = clip(c_string(argument), QUOTED_BYTES_MAX - arguments.len());
        arguments.extend_from_slice(&[b"'", quoted, b"' "].concat());
    }
    CommandError::quoting(&[
        b"ERR unknown command '",
        clip(argv[0], QUOTED_BYTES_MAX),
        b"', with args beginning with: ",
        &arguments,
    ])
}

/// EXEC itself was refused, and the transaction with it.
pub fn exec_aborted(error: &CommandError) -> CommandError {
    let reason = error.as_bytes();
    let reason = reason.strip_prefix(b"ERR ").unwrap_or(reason);
    CommandError::quoting(&[b"EXECABORT Transaction discarded because of: ", reason])
}

/// `ERR unknown subcommand 'x'. Try NAME HELP.`
pub fn unknown_subcommand(container: &str, subcommand: &[u8]) -> CommandError {
    CommandError::quoting(&[
        b"ERR unknown subcommand '",
        clip(subcommand, QUOTED_BYTES_MAX),
        b"'. Try ",
        container.to_uppercase().as_bytes(),
        b" HELP.",
    ])
}

fn clip(bytes: &[u8], len_max: usize) -> &[u8] {
    &bytes[..bytes.len().min(len_max)]
}

/// Client bytes inside an error line: a line break would end the reply early.
pub fn one_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_quote_what_the_client_sent() {
        let error = unknown_command(&[b"no\xff\0such", b"a\0b", &[b'x'; 200]]);
        let quoted = [&b"'a' '"[..], &[b'x'; 124], b"' "].concat();
        let expected = [
            b"ERR unknown command 'no\xff', with args beginning with: ",
            &quoted[..],
        ];
        assert_eq!(error.as_bytes(), expected.concat());
        assert_eq!(error.code(), "ERR");
        let error = unknown_subcommand("config", &[b'z'; 200]);
        assert_eq!(error.text().matches('z').count(), QUOTED_BYTES_MAX);
    }
}
