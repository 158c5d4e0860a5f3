//! `cmsgpack`: MessagePack.
//!
//! A table is an array if its keys are 1 to n without a gap, else a map. Numbers are integers if they are whole.

use super::super::raise;
use super::args::{Arguments, to_integer};
use super::register;
use super::structs::RESULTS_MAX;
use mlua::{Lua, MultiValue, Table, Value};

/// Tables nested deeper are packed as nil: a table may contain itself.
const NESTING_MAX: usize = 16;
/// Tables nested deeper are not unpacked.
const UNPACK_NESTING_MAX: usize = 4000;
/// Bytes packed at most.
const PACKED_BYTES_MAX: usize = 512 << 20;

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    register(
        lua,
        &table,
        &[
            ("pack", pack),
            ("unpack", |lua, args| unpack(lua, &args, 0, 0)),
            ("unpack_one", |lua, args| {
                let offset = args.optional_integer(2, 0)?;
                unpack(lua, &args, 1, offset)
            }),
            ("unpack_limit", |lua, args| {
                let (limit, offset) = (args.integer(2)?, args.optional_integer(3, 0)?);
                unpack(lua, &args, limit, offset)
            }),
        ],
    )?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Redis Ltd.")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

fn pack(lua: &Lua, args: Arguments) -> mlua::Result<MultiValue> {
    if args.len() == 0 {
        return Err(args.bad(0, "MessagePack pack needs input."));
    }
    let mut packer = Packer {
        lua,
        out: Vec::new(),
    };
    for value in args.iter() {
        packer.value(value, 0)?;
    }
    let packed = lua.create_string(packer.out)?;
    Ok(MultiValue::from_vec(vec![Value::String(packed)]))
}

struct Packer<'a> {
    lua: &'a Lua,
    out: Vec<u8>,
}

impl Packer<'_> {
    fn value(&mut self, value: &Value, level: usize) -> mlua::Result<()> {
        match value {
            Value::String(text) => self.bytes(&text.as_bytes()),
            Value::Boolean(value) => self.out.push(0xc2 | u8::from(*value)),
            Value::Integer(value) => self.integer(*value),
            Value::Number(value) => self.number(*value),
            Value::Table(table) if level < NESTING_MAX => return self.table(table, level),
            _ => self.out.push(0xc0),
        }
        if self.out.len() > PACKED_BYTES_MAX {
            return Err(raise::text(self.lua, "resulting string too large"));
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match bytes.len() {
            len @ 0..32 => self.out.push(0xa0 | len as u8),
            len @ 32..0x100 => self.out.extend([0xd9, len as u8]),
            len => self.sized(0xda, len),
        }
        self.out.extend_from_slice(bytes);
    }

    /// A tag with a length of 16 bits, or the next tag with one of 32.
    fn sized(&mut self, tag: u8, len: usize) {
        if let Ok(len) = u16::try_from(len) {
            self.out.push(tag);
            self.out.extend(len.to_be_bytes());
        } else {
            self.out.push(tag + 1);
            self.out.extend((len as u32).to_be_bytes());
        }
    }

    fn number(&mut self, value: f64) {
        if value == to_integer(value) as f64 {
            self.integer(to_integer(value));
        } else if f64::from(value as f32) == value {
            self.out.push(0xca);
            self.out.extend((value as f32).to_be_bytes());
        } else {
            self.out.push(0xcb);
            self.out.extend(value.to_be_bytes());
        }
    }

    fn integer(&mut self, value: i64) {
        let bytes = value.to_be_bytes();
        let (tag, len) = match value {
            -32..=127 => {
                self.out.push(value as u8);
                return;
            }
            128..=0xff => (0xcc, 1),
            0x100..=0xffff => (0xcd, 2),
            0x1_0000..=0xffff_ffff => (0xce, 4),
            0x1_0000_0000.. => (0xcf, 8),
            -128..=-33 => (0xd0, 1),
            -0x8000..=-129 => (0xd1, 2),
            -0x8000_0000..=-0x8001 => (0xd2, 4),
            _ => (0xd3, 8),
        };
        self.out.push(tag);
        self.out.extend_from_slice(&bytes[8 - len..]);
    }

    fn table(&mut self, table: &Table, level: usize) -> mlua::Result<()> {
        let (count, is_array) = shape(table)?;
        if is_array {
            match count {
                0..16 => self.out.push(0x90 | count as u8),
                _ => self.sized(0xdc, count),
            }
            for index in 1..=count {
                self.value(&table.raw_get(index)?, level + 1)?;
            }
            return Ok(());
        }
        match count {
            0..16 => self.out.push(0x80 | count as u8),
            _ => self.sized(0xde, count),
        }
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            self.value(&key, level + 1)?;
            self.value(&value, level + 1)?;
        }
        Ok(())
    }
}

/// The number of pairs of a table, and whether its keys are 1 to that number.
fn shape(table: &Table) -> mlua::Result<(usize, bool)> {
    let (mut count, mut max, mut is_array) = (0usize, 0i64, true);
    for pair in table.pairs::<Value, Value>() {
        count += 1;
        let key = match pair?.0 {
            Value::Integer(key) => key,
            Value::Number(key) if key == f64::from(key as i32) => key as i64,
            _ => 0,
        };
        is_array &= (1..=i64::from(i32::MAX)).contains(&key);
        max = max.max(key);
    }
    Ok((count, is_array && max == count as i64))
}

/// Unpacks at most `limit` values from `offset` on, with the offset behind them in front; all of them, without it, if
/// both are zero.
fn unpack(lua: &Lua, args: &Arguments, limit: i64, offset: i64) -> mlua::Result<MultiValue> {
    let data = args.string(1)?;
    let data = data.as_bytes();
    if offset < 0 || limit < 0 {
        let text = format!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32,
            data.len() as i32
        );
        return Err(raise::text(lua, text));
    }
    let Some(rest) = data.get(offset as usize..) else {
        let text = format!(
            "Start offset {} greater than input length {}.",
            offset as i32,
            data.len() as i32
        );
        return Err(raise::text(lua, text));
    };
    let all = limit == 0 && offset == 0;
    let limit = if all { i64::from(i32::MAX) } else { limit };
    let mut unpacker = Unpacker { lua, rest };
    let mut values = Vec::new();
    while !unpacker.rest.is_empty() && (values.len() as i64) < limit {
        if values.len() >= RESULTS_MAX {
            let text = "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";
            return Err(raise::text(lua, text));
        }
        values.push(unpacker.value(0)?);
    }
    if !all {
        let left = unpacker.rest.len();
        let next = if left == 0 {
            -1.0
        } else {
            (data.len() - left) as f64
        };
        values.insert(0, Value::Number(next));
    }
    Ok(MultiValue::from_vec(values))
}

struct Unpacker<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Unpacker<'a> {
    fn take(&mut self, len: usize) -> mlua::Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(raise::text(self.lua, "Missing bytes in input."));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// A big-endian number of `len` bytes.
    fn unsigned(&mut self, len: usize) -> mlua::Result<u64> {
        let bytes = self.take(len)?;
        Ok(bytes
            .iter()
            .fold(0, |all, byte| all << 8 | u64::from(*byte)))
    }

    fn signed(&mut self, len: usize) -> mlua::Result<f64> {
        let unused = 64 - 8 * len as u32;
        Ok(((self.unsigned(len)? << unused) as i64 >> unused) as f64)
    }

    fn value(&mut self, level: usize) -> mlua::Result<Value> {
        if level > UNPACK_NESTING_MAX {
            return Err(raise::text(
                self.lua,
                "stack overflow (in function mp_decode_to_lua_array)",
            ));
        }
        let tag = self.take(1)?[0];
        Ok(match tag {
            0x00..=0x7f => Value::Number(tag.into()),
            0xe0..=0xff => Value::Number((tag as i8).into()),
            0x80..=0x8f => return self.map(usize::from(tag & 15), level),
            0x90..=0x9f => return self.array(usize::from(tag & 15), level),
            0xa0..=0xbf => return self.string(usize::from(tag & 31)),
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f32::from_bits(self.unsigned(4)? as u32).into()),
            0xcb => Value::Number(f64::from_bits(self.unsigned(8)?)),
            0xcc..=0xcf => Value::Number(self.unsigned(1 << (tag - 0xcc))? as f64),
            0xd0..=0xd3 => Value::Number(self.signed(1 << (tag - 0xd0))?),
            0xd9..=0xdb => {
                let len = self.unsigned(1 << (tag - 0xd9))? as usize;
                return self.string(len);
            }
            0xdc | 0xdd => {
                let len = self.unsigned(2 << (tag - 0xdc))? as usize;
                return self.array(len, level);
            }
            0xde | 0xdf => {
                let len = self.unsigned(2 << (tag - 0xde))? as usize;
                return self.map(len, level);
            }
            _ => return Err(raise::text(self.lua, "Bad data format in input.")),
        })
    }

    fn string(&mut self, len: usize) -> mlua::Result<Value> {
        let bytes = self.take(len)?;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn array(&mut self, len: usize, level: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        for index in 1..=len {
            let value = self.value(level + 1)?;
            table.raw_set(index, value)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: usize, level: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        for _ in 0..len {
            let key = self.value(level + 1)?;
            let value = self.value(level + 1)?;
            table.raw_set(key, value)?;
        }
        Ok(Value::Table(table))
    }
}
