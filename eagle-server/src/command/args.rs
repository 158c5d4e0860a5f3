//! A typed cursor over a command's arguments.

use super::errors::{self, CommandError};
use eagle_core::text::{double, integer};

/// The arguments of one command, name included, with a reading position after the name (and after
/// the subcommand's word).
#[derive(Clone, Copy)]
pub struct Args<'a> {
    argv: &'a [&'a [u8]],
    next: usize,
}

impl<'a> Args<'a> {
    /// `skip` words name the command: 1, or 2 for a subcommand.
    pub fn new(argv: &'a [&'a [u8]], skip: usize) -> Args<'a> {
        Args {
            argv,
            next: skip.min(argv.len()),
        }
    }

    /// Every word, the command's name included.
    pub fn argv(&self) -> &'a [&'a [u8]] {
        self.argv
    }

    /// Words not read yet.
    pub fn rest(&self) -> &'a [&'a [u8]] {
        &self.argv[self.next..]
    }

    pub fn len(&self) -> usize {
        self.argv.len() - self.next
    }

    /// Which word comes next.
    pub fn position(&self) -> usize {
        self.next
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next word without taking it.
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.argv.get(self.next).copied()
    }

    /// The next word; a syntax error when there is none (arity has been checked before).
    pub fn word(&mut self) -> Result<&'a [u8], CommandError> {
        let word = self.peek().ok_or(errors::SYNTAX)?;
        self.next += 1;
        Ok(word)
    }

    /// Takes the next word when it is `keyword`, in any case.
    pub fn accept(&mut self, keyword: &str) -> bool {
        let matches = self
            .peek()
            .is_some_and(|word| word.eq_ignore_ascii_case(keyword.as_bytes()));
        self.next += usize::from(matches);
        matches
    }

    /// The next word as a signed 64-bit integer in its one canonical form.
    pub fn integer(&mut self) -> Result<i64, CommandError> {
        parse_integer(self.word()?)
    }

    /// The next word as an integer within `range`, else `error`.
    pub fn integer_in(
        &mut self,
        range: std::ops::RangeInclusive<i64>,
        error: CommandError,
    ) -> Result<i64, CommandError> {
        let value = self.integer()?;
        if range.contains(&value) {
            Ok(value)
        } else {
            Err(error)
        }
    }

    /// The next word as a double, as Redis reads scores and increments.
    pub fn double(&mut self) -> Result<f64, CommandError> {
        double::parse_f64(self.word()?).ok_or(errors::NOT_FLOAT)
    }

    /// Refuses words that nobody has read.
    pub fn finish(self) -> Result<(), CommandError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(errors::SYNTAX)
        }
    }
}

/// A word as a signed 64-bit integer, or the error Redis gives for it.
pub fn parse_integer(word: &[u8]) -> Result<i64, CommandError> {
    integer::parse_i64(word).ok_or(errors::NOT_INTEGER)
}
