//! Looking at lists: LLEN, LINDEX, LRANGE, LPOS.

use crate::command::args::Args;
use crate::command::args::parse_integer;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};

/// LLEN key -- number of elements.
pub(super) const LLEN: Command = Command::new(
    "llen",
    2,
    llen,
    Docs::new("list", "1.0.0", "Get the length of a list")
        .complexity("O(1)")
        .syntax("key"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.scope(Scope::Keys)
.family(Categories::LIST)
.keys(&[KeySpec::index(1, &[KeyFlags::RO])]);

fn llen(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let list = cx.noted(cx.view.list(cx.db(), args.word()?))?;
    let len = list.map_or(0, |list| list.len());
    cx.reply_integer(len as i64)
}

/// LINDEX key index -- the element at a position, counted from the end if negative; or null.
pub(super) const LINDEX: Command = Command::new(
    "lindex",
    3,
    lindex,
    Docs::new("list", "1.0.0", "Get an element from a list by its index")
        .complexity("O(N) where N is the number of elements to traverse to get to the element at index. This makes asking for the first or the last element of the list O(1).")
        .syntax("key index"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::LIST)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn lindex(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let Some(list) = cx.noted(cx.view.list(cx.db(), args.word()?))? else {
        return cx.reply_null();
    };
    let index = args.integer()?;
    cx.out.bulk_or_null(list.get(index));
    Ok(Flow::Done)
}

/// LRANGE key start stop -- the elements from one position to another, both included.
pub(super) const LRANGE: Command = Command::new(
    "lrange",
    4,
    lrange,
    Docs::new("list", "1.0.0", "Get a range of elements from a list")
        .complexity("O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.")
        .syntax("key start stop:integer"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::LIST)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn lrange(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, start, stop) = (args.word()?, args.integer()?, args.integer()?);
    let Some(list) = cx.noted(cx.view.list(cx.db(), key))? else {
        cx.out.array(0);
        return Ok(Flow::Done);
    };
    let (start, count) = range(start, stop, list.len());
    cx.out.array(count as usize);
    for element in list.iter_from(start).take(count as usize) {
        cx.out.bulk(element);
    }
    Ok(Flow::Done)
}

/// The first position and the number of the elements from `start` to `stop`, both included and counted from the end if
/// negative.
pub(super) fn range(start: i64, stop: i64, len: u64) -> (u64, u64) {
    let len = len as i64;
    let from_end = |index: i64| {
        if index < 0 {
            len.saturating_add(index)
        } else {
            index
        }
    };
    let start = from_end(start).max(0);
    let stop = from_end(stop).min(len - 1);
    if start > stop || start >= len {
        return (0, 0);
    }
    (start as u64, (stop - start + 1) as u64)
}

/// LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len] -- where an element is found.
pub(super) const LPOS: Command = Command::new(
    "lpos",
    -3,
    lpos,
    Docs::new("list", "6.0.6", "Return the index of matching elements on a list")
        .complexity("O(N) where N is the number of elements in the list, for the average case. When searching for elements near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant time.")
        .syntax("key element [RANK rank] [COUNT num-matches] [MAXLEN len]"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::LIST)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn lpos(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, element) = (args.word()?, args.word()?);
    let options = LposOptions::parse(args)?;
    let Some(list) = cx.noted(cx.view.list(cx.db(), key))? else {
        match options.count {
            None => cx.out.null(),
            Some(_) => cx.out.array(0),
        }
        return Ok(Flow::Done);
    };
    let len = list.len();
    let backwards = options.rank < 0;
    let elements = if backwards {
        list.iter_back_from(len - 1)
    } else {
        list.iter()
    };
    let scanned_max = match options.maxlen {
        0 => usize::MAX,
        maxlen => maxlen as usize,
    };
    let matches = elements
        .take(scanned_max)
        .enumerate()
        .filter(|(_, found)| *found == element)
        .map(|(i, _)| {
            if backwards {
                len - 1 - i as u64
            } else {
                i as u64
            }
        })
        .skip(options.rank.unsigned_abs() as usize - 1);
    match options.count {
        None => match matches.into_iter().next() {
            Some(index) => cx.out.integer(index as i64),
            None => cx.out.null(),
        },
        Some(count) => {
            let count_max = if count == 0 {
                usize::MAX
            } else {
                count as usize
            };
            let header = cx.out.deferred();
            let mut found = 0;
            for index in matches.take(count_max) {
                cx.out.integer(index as i64);
                found += 1;
            }
            cx.out.finish_array(header, found);
        }
    }
    Ok(Flow::Done)
}

struct LposOptions {
    rank: i64,
    count: Option<i64>,
    maxlen: i64,
}

impl LposOptions {
    fn parse(mut args: Args<'_>) -> Result<LposOptions, CommandError> {
        const ZERO_RANK: CommandError = CommandError::new(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to \
             start from the end of the list",
        );
        const NEGATIVE_COUNT: CommandError = CommandError::new("ERR COUNT can't be negative");
        const NEGATIVE_MAXLEN: CommandError = CommandError::new("ERR MAXLEN can't be negative");
        let mut options = LposOptions {
            rank: 1,
            count: None,
            maxlen: 0,
        };
        let natural = |word: &[u8], error: CommandError| match parse_integer(word) {
            Ok(value @ 0..) => Ok(value),
            _ => Err(error),
        };
        while !args.is_empty() {
            if args.len() < 2 {
                return Err(errors::SYNTAX);
            }
            if args.accept("RANK") {
                // The least integer has no opposite: Redis ends at the first match it meets from the tail.
                let rank = args.integer()?;
                options.rank = if rank == i64::MIN { -1 } else { rank };
                if options.rank == 0 {
                    return Err(ZERO_RANK);
                }
            } else if args.accept("COUNT") {
                options.count = Some(natural(args.word()?, NEGATIVE_COUNT)?);
            } else if args.accept("MAXLEN") {
                options.maxlen = natural(args.word()?, NEGATIVE_MAXLEN)?;
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_cut_to_the_list() {
        assert_eq!(range(0, -1, 5), (0, 5));
        assert_eq!(range(-100, 100, 5), (0, 5));
        assert_eq!(range(1, 1, 5), (1, 1));
        assert_eq!(range(-2, -1, 5), (3, 2));
        for (start, stop) in [
            (5, 9),
            (3, 2),
            (0, -6),
            (i64::MAX, i64::MAX),
            (-1, i64::MIN),
        ] {
            assert_eq!(range(start, stop, 5), (0, 0), "{start} {stop}");
        }
    }
}
