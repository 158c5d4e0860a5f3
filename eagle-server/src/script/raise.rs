//! Errors that the server's own functions raise in a script, and how errors look to scripts and clients.
//!
//! A Rust function cannot raise a Lua table: what it returns as an error reaches Lua as a userdata. So errors travel
//! as [`Raised`] inside one, and every place where a script could catch it (`pcall`, `xpcall`, `coroutine.resume`, the
//! outermost handler) turns it into what Redis raises there: a string with the position in front, or a table with a
//! field `err`.

use mlua::{Error, Lua, Table, Value};
use std::fmt;

/// An error on its way through the interpreter.
#[derive(Clone, Debug)]
pub(super) enum Raised {
    /// As C functions of Lua raise it: the position is in the text.
    Text(Vec<u8>),
    /// As functions of Redis raise it.
    Table {
        /// Begins with the error code.
        err: Vec<u8>,
        /// Error statistics know of it already.
        counted: bool,
    },
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Raised::Text(text) | Raised::Table { err: text, .. }) = self;
        f.write_str(&String::from_utf8_lossy(text))
    }
}

impl std::error::Error for Raised {}

/// Chunk names of the sandbox, and those of what users wrote.
pub(super) const SANDBOXES: [&str; 2] = ["=user_script", "=user_function"];
pub(super) const USERS: [&str; 2] = ["@user_script", "@user_function"];

/// Whether this is the chunk name of the sandbox: displayed like a user's script in messages, but told apart here.
pub(super) fn is_sandbox(source: &str) -> bool {
    SANDBOXES.contains(&source)
}

/// A plain Lua error, raised by the function that runs now.
pub(super) fn text(lua: &Lua, message: impl AsRef<[u8]>) -> Error {
    let mut text = position(lua).unwrap_or_default().into_bytes();
    text.extend_from_slice(message.as_ref());
    Error::external(Raised::Text(text))
}

/// An error table, raised by the function that runs now. A text without code gets `ERR`.
pub(super) fn table(message: &[u8]) -> Error {
    Error::external(Raised::Table {
        err: with_code(message),
        counted: false,
    })
}

/// `bad argument #n to 'function' (why)`.
pub(super) fn argument(lua: &Lua, function: &str, index: usize, why: &str) -> Error {
    text(
        lua,
        format!("bad argument #{index} to '{function}' ({why})"),
    )
}

/// A frame of the stack.
struct Frame {
    /// `C`, `Lua`, `main` or `tail`.
    what: &'static str,
    source: String,
    short: String,
    line: Option<usize>,
}

fn frame(lua: &Lua, level: usize) -> Option<Frame> {
    lua.inspect_stack(level, |debug| {
        let source = debug.source();
        Frame {
            what: source.what,
            source: source.source.unwrap_or_default().into_owned(),
            short: source.short_src.unwrap_or_default().into_owned(),
            line: debug.current_line(),
        }
    })
}

/// The frame of the script from `level` on. Those of the sandbox do not count, nor what is left of a script that called
/// the sandbox last of all.
fn script_frame(lua: &Lua, level: usize) -> Option<Frame> {
    let mut in_sandbox = false;
    for level in level.. {
        let frame = frame(lua, level)?;
        in_sandbox |= is_sandbox(&frame.source);
        let is_left = in_sandbox && frame.what == "tail";
        if !is_sandbox(&frame.source) && !is_left {
            return Some(frame);
        }
    }
    None
}

/// Where the script is that called the function that runs now, as a prefix of a message.
pub(super) fn position(lua: &Lua) -> Option<String> {
    let frame = script_frame(lua, 1)?;
    Some(format!("{}:{}: ", frame.short, frame.line?))
}

/// An error text with its code in front: `-CODE text` has one, other texts get `ERR`.
pub(super) fn with_code(message: &[u8]) -> Vec<u8> {
    let trimmed = |text: &[u8]| -> Vec<u8> {
        let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = text
            .iter()
            .position(|byte| !is_break(byte))
            .unwrap_or(text.len());
        let end = text
            .iter()
            .rposition(|byte| !is_break(byte))
            .map_or(start, |at| at + 1);
        text[start..end].to_vec()
    };
    let (code, text) = match message.strip_prefix(b"-") {
        Some(rest) => match rest.iter().position(|byte| *byte == b' ') {
            Some(space) => (&rest[..space], &rest[space + 1..]),
            None => (&b"ERR"[..], rest),
        },
        None => (&b"ERR"[..], message),
    };
    [code, b" ", &trimmed(text)].concat()
}

/// The error table of `redis.pcall`.
pub(super) fn error_table(lua: &Lua, err: &[u8], counted: bool) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("err", lua.create_string(err)?)?;
    if counted {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(table)
}

/// What a script sees of an error that it caught.
pub(super) fn caught(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let Value::Error(error) = value else {
        return Ok(value);
    };
    Ok(match find(&error) {
        Found::Raised(Raised::Text(text)) => Value::String(lua.create_string(text)?),
        Found::Raised(Raised::Table { err, counted }) => {
            Value::Table(error_table(lua, err, *counted)?)
        }
        Found::Memory => Value::String(lua.create_string(NOT_ENOUGH_MEMORY)?),
        Found::Other(error) => {
            Value::String(lua.create_string(error.to_string().lines().next().unwrap_or(""))?)
        }
    })
}

/// What Lua says when it gets no more memory.
pub(super) const NOT_ENOUGH_MEMORY: &str = "not enough memory";

/// What is inside an error of the bridge.
pub(super) enum Found<'e> {
    Raised(&'e Raised),
    Memory,
    Other(&'e Error),
}

/// Unwraps an error of the bridge.
pub(super) fn find(error: &Error) -> Found<'_> {
    match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => find(cause),
        Error::MemoryError(_) => Found::Memory,
        Error::ExternalError(inner) => match inner.downcast_ref::<Raised>() {
            Some(raised) => Found::Raised(raised),
            None => Found::Other(error),
        },
        other => Found::Other(other),
    }
}

/// The outermost error handler: makes a table of any error, and notes in it where the script was.
pub(super) fn handle(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let (raised_in, script) = frames_of_error(lua);
    let raised_in_sandbox = raised_in.as_ref().map(|frame| frame.short.clone());
    let table = match caught(lua, value)? {
        Value::Table(table) => table,
        other => {
            let text = match lua.coerce_string(other.clone()).ok().flatten() {
                Some(text) => text.as_bytes().to_vec(),
                None => other.to_string().unwrap_or_default().into_bytes(),
            };
            let text = relocated(text, raised_in, script.as_ref());
            error_table(lua, &[b"ERR ", &text[..]].concat(), false)?
        }
    };
    match script {
        Some(Frame { what: "C", .. }) => {
            // The script has called the sandbox last of all, and left no trace of where.
            let kind = raised_in_sandbox.unwrap_or_default();
            table.set("source", format!("@{kind}"))?;
            table.set("line", "?")?;
        }
        Some(Frame { source, line, .. }) => {
            table.set("source", source)?;
            table.set("line", line.map_or(-1, |line| line as i64))?;
        }
        None => {}
    }
    Ok(Value::Table(table))
}

/// The frame that failed (its caller, if it is one of C) and the script's. The bridge adds a frame of its own to those
/// of C functions.
fn frames_of_error(lua: &Lua) -> (Option<Frame>, Option<Frame>) {
    for level in 1.. {
        match frame(lua, level) {
            Some(frame) if frame.what == "C" => {}
            raised_in => return (raised_in, script_frame(lua, level)),
        }
    }
    (None, None)
}

/// A message whose position is inside the sandbox gets that of the script.
fn relocated(text: Vec<u8>, raised_in: Option<Frame>, script: Option<&Frame>) -> Vec<u8> {
    let prefix = raised_in
        .filter(|frame| is_sandbox(&frame.source))
        .and_then(|frame| Some(format!("{}:{}: ", frame.short, frame.line?)));
    let Some(rest) = prefix.and_then(|prefix| text.strip_prefix(prefix.as_bytes())) else {
        return text;
    };
    let position = script.and_then(|frame| Some(format!("{}:{}: ", frame.short, frame.line?)));
    [position.unwrap_or_default().as_bytes(), rest].concat()
}
