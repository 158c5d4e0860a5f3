//! What this crate answers to the inputs that the tables in `golden/` hold, in the form recorded
//! there: a list of byte strings, `refused` standing for every error.

use eagle_core::text::double::{DoubleText, parse_f64};
use eagle_core::text::glob::{Case, matches};
use eagle_core::text::long_double::LongDouble;
use eagle_core::text::split_args::split_args;

/// One row: the first `INPUTS` fields are the input, the others the answer.
pub type Fields = Vec<Vec<u8>>;

/// A table's name, how many fields are input, and how to answer them.
pub type Table = (&'static str, usize, fn(&[Vec<u8>]) -> Fields);

/// All tables.
pub const TABLES: [Table; 5] = [
    ("long_double", 2, |input| one(sum(&input[0], &input[1]))),
    ("double", 1, |input| {
        one(parse_f64(&input[0]).map(|v| DoubleText::new(v).as_bytes().to_vec()))
    }),
    ("glob", 2, |input| {
        one(truth(matches(&input[0], &input[1], Case::Sensitive)))
    }),
    ("glob_nocase", 2, |input| {
        one(truth(matches(&input[0], &input[1], Case::Insensitive)))
    }),
    ("split_args", 1, |input| {
        split_args(&input[0]).unwrap_or_else(|_| one(None))
    }),
];

/// The answer that is one byte string, or the refusal.
pub fn one(answer: Option<Vec<u8>>) -> Fields {
    vec![answer.unwrap_or_else(|| b"refused".to_vec())]
}

fn sum(value: &[u8], increment: &[u8]) -> Option<Vec<u8>> {
    let sum = LongDouble::parse(value)? + LongDouble::parse(increment)?;
    sum.is_finite().then(|| sum.print())
}

fn truth(value: bool) -> Option<Vec<u8>> {
    Some(if value {
        b"yes".to_vec()
    } else {
        b"no".to_vec()
    })
}
