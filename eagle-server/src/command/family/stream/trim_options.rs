//! The options of XADD and XTRIM.

use super::id::{self, NewId};
use crate::command::args::{Args, parse_integer};
use crate::command::errors::{self, CommandError};
use eagle_core::store::{Trim, TrimTo};

const BOTH: CommandError = CommandError::new(
    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
);
const NEGATIVE_LEN: CommandError = CommandError::new("ERR The MAXLEN argument must be >= 0.");
const NEGATIVE_LIMIT: CommandError = CommandError::new("ERR The LIMIT argument must be >= 0.");
const LIMIT_ALONE: CommandError = CommandError::new(
    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
);
const NO_STRATEGY: CommandError =
    CommandError::new("ERR syntax error, XTRIM must be called with a trimming strategy");
const LIMIT_EXACT: CommandError =
    CommandError::new("ERR syntax error, LIMIT cannot be used without the special ~ option");

/// What the options of XADD or XTRIM say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrimOptions {
    pub(super) no_make: bool,
    pub(super) trim: Option<Trim>,
    /// Which word is the bound; the one before it is `~` if only whole nodes go.
    pub(super) bound_at: usize,
    /// For XADD: the id, and which word it is.
    pub(super) id: NewId,
    pub(super) id_at: usize,
}

impl TrimOptions {
    /// Reads the options behind the key; for XADD, `adds`, up to the id. `node_entries_max`: what limits `~` if nothing
    /// else does, zero if nodes are not bounded. `is_obeyed`: whoever sent this has limited it already.
    pub(super) fn parse(
        args: &mut Args<'_>,
        adds: bool,
        node_entries_max: u64,
        is_obeyed: bool,
    ) -> Result<TrimOptions, CommandError> {
        let mut options = TrimOptions {
            no_make: false,
            trim: None,
            bound_at: 0,
            id: NewId::Auto,
            id_at: 0,
        };
        let mut limit = None;
        while let Some(word) = args.peek() {
            let more = args.len() - 1;
            if adds && word == b"*" {
                options.id_at = args.position();
                args.word()?;
                break;
            } else if more > 0 && args.accept("maxlen") {
                let (approximate, bound) = options.bound(args)?;
                let len = parse_integer(bound)?;
                let len = u64::try_from(len).map_err(|_| NEGATIVE_LEN)?;
                options.set(TrimTo::Len(len), approximate);
            } else if more > 0 && args.accept("minid") {
                let (approximate, bound) = options.bound(args)?;
                options.set(TrimTo::From(id::strict(bound, 0)?), approximate);
            } else if more > 0 && args.accept("limit") {
                limit = Some(u64::try_from(args.integer()?).map_err(|_| NEGATIVE_LIMIT)?);
            } else if adds && args.accept("nomkstream") {
                options.no_make = true;
            } else if adds {
                options.id_at = args.position();
                options.id = NewId::parse(args.word()?)?;
                break;
            } else {
                return Err(errors::SYNTAX);
            }
        }
        let Some(trim) = &mut options.trim else {
            return match limit {
                Some(1..) => Err(LIMIT_ALONE),
                _ if !adds => Err(NO_STRATEGY),
                _ if limit.is_some() && !is_obeyed => Err(LIMIT_EXACT),
                _ => Ok(options),
            };
        };
        if !is_obeyed {
            trim.limit = match limit {
                Some(_) if !trim.approximate => return Err(LIMIT_EXACT),
                Some(limit) => limit,
                None if trim.approximate => limit_of(node_entries_max),
                None => 0,
            };
        }
        Ok(options)
    }

    /// Reads `[=|~] bound`: whether `~` stood there, and the bound.
    fn bound<'a>(&mut self, args: &mut Args<'a>) -> Result<(bool, &'a [u8]), CommandError> {
        if self.trim.is_some() {
            return Err(BOTH);
        }
        let sign = args.peek().filter(|_| args.len() > 1);
        let approximate = sign == Some(b"~");
        if approximate || sign == Some(b"=") {
            args.word()?;
        }
        self.bound_at = args.position();
        Ok((approximate, args.word()?))
    }

    fn set(&mut self, to: TrimTo, approximate: bool) {
        self.trim = Some(Trim {
            to,
            approximate,
            limit: 0,
        });
    }
}

/// The entries that `~` removes at most, if nobody said: a hundred nodes' worth.
fn limit_of(node_entries_max: u64) -> u64 {
    match 100u64.wrapping_mul(node_entries_max) as i64 {
        ..=0 => 10_000,
        limit => (limit as u64).min(1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eagle_core::store::StreamId;

    fn parse(line: &str, adds: bool) -> Result<TrimOptions, CommandError> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        TrimOptions::parse(&mut Args::new(&words, 0), adds, 100, false)
    }

    #[test]
    fn options_are_read_up_to_the_id() {
        let options = parse("maxlen ~ 5 limit 7 nomkstream 3-* f v", true).unwrap();
        let trim = Trim {
            to: TrimTo::Len(5),
            approximate: true,
            limit: 7,
        };
        assert_eq!((options.trim, options.bound_at), (Some(trim), 2));
        assert_eq!((options.id, options.id_at), (NewId::AutoSeq(3), 6));
        assert!(options.no_make);
        let trim = parse("MINID = 5-1", false).unwrap().trim.unwrap();
        assert_eq!(trim.to, TrimTo::From(StreamId::new(5, 1)));
        assert_eq!((trim.approximate, trim.limit), (false, 0));
        assert_eq!(
            parse("maxlen ~ 5", false).unwrap().trim.unwrap().limit,
            10_000
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (line, adds, error) in [
            ("maxlen 1 minid 1", false, BOTH),
            ("maxlen -1", false, NEGATIVE_LEN),
            ("maxlen ~ 1 limit -1", false, NEGATIVE_LIMIT),
            ("limit 1 * f v", true, LIMIT_ALONE),
            ("limit 0", false, NO_STRATEGY),
            ("maxlen 1 limit 0", false, LIMIT_EXACT),
            ("maxlen 1 what", false, errors::SYNTAX),
            ("maxlen", false, errors::SYNTAX),
        ] {
            assert_eq!(parse(line, adds), Err(error), "{line}");
        }
    }
}
