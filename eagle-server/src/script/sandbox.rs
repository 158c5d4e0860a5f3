//! Makes the globals of an interpreter: `sandbox.lua`, and the functions it needs from here.

use super::engine::{self, Mode, State};
use super::library::{self, Arguments};
use super::raise;
use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};
use std::rc::Rc;

const CODE: &str = include_str!("sandbox.lua");

/// What runs scripts inside the globals.
pub(super) struct Sandbox {
    /// Lua's own.
    xpcall: Function,
    /// The error handler.
    handle: Function,
    /// Where KEYS and ARGV are put.
    globals: Table,
    /// Their names, made once.
    keys: LuaString,
    args: LuaString,
    /// Whether the globals are those of a library being loaded.
    set_loading: Function,
}

impl Sandbox {
    /// Sets KEYS and ARGV for the next script.
    pub(super) fn give(&self, keys: &Table, args: &Table) -> mlua::Result<()> {
        self.globals.raw_set(&self.keys, keys)?;
        self.globals.raw_set(&self.args, args)
    }

    /// Runs a script: whether it succeeded, and what it returned or raised.
    pub(super) fn run_script(&self, script: &Function) -> mlua::Result<(bool, Value)> {
        self.xpcall.call((script, &self.handle))
    }

    /// Runs a function of a library.
    pub(super) fn run_function(
        &self,
        function: &Function,
        keys: Table,
        args: Table,
    ) -> mlua::Result<(bool, Value)> {
        // Unlike that of Lua 5.1, this one takes arguments for the function.
        self.xpcall.call((function, &self.handle, keys, args))
    }

    /// Runs the chunk of a library. The engine is to be [ready](Sandbox::end_load) again afterwards.
    pub(super) fn load(&self, lua: &Lua, chunk: &Function) -> mlua::Result<(bool, Value)> {
        self.set_loading.call::<()>(true)?;
        // Without a handler: the error tells no position of its own.
        let same = lua.create_function(|lua, value: Value| raise::caught(lua, value))?;
        self.xpcall.call((chunk, same))
    }

    /// Ends loading, once the hook is quiet.
    pub(super) fn end_load(&self) {
        let _ = self.set_loading.call::<()>(false);
    }
}

pub(super) fn make(lua: &Lua, state: &Rc<State>, mode: Mode) -> mlua::Result<Sandbox> {
    let native = lua.create_table()?;
    let real = lua.globals();
    native.raw_set("globals", &real)?;
    let readonly = lua.create_function(|lua, _: MultiValue| -> mlua::Result<()> {
        Err(raise::text(lua, "Attempt to modify a readonly table"))
    })?;
    native.raw_set("readonly", readonly)?;
    // C functions of Redis's Lua refuse without a position.
    let refuse = lua.create_function(|_, _: MultiValue| -> mlua::Result<()> {
        let text = b"Attempt to modify a readonly table".to_vec();
        Err(mlua::Error::external(raise::Raised::Text(text)))
    })?;
    native.raw_set("refuse", refuse)?;
    let fail = lua.create_function(|lua, message: LuaString| -> mlua::Result<()> {
        Err(raise::text(lua, message.as_bytes()))
    })?;
    native.raw_set("fail", fail)?;
    let whereabouts = lua.create_function(|lua, ()| Ok(raise::position(lua)))?;
    native.raw_set("where", whereabouts)?;
    let caught = lua.create_function(|lua, value: Value| raise::caught(lua, value))?;
    native.raw_set("caught", caught)?;
    let handle = lua.create_function(|lua, value: Value| raise::handle(lua, value))?;
    let xpcall = lua.globals().get("xpcall")?;
    native.raw_set("undeclared", undeclared(lua)?)?;
    let number = lua.create_function(|lua, value: Value| Ok(library::as_number(lua, &value)))?;
    native.raw_set("number", number)?;
    let (random, randomseed) = engine::random(lua, state)?;
    native.raw_set("random", random)?;
    native.raw_set("randomseed", randomseed)?;
    native.raw_set("libraries", engine::libraries(lua, state, mode)?)?;
    native.raw_set("loading", library::loading(lua, state)?)?;

    let chunk = lua
        .load(CODE)
        .set_name(raise::SANDBOXES[usize::from(mode == Mode::Functions)])
        .into_function()?;
    let (globals, set_loading): (Table, Function) = chunk.call(native)?;
    for function in [&chunk, &set_loading] {
        function.set_environment(globals.clone())?;
    }
    lua.set_globals(globals)?;
    Ok(Sandbox {
        xpcall,
        handle,
        globals: real,
        keys: lua.create_string("KEYS")?,
        args: lua.create_string("ARGV")?,
        set_loading,
    })
}

/// What reading a global that does not exist calls.
fn undeclared(lua: &Lua) -> mlua::Result<Function> {
    lua.create_function(|lua, args: MultiValue| -> mlua::Result<()> {
        let args = Arguments::new(lua, "luaProtectedTableError", args);
        let name = args.get(2).and_then(|name| library::as_string(lua, name));
        let Some(name) = name.filter(|_| args.len() == 2) else {
            let text = "Second argument to luaProtectedTableError must be a string or number";
            return Err(raise::text(lua, text));
        };
        let name = name.as_bytes();
        let text = b"Script attempted to access nonexistent global variable '";
        Err(raise::text(lua, [&text[..], &name, b"'"].concat()))
    })
}
