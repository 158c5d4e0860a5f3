//! `math.random`: the generator of `drand48`, so that a seed gives the same numbers everywhere.

use super::super::host;
use super::super::raise;
use super::args::Arguments;
use mlua::{IntoLuaMulti, Lua, MultiValue};
use std::cell::Cell;

/// The generator of one interpreter.
pub(crate) struct Random(Cell<u64>);

const MASK: u64 = (1 << 48) - 1;
const NUMBER_MAX: u64 = i32::MAX as u64;

impl Random {
    /// A generator that begins anywhere.
    pub(crate) fn new() -> Random {
        Random(Cell::new(rand::random::<u64>() & MASK))
    }

    fn seed(&self, seed: i32) {
        self.0.set(u64::from(seed as u32) << 16 | 0x330e);
    }

    /// 31 bits.
    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & MASK;
        self.0.set(state);
        state >> 17
    }

    /// `math.random([[low,] high])`.
    pub(crate) fn random(&self, lua: &Lua, args: &Arguments) -> mlua::Result<MultiValue> {
        if host::with(|_| ()).is_none() {
            return Err(raise::text(
                lua,
                "math.random can only be called inside a script invocation",
            ));
        }
        let fraction = (self.next() % NUMBER_MAX) as f64 / NUMBER_MAX as f64;
        let number = match args.len() {
            0 => fraction,
            1 => {
                let high = args.integer(1)? as i32;
                if high < 1 {
                    return Err(args.bad(1, "interval is empty"));
                }
                (fraction * f64::from(high)).floor() + 1.0
            }
            2 => {
                let (low, high) = (args.integer(1)? as i32, args.integer(2)? as i32);
                if low > high {
                    return Err(args.bad(2, "interval is empty"));
                }
                let width = f64::from(high.wrapping_sub(low).wrapping_add(1));
                (fraction * width).floor() + f64::from(low)
            }
            _ => return Err(raise::text(lua, "wrong number of arguments")),
        };
        number.into_lua_multi(lua)
    }

    /// `math.randomseed(seed)`.
    pub(crate) fn randomseed(&self, lua: &Lua, args: &Arguments) -> mlua::Result<MultiValue> {
        if host::with(|_| ()).is_none() {
            return Err(raise::text(
                lua,
                "math.randomseed can only be called inside a script invocation",
            ));
        }
        self.seed(args.integer(1)? as i32);
        ().into_lua_multi(lua)
    }
}
