//! LCS: the longest common subsequence of two strings.
//!
//! The usual table of lengths is filled row by row, and only one row is kept. Walking back needs one
//! bit a cell: where the two bytes differ, whether to go up (drop a byte of the first string) or left.
//! Transient memory is thus less than Redis's, for strings of like length a 32nd of it. That holds also where a string in
//! chunks is joined, since Redis's table has at least eight bytes for each of its bytes. The limit on the strings stays
//! Redis's, a table of 32-bit lengths within `proto-max-bulk-len`, because it bounds the time as well.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use eagle_core::store::StringValue;
use std::borrow::Cow;

const NOT_STRINGS: CommandError =
    CommandError::new("ERR The specified keys must contain string values");
const LEN_AND_IDX: CommandError =
    CommandError::new("ERR If you want both the length and indexes, please just use IDX.");
const TOO_LONG: CommandError = CommandError::new("ERR String too long for LCS");
const TABLE_TOO_LARGE: CommandError = CommandError::new(
    "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
);

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN] -- a longest common subsequence of
/// two strings, its length, or where it lies.
pub(super) const LCS: Command = Command::new(
    "lcs",
    -3,
    lcs,
    Docs::new("string", "7.0.0", "Find longest common substring")
        .complexity("O(N*M) where N and M are the lengths of s1 and s2, respectively")
        .syntax("key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::STRING)
.keys(&[KeySpec::range(1, 1, 1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn lcs(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let keys = [args.word()?, args.word()?];
    let lens = [len_of(cx, keys[0])?, len_of(cx, keys[1])?];
    let options = LcsOptions::parse(args)?;
    check_size(lens[0], lens[1], cx.config.clients.proto_max_bulk_len)?;
    let (a, b) = (text_of(cx, keys[0])?, text_of(cx, keys[1])?);
    match options.result {
        LcsResult::Len => {
            let (len, _) = table(&a, &b, false);
            cx.out.integer(len.into());
        }
        LcsResult::Text => {
            let (len, ups) = table(&a, &b, true);
            let runs = runs(&a, &b, &ups);
            cx.out.bulk_pieces(len as usize, |out| {
                for run in runs.iter().rev() {
                    out.raw(&a[run.a..run.a + run.len]);
                }
            });
        }
        LcsResult::Indexes => {
            let (len, ups) = table(&a, &b, true);
            let mut runs = runs(&a, &b, &ups);
            runs.retain(|run| run.len as u64 >= options.run_len_min);
            reply_runs(cx, &runs, len, options.with_run_len);
        }
    }
    Ok(Flow::Done)
}

fn len_of(cx: &Context<'_>, key: &[u8]) -> Result<usize, CommandError> {
    match cx.noted(cx.view.string_len(cx.db(), key)) {
        Ok(len) => Ok(len.unwrap_or(0) as usize),
        Err(error) if error == errors::WRONG_TYPE => Err(NOT_STRINGS),
        Err(other) => Err(other),
    }
}

/// The string at a key, which is one or absent. Only a string in chunks is copied.
fn text_of<'a>(cx: &Context<'a>, key: &[u8]) -> Result<Cow<'a, [u8]>, CommandError> {
    let found = cx.view.string(cx.db(), key)?;
    Ok(found.map_or(Cow::Borrowed(b""), StringValue::into_cow))
}

fn reply_runs(cx: &mut Context<'_>, runs: &[Run], len: u32, with_run_len: bool) {
    cx.out.map(2);
    cx.out.bulk("matches");
    cx.out.array(runs.len());
    for run in runs {
        cx.out.array(2 + usize::from(with_run_len));
        for start in [run.a, run.b] {
            cx.out.array(2);
            cx.out.integer(start as i64);
            cx.out.integer((start + run.len - 1) as i64);
        }
        if with_run_len {
            cx.out.integer(run.len as i64);
        }
    }
    cx.out.bulk("len");
    cx.out.integer(len.into());
}

/// What LCS replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LcsResult {
    Text,
    Len,
    Indexes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LcsOptions {
    result: LcsResult,
    /// Shorter runs are left out of `IDX`.
    run_len_min: u64,
    with_run_len: bool,
}

impl LcsOptions {
    fn parse(mut args: Args<'_>) -> Result<LcsOptions, CommandError> {
        let (mut indexes, mut len, mut run_len_min, mut with_run_len) = (false, false, 0, false);
        while !args.is_empty() {
            if args.accept("IDX") {
                indexes = true;
            } else if args.accept("LEN") {
                len = true;
            } else if args.accept("WITHMATCHLEN") {
                with_run_len = true;
            } else if args.accept("MINMATCHLEN") {
                run_len_min = u64::try_from(args.integer()?).unwrap_or(0);
            } else {
                return Err(errors::SYNTAX);
            }
        }
        let result = match (indexes, len) {
            (true, true) => return Err(LEN_AND_IDX),
            (true, false) => LcsResult::Indexes,
            (false, true) => LcsResult::Len,
            (false, false) => LcsResult::Text,
        };
        Ok(LcsOptions {
            result,
            run_len_min,
            with_run_len,
        })
    }
}

fn check_size(a_len: usize, b_len: usize, table_bytes_max: u64) -> Result<(), CommandError> {
    const LEN_END: usize = u32::MAX as usize - 1;
    if a_len >= LEN_END || b_len >= LEN_END {
        return Err(TOO_LONG);
    }
    let table_bytes = (a_len as u128 + 1) * (b_len as u128 + 1) * size_of::<u32>() as u128;
    if table_bytes > u128::from(table_bytes_max) {
        Err(TABLE_TOO_LARGE)
    } else {
        Ok(())
    }
}

/// One bit for each pair of positions.
struct Bits {
    words: Vec<u64>,
    columns: usize,
}

impl Bits {
    fn new(rows: usize, columns: usize) -> Bits {
        Bits {
            words: vec![0; (rows * columns).div_ceil(64)],
            columns,
        }
    }

    fn set(&mut self, row: usize, column: usize) {
        let bit = row * self.columns + column;
        self.words[bit / 64] |= 1 << (bit % 64);
    }

    fn has(&self, row: usize, column: usize) -> bool {
        let bit = row * self.columns + column;
        self.words[bit / 64] & (1 << (bit % 64)) != 0
    }
}

/// The length of the subsequence, and with `walk` the cells in which the walk back goes up.
fn table(a: &[u8], b: &[u8], walk: bool) -> (u32, Bits) {
    let mut ups = if walk {
        Bits::new(a.len(), b.len())
    } else {
        Bits::new(0, 0)
    };
    if a.is_empty() || b.is_empty() {
        return (0, ups);
    }
    // Cells not reached yet are those of the row above.
    let mut row = vec![0u32; b.len()];
    for (i, byte) in a.iter().enumerate() {
        // Before the first column stands an empty second string.
        let (mut left, mut left_above) = (0, 0);
        for (j, (cell, other)) in row.iter_mut().zip(b).enumerate() {
            let above = *cell;
            if byte == other {
                *cell = left_above + 1;
            } else {
                let up = above > left;
                if walk && up {
                    ups.set(i, j);
                }
                *cell = above.max(left);
            }
            (left, left_above) = (*cell, above);
        }
    }
    (row[b.len() - 1], ups)
}

/// Bytes that follow one another in both strings: `len` of them, from `a` in the first and `b` in
/// the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    a: usize,
    b: usize,
    len: usize,
}

/// The runs of the subsequence, the last first.
fn runs(a: &[u8], b: &[u8], ups: &Bits) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut i, mut j) = (a.len(), b.len());
    while i > 0 && j > 0 {
        if a[i - 1] != b[j - 1] {
            if ups.has(i - 1, j - 1) {
                i -= 1
            } else {
                j -= 1
            }
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.a == i && run.b == j => {
                *run = Run {
                    a: i - 1,
                    b: j - 1,
                    len: run.len + 1,
                }
            }
            _ => runs.push(Run {
                a: i - 1,
                b: j - 1,
                len: 1,
            }),
        }
        i -= 1;
        j -= 1;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(a: &[u8], b: &[u8]) -> Vec<u8> {
        let (_, ups) = table(a, b, true);
        runs(a, b, &ups)
            .iter()
            .rev()
            .flat_map(|run| a[run.a..run.a + run.len].to_vec())
            .collect()
    }

    #[test]
    fn runs_come_last_first() {
        let (a, b) = (b"ohmytext", b"mynewtext");
        let (len, ups) = table(a, b, true);
        assert_eq!(len, 6);
        assert_eq!(
            runs(a, b, &ups),
            [Run { a: 4, b: 5, len: 4 }, Run { a: 2, b: 0, len: 2 }]
        );
        assert_eq!(text(a, b), b"mytext");
    }

    #[test]
    fn empty_strings_have_nothing_in_common() {
        for (a, b) in [(&b""[..], &b""[..]), (b"", b"x"), (b"x", b"")] {
            assert_eq!(table(a, b, false).0, 0);
            assert!(text(a, b).is_empty());
        }
    }

    #[test]
    fn the_limit_is_that_of_a_table_of_lengths() {
        assert_eq!(check_size(9, 9, 400), Ok(()));
        assert_eq!(check_size(9, 9, 399), Err(TABLE_TOO_LARGE));
        assert_eq!(
            check_size(u32::MAX as usize - 1, 0, u64::MAX),
            Err(TOO_LONG)
        );
    }

    #[test]
    fn options_in_any_order() {
        let parse = |line: &str| {
            let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            LcsOptions::parse(Args::new(&words, 0))
        };
        let expected = LcsOptions {
            result: LcsResult::Indexes,
            run_len_min: 4,
            with_run_len: true,
        };
        assert_eq!(parse("withmatchlen minmatchlen 4 idx"), Ok(expected));
        assert_eq!(
            parse("MINMATCHLEN -4").map(|options| options.run_len_min),
            Ok(0)
        );
        assert_eq!(parse("LEN IDX"), Err(LEN_AND_IDX));
        assert_eq!(parse("LEN x"), Err(errors::SYNTAX));
        assert_eq!(parse("MINMATCHLEN"), Err(errors::SYNTAX));
    }

    /// Length by the textbook's recursion over suffixes, with its table.
    fn len_by_definition(a: &[u8], b: &[u8]) -> usize {
        let mut best = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                best[i][j] = if a[i] == b[j] {
                    best[i + 1][j + 1] + 1
                } else {
                    best[i + 1][j].max(best[i][j + 1])
                };
            }
        }
        best[0][0]
    }

    fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
        let mut rest = whole.iter();
        part.iter().all(|byte| rest.any(|other| other == byte))
    }

    proptest! {
        #[test]
        fn the_text_is_a_common_subsequence_of_greatest_length(
            a in prop::collection::vec(b'a'..b'e', 0..40),
            b in prop::collection::vec(b'a'..b'e', 0..40),
        ) {
            let found = text(&a, &b);
            prop_assert!(is_subsequence(&found, &a));
            prop_assert!(is_subsequence(&found, &b));
            prop_assert_eq!(found.len(), len_by_definition(&a, &b));
            prop_assert_eq!(table(&a, &b, false).0 as usize, found.len());
        }
    }
}
