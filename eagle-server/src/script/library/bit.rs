//! `bit`: operations on 32-bit integers, as in LuaJIT.

use super::args::Arguments;
use super::register;
use mlua::{IntoLuaMulti, Lua, MultiValue, Table};

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    register(
        lua,
        &table,
        &[
            ("tobit", |lua, args| reply(lua, bits(&args, 1)?)),
            ("bnot", |lua, args| reply(lua, !bits(&args, 1)?)),
            ("band", |lua, args| fold(lua, &args, |a, b| a & b)),
            ("bor", |lua, args| fold(lua, &args, |a, b| a | b)),
            ("bxor", |lua, args| fold(lua, &args, |a, b| a ^ b)),
            ("lshift", |lua, args| shift(lua, &args, |b, n| b << n)),
            ("rshift", |lua, args| shift(lua, &args, |b, n| b >> n)),
            ("arshift", |lua, args| {
                shift(lua, &args, |b, n| (b as i32 >> n) as u32)
            }),
            ("rol", |lua, args| shift(lua, &args, u32::rotate_left)),
            ("ror", |lua, args| shift(lua, &args, u32::rotate_right)),
            ("bswap", |lua, args| {
                reply(lua, bits(&args, 1)?.swap_bytes())
            }),
            ("tohex", tohex),
        ],
    )?;
    Ok(table)
}

/// The low 32 bits of an argument, rounded to the nearest integer.
fn bits(args: &Arguments, index: usize) -> mlua::Result<u32> {
    /// Adding it leaves the integer part in the low bits of the mantissa.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    Ok((args.number(index)? + SHIFT).to_bits() as u32)
}

fn reply(lua: &Lua, bits: u32) -> mlua::Result<MultiValue> {
    f64::from(bits as i32).into_lua_multi(lua)
}

fn fold(lua: &Lua, args: &Arguments, op: fn(u32, u32) -> u32) -> mlua::Result<MultiValue> {
    let mut all = bits(args, 1)?;
    for index in (2..=args.len()).rev() {
        all = op(all, bits(args, index)?);
    }
    reply(lua, all)
}

fn shift(lua: &Lua, args: &Arguments, op: fn(u32, u32) -> u32) -> mlua::Result<MultiValue> {
    let value = bits(args, 1)?;
    reply(lua, op(value, bits(args, 2)? & 31))
}

/// `bit.tohex(x [, digits])`: upper case if `digits` is negative.
fn tohex(lua: &Lua, args: Arguments) -> mlua::Result<MultiValue> {
    let value = bits(&args, 1)?;
    let wanted = match args.get(2) {
        None => 8,
        Some(_) => bits(&args, 2)? as i32,
    };
    let text = if wanted < 0 {
        format!("{value:08X}")
    } else {
        format!("{value:08x}")
    };
    let digits = wanted.unsigned_abs().min(8) as usize;
    text[8 - digits..].into_lua_multi(lua)
}
