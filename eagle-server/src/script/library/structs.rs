//! `struct`: values to and from the byte layouts of C.

use super::super::raise;
use super::args::{Arguments, as_number, to_integer};
use super::register;
use mlua::{IntoLuaMulti, Lua, MultiValue, Table, Value};

/// Bytes of the largest integer.
const INTEGER_BYTES_MAX: usize = 32;
const ALIGN_MAX: usize = 8;

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    register(
        lua,
        &table,
        &[("pack", pack), ("unpack", unpack), ("size", size)],
    )?;
    Ok(table)
}

/// A format being read.
struct Format<'a> {
    lua: &'a Lua,
    args: &'a Arguments,
    rest: &'a [u8],
    little: bool,
    align: usize,
}

impl<'a> Format<'a> {
    fn new(lua: &'a Lua, args: &'a Arguments, text: &'a [u8]) -> Format<'a> {
        Format {
            lua,
            args,
            rest: text.split(|byte| *byte == 0).next().unwrap_or_default(),
            little: true,
            align: 1,
        }
    }

    /// The next option with its size, and the padding before it at position `at`.
    fn next(&mut self, at: usize) -> mlua::Result<Option<(u8, usize, usize)>> {
        let Some((&option, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        let size = match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.count(1)?,
            b'i' | b'I' => {
                let size = self.count(4)?;
                if size > INTEGER_BYTES_MAX {
                    return Err(raise::text(
                        self.lua,
                        format!("integral size {size} is larger than limit of {INTEGER_BYTES_MAX}"),
                    ));
                }
                size
            }
            _ => 0,
        };
        let mut padding = 0;
        if size != 0 && option != b'c' {
            let unit = size.min(self.align);
            padding = unit.wrapping_sub(at & (unit - 1)) & (unit - 1);
        }
        Ok(Some((option, size, padding)))
    }

    /// A number behind an option.
    fn count(&mut self, default: usize) -> mlua::Result<usize> {
        if !self.rest.first().is_some_and(u8::is_ascii_digit) {
            return Ok(default);
        }
        let mut count = 0i32;
        while let Some((digit, rest)) = self.rest.split_first()
            && digit.is_ascii_digit()
        {
            let digit = i32::from(digit - b'0');
            count = count
                .checked_mul(10)
                .and_then(|count| count.checked_add(digit))
                .ok_or_else(|| raise::text(self.lua, "integral size overflow"))?;
            self.rest = rest;
        }
        Ok(count as usize)
    }

    /// An option that is no value.
    fn control(&mut self, option: u8) -> mlua::Result<()> {
        match option {
            b' ' => {}
            b'>' => self.little = false,
            b'<' => self.little = true,
            b'!' => {
                let align = self.count(ALIGN_MAX)?;
                if !align.is_power_of_two() {
                    return Err(raise::text(
                        self.lua,
                        format!("alignment {align} is not a power of 2"),
                    ));
                }
                self.align = align;
            }
            other => {
                let why = format!("invalid format option '{}'", char::from(other));
                return Err(self.args.bad(1, &why));
            }
        }
        Ok(())
    }
}

/// Bytes of a packed string at most: more than any value may have.
const PACKED_BYTES_MAX: usize = 512 << 20;

fn pack(lua: &Lua, mut args: Arguments) -> mlua::Result<MultiValue> {
    args.push_nil();
    let text = args.string(1)?.as_bytes().to_vec();
    let mut format = Format::new(lua, &args, &text);
    let (mut out, mut index) = (Vec::new(), 2);
    while let Some((option, size, padding)) = format.next(out.len())? {
        out.resize(out.len() + padding, 0);
        let little = format.little;
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let number = args.number(index)?;
                put_integer(&mut out, number, size, little);
                index += 1;
            }
            b'x' => out.push(0),
            b'f' => {
                let number = args.number(index)? as f32;
                out.extend(ordered(number.to_le_bytes(), little));
                index += 1;
            }
            b'd' => {
                let number = args.number(index)?;
                out.extend(ordered(number.to_le_bytes(), little));
                index += 1;
            }
            b'c' | b's' => {
                let string = args.string(index)?;
                let bytes = string.as_bytes();
                let size = if size == 0 { bytes.len() } else { size };
                if bytes.len() < size {
                    // The original has counted on by then.
                    return Err(args.bad(index + 1, "string too short"));
                }
                out.extend_from_slice(&bytes[..size]);
                if option == b's' {
                    out.push(0);
                }
                index += 1;
            }
            other => format.control(other)?,
        }
        if out.len() > PACKED_BYTES_MAX {
            return Err(raise::text(lua, "resulting string too large"));
        }
    }
    lua.create_string(out)?.into_lua_multi(lua)
}

fn ordered<const N: usize>(mut bytes: [u8; N], little: bool) -> [u8; N] {
    if !little {
        bytes.reverse();
    }
    bytes
}

fn put_integer(out: &mut Vec<u8>, number: f64, size: usize, little: bool) {
    let value = if number < 9_223_372_036_854_775_808.0 {
        to_integer(number) as u64
    } else {
        number as u64
    };
    let byte = |i: usize| value.checked_shr(8 * i as u32).unwrap_or(0) as u8;
    if little {
        out.extend((0..size).map(byte));
    } else {
        out.extend((0..size).rev().map(byte));
    }
}

fn get_integer(bytes: &[u8], little: bool, signed: bool) -> f64 {
    let mut value = 0u64;
    let mut add = |byte: &u8| value = value << 8 | u64::from(*byte);
    if little {
        bytes.iter().rev().for_each(&mut add);
    } else {
        bytes.iter().for_each(&mut add);
    }
    if !signed {
        return value as f64;
    }
    let bits = 8 * bytes.len() as u32;
    if (1..64).contains(&bits) {
        ((value << (64 - bits)) as i64 >> (64 - bits)) as f64
    } else {
        value as i64 as f64
    }
}

/// `struct.unpack(format, data [, position])`: the values, then the position behind them.
fn unpack(lua: &Lua, args: Arguments) -> mlua::Result<MultiValue> {
    let text = args.string(1)?.as_bytes().to_vec();
    let data = args.string(2)?;
    let data = data.as_bytes();
    let position = args.optional_integer(3, 1)?;
    if position == 0 {
        return Err(args.bad(3, "offset must be 1 or greater"));
    }
    let mut at = (position as usize).wrapping_sub(1);
    let mut format = Format::new(lua, &args, &text);
    let mut results: Vec<Value> = Vec::new();
    let take = |at: usize, size: usize| {
        let end = at.checked_add(size);
        end.and_then(|end| data.get(at..end))
            .ok_or_else(|| args.bad(2, "data string too short"))
    };
    while let Some((option, mut size, padding)) = format.next(at)? {
        at = at.saturating_add(padding);
        let bytes = take(at, size)?;
        if results.len() >= RESULTS_MAX {
            return Err(raise::text(lua, "stack overflow (too many results)"));
        }
        let little = format.little;
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let signed = option.is_ascii_lowercase();
                results.push(Value::Number(get_integer(bytes, little, signed)));
            }
            b'x' => {}
            b'f' => {
                let bytes: [u8; 4] = bytes.try_into().unwrap_or_default();
                let number = f32::from_le_bytes(ordered(bytes, little));
                results.push(Value::Number(number.into()));
            }
            b'd' => {
                let bytes: [u8; 8] = bytes.try_into().unwrap_or_default();
                let number = f64::from_le_bytes(ordered(bytes, little));
                results.push(Value::Number(number));
            }
            b'c' => {
                if size == 0 {
                    let previous = results.last().and_then(|value| as_number(lua, value));
                    let Some(previous) = previous else {
                        return Err(raise::text(lua, "format 'c0' needs a previous size"));
                    };
                    results.pop();
                    size = usize::try_from(to_integer(previous)).unwrap_or(usize::MAX);
                }
                results.push(Value::String(lua.create_string(take(at, size)?)?));
            }
            b's' => {
                let rest = &data[at..];
                let Some(end) = rest.iter().position(|byte| *byte == 0) else {
                    return Err(raise::text(lua, "unfinished string in data"));
                };
                size = end + 1;
                results.push(Value::String(lua.create_string(&rest[..end])?));
            }
            other => format.control(other)?,
        }
        at += size;
    }
    results.push(Value::Number((at + 1) as f64));
    Ok(MultiValue::from_vec(results))
}

/// Values one call may return.
pub(super) const RESULTS_MAX: usize = 7000;

/// `struct.size(format)`.
fn size(lua: &Lua, args: Arguments) -> mlua::Result<MultiValue> {
    let text = args.string(1)?.as_bytes().to_vec();
    let mut format = Format::new(lua, &args, &text);
    let mut at = 0usize;
    while let Some((option, size, padding)) = format.next(at)? {
        if option == b's' {
            return Err(args.bad(1, "option 's' has no fixed size"));
        }
        if option == b'c' && size == 0 {
            return Err(args.bad(1, "option 'c0' has no fixed size"));
        }
        if !option.is_ascii_alphanumeric() {
            format.control(option)?;
        }
        at = at.saturating_add(padding).saturating_add(size);
    }
    (at as f64).into_lua_multi(lua)
}
