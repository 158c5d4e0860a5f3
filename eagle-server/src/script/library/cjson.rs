//! `cjson`: JSON, with the settings of one module table.

use super::args::Arguments;
use super::json_decode::decode;
use super::json_encode::encode;
use mlua::{IntoLuaMulti, LightUserData, Lua, MultiValue, Table, Value};
use std::cell::Cell;
use std::rc::Rc;

/// What becomes of numbers that JSON does not know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum InvalidNumbers {
    Refused,
    AsTheyAre,
    AsNull,
}

/// The settings of one module table.
pub(super) struct Settings {
    pub(super) sparse_convert: Cell<bool>,
    /// 0 allows any array with gaps; else more than so many times too long is too sparse.
    pub(super) sparse_ratio: Cell<i32>,
    /// Up to this length gaps do not matter.
    pub(super) sparse_safe: Cell<i32>,
    pub(super) encode_depth_max: Cell<i32>,
    pub(super) decode_depth_max: Cell<i32>,
    pub(super) encode_invalid_numbers: Cell<InvalidNumbers>,
    pub(super) decode_invalid_numbers: Cell<bool>,
    /// Significant digits.
    pub(super) precision: Cell<i32>,
    keep_buffer: Cell<bool>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            sparse_convert: Cell::new(false),
            sparse_ratio: Cell::new(2),
            sparse_safe: Cell::new(10),
            encode_depth_max: Cell::new(1000),
            decode_depth_max: Cell::new(1000),
            encode_invalid_numbers: Cell::new(InvalidNumbers::Refused),
            decode_invalid_numbers: Cell::new(true),
            precision: Cell::new(14),
            keep_buffer: Cell::new(true),
        }
    }
}

/// `cjson.null`: the null pointer, which unlike nil may stand in a table.
pub(super) fn null() -> Value {
    Value::LightUserData(LightUserData(std::ptr::null_mut()))
}

type Function = fn(&Lua, &Settings, &Arguments) -> mlua::Result<MultiValue>;

const FUNCTIONS: &[(&str, Function)] = &[
    ("encode", |lua, settings, args| {
        one_argument(args)?;
        encode(lua, settings, args.get(1).unwrap_or(&Value::Nil))?.into_lua_multi(lua)
    }),
    ("decode", |lua, settings, args| {
        one_argument(args)?;
        let text = args.string(1)?;
        decode(lua, settings, &text.as_bytes())?.into_lua_multi(lua)
    }),
    ("encode_sparse_array", |lua, settings, args| {
        arguments_max(args, 3)?;
        let convert = switch(args, 1, &settings.sparse_convert)?;
        let ratio = integer(args, 2, &settings.sparse_ratio, 0, i32::MAX)?;
        let safe = integer(args, 3, &settings.sparse_safe, 0, i32::MAX)?;
        (convert, ratio, safe).into_lua_multi(lua)
    }),
    ("encode_max_depth", |lua, settings, args| {
        arguments_max(args, 1)?;
        integer(args, 1, &settings.encode_depth_max, 1, i32::MAX)?.into_lua_multi(lua)
    }),
    ("decode_max_depth", |lua, settings, args| {
        arguments_max(args, 1)?;
        integer(args, 1, &settings.decode_depth_max, 1, i32::MAX)?.into_lua_multi(lua)
    }),
    ("encode_number_precision", |lua, settings, args| {
        arguments_max(args, 1)?;
        integer(args, 1, &settings.precision, 1, 14)?.into_lua_multi(lua)
    }),
    // There is no buffer that is kept; the setting is.
    ("encode_keep_buffer", |lua, settings, args| {
        arguments_max(args, 1)?;
        switch(args, 1, &settings.keep_buffer)?.into_lua_multi(lua)
    }),
    ("encode_invalid_numbers", encode_invalid_numbers),
    ("decode_invalid_numbers", |lua, settings, args| {
        arguments_max(args, 1)?;
        switch(args, 1, &settings.decode_invalid_numbers)?.into_lua_multi(lua)
    }),
    ("new", |lua, _, _| library(lua)?.into_lua_multi(lua)),
];

/// A module table with settings of its own.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let settings = Rc::new(Settings::default());
    let table = lua.create_table()?;
    for (name, function) in FUNCTIONS {
        let (name, function, settings) = (*name, *function, settings.clone());
        let closure = lua.create_function(move |lua, args: MultiValue| {
            function(lua, &settings, &Arguments::new(lua, name, args))
        })?;
        table.raw_set(name, closure)?;
    }
    table.raw_set("null", null())?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

fn one_argument(args: &Arguments) -> mlua::Result<()> {
    if args.len() == 1 {
        Ok(())
    } else {
        Err(args.bad(1, "expected 1 argument"))
    }
}

fn arguments_max(args: &Arguments, max: usize) -> mlua::Result<()> {
    if args.len() <= max {
        Ok(())
    } else {
        Err(args.bad(max + 1, "found too many arguments"))
    }
}

/// Sets an integer if there is an argument; what it is then.
fn integer(
    args: &Arguments,
    index: usize,
    setting: &Cell<i32>,
    min: i32,
    max: i32,
) -> mlua::Result<i32> {
    if !args.is_none_or_nil(index) {
        let value = args.integer(index)? as i32;
        if !(min..=max).contains(&value) {
            let why = format!("expected integer between {min} and {max}");
            return Err(args.bad(1, &why));
        }
        setting.set(value);
    }
    Ok(setting.get())
}

/// One of these words among the arguments.
fn option(args: &Arguments, index: usize, words: &[&str]) -> mlua::Result<usize> {
    let word = args.string(index)?;
    let found = words
        .iter()
        .position(|known| known.as_bytes() == &*word.as_bytes());
    found.ok_or_else(|| {
        let word = String::from_utf8_lossy(&word.as_bytes()).into_owned();
        args.bad(index, &format!("invalid option '{word}'"))
    })
}

/// Sets a switch if there is an argument; what it is then.
fn switch(args: &Arguments, index: usize, setting: &Cell<bool>) -> mlua::Result<bool> {
    match args.get(index) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(on)) => setting.set(*on),
        Some(_) => setting.set(option(args, index, &["off", "on"])? == 1),
    }
    Ok(setting.get())
}

fn encode_invalid_numbers(
    lua: &Lua,
    settings: &Settings,
    args: &Arguments,
) -> mlua::Result<MultiValue> {
    const CHOICES: [InvalidNumbers; 3] = [
        InvalidNumbers::Refused,
        InvalidNumbers::AsTheyAre,
        InvalidNumbers::AsNull,
    ];
    arguments_max(args, 1)?;
    let setting = &settings.encode_invalid_numbers;
    match args.get(1) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(on)) => setting.set(CHOICES[usize::from(*on)]),
        Some(_) => setting.set(CHOICES[option(args, 1, &["off", "on", "null"])?]),
    }
    match setting.get() {
        InvalidNumbers::Refused => false.into_lua_multi(lua),
        InvalidNumbers::AsTheyAre => true.into_lua_multi(lua),
        InvalidNumbers::AsNull => "null".into_lua_multi(lua),
    }
}
