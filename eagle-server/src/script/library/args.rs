//! Arguments of a function called from Lua, read as Lua's own functions read theirs.

use super::super::raise;
use mlua::{Error, Lua, LuaString, MultiValue, Value};

/// The arguments of one call, and the function's name for messages.
pub(crate) struct Arguments {
    lua: Lua,
    function: &'static str,
    values: MultiValue,
}

impl Arguments {
    pub(crate) fn new(lua: &Lua, function: &'static str, values: MultiValue) -> Arguments {
        Arguments {
            lua: lua.clone(),
            function,
            values,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Adds a nil behind the last argument.
    pub(crate) fn push_nil(&mut self) {
        self.values.push_back(Value::Nil);
    }

    /// The argument at `index`, counted from 1.
    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        self.values.get(index - 1)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Value> {
        self.values.iter()
    }

    /// Whether there is no argument at `index`, or nil.
    pub(crate) fn is_none_or_nil(&self, index: usize) -> bool {
        self.get(index).is_none_or(Value::is_nil)
    }

    /// A number, or a string that is one.
    pub(crate) fn number(&self, index: usize) -> mlua::Result<f64> {
        let value = self.get(index);
        value
            .and_then(|value| as_number(&self.lua, value))
            .ok_or_else(|| self.wrong_type(index, "number"))
    }

    /// A number cut to an integer, as C casts it.
    pub(crate) fn integer(&self, index: usize) -> mlua::Result<i64> {
        self.number(index).map(to_integer)
    }

    /// Like [`Arguments::integer`], with a default.
    pub(crate) fn optional_integer(&self, index: usize, default: i64) -> mlua::Result<i64> {
        if self.is_none_or_nil(index) {
            Ok(default)
        } else {
            self.integer(index)
        }
    }

    /// A string, or a number as text.
    pub(crate) fn string(&self, index: usize) -> mlua::Result<LuaString> {
        let value = self.get(index);
        value
            .and_then(|value| as_string(&self.lua, value))
            .ok_or_else(|| self.wrong_type(index, "string"))
    }

    /// `bad argument #index to 'function' (why)`.
    pub(crate) fn bad(&self, index: usize, why: &str) -> Error {
        raise::argument(&self.lua, self.function, index, why)
    }

    fn wrong_type(&self, index: usize, expected: &str) -> Error {
        let got = self.get(index).map_or("no value", type_name);
        self.bad(index, &format!("{expected} expected, got {got}"))
    }
}

/// The type's name in Lua.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}

/// What `tonumber` makes of a number or string.
pub(crate) fn as_number(lua: &Lua, value: &Value) -> Option<f64> {
    match value {
        Value::Integer(value) => Some(*value as f64),
        Value::Number(value) => Some(*value),
        Value::String(_) => lua.coerce_number(value.clone()).ok().flatten(),
        _ => None,
    }
}

/// What `tostring` makes of a string or number.
pub(crate) fn as_string(lua: &Lua, value: &Value) -> Option<LuaString> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(_) | Value::Number(_) => lua.coerce_string(value.clone()).ok().flatten(),
        _ => None,
    }
}

/// A double cut to 64 bits; out of range, the processor's answer.
pub(crate) fn to_integer(value: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        value as i64
    } else {
        i64::MIN
    }
}
