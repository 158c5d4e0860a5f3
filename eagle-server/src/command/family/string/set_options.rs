//! Options of SET and GETEX: on what condition the value is written, and how long the key lives.

use super::compare::Comparison;
use crate::command::args::Args;
use crate::command::context::Context;
use crate::command::deadline::Unit;
use crate::command::errors::{self, CommandError};
use eagle_core::store::Ttl;

/// What decides whether SET writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    Always,
    /// `NX`
    IfAbsent,
    /// `XX`
    IfPresent,
    /// `IFEQ` and its kin.
    If(Comparison<'a>),
}

impl Condition<'_> {
    /// Whether `key` may be written.
    pub fn holds(self, cx: &Context<'_>, key: &[u8]) -> Result<bool, CommandError> {
        let present = || cx.view.find(cx.db(), key).is_some();
        Ok(match self {
            Condition::Always => true,
            Condition::IfAbsent => !present(),
            Condition::IfPresent => present(),
            Condition::If(comparison) => comparison.holds_at(cx, key)?,
        })
    }
}

/// What the options say on the expiry of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime<'a> {
    Unsaid,
    /// `KEEPTTL`
    Keep,
    /// `PERSIST`
    Forever,
    Until(Unit, &'a [u8]),
}

impl<'a> Lifetime<'a> {
    /// The instant at which the key expires, if the options name one.
    pub fn instant(self, cx: &Context<'_>) -> Result<Option<u64>, CommandError> {
        match self {
            Lifetime::Until(unit, word) => unit
                .positive_instant(word, cx.now_ms, &cx.entry.full_name)
                .map(Some),
            Lifetime::Unsaid | Lifetime::Keep | Lifetime::Forever => Ok(None),
        }
    }

    /// Takes `EX n` or its kin, if the next words are that.
    fn accept_until(&mut self, args: &mut Args<'a>) -> Result<bool, CommandError> {
        let Some(unit) = Unit::accept(args) else {
            return Ok(false);
        };
        let word = args.word()?;
        let repeated = matches!(*self, Lifetime::Until(before, _) if before == unit);
        if !repeated {
            self.be_first()?;
        }
        *self = Lifetime::Until(unit, word);
        Ok(true)
    }

    /// Takes `keyword`, which means `lifetime`, if the next word is that.
    fn accept_word(
        &mut self,
        args: &mut Args<'a>,
        keyword: &str,
        lifetime: Lifetime<'a>,
    ) -> Result<bool, CommandError> {
        let accepted = args.accept(keyword);
        if accepted && *self != lifetime {
            self.be_first()?;
            *self = lifetime;
        }
        Ok(accepted)
    }

    /// Options on the expiry exclude one another; only the same one may be repeated.
    fn be_first(&self) -> Result<(), CommandError> {
        if *self == Lifetime::Unsaid {
            Ok(())
        } else {
            Err(errors::SYNTAX)
        }
    }
}

/// The options of SET and MSETEX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetOptions<'a> {
    pub condition: Condition<'a>,
    /// Reply the old value.
    pub get: bool,
    pub lifetime: Lifetime<'a>,
}

impl Default for SetOptions<'_> {
    fn default() -> Self {
        SetOptions {
            condition: Condition::Always,
            get: false,
            lifetime: Lifetime::Unsaid,
        }
    }
}

impl<'a> SetOptions<'a> {
    /// Reads the options of SET.
    pub fn parse(mut args: Args<'a>) -> Result<SetOptions<'a>, CommandError> {
        let mut options = SetOptions::default();
        while !args.is_empty() {
            if args.accept("GET") {
                options.get = true;
            } else if let Some(comparison) = Comparison::accept(&mut args)? {
                options.require(Condition::If(comparison))?;
            } else if !options.accept_common(&mut args)? {
                return Err(errors::SYNTAX);
            }
        }
        Ok(options)
    }

    /// Reads the options of MSETEX.
    pub fn parse_many(mut args: Args<'a>) -> Result<SetOptions<'a>, CommandError> {
        let mut options = SetOptions::default();
        while !args.is_empty() {
            if !options.accept_common(&mut args)? {
                return Err(errors::SYNTAX);
            }
        }
        Ok(options)
    }

    /// Takes an option that SET and MSETEX have in common, if the next word is one.
    fn accept_common(&mut self, args: &mut Args<'a>) -> Result<bool, CommandError> {
        if args.accept("NX") {
            self.require(Condition::IfAbsent)?;
        } else if args.accept("XX") {
            self.require(Condition::IfPresent)?;
        } else if !self.lifetime.accept_word(args, "KEEPTTL", Lifetime::Keep)? {
            return self.lifetime.accept_until(args);
        }
        Ok(true)
    }

    /// What becomes of the expiry when the value is written.
    pub fn ttl(&self, cx: &Context<'_>) -> Result<Ttl, CommandError> {
        let instant = self.lifetime.instant(cx)?;
        Ok(match self.lifetime {
            Lifetime::Keep => Ttl::Keep,
            _ => instant.map_or(Ttl::Clear, Ttl::At),
        })
    }

    /// Conditions exclude one another; only `NX` and `XX` may be repeated.
    fn require(&mut self, condition: Condition<'a>) -> Result<(), CommandError> {
        let repeats = self.condition == condition && !matches!(condition, Condition::If(_));
        if self.condition != Condition::Always && !repeats {
            return Err(errors::SYNTAX);
        }
        self.condition = condition;
        Ok(())
    }
}

/// Reads the options of GETEX.
pub(super) fn parse_getex(mut args: Args<'_>) -> Result<Lifetime<'_>, CommandError> {
    let mut lifetime = Lifetime::Unsaid;
    while !args.is_empty() {
        if !lifetime.accept_word(&mut args, "PERSIST", Lifetime::Forever)?
            && !lifetime.accept_until(&mut args)?
        {
            return Err(errors::SYNTAX);
        }
    }
    Ok(lifetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split_whitespace().map(str::as_bytes).collect()
    }

    #[test]
    fn set_reads_options_in_any_order_and_case() {
        let line = words("keepttl GET xx");
        let options = SetOptions::parse(Args::new(&line, 0)).unwrap();
        let expected = SetOptions {
            condition: Condition::IfPresent,
            get: true,
            lifetime: Lifetime::Keep,
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn the_same_option_may_be_repeated_and_the_last_value_counts() {
        let line = words("EX 5 NX NX EX 6");
        let options = SetOptions::parse(Args::new(&line, 0)).unwrap();
        assert_eq!(options.lifetime, Lifetime::Until(Unit::Seconds, b"6"));
        assert_eq!(options.condition, Condition::IfAbsent);
    }

    #[test]
    fn options_that_contradict_one_another_are_refused() {
        for line in [
            "NX XX",
            "XX NX",
            "EX 1 PX 1",
            "EX 1 EXAT 1",
            "PXAT 1 KEEPTTL",
            "KEEPTTL EX 1",
            "EX",
            "PERSIST",
            "EX 1 2",
            "IFEQ",
            "IFEQ a NX",
            "XX IFDNE a",
            "IFEQ a IFEQ a",
        ] {
            let refused = SetOptions::parse(Args::new(&words(line), 0)).map(|_| ());
            assert_eq!(refused, Err(errors::SYNTAX), "{line}");
        }
    }

    #[test]
    fn getex_takes_one_lifetime() {
        assert_eq!(parse_getex(Args::new(&[], 0)), Ok(Lifetime::Unsaid));
        assert_eq!(
            parse_getex(Args::new(&words("persist PERSIST"), 0)),
            Ok(Lifetime::Forever)
        );
        let until = Lifetime::Until(Unit::UnixMillis, b"7");
        assert_eq!(parse_getex(Args::new(&words("pxat 7"), 0)), Ok(until));
        for line in ["PERSIST EX 1", "EX 1 PERSIST", "KEEPTTL", "NX", "GET", "EX"] {
            assert_eq!(
                parse_getex(Args::new(&words(line), 0)),
                Err(errors::SYNTAX),
                "{line}"
            );
        }
    }
}
