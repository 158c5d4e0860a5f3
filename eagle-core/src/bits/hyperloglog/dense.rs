//! Dense registers: six bits each, the first one in the low bits of the first byte.

use super::REGISTERS;

const REGISTER_BITS: usize = 6;
const REGISTER_MAX: u16 = (1 << REGISTER_BITS) - 1;

/// Bytes of all registers.
pub(super) const BYTES: usize = REGISTERS * REGISTER_BITS / 8;

/// The byte a register begins in, the two bytes from there, and the bits before it.
fn window(body: &[u8], register: usize) -> (usize, u16, usize) {
    let bit = REGISTER_BITS * register;
    let at = bit / 8;
    let high = body.get(at + 1).copied().unwrap_or(0);
    (at, u16::from_le_bytes([body[at], high]), bit % 8)
}

/// The value of a register.
pub(super) fn get(body: &[u8], register: usize) -> u8 {
    let (_, word, shift) = window(body, register);
    (word >> shift & REGISTER_MAX) as u8
}

/// Sets a register.
pub(super) fn set(body: &mut [u8], register: usize, value: u8) {
    let (at, word, shift) = window(body, register);
    let word = word & !(REGISTER_MAX << shift) | (u16::from(value) & REGISTER_MAX) << shift;
    let [low, high] = word.to_le_bytes();
    body[at] = low;
    // The last register ends with its byte.
    if let Some(byte) = body.get_mut(at + 1) {
        *byte = high;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_do_not_touch_each_other() {
        let mut body = vec![0; BYTES];
        let value = |at: usize| (at * 37 % 64) as u8;
        (0..REGISTERS).for_each(|at| set(&mut body, at, value(at)));
        assert!((0..REGISTERS).all(|at| get(&body, at) == value(at)));
        (0..REGISTERS)
            .rev()
            .for_each(|at| set(&mut body, at, 63 - value(at)));
        assert!((0..REGISTERS).all(|at| get(&body, at) == 63 - value(at)));
    }
}
