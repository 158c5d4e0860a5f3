//! `redis`: the server's API for scripts, and the smaller one for libraries while they are loaded.

use super::super::engine::{Registered, State, unbounded};
use super::super::functions::Function;
use super::super::shebang::{BAD_NAME, ScriptFlags, is_name};
use super::super::source::sha1_hex;
use super::super::{REDIS_VERSION, convert, host, raise};
use super::args::{Arguments, as_number, as_string, to_integer};
use crate::script::Refusal;
use eagle_core::resp::Protocol;
use eagle_core::text::double::DoubleText;
use mlua::{BorrowedBytes, IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};
use smallvec::SmallVec;
use std::rc::Rc;

type ApiFunction = fn(&Lua, &State, &Arguments) -> mlua::Result<MultiValue>;

const API: &[(&str, ApiFunction)] = &[
    ("setresp", setresp),
    ("sha1hex", sha1hex),
    ("error_reply", error_reply),
    ("status_reply", status_reply),
    ("set_repl", set_repl),
    ("acl_check_cmd", acl_check_cmd),
];

/// Functions that only scripts have, functions of libraries not. There is no debugger.
const API_OF_SCRIPTS: &[(&str, ApiFunction)] = &[
    ("breakpoint", |lua, _, _| false.into_lua_multi(lua)),
    ("debug", |lua, _, _| ().into_lua_multi(lua)),
    ("replicate_commands", |lua, _, _| true.into_lua_multi(lua)),
];

const REPL_AOF: i64 = 1;
const REPL_REPLICA: i64 = 2;

/// The table `redis`.
pub(crate) fn api(lua: &Lua, state: &Rc<State>, is_eval: bool) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, on_error) in [("call", OnError::Raise), ("pcall", OnError::Return)] {
        let state = state.clone();
        let closure = lua
            .create_function(move |lua, args: MultiValue| command(lua, &state, &args, on_error))?;
        table.raw_set(name, closure)?;
    }
    register(lua, &table, state, API)?;
    if is_eval {
        register(lua, &table, state, API_OF_SCRIPTS)?;
    }
    table.raw_set("REPL_NONE", 0)?;
    table.raw_set("REPL_AOF", REPL_AOF)?;
    table.raw_set("REPL_SLAVE", REPL_REPLICA)?;
    table.raw_set("REPL_REPLICA", REPL_REPLICA)?;
    table.raw_set("REPL_ALL", REPL_AOF | REPL_REPLICA)?;
    common(lua, &table, state)?;
    Ok(table)
}

/// The table `redis` while a library is loaded.
pub(crate) fn loading(lua: &Lua, state: &Rc<State>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    register(
        lua,
        &table,
        state,
        &[("register_function", register_function)],
    )?;
    common(lua, &table, state)?;
    Ok(table)
}

fn common(lua: &Lua, table: &Table, state: &Rc<State>) -> mlua::Result<()> {
    register(lua, table, state, &[("log", log)])?;
    for (level, name) in ["DEBUG", "VERBOSE", "NOTICE", "WARNING"].iter().enumerate() {
        table.raw_set(format!("LOG_{name}"), level)?;
    }
    table.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    table.raw_set("REDIS_VERSION_NUM", version_number())
}

/// The version as one number, a byte for each part.
fn version_number() -> u32 {
    REDIS_VERSION
        .split('.')
        .filter_map(|part| part.parse::<u32>().ok())
        .fold(0, |number, part| number << 8 | part)
}

fn register(
    lua: &Lua,
    table: &Table,
    state: &Rc<State>,
    functions: &[(&'static str, ApiFunction)],
) -> mlua::Result<()> {
    for (name, function) in functions {
        let (name, function, state) = (*name, *function, state.clone());
        let closure = lua.create_function(move |lua, args: MultiValue| {
            function(lua, &state, &Arguments::new(lua, name, args))
        })?;
        table.raw_set(name, closure)?;
    }
    Ok(())
}

/// What becomes of an error reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnError {
    Raise,
    Return,
}

/// A word of a command.
enum Word {
    Text(BorrowedBytes),
    Number(DoubleText),
}

impl Word {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Word::Text(text) => text,
            Word::Number(text) => text.as_bytes(),
        }
    }
}

/// The words of a command.
type Words = SmallVec<[Word; 6]>;

const WORDS_ARE_STRINGS: &[u8] = b"Lua redis lib command arguments must be strings or integers";

/// Reads the words of a command; the error is for the script.
fn words<'a>(
    args: impl ExactSizeIterator<Item = &'a Value>,
    words: &mut Words,
) -> Result<(), &'static [u8]> {
    if args.len() == 0 {
        return Err(b"Please specify at least one argument for this redis lib call");
    }
    words.reserve(args.len());
    for value in args {
        words.push(match value {
            Value::String(text) => Word::Text(text.as_bytes()),
            Value::Integer(number) => Word::Number(DoubleText::new(*number as f64)),
            Value::Number(number) => Word::Number(DoubleText::new(*number)),
            _ => return Err(WORDS_ARE_STRINGS),
        });
    }
    Ok(())
}

/// The words as a command takes them.
fn argv(words: &Words) -> SmallVec<[&[u8]; 6]> {
    words.iter().map(Word::as_bytes).collect()
}

/// `redis.call` and `redis.pcall`.
fn command(lua: &Lua, state: &State, args: &MultiValue, on_error: OnError) -> mlua::Result<Value> {
    if !state.has_host() {
        return Err(raise::table(
            b"redis.call/pcall can only be called inside a script invocation",
        ));
    }
    let refuse = |text: &[u8], counted: bool| match on_error {
        OnError::Raise => Err(mlua::Error::external(raise::Raised::Table {
            err: raise::with_code(text),
            counted,
        })),
        OnError::Return => {
            let table = raise::error_table(lua, &raise::with_code(text), counted)?;
            Ok(Value::Table(table))
        }
    };
    let mut given = Words::new();
    if let Err(text) = words(args.iter(), &mut given) {
        return refuse(text, false);
    }
    let mut reply = state.take_buffer();
    let called = host::with(|host| host.call(&argv(&given), &mut reply));
    drop(given);
    let value = match called {
        Some(Ok(())) => match reply.strip_prefix(b"-") {
            Some(error) => {
                let line = error
                    .split(|byte| *byte == b'\r')
                    .next()
                    .unwrap_or_default();
                refuse(&[b"-", line].concat(), true)
            }
            None => unbounded(lua, reply.len(), || convert::reply_to_lua(lua, &reply)),
        },
        Some(Err(Refusal::Told(text))) => refuse(&text, true),
        Some(Err(Refusal::Stop)) | None => Err(state.stop(lua)),
    };
    state.give_back(reply);
    value
}

fn setresp(lua: &Lua, state: &State, args: &Arguments) -> mlua::Result<MultiValue> {
    if !state.has_host() {
        return Err(raise::table(
            b"redis.setresp can only be called inside a script invocation",
        ));
    }
    if args.len() != 1 {
        return Err(raise::table(b"redis.setresp() requires one argument."));
    }
    let protocol = match lenient_integer(lua, args, 1) {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err(raise::table(b"RESP version must be 2 or 3.")),
    };
    host::with(|host| host.set_protocol(protocol));
    ().into_lua_multi(lua)
}

/// An argument as an integer; 0 if it is no number.
fn lenient_integer(lua: &Lua, args: &Arguments, index: usize) -> i64 {
    let number = args.get(index).and_then(|value| as_number(lua, value));
    number.map_or(0, to_integer)
}

fn sha1hex(lua: &Lua, _: &State, args: &Arguments) -> mlua::Result<MultiValue> {
    if args.len() != 1 {
        return Err(raise::table(b"wrong number of arguments"));
    }
    let text = args.get(1).and_then(|value| as_string(lua, value));
    let sha = match &text {
        Some(text) => sha1_hex(&text.as_bytes()),
        None => sha1_hex(b""),
    };
    lua.create_string(sha)?.into_lua_multi(lua)
}

fn only_string(args: &Arguments) -> Option<&LuaString> {
    match args.get(1) {
        Some(Value::String(text)) if args.len() == 1 => Some(text),
        _ => None,
    }
}

fn wrong_arguments(lua: &Lua) -> mlua::Result<MultiValue> {
    let text = b"ERR wrong number or type of arguments";
    raise::error_table(lua, text, false)?.into_lua_multi(lua)
}

fn error_reply(lua: &Lua, _: &State, args: &Arguments) -> mlua::Result<MultiValue> {
    let Some(text) = only_string(args) else {
        return wrong_arguments(lua);
    };
    let text = text.as_bytes();
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let err = raise::with_code(&[b"-", text].concat());
    raise::error_table(lua, &err, false)?.into_lua_multi(lua)
}

fn status_reply(lua: &Lua, _: &State, args: &Arguments) -> mlua::Result<MultiValue> {
    let Some(text) = only_string(args) else {
        return wrong_arguments(lua);
    };
    let table = lua.create_table()?;
    table.raw_set("ok", text)?;
    table.into_lua_multi(lua)
}

fn set_repl(lua: &Lua, state: &State, args: &Arguments) -> mlua::Result<MultiValue> {
    if !state.has_host() {
        return Err(raise::table(
            b"redis.set_repl can only be called inside a script invocation",
        ));
    }
    if args.len() != 1 {
        return Err(raise::table(b"redis.set_repl() requires two arguments."));
    }
    let flags = lenient_integer(lua, args, 1) as i32;
    if flags & !(REPL_AOF | REPL_REPLICA) as i32 != 0 {
        return Err(raise::table(
            b"Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        ));
    }
    host::with(|host| host.set_replication(flags as u8));
    ().into_lua_multi(lua)
}

fn acl_check_cmd(lua: &Lua, state: &State, args: &Arguments) -> mlua::Result<MultiValue> {
    if !state.has_host() {
        return Err(raise::table(
            b"redis.acl_check_cmd can only be called inside a script invocation",
        ));
    }
    let mut given = Words::new();
    words(args.iter(), &mut given).map_err(raise::table)?;
    let allowed = host::with(|host| host.may_run(&argv(&given)));
    match allowed.flatten() {
        Some(allowed) => allowed.into_lua_multi(lua),
        None => Err(raise::table(
            b"Invalid command passed to redis.acl_check_cmd()",
        )),
    }
}

fn log(lua: &Lua, _: &State, args: &Arguments) -> mlua::Result<MultiValue> {
    if args.len() < 2 {
        return Err(raise::table(b"redis.log() requires two arguments or more."));
    }
    let Some(level) = args.get(1).and_then(|value| as_number(lua, value)) else {
        return Err(raise::table(
            b"First argument must be a number (log level).",
        ));
    };
    let texts: Vec<String> = args
        .iter()
        .skip(1)
        .filter_map(|value| as_string(lua, value))
        .map(|text| String::from_utf8_lossy(&text.as_bytes()).into_owned())
        .collect();
    let line = texts.join(" ");
    match to_integer(level) {
        0 => tracing::trace!("{line}"),
        1 => tracing::debug!("{line}"),
        2 => tracing::info!("{line}"),
        3 => tracing::warn!("{line}"),
        _ => return Err(raise::table(b"Invalid debug level.")),
    }
    ().into_lua_multi(lua)
}

fn register_function(lua: &Lua, state: &State, args: &Arguments) -> mlua::Result<MultiValue> {
    if !state.is_loading() {
        return Err(raise::table(
            b"redis.register_function can only be called on FUNCTION LOAD command",
        ));
    }
    let registered = match args.len() {
        1 => named(lua, args),
        2 => positional(lua, args),
        _ => Err("wrong number of arguments to redis.register_function"),
    };
    let registered = registered.map_err(|text| raise::table(text.as_bytes()))?;
    state
        .register(registered)
        .map_err(|text| raise::table(text.as_bytes()))?;
    ().into_lua_multi(lua)
}

/// A name Redis looks at as a C string.
fn name_of(text: &LuaString) -> Result<String, &'static str> {
    if !is_name(&text.as_bytes()) {
        return Err(BAD_NAME);
    }
    Ok(String::from_utf8_lossy(&text.as_bytes()).into_owned())
}

fn positional(lua: &Lua, args: &Arguments) -> Result<Registered, &'static str> {
    let name = args.get(1).and_then(|value| as_string(lua, value));
    let name = name.ok_or("first argument to redis.register_function must be a string")?;
    let Some(Value::Function(callback)) = args.get(2) else {
        return Err("second argument to redis.register_function must be a function");
    };
    Ok(Registered {
        function: Function {
            name: name_of(&name)?,
            description: None,
            flags: ScriptFlags::default(),
        },
        callback: callback.clone(),
    })
}

fn named(lua: &Lua, args: &Arguments) -> Result<Registered, &'static str> {
    let Some(Value::Table(table)) = args.get(1) else {
        return Err(
            "calling redis.register_function with a single argument is only applicable to Lua table (representing \
             named arguments).",
        );
    };
    let (mut name, mut description, mut callback) = (None, None, None);
    let mut flags = ScriptFlags::default();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|_| "unknown argument given to redis.register_function")?;
        let key = as_string(lua, &key)
            .ok_or("named argument key given to redis.register_function is not a string")?;
        match key.as_bytes().to_ascii_lowercase().as_slice() {
            b"function_name" => {
                name = Some(as_string(lua, &value).ok_or(
                    "function_name argument given to redis.register_function must be a string",
                )?);
            }
            b"description" => {
                description = Some(as_string(lua, &value).ok_or(
                    "description argument given to redis.register_function must be a string",
                )?);
            }
            b"callback" => {
                let Value::Function(function) = value else {
                    return Err(
                        "callback argument given to redis.register_function must be a function",
                    );
                };
                callback = Some(function);
            }
            b"flags" => {
                let Value::Table(names) = value else {
                    return Err(
                        "flags argument to redis.register_function must be a table representing function flags",
                    );
                };
                flags = read_flags(lua, &names).ok_or("unknown flag given")?;
            }
            _ => return Err("unknown argument given to redis.register_function"),
        }
    }
    let name = name.ok_or("redis.register_function must get a function name argument")?;
    let callback = callback.ok_or("redis.register_function must get a callback argument")?;
    Ok(Registered {
        function: Function {
            name: name_of(&name)?,
            description: description.map(|text| text.as_bytes().to_vec()),
            flags,
        },
        callback,
    })
}

fn read_flags(lua: &Lua, names: &Table) -> Option<ScriptFlags> {
    let mut flags = ScriptFlags::default();
    for index in 1.. {
        let name: Value = names.get(index).ok()?;
        if name.is_nil() {
            break;
        }
        let name = as_string(lua, &name)?;
        flags = flags.with(ScriptFlags::named(&name.as_bytes().to_ascii_lowercase())?);
    }
    Some(flags)
}
