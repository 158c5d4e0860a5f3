//! Sparse registers: run lengths, one after another, over all registers.
//!
//! ```text
//!   00xxxxxx             x + 1 zeros
//!   01xxxxxx yyyyyyyy    xy + 1 zeros, high bits first
//!   1vvvvvxx             x + 1 registers of value v + 1
//! ```
//!
//! A change rewrites one run into up to three and then joins neighbours of the same value near it, nowhere else: which
//! runs there are depends on the order of changes, and is the same as in Redis.

use super::{Corrupt, REGISTERS};
use std::ops::Range;

/// All registers zero.
pub(super) const EMPTY: [u8; 2] = [0x7f, 0xff];

const ZEROS_NARROW_MAX: usize = 64;
const VALUE_MAX: u8 = 32;
const VALUES_MAX: usize = 4;
/// Runs looked at for neighbours to join, from the one before a change on.
const JOINED_MAX: usize = 5;

/// Registers of one value, next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// In one byte.
    Zeros(usize),
    /// In two bytes.
    ManyZeros(usize),
    Values(u8, usize),
}

impl Run {
    /// The run that begins at the first of these bytes. The second half of a pair that is not there reads as zero.
    fn read(bytes: &[u8]) -> Option<Run> {
        let first = *bytes.first()?;
        Some(match first >> 6 {
            0 => Run::Zeros(usize::from(first & 0x3f) + 1),
            1 => {
                let second = bytes.get(1).copied().unwrap_or(0);
                Run::ManyZeros((usize::from(first & 0x3f) << 8 | usize::from(second)) + 1)
            }
            _ => Run::Values((first >> 2 & 0x1f) + 1, usize::from(first & 3) + 1),
        })
    }

    /// A run of zeros in its shortest form.
    fn zeros(len: usize) -> Run {
        if len > ZEROS_NARROW_MAX {
            Run::ManyZeros(len)
        } else {
            Run::Zeros(len)
        }
    }

    fn bytes(self) -> usize {
        match self {
            Run::ManyZeros(_) => 2,
            _ => 1,
        }
    }

    fn len(self) -> usize {
        match self {
            Run::Zeros(len) | Run::ManyZeros(len) | Run::Values(_, len) => len,
        }
    }

    fn value(self) -> u8 {
        match self {
            Run::Values(value, _) => value,
            _ => 0,
        }
    }

    fn with_len(self, len: usize) -> Run {
        match self {
            Run::Values(value, _) => Run::Values(value, len),
            _ => Run::zeros(len),
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Run::Zeros(len) => out.push((len - 1) as u8),
            Run::ManyZeros(len) => {
                out.extend_from_slice(&(0x4000 | (len - 1) as u16).to_be_bytes())
            }
            Run::Values(value, len) => out.push(0x80 | (value - 1) << 2 | (len - 1) as u8),
        }
    }
}

/// Visits the runs that are not zero: their registers and the value. The runs must cover all registers.
pub(super) fn runs(body: &[u8], mut visit: impl FnMut(Range<usize>, u8)) -> Result<(), Corrupt> {
    let (mut at, mut register) = (0, 0);
    while let Some(run) = body.get(at..).and_then(Run::read) {
        let range = register..register + run.len();
        if range.end > REGISTERS {
            return Err(Corrupt);
        }
        register = range.end;
        at += run.bytes();
        if run.value() > 0 {
            visit(range, run.value());
        }
    }
    if register == REGISTERS {
        Ok(())
    } else {
        Err(Corrupt)
    }
}

/// The runs in words.
pub(super) fn describe(body: &[u8]) -> String {
    let (mut at, mut words) = (0, Vec::new());
    while let Some(run) = body.get(at..).and_then(Run::read) {
        words.push(match run {
            Run::Zeros(len) => format!("z:{len}"),
            Run::ManyZeros(len) => format!("Z:{len}"),
            Run::Values(value, len) => format!("v:{value},{len}"),
        });
        at += run.bytes();
    }
    words.join(" ")
}

/// What became of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// It was lower.
    Yes,
    /// It is as high already.
    No,
    /// The value is too large for a run, or the runs would take too many bytes. Nothing was changed.
    DoesNotFit,
}

/// Raises a register in the runs that begin at `start` and may take `body_max` bytes.
pub(super) fn raise(
    bytes: &mut Vec<u8>,
    start: usize,
    register: usize,
    value: u8,
    body_max: usize,
) -> Result<Raised, Corrupt> {
    if value > VALUE_MAX {
        return Ok(Raised::DoesNotFit);
    }
    let (at, before, first) = seek(bytes, start, register).ok_or(Corrupt)?;
    let run = bytes.get(at..).and_then(Run::read).ok_or(Corrupt)?;
    if run.value() >= value {
        return Ok(Raised::No);
    }
    let mut runs = Vec::with_capacity(5);
    if register > first {
        run.with_len(register - first).write(&mut runs);
    }
    Run::Values(value, 1).write(&mut runs);
    let behind = first + run.len() - register - 1;
    if behind > 0 {
        run.with_len(behind).write(&mut runs);
    }
    let end = (at + run.bytes()).min(bytes.len());
    let body = bytes.len() - start + runs.len() - run.bytes();
    if runs.len() > run.bytes() && body > body_max {
        return Ok(Raised::DoesNotFit);
    }
    bytes.splice(at..end, runs);
    join(bytes, before);
    Ok(Raised::Yes)
}

/// The run that holds a register: where it begins, where the one before it does, and its first register.
///
/// Almost all the time of adding an element goes here, so the runs are not taken apart more than it takes.
fn seek(bytes: &[u8], start: usize, register: usize) -> Option<(usize, usize, usize)> {
    let (mut at, mut before, mut first) = (start, start, 0);
    loop {
        let byte = *bytes.get(at)?;
        let (len, width) = match byte >> 6 {
            0 => (usize::from(byte) + 1, 1),
            1 => (Run::read(&bytes[at..])?.len(), 2),
            _ => (usize::from(byte & 3) + 1, 1),
        };
        if register < first + len {
            return Some((at, before, first));
        }
        before = at;
        at += width;
        first += len;
    }
}

/// Joins neighbouring runs of the same value, from the one at `at` on.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED_MAX {
        let Some(run) = bytes.get(at..).and_then(Run::read) else {
            return;
        };
        let next = at + run.bytes();
        if let (Run::Values(value, len), Some(Run::Values(other, more))) =
            (run, bytes.get(next..).and_then(Run::read))
            && value == other
            && len + more <= VALUES_MAX
        {
            let mut joined = Vec::with_capacity(1);
            Run::Values(value, len + more).write(&mut joined);
            bytes.splice(at..next + 1, joined);
        } else {
            at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(changes: &[(usize, u8)]) -> String {
        let mut bytes = EMPTY.to_vec();
        for &(register, value) in changes {
            raise(&mut bytes, 0, register, value, 3000).unwrap();
        }
        describe(&bytes)
    }

    #[test]
    fn runs_are_split_and_joined() {
        assert_eq!(raised(&[(0, 3)]), "v:3,1 Z:16383");
        assert_eq!(raised(&[(16383, 32)]), "Z:16383 v:32,1");
        assert_eq!(raised(&[(10, 2), (12, 2)]), "z:10 v:2,1 z:1 v:2,1 Z:16371");
        assert_eq!(raised(&[(10, 2), (12, 2), (11, 2)]), "z:10 v:2,3 Z:16371");
        assert_eq!(
            raised(&[(10, 2), (11, 2), (12, 2), (11, 5)]),
            "z:10 v:2,1 v:5,1 v:2,1 Z:16371"
        );
        assert_eq!(
            raised(&[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]),
            "v:1,4 v:1,1 Z:16379"
        );
        assert_eq!(raised(&[(7, 4), (7, 3), (7, 4)]), "z:7 v:4,1 Z:16376");
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut bytes = EMPTY.to_vec();
        assert_eq!(raise(&mut bytes, 0, 5, 33, 3000), Ok(Raised::DoesNotFit));
        assert_eq!(raise(&mut bytes, 0, 5, 1, 3), Ok(Raised::DoesNotFit));
        assert_eq!(bytes, EMPTY);
        assert_eq!(raise(&mut bytes, 0, 5, 1, 4), Ok(Raised::Yes));
        assert_eq!(
            raise(&mut bytes, 0, 5, 2, 0),
            Ok(Raised::Yes),
            "no longer than before"
        );
        assert_eq!(raise(&mut vec![0x00], 0, 5, 1, 9), Err(Corrupt));
    }
}
