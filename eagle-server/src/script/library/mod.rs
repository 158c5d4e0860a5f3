//! The libraries that scripts find beside Lua's own.

mod args;
mod bit;
mod cjson;
mod cmsgpack;
mod json_decode;
mod json_encode;
mod random;
mod redis;
mod structs;

pub(super) use args::{Arguments, as_number, as_string, to_integer};
pub(super) use random::Random;
pub(super) use redis::{api, loading};

use mlua::{Lua, MultiValue, Table};

/// A function of a library.
type Native = fn(&Lua, Arguments) -> mlua::Result<MultiValue>;

/// Adds functions to a library's table.
fn register(lua: &Lua, table: &Table, functions: &[(&'static str, Native)]) -> mlua::Result<()> {
    for (name, function) in functions {
        let (name, function) = (*name, *function);
        let closure = lua.create_function(move |lua, args: MultiValue| {
            function(lua, Arguments::new(lua, name, args))
        })?;
        table.raw_set(name, closure)?;
    }
    Ok(())
}

/// The libraries by name, but for `redis`.
pub(super) fn all(lua: &Lua) -> mlua::Result<Table> {
    let libraries = lua.create_table()?;
    libraries.raw_set("bit", bit::library(lua)?)?;
    libraries.raw_set("struct", structs::library(lua)?)?;
    libraries.raw_set("cmsgpack", cmsgpack::library(lua)?)?;
    libraries.raw_set("cjson", cjson::library(lua)?)?;
    Ok(libraries)
}
