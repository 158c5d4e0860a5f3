//! Replies of commands to Lua values, and what scripts return to replies.

use super::library::to_integer;
use super::raise;
use eagle_core::resp::{Protocol, Writer};
use eagle_core::text::double::parse_range_end;
use eagle_core::text::integer::parse_i64;
use mlua::{Function, IntoLua, Lua, Table, Value};

/// Arrays in arrays of a command's reply.
const REPLY_DEPTH_MAX: usize = 128;

/// Elements one inside another that a script may return.
const RESULT_DEPTH_MAX: usize = 7980;

const DEPTH_REACHED: &[u8] = b"ERR reached lua stack limit";

/// A whole reply, in either protocol, as a Lua value.
pub(super) fn reply_to_lua(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
    Reading { lua, rest: reply }.value(0)
}

/// An element of an array that is built while it is read.
struct Element(mlua::Result<Value>);

impl IntoLua for Element {
    fn into_lua(self, _: &Lua) -> mlua::Result<Value> {
        self.0
    }
}

struct Reading<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Reading<'a> {
    /// The type byte and the rest of the line.
    fn line(&mut self) -> (u8, &'a [u8]) {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        line.split_first()
            .map_or((b'_', &[][..]), |(kind, line)| (*kind, line))
    }

    /// So many bytes and the line break behind them.
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let bytes = self.rest.get(..len).unwrap_or_default();
        self.rest = self.rest.get(len + 2..).unwrap_or_default();
        bytes
    }

    fn text(&self, bytes: &[u8]) -> mlua::Result<Value> {
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    /// A table of one field.
    fn wrapped(&self, field: &str, value: Value) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        table.raw_set(field, value)?;
        Ok(Value::Table(table))
    }

    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        if depth > REPLY_DEPTH_MAX {
            return Err(raise::table(b"reached lua stack limit"));
        }
        let (kind, line) = self.line();
        let len = parse_i64(line).and_then(|len| usize::try_from(len).ok());
        match (kind, len) {
            (b'+', _) => self.wrapped("ok", self.text(line)?),
            (b'-', _) => {
                let err = raise::with_code(&[b"-", line].concat());
                Ok(Value::Table(raise::error_table(self.lua, &err, true)?))
            }
            (b':', _) => Ok(Value::Number(parse_i64(line).unwrap_or(0) as f64)),
            (b'$', Some(len)) => {
                let bytes = self.bytes(len);
                self.text(bytes)
            }
            (b'*' | b'>', Some(len)) => {
                let lua = self.lua;
                let elements = (0..len).map(|_| Element(self.value(depth + 1)));
                Ok(Value::Table(lua.create_sequence_from(elements)?))
            }
            (b'$' | b'*', None) => Ok(Value::Boolean(false)),
            (b'%', Some(len)) => {
                let map = self.lua.create_table()?;
                for _ in 0..len {
                    let key = self.value(depth + 1)?;
                    let value = self.value(depth + 1)?;
                    map.raw_set(key, value)?;
                }
                self.wrapped("map", Value::Table(map))
            }
            (b'~', Some(len)) => {
                let set = self.lua.create_table()?;
                for _ in 0..len {
                    let member = self.value(depth + 1)?;
                    set.raw_set(member, true)?;
                }
                self.wrapped("set", Value::Table(set))
            }
            (b'|', Some(len)) => {
                for _ in 0..2 * len {
                    self.value(depth + 1)?;
                }
                self.value(depth + 1)
            }
            (b'#', _) => Ok(Value::Boolean(line == b"t")),
            (b',', _) => {
                let number = match line {
                    b"nan" | b"-nan" => f64::NAN,
                    line => parse_range_end(line).unwrap_or(f64::NAN),
                };
                self.wrapped("double", Value::Number(number))
            }
            (b'(', _) => self.wrapped("big_number", self.text(line)?),
            (b'=', Some(len)) => {
                let bytes = self.bytes(len);
                let verbatim = self.lua.create_table()?;
                verbatim.raw_set("format", self.text(bytes.get(..3).unwrap_or_default())?)?;
                verbatim.raw_set("string", self.text(bytes.get(4..).unwrap_or_default())?)?;
                self.wrapped("verbatim_string", Value::Table(verbatim))
            }
            _ => Ok(Value::Nil),
        }
    }
}

/// Error replies inside what a script returned: text, and whether error statistics know of it already.
pub type ReplyErrors = Vec<(Vec<u8>, bool)>;

/// Writes what a script returned; `protocol` is the one the script has chosen, `next` Lua's function of that name.
pub(super) fn write_reply(
    out: &mut Writer,
    next: &Function,
    value: Value,
    protocol: Protocol,
) -> ReplyErrors {
    let mut writing = Writing {
        out,
        next,
        protocol,
        errors: Vec::new(),
        open: Vec::new(),
    };
    writing.value(value);
    while let Some(open) = writing.open.pop() {
        writing.go_on(open);
    }
    writing.errors
}

/// An aggregate of which some elements are written.
enum Open {
    Array {
        table: Table,
        header: eagle_core::resp::Deferred,
        written: usize,
    },
    Map {
        table: Table,
        header: eagle_core::resp::Deferred,
        key: Value,
        /// The value that goes with `key`, if only the key is written.
        value: Option<Value>,
        written: usize,
    },
    Set {
        table: Table,
        header: eagle_core::resp::Deferred,
        key: Value,
        written: usize,
    },
}

/// Not recursive: scripts may nest tables deeper than a thread's stack reaches.
struct Writing<'a> {
    out: &'a mut Writer,
    next: &'a Function,
    protocol: Protocol,
    errors: ReplyErrors,
    open: Vec<Open>,
}

impl Writing<'_> {
    /// Writes a value, or its beginning, leaving the rest open.
    fn value(&mut self, value: Value) {
        if self.open.len() >= RESULT_DEPTH_MAX {
            self.error(DEPTH_REACHED.to_vec(), false);
            return;
        }
        match value {
            Value::String(text) => self.out.bulk(&*text.as_bytes()),
            Value::Boolean(value) if self.protocol == Protocol::Resp3 => self.out.bool(value),
            Value::Boolean(true) => self.out.integer(1),
            Value::Integer(number) => self.out.integer(number),
            Value::Number(number) => self.out.integer(to_integer(number)),
            Value::Table(table) => self.table(table),
            _ => self.out.null(),
        }
    }

    fn error(&mut self, text: Vec<u8>, counted: bool) {
        self.out.error(&text);
        self.errors.push((text, counted));
    }

    fn table(&mut self, table: Table) {
        let field = |name: &str| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
        if let Value::String(err) = field("err") {
            let counted = matches!(
                table.get::<Value>("ignore_error_stats_update"),
                Ok(Value::Boolean(true))
            );
            self.error(err.as_bytes().to_vec(), counted);
            return;
        }
        if let Value::String(status) = field("ok") {
            let status = status.as_bytes();
            let line = status.split(|byte| *byte == 0).next().unwrap_or_default();
            self.out.simple(one_line(line));
            return;
        }
        match field("double") {
            Value::Number(number) => return self.out.double(number),
            Value::Integer(number) => return self.out.double(number as f64),
            _ => {}
        }
        if let Value::String(digits) = field("big_number") {
            self.out.big_number(one_line(&digits.as_bytes()));
            return;
        }
        if let Value::Table(verbatim) = field("verbatim_string")
            && let Ok(Value::String(format)) = verbatim.raw_get("format")
            && let Ok(Value::String(text)) = verbatim.raw_get("string")
        {
            let mut name = [b' '; 3];
            for (to, from) in name.iter_mut().zip(format.as_bytes().iter()) {
                *to = *from;
            }
            self.out.verbatim(&name, &*text.as_bytes());
            return;
        }
        let header = self.out.deferred();
        let open = if let Value::Table(table) = field("map") {
            Open::Map {
                table,
                header,
                key: Value::Nil,
                value: None,
                written: 0,
            }
        } else if let Value::Table(table) = field("set") {
            Open::Set {
                table,
                header,
                key: Value::Nil,
                written: 0,
            }
        } else {
            Open::Array {
                table,
                header,
                written: 0,
            }
        };
        self.open.push(open);
    }

    /// The pair of a table behind the one with `key`.
    fn next(&self, table: &Table, key: Value) -> Option<(Value, Value)> {
        let (key, value) = self.next.call::<(Value, Value)>((table, key)).ok()?;
        (!key.is_nil()).then_some((key, value))
    }

    /// Writes the next element, or ends the aggregate.
    fn go_on(&mut self, open: Open) {
        match open {
            Open::Array {
                table,
                header,
                mut written,
            } => {
                // Plain elements in one go.
                loop {
                    let Ok(element) = table.raw_get::<Value>(written + 1) else {
                        // The interpreter has no room for one more level.
                        self.error(DEPTH_REACHED.to_vec(), false);
                        self.out.finish_array(header, written + 1);
                        return;
                    };
                    if element.is_nil() {
                        self.out.finish_array(header, written);
                        return;
                    }
                    written += 1;
                    if element.is_table() {
                        self.open.push(Open::Array {
                            table,
                            header,
                            written,
                        });
                        return self.value(element);
                    }
                    self.value(element);
                }
            }
            Open::Map {
                table,
                header,
                key,
                value,
                written,
            } => {
                if let Some(value) = value {
                    self.open.push(Open::Map {
                        table,
                        header,
                        key,
                        value: None,
                        written: written + 1,
                    });
                    return self.value(value);
                }
                match self.next(&table, key) {
                    None => self.out.finish_map(header, written),
                    Some((key, value)) => {
                        self.open.push(Open::Map {
                            table,
                            header,
                            key: key.clone(),
                            value: Some(value),
                            written,
                        });
                        self.value(key);
                    }
                }
            }
            Open::Set {
                table,
                header,
                key,
                written,
            } => match self.next(&table, key) {
                None => self.out.finish_set(header, written),
                Some((key, _)) => {
                    self.open.push(Open::Set {
                        table,
                        header,
                        key: key.clone(),
                        written: written + 1,
                    });
                    self.value(key);
                }
            },
        }
    }
}

fn one_line(text: &[u8]) -> Vec<u8> {
    let mapped = text.iter().map(|byte| match byte {
        b'\r' | b'\n' => b' ',
        other => *other,
    });
    mapped.collect()
}
