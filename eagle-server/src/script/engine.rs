//! An interpreter: made with its globals, runs scripts or functions, and can be stopped.
//!
//! A thread has two, one for scripts (EVAL) and one for functions (FCALL), as Redis has. Both are made when first
//! needed. Scripts are compiled when a thread first runs them; libraries are loaded when a thread first calls one of
//! their functions, so what a library keeps in its own variables, each thread keeps for itself.
//!
//! **Stopping.** A hook runs every [`STEPS`] instructions. To stop a script it raises an error and is set to run at each
//! instruction, where it raises again: a script that catches the error gets no further.

use super::compiled::{Compiled, Scripts};
use super::error::ScriptError;
use super::functions::{Function, Library};
use super::host::{self, Host};
use super::library::{self, Arguments, Random};
use super::raise::{self, Raised};
use super::source::{self, Source, sha1_hex};
use super::{Shared, convert, sandbox, shebang};
use crate::script::ReplyErrors;
use bstr::BStr;
use eagle_core::resp::{Protocol, Writer};
use mlua::{Error, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Value, VmState};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Instructions between two looks at the clock and the kill switch.
const STEPS: u32 = 100_000;

/// Bytes by which an interpreter may grow before what it has used up is collected, besides what allocating brings about:
/// without that it would grow to twice what it needs. A round of the collector looks at all that is in use, so it has to
/// be worth it.
const GARBAGE_BYTES: usize = 28 * 1024;

/// Of a large interpreter the garbage may be this part.
const GARBAGE_PART: usize = 4;

/// Steps of a round behind one script, each about a kilobyte of garbage's worth.
const STEPS_AT_ONCE: u32 = 10;

/// Bytes an interpreter may use.
const MEMORY_BYTES_MAX: usize = 1 << 30;

/// Bytes of what is made into Lua values [without a bound](unbounded).
const UNBOUNDED_BYTES_MAX: usize = 1 << 20;

/// How long a library may take to register its functions when a client loads it.
const LOAD_TIME_MAX: Duration = Duration::from_millis(500);

/// Bytes of a reply buffer that is kept between calls.
const BUFFER_BYTES_KEPT: usize = 64 * 1024;

/// Bytes the interpreters of a node use.
#[derive(Default)]
pub struct Memory {
    scripts: AtomicUsize,
    functions: AtomicUsize,
}

impl Memory {
    /// Interpreters of scripts.
    pub fn of_scripts(&self) -> usize {
        self.scripts.load(Ordering::Relaxed)
    }

    /// Interpreters of functions.
    pub fn of_functions(&self) -> usize {
        self.functions.load(Ordering::Relaxed)
    }
}

/// Lets an interpreter use as much memory as it takes, until this is dropped.
struct Unbounded<'l>(&'l Lua);

impl Drop for Unbounded<'_> {
    fn drop(&mut self) {
        let _ = self.0.set_memory_limit(MEMORY_BYTES_MAX);
    }
}

/// Runs `make`, which makes Lua values of so many bytes of a request or reply and runs no code of a script. If these are
/// few, that is done without the bound of the interpreter's memory: within a bound, making a table or a string takes a
/// protected call with two closures, which is more work than the rest of a small script, and garbage besides. What the
/// script takes next is bounded again.
pub(super) fn unbounded<T>(lua: &Lua, bytes: usize, make: impl FnOnce() -> T) -> T {
    let _unbounded = (bytes <= UNBOUNDED_BYTES_MAX).then(|| {
        let _ = lua.set_memory_limit(0);
        Unbounded(lua)
    });
    make()
}

/// What the functions that the server gives to scripts share with their engine.
pub(super) struct State {
    pub(super) random: Random,
    loading: RefCell<Option<Loading>>,
    /// The script is to end, whatever it catches.
    stopping: RefCell<Option<Raised>>,
    buffer: Cell<Vec<u8>>,
}

/// A library being loaded.
struct Loading {
    registered: Vec<Registered>,
    until: Option<Instant>,
}

/// A function a library has registered.
pub(super) struct Registered {
    pub(super) function: Function,
    pub(super) callback: mlua::Function,
}

impl State {
    fn new() -> State {
        State {
            random: Random::new(),
            loading: RefCell::default(),
            stopping: RefCell::default(),
            buffer: Cell::default(),
        }
    }

    /// Whether a script runs.
    pub(super) fn has_host(&self) -> bool {
        host::with(|_| ()).is_some()
    }

    pub(super) fn is_loading(&self) -> bool {
        self.loading.borrow().is_some()
    }

    pub(super) fn register(&self, registered: Registered) -> Result<(), &'static str> {
        let mut loading = self.loading.borrow_mut();
        let functions = &mut loading.as_mut().ok_or("not loading")?.registered;
        let name = &registered.function.name;
        if functions.iter().any(|known| known.function.name == *name) {
            return Err("Function already exists in the library");
        }
        functions.push(registered);
        Ok(())
    }

    /// An empty buffer for a reply.
    pub(super) fn take_buffer(&self) -> Vec<u8> {
        self.buffer.take()
    }

    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= BUFFER_BYTES_KEPT {
            buffer.clear();
            self.buffer.set(buffer);
        }
    }

    /// Ends the script; the host knows why.
    pub(super) fn stop(self: &State, lua: &Lua) -> Error {
        self.stop_with(
            lua,
            Raised::Table {
                err: b"ERR Script stopped".to_vec(),
                counted: true,
            },
        )
    }

    fn stop_with(&self, lua: &Lua, why: Raised) -> Error {
        let error = Error::external(why.clone());
        *self.stopping.borrow_mut() = Some(why);
        // The hook itself stays what it is; it only comes more often.
        let _ = lua.set_global_hook(HookTriggers::new().every_nth_instruction(1), always_stop);
        error
    }

    /// The hook.
    fn interrupt(&self, lua: &Lua) -> mlua::Result<VmState> {
        if let Some(why) = self.stopping.borrow().clone() {
            return Err(Error::external(why));
        }
        let late = self
            .loading
            .borrow()
            .as_ref()
            .is_some_and(|loading| loading.until.is_some_and(|until| Instant::now() > until));
        if late {
            let err = b"ERR FUNCTION LOAD timeout".to_vec();
            return Err(self.stop_with(
                lua,
                Raised::Table {
                    err,
                    counted: false,
                },
            ));
        }
        match host::with(|host| host.interrupt()).flatten() {
            None => Ok(VmState::Continue),
            Some(err) => Err(self.stop_with(
                lua,
                Raised::Table {
                    err,
                    counted: false,
                },
            )),
        }
    }
}

/// The hook of a script that is being stopped.
fn always_stop(lua: &Lua, _: &mlua::debug::Debug<'_>) -> mlua::Result<VmState> {
    let state = lua.app_data_ref::<Rc<State>>().map(|state| state.clone());
    let why = state.and_then(|state| state.stopping.borrow().clone());
    match why {
        Some(why) => Err(Error::external(why)),
        None => Ok(VmState::Continue),
    }
}

/// The arguments of a script.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub keys: &'a [&'a [u8]],
    pub args: &'a [&'a [u8]],
}

/// What became of a script.
pub enum Finished {
    Returned(Returned),
    Failed(Failure),
}

/// What a script returned.
pub struct Returned {
    value: Value,
    next: mlua::Function,
}

impl Returned {
    /// Writes it as a reply; `protocol` is the one the script has chosen.
    pub fn write(self, out: &mut Writer, protocol: Protocol) -> ReplyErrors {
        convert::write_reply(out, &self.next, self.value, protocol)
    }
}

/// The error a script ended with.
pub struct Failure {
    /// The text, with its code.
    pub text: Vec<u8>,
    /// Error statistics know of it already.
    pub counted: bool,
}

/// A script, and the engine that has compiled it.
pub struct Script {
    engine: Rc<Engine>,
    compiled: Rc<Compiled>,
}

impl std::ops::Deref for Script {
    type Target = Compiled;

    fn deref(&self) -> &Compiled {
        &self.compiled
    }
}

/// The engines of one thread.
#[derive(Default)]
pub struct Engines {
    eval: RefCell<Option<(u64, Rc<Engine>)>>,
    functions: RefCell<Option<Rc<Engine>>>,
}

impl Engines {
    fn eval(&self, shared: &Shared) -> Result<Rc<Engine>, ScriptError> {
        let generation = shared.sources.generation();
        let mut eval = self.eval.borrow_mut();
        match &*eval {
            Some((made_at, engine)) if *made_at == generation => Ok(engine.clone()),
            _ => {
                let engine = Rc::new(Engine::new(Mode::Eval).map_err(unavailable)?);
                let old = eval.replace((generation, engine.clone()));
                if let Some((_, old)) = old {
                    let noted = old.noted.get();
                    shared.memory.scripts.fetch_sub(noted, Ordering::Relaxed);
                }
                Ok(engine)
            }
        }
    }

    fn functions(&self) -> Result<Rc<Engine>, ScriptError> {
        let mut functions = self.functions.borrow_mut();
        if let Some(engine) = &*functions {
            return Ok(engine.clone());
        }
        let engine = Rc::new(Engine::new(Mode::Functions).map_err(unavailable)?);
        *functions = Some(engine.clone());
        Ok(engine)
    }

    /// The script with this text, which the node's cache has from now on; the error is the reply's text.
    pub fn script(&self, shared: &Shared, body: &[u8]) -> Result<Script, ScriptError> {
        // What this engine knows is in the cache for as long as the engine is current.
        let engine = self.eval(shared)?;
        if let Some(compiled) = engine.scripts.borrow().with_text(body) {
            let compiled = compiled.clone();
            return Ok(Script {
                engine: engine.clone(),
                compiled,
            });
        }
        let sha = sha1_hex(body);
        let (source, is_new) = match shared.sources.get(&sha) {
            Some(source) => (source, false),
            None => (Arc::new(Source::new(body)?), true),
        };
        let compiled = engine.compile(sha, source)?;
        if is_new {
            shared.sources.insert(sha, compiled.source().clone());
        }
        engine.scripts.borrow_mut().insert(&compiled);
        Ok(Script { engine, compiled })
    }

    /// The script of the node's cache that a client names by its sha1, if there is one.
    pub fn script_named(&self, shared: &Shared, sha: &[u8]) -> Result<Option<Script>, ScriptError> {
        let Some(sha) = source::lower(sha) else {
            return Ok(None);
        };
        let engine = self.eval(shared)?;
        if let Some(compiled) = engine.scripts.borrow().with_sha(&sha) {
            let compiled = compiled.clone();
            return Ok(Some(Script {
                engine: engine.clone(),
                compiled,
            }));
        }
        let Some(source) = shared.sources.get(&sha) else {
            return Ok(None);
        };
        let compiled = engine.compile(sha, source)?;
        engine.scripts.borrow_mut().insert(&compiled);
        Ok(Some(Script { engine, compiled }))
    }

    /// Runs a script.
    pub fn run_script(
        &self,
        shared: &Shared,
        script: &Script,
        given: Given<'_>,
        host: &mut (dyn Host + '_),
    ) -> Finished {
        let Script { engine, compiled } = script;
        let finished = engine.run(&compiled.function, compiled.name(), given, host);
        engine.note_memory(&shared.memory.scripts);
        finished
    }

    /// Loads a library: the functions it registers. The error is the reply's text.
    pub fn load_library(
        &self,
        shared: &Shared,
        code: &[u8],
        is_bounded: bool,
    ) -> Result<Library, ScriptError> {
        let (name, script) = shebang::of_library(code)?;
        let engine = self.functions()?;
        let until = is_bounded.then(|| Instant::now() + LOAD_TIME_MAX);
        let registered = engine.load(script, until)?;
        engine.note_memory(&shared.memory.functions);
        if registered.is_empty() {
            return Err("ERR No functions registered".to_owned().into());
        }
        let functions = registered
            .into_iter()
            .map(|registered| registered.function)
            .collect();
        Ok(Library {
            name,
            code: code.into(),
            functions,
        })
    }

    /// Calls a function of a library.
    pub fn run_function(
        &self,
        shared: &Shared,
        library: &Arc<Library>,
        function: &Function,
        given: Given<'_>,
        host: &mut (dyn Host + '_),
    ) -> Result<Finished, ScriptError> {
        let engine = self.functions()?;
        let callback = engine.callback(library, &function.name)?;
        let finished = engine.run(&callback, &function.name, given, host);
        engine.note_memory(&shared.memory.functions);
        Ok(finished)
    }

    /// Forgets what was loaded of libraries that are no more.
    pub fn retain_libraries(&self, is_current: impl Fn(&Arc<Library>) -> bool) {
        if let Some(engine) = &*self.functions.borrow() {
            let mut loaded = engine.libraries.borrow_mut();
            loaded.retain(|_, (library, _)| is_current(library));
        }
    }
}

fn unavailable(error: Error) -> ScriptError {
    format!("ERR Can't start the Lua interpreter: {error}").into()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Eval,
    Functions,
}

/// Callbacks of a library's functions, by name.
type Callbacks = HashMap<String, mlua::Function>;

/// An interpreter.
struct Engine {
    lua: Lua,
    mode: Mode,
    state: Rc<State>,
    sandbox: sandbox::Sandbox,
    next: mlua::Function,
    loadstring: mlua::Function,
    scripts: RefCell<Scripts>,
    libraries: RefCell<HashMap<String, (Arc<Library>, Callbacks)>>,
    /// As [`Memory`] has it.
    noted: Cell<usize>,
    /// Bytes in use from which on there is garbage to be collected.
    collect_at: Cell<usize>,
}

impl Engine {
    fn new(mode: Mode) -> mlua::Result<Engine> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let options = LuaOptions::new().catch_rust_panics(false);
        let lua = Lua::new_with(libraries, options)?;
        let state = Rc::new(State::new());
        lua.set_app_data(state.clone());
        let next = lua.globals().get("next")?;
        let loadstring = lua.globals().get("loadstring")?;
        let sandbox = sandbox::make(&lua, &state, mode)?;
        lua.set_memory_limit(MEMORY_BYTES_MAX)?;
        let engine = Engine {
            lua,
            mode,
            state,
            sandbox,
            next,
            loadstring,
            scripts: RefCell::default(),
            libraries: RefCell::default(),
            noted: Cell::new(0),
            collect_at: Cell::new(0),
        };
        engine.arm()?;
        Ok(engine)
    }

    /// Sets the hook.
    fn arm(&self) -> mlua::Result<()> {
        let state = self.state.clone();
        let triggers = HookTriggers::new().every_nth_instruction(STEPS);
        self.lua
            .set_global_hook(triggers, move |lua, _| state.interrupt(lua))
    }

    /// Makes the engine ready for the next script.
    fn rearm(&self) {
        if self.state.stopping.take().is_some() {
            let _ = self.arm();
            // What the script held is not needed any more, and may be much.
            let _ = self.lua.gc_collect();
        }
    }

    fn chunk_name(&self) -> &'static str {
        raise::USERS[usize::from(self.mode == Mode::Functions)]
    }

    fn parse(&self, code: &[u8]) -> Result<mlua::Function, ScriptError> {
        if code.first() == Some(&27) {
            let name = &self.chunk_name()[1..];
            return Err(format!("{name}:1: unexpected symbol near 'char(27)'").into());
        }
        let chunk = self.lua.load(code).set_name(self.chunk_name());
        chunk
            .set_mode(mlua::chunk::ChunkMode::Text)
            .into_function()
            .map_err(|error| match error {
                Error::SyntaxError { message, .. } => self
                    .complaint(code)
                    .map_or_else(|| message.into(), ScriptError),
                other => other.to_string().into(),
            })
    }

    /// What Lua says is wrong with code that does not parse, as it says it: it quotes bytes of the code.
    fn complaint(&self, code: &[u8]) -> Option<Vec<u8>> {
        let code = self.lua.create_string(code).ok()?;
        let outcome = self.loadstring.call((code, self.chunk_name()));
        match outcome {
            Ok((Value::Nil, Value::String(text))) => Some(text.as_bytes().to_vec()),
            _ => None,
        }
    }

    fn compile(&self, sha: source::Sha, source: Arc<Source>) -> Result<Rc<Compiled>, ScriptError> {
        let function = self
            .parse(source.code())
            .map_err(|error| error.behind("ERR Error compiling script (new function): "))?;
        Ok(Rc::new(Compiled::new(sha, source, function)))
    }

    fn load(&self, script: &[u8], until: Option<Instant>) -> Result<Vec<Registered>, ScriptError> {
        let function = self
            .parse(script)
            .map_err(|error| error.behind("ERR Error compiling function: "))?;
        *self.state.loading.borrow_mut() = Some(Loading {
            registered: Vec::new(),
            until,
        });
        let outcome = self.sandbox.load(&self.lua, &function);
        let loading = self.state.loading.take();
        self.rearm();
        self.sandbox.end_load();
        match outcome {
            Ok((true, _)) => Ok(loading.map_or_else(Vec::new, |loading| loading.registered)),
            Ok((false, error)) => {
                let failure = self.failure_of(&error);
                let text = match failure {
                    Some((text, _)) => text,
                    None => b"ERR ".to_vec(),
                };
                Err(ScriptError(text).behind("ERR Error registering functions: "))
            }
            Err(error) => Err(format!("ERR Error registering functions: {error}").into()),
        }
    }

    fn callback(&self, library: &Arc<Library>, name: &str) -> Result<mlua::Function, ScriptError> {
        const GONE: &str = "ERR Function not found";
        if let Some((loaded, callbacks)) = self.libraries.borrow().get(&library.name)
            && Arc::ptr_eq(loaded, library)
        {
            return callbacks.get(name).cloned().ok_or(GONE.to_owned().into());
        }
        let (_, script) = shebang::of_library(&library.code)?;
        let callbacks: Callbacks = self
            .load(script, None)?
            .into_iter()
            .map(|registered| (registered.function.name, registered.callback))
            .collect();
        let callback = callbacks.get(name).cloned();
        self.libraries
            .borrow_mut()
            .insert(library.name.clone(), (library.clone(), callbacks));
        callback.ok_or(GONE.to_owned().into())
    }

    /// Text and flag of an error value that is a table or string.
    fn failure_of(&self, error: &Value) -> Option<(Vec<u8>, bool)> {
        match error {
            Value::Table(table) => {
                let text = match table.get::<Value>("err") {
                    Ok(Value::String(text)) => text.as_bytes().to_vec(),
                    _ => b"ERR unknown error".to_vec(),
                };
                let counted = table.get::<Value>("ignore_error_stats_update");
                Some((text, matches!(counted, Ok(Value::Boolean(true)))))
            }
            Value::String(text) => Some(([b"ERR ", &*text.as_bytes()].concat(), false)),
            _ => None,
        }
    }

    fn run(
        &self,
        function: &mlua::Function,
        name: &str,
        given: Given<'_>,
        host: &mut (dyn Host + '_),
    ) -> Finished {
        let outcome = self.call(function, given, host);
        let finished = match outcome {
            Ok((true, value)) => Finished::Returned(Returned {
                value,
                next: self.next.clone(),
            }),
            Ok((false, error)) => Finished::Failed(self.failure(name, &error)),
            Err(error) => {
                let text = match raise::find(&error) {
                    raise::Found::Memory => raise::NOT_ENOUGH_MEMORY.to_owned(),
                    _ => error.to_string(),
                };
                let text = self
                    .lua
                    .create_string(text)
                    .map_or(Value::Nil, Value::String);
                Finished::Failed(self.failure(name, &text))
            }
        };
        self.rearm();
        finished
    }

    fn call(
        &self,
        function: &mlua::Function,
        given: Given<'_>,
        host: &mut (dyn Host + '_),
    ) -> mlua::Result<(bool, Value)> {
        let lua = &self.lua;
        let strings = |words: &[&[u8]]| lua.create_sequence_from(words.iter().map(BStr::new));
        let words = given.keys.iter().chain(given.args);
        let bytes = words.map(|word| word.len() + size_of::<&[u8]>()).sum();
        match self.mode {
            Mode::Eval => {
                unbounded(lua, bytes, || {
                    let (keys, args) = (strings(given.keys)?, strings(given.args)?);
                    self.sandbox.give(&keys, &args)
                })?;
                host::enter(host, || self.sandbox.run_script(function))
            }
            Mode::Functions => {
                let tables = unbounded(lua, bytes, || {
                    mlua::Result::Ok((strings(given.keys)?, strings(given.args)?))
                });
                let (keys, args) = tables?;
                host::enter(host, || self.sandbox.run_function(function, keys, args))
            }
        }
    }

    /// The reply for an error that came out of a script.
    fn failure(&self, name: &str, error: &Value) -> Failure {
        let Value::Table(table) = error else {
            let text = match error {
                Value::String(text) => text.as_bytes().to_vec(),
                _ => b"execution failure".to_vec(),
            };
            // What Lua held when it ran out of memory.
            let _ = self.lua.gc_collect();
            let text = &text[..text.len().min(100)];
            let prefix = format!("ERR Error running script {name}, ");
            return Failure {
                text: [prefix.as_bytes(), text].concat(),
                counted: false,
            };
        };
        let (mut text, counted) = self.failure_of(error).unwrap_or_default();
        let source = table.get::<Value>("source");
        let line = table.get::<Value>("line");
        let line = line
            .ok()
            .and_then(|line| library::as_string(&self.lua, &line));
        if let (Ok(Value::String(source)), Some(line)) = (&source, line) {
            let line = String::from_utf8_lossy(&line.as_bytes()).into_owned();
            let source = String::from_utf8_lossy(&source.as_bytes()).into_owned();
            text.extend(format!(" script: {name}, on {source}:{line}.").bytes());
        }
        Failure { text, counted }
    }

    /// Counts what the interpreter uses, after each script; collects some garbage first if there is much.
    fn note_memory(&self, total: &AtomicUsize) {
        let mut used = self.lua.used_memory();
        if used > self.collect_at.get() {
            // An error of a finalizer is nobody's.
            let mut steps = 0..STEPS_AT_ONCE;
            let is_done = steps.any(|_| self.lua.gc_step().unwrap_or(true));
            used = self.lua.used_memory();
            if is_done {
                let garbage = GARBAGE_BYTES.max(used / GARBAGE_PART);
                self.collect_at.set(used + garbage);
            }
        }
        let before = self.noted.replace(used);
        if used != before {
            total.fetch_add(used.wrapping_sub(before), Ordering::Relaxed);
        }
    }
}

/// Natives that need the engine's state.
pub(super) fn random(
    lua: &Lua,
    state: &Rc<State>,
) -> mlua::Result<(mlua::Function, mlua::Function)> {
    let of = state.clone();
    let random = lua.create_function(move |lua, args: MultiValue| {
        of.random.random(lua, &Arguments::new(lua, "random", args))
    })?;
    let of = state.clone();
    let seed = lua.create_function(move |lua, args: MultiValue| {
        of.random
            .randomseed(lua, &Arguments::new(lua, "randomseed", args))
    })?;
    Ok((random, seed))
}

/// The libraries of an engine.
pub(super) fn libraries(lua: &Lua, state: &Rc<State>, mode: Mode) -> mlua::Result<mlua::Table> {
    let libraries = library::all(lua)?;
    libraries.raw_set("redis", library::api(lua, state, mode == Mode::Eval)?)?;
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_but_for_small_values() {
        let engine = Engine::new(Mode::Eval).unwrap();
        let bound = || {
            let bound = engine.lua.set_memory_limit(MEMORY_BYTES_MAX).unwrap();
            engine.lua.set_memory_limit(bound).unwrap();
            bound
        };
        assert_eq!(bound(), MEMORY_BYTES_MAX);
        assert_eq!(unbounded(&engine.lua, 1000, bound), 0);
        assert_eq!(bound(), MEMORY_BYTES_MAX);
        let many = UNBOUNDED_BYTES_MAX + 1;
        assert_eq!(unbounded(&engine.lua, many, bound), MEMORY_BYTES_MAX);
        let run = std::panic::AssertUnwindSafe(|| unbounded(&engine.lua, 1, || panic!("a bug")));
        assert!(std::panic::catch_unwind(run).is_err());
        assert_eq!(bound(), MEMORY_BYTES_MAX);
    }
}
