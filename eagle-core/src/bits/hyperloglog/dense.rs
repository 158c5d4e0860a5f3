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

/// The byte in which a register begins.
pub(super) fn position(register: usize) -> usize {
    REGISTER_BITS * register / 8
}

/// Raises a register in the bytes from its [`position`] on; how many of them have changed if it was lower.
pub(super) fn raise_at(window: &mut [u8], register: usize, value: u8) -> Option<usize> {
    let shift = REGISTER_BITS * register % 8;
    let word = u16::from_le_bytes([window[0], window[1]]);
    if (word >> shift & REGISTER_MAX) as u8 >= value {
        return None;
    }
    let word = word & !(REGISTER_MAX << shift) | (u16::from(value) & REGISTER_MAX) << shift;
    window[..2].copy_from_slice(&word.to_le_bytes());
    Some((shift + REGISTER_BITS).div_ceil(8))
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

    #[test]
    fn a_register_is_raised_in_its_own_bytes() {
        let mut body = vec![0; BYTES];
        for register in (0..REGISTERS).step_by(3).chain([REGISTERS - 1]) {
            let mut expected = body.clone();
            let value = (register * 31 % 63 + 1) as u8;
            let at = position(register);
            let mut window = [0; 2];
            let have = (body.len() - at).min(2);
            window[..have].copy_from_slice(&body[at..at + have]);
            let changed = raise_at(&mut window, register, value);
            if get(&body, register) >= value {
                assert_eq!(changed, None);
                continue;
            }
            set(&mut expected, register, value);
            let len = changed.unwrap();
            body[at..at + len].copy_from_slice(&window[..len]);
            assert!(body == expected, "register {register}");
            assert_eq!(raise_at(&mut window, register, value), None);
        }
    }
}
