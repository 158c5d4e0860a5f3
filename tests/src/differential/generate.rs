//! Command lines from the grammar, with pools small enough that arguments meet again, and one line
//! in eight spoiled on purpose: a word too many, too few, or a value of the wrong kind.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::{Compare, GRAMMAR, Step};

const KEYS: u32 = 8;
/// Enough fields for a hash to outgrow its packed form once its limit was lowered.
const FIELDS: u32 = 12;

const INTS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "10",
    "100",
    "-100",
    "65536",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "+1",
    "01",
    "-0",
    " 1",
    "1 ",
    "1.0",
    "abc",
    "",
];
const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "0.2",
    "1.5",
    "-2.25",
    "3.0e3",
    "1e10",
    "1e17",
    "1e-7",
    "123456789.123456789",
    "5e-324",
    "1e308",
    "1e4932",
    "1e5000",
    "0x10",
    "inf",
    "-inf",
    "nan",
    " 1",
    "abc",
    "",
];
const INDEXES: &[&str] = &[
    "0",
    "1",
    "2",
    "5",
    "44",
    "-1",
    "-2",
    "-100",
    "100",
    "536870912",
    "9223372036854775807",
    "-9223372036854775808",
    "x",
];
/// No time between "now" and "long after the test", so that no key expires between two replies.
const TTLS: &[&str] = &[
    "100",
    "1000",
    "100000",
    "9223372036854775",
    "9223372036854775807",
    "0",
    "-1",
    "-100",
    "1.5",
    "x",
];
const TTLS_MS: &[&str] = &[
    "100000",
    "1000000",
    "0",
    "-1",
    "9223372036854775807",
    "9223372036854775000",
    "x",
];
const AT: &[&str] = &[
    "4102444800",
    "4102444801",
    "1",
    "0",
    "-1",
    "9223372036854775807",
    "x",
];
const AT_MS: &[&str] = &[
    "4102444800000",
    "4102444800001",
    "1",
    "0",
    "-1",
    "9223372036854775807",
    "x",
];
/// A key that SET stores with a time in the past is there for some eyes until somebody removes it.
const LATER: &[&str] = &[
    "4102444800",
    "4102444801",
    "0",
    "-1",
    "9223372036854775807",
    "x",
];
const LATER_MS: &[&str] = &[
    "4102444800000",
    "4102444800001",
    "0",
    "-1",
    "9223372036854775807",
    "x",
];
const COUNTS: &[&str] = &[
    "1",
    "2",
    "3",
    "10",
    "0",
    "-1",
    "-5",
    "-9223372036854775808",
    "x",
];
/// Few, so that members share a score and are told apart by their bytes.
const SCORES: &[&str] = &[
    "1",
    "2",
    "0",
    "-1",
    "3.5",
    "1e20",
    "-0",
    "0.1",
    "1e-10",
    "9007199254740993",
    "123456789.123456789",
    "5e-324",
    "1.7976931348623157e308",
    "inf",
    "-inf",
    "+inf",
    "nan",
    "0x10",
    "x",
    "",
];
const SCORE_EDGES: &[&str] = &[
    "-inf", "+inf", "0", "(0", "1", "(1", "2", "(2", "3.5", "(-inf", "(+inf", "(", "x", "nan",
];
const LEX_EDGES: &[&str] = &[
    "-", "+", "[1", "(1", "[10", "(10", "[5", "(5", "[f1", "(f1", "[", "(", "1", "",
];
const PLACES: &[[&str; 2]] = &[
    ["13.361389", "38.115556"],
    ["15.087269", "37.502669"],
    ["13.5", "38.5"],
    ["0", "0"],
    ["-122.4194", "37.7749"],
    ["180", "85.05112878"],
    ["-180", "-85.05112878"],
    ["179.9999", "10"],
    ["-179.9999", "10"],
    ["181", "10"],
    ["10", "86"],
    ["x", "10"],
    ["nan", "10"],
];
const RADII: &[&str] = &[
    "200", "2000", "1", "0", "0.5", "30000", "500000", "1e7", "-1", "x", "nan", "inf",
];
const PATTERNS: &[&str] = &[
    "*", "k*", "k?", "k[1-3]", "k[^1]", "k[3-1]", "\\k1", "f*1", "*[", "k[1", "", "**1*",
];
const DBS: &[&str] = &["0", "0", "0", "1", "2", "15", "16", "-1", "x"];
const WORDS: &[&str] = &[
    "",
    "a",
    "hello",
    "hello world",
    "10",
    "-5",
    "007",
    "1.5",
    "3.0",
    "9223372036854775807",
    "ok\r\n",
];

/// No number that would make a key expire while the test runs.
const JUNK: &[&[u8]] = &[
    b"",
    b"x",
    b"-7",
    b"1.5",
    b"99999999999999999999",
    b"k1",
    b"f1",
    b"NX",
    b"EX",
    b"\xff\0\r\n",
];

/// An endless source of steps.
#[derive(Debug)]
pub struct Generator {
    rng: SmallRng,
}

impl Generator {
    /// The generator of one sequence.
    pub fn new(seed: u64) -> Generator {
        Generator {
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// The next command, on one of `connections` connections.
    pub fn step(&mut self, connections: usize) -> Step {
        let rule = GRAMMAR
            .choose(&mut self.rng)
            .expect("the grammar has rules");
        let mut args = self.expand(rule.words);
        let mut compare = rule.compare;
        if self.one_in(8) {
            self.spoil(&mut args);
            // The allowance was made for the unspoiled command.
            if compare != Compare::Exact {
                compare = Compare::Refusal;
            }
        }
        // Most commands on one connection, so that its transactions grow long.
        let connection = if self.one_in(4) {
            self.rng.random_range(0..connections)
        } else {
            0
        };
        Step {
            connection,
            args,
            compare,
        }
    }

    fn expand(&mut self, words: &str) -> Vec<Vec<u8>> {
        let mut args = Vec::new();
        for word in words.split(' ') {
            let (unit, repeats) = match (word.strip_suffix('?'), word.strip_suffix('+')) {
                (Some(unit), _) => (unit, self.rng.random_range(0..2)),
                (_, Some(unit)) => (unit, self.rng.random_range(1..5)),
                _ => (word, 1),
            };
            for _ in 0..repeats {
                self.expand_unit(unit, &mut args);
            }
        }
        args
    }

    /// `A:<x>|B:<y>` are alternatives of joined words; `A|B` inside a joined word too.
    fn expand_unit(&mut self, unit: &str, args: &mut Vec<Vec<u8>>) {
        let whole_alternatives = unit.split('|').filter(|part| part.contains(':')).count() > 1;
        let unit = if whole_alternatives {
            self.pick(&unit.split('|').collect::<Vec<_>>())
        } else {
            unit
        };
        for word in unit.split(':') {
            let word: &str = self.pick(&word.split('|').collect::<Vec<_>>());
            let arg = match word {
                "<key>" => format!("k{}", self.rng.random_range(0..KEYS)).into(),
                "<field>" => format!("f{}", self.rng.random_range(0..FIELDS)).into(),
                "<value>" => self.value(),
                "<member>" => self.member(),
                "<int>" => self.number(INTS),
                "<float>" => self.number(FLOATS),
                "<index>" => self.pick(INDEXES).into(),
                "<ttl>" => self.number(TTLS),
                "<ttl-ms>" => self.number(TTLS_MS),
                "<at>" => self.number(AT),
                "<at-ms>" => self.number(AT_MS),
                "<later>" => self.number(LATER),
                "<later-ms>" => self.number(LATER_MS),
                "<count>" => self.number(COUNTS),
                "<score>" => self.number(SCORES),
                "<score-edge>" => self.number(SCORE_EDGES),
                "<lex-edge>" => self.number(LEX_EDGES),
                "<place>" => {
                    let [longitude, latitude] = self.place();
                    args.push(longitude.into());
                    latitude.into()
                }
                "<radius>" => self.number(RADII),
                "<pattern>" => self.pick(PATTERNS).into(),
                "<db>" => self.pick(DBS).into(),
                literal => self.literal(literal),
            };
            args.push(arg);
        }
    }

    /// Good numbers lead each pool; half of the time only those are drawn from.
    fn number(&mut self, pool: &[&'static str]) -> Vec<u8> {
        let pool = if self.one_in(2) { pool } else { &pool[..2] };
        self.pick(pool).into()
    }

    /// Like a number: half of the time one of the first few, which are near each other.
    fn place(&mut self) -> [&'static str; 2] {
        let pool = if self.one_in(2) { PLACES } else { &PLACES[..3] };
        self.pick(pool)
    }

    /// Mostly small integers, so that sets are intsets for a while.
    fn member(&mut self) -> Vec<u8> {
        match self.rng.random_range(0..30) {
            0 => self.value(),
            1 | 2 => format!("f{}", self.rng.random_range(0..FIELDS)).into(),
            _ => self.rng.random_range(-2..12).to_string().into(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.rng.random_range(0..12) {
            // Either side of the border between the embedded and the raw string, and of packed hashes.
            0 => vec![b'x'; self.rng.random_range(43..47)],
            1 => vec![b'y'; self.rng.random_range(63..66)],
            2 => (0..self.rng.random_range(1..20))
                .map(|_| self.rng.random())
                .collect(),
            3 => self.number(INTS),
            4 => self.number(FLOATS),
            5 => vec![b'z'; 3000],
            _ => self.pick(WORDS).into(),
        }
    }

    /// Command words are taken in any case.
    fn literal(&mut self, word: &str) -> Vec<u8> {
        if self.one_in(10) {
            word.to_ascii_lowercase().into()
        } else {
            word.into()
        }
    }

    fn spoil(&mut self, args: &mut Vec<Vec<u8>>) {
        let at = self.rng.random_range(0..args.len());
        let junk = self.pick(JUNK).to_vec();
        match self.rng.random_range(0..4) {
            0 if args.len() > 1 => drop(args.pop()),
            1 => args.insert(at.max(1), junk),
            2 if at > 0 => args[at] = junk,
            _ => args.push(junk),
        }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_range(0..n) == 0
    }

    fn pick<T: Copy>(&mut self, pool: &[T]) -> T {
        *pool.choose(&mut self.rng).expect("no pool is empty")
    }
}
