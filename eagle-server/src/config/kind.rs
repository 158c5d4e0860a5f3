//! The kinds of value a directive can take: how its words are read, checked, printed and rewritten.
//!
//! A kind is a value (`Int { min, max }`), not only a type, since two directives of one Rust type may
//! differ in their bounds. The rejection texts are those of Redis 7.0.15: configuration front ends
//! and test suites match on them.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use eagle_core::text::integer::parse_i64;
use eagle_core::text::memory_size::parse_memory_size;
use eagle_core::text::split_args::quoted;

/// Why a value was refused: the text after `CONFIG SET failed (...) - `, or under the quoted line of
/// a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject(pub Cow<'static, str>);

impl Reject {
    /// The wrong number of words for this directive.
    pub const WORD_COUNT: Reject = Reject(Cow::Borrowed("wrong number of arguments"));
}

impl From<&'static str> for Reject {
    fn from(text: &'static str) -> Reject {
        Reject(Cow::Borrowed(text))
    }
}

impl From<String> for Reject {
    fn from(text: String) -> Reject {
        Reject(Cow::Owned(text))
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One line of a rewritten configuration file, without the directive's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Everything after the name, quoted as the file needs it.
    pub words: Vec<u8>,
    /// Written even if the file does not mention the directive, because the value is not the default.
    pub forced: bool,
}

/// How a value of type `T` is written in a configuration.
pub trait Kind<T>: Sync {
    /// Whether the directive takes several words. Such a kind checks their number itself.
    fn is_many(&self) -> bool {
        false
    }

    /// Reads `words`; `current` is the value in force, for directives that change only a part of it
    /// or are relative to it.
    fn read(&self, words: &[&[u8]], current: &T) -> Result<T, Reject>;

    /// Reads a further line of the same file; only directives that accumulate look at `before`.
    fn append(&self, words: &[&[u8]], before: &T) -> Result<T, Reject> {
        self.read(words, before)
    }

    /// The value as CONFIG GET shows it.
    fn show(&self, value: &T) -> Vec<u8>;

    /// The lines CONFIG REWRITE writes for it; none drops the directive from the file.
    fn lines(&self, value: &T, default: &T) -> Vec<Line>
    where
        T: PartialEq,
    {
        vec![Line {
            words: self.show(value),
            forced: value != default,
        }]
    }
}

/// The only word of a directive that takes one.
fn only<'a>(words: &[&'a [u8]]) -> Result<&'a [u8], Reject> {
    match words {
        [word] => Ok(word),
        _ => Err(Reject::WORD_COUNT),
    }
}

/// `yes` or `no`.
pub struct YesNo;

impl Kind<bool> for YesNo {
    fn read(&self, words: &[&[u8]], _: &bool) -> Result<bool, Reject> {
        let word = only(words)?;
        if word.eq_ignore_ascii_case(b"yes") {
            Ok(true)
        } else if word.eq_ignore_ascii_case(b"no") {
            Ok(false)
        } else {
            Err("argument must be 'yes' or 'no'".into())
        }
    }

    fn show(&self, value: &bool) -> Vec<u8> {
        if *value {
            b"yes".to_vec()
        } else {
            b"no".to_vec()
        }
    }
}

/// Integer types a directive may have.
pub trait Number: Copy + PartialEq + TryFrom<i128> + Into<i128> {}
impl<T: Copy + PartialEq + TryFrom<i128> + Into<i128>> Number for T {}

/// A decimal integer within inclusive bounds.
pub struct Int {
    pub min: i128,
    pub max: i128,
}

/// The largest value of Redis's `int` directives.
pub const INT_MAX: i128 = i32::MAX as i128;
/// The smallest value of Redis's `int` directives.
pub const INT_MIN: i128 = i32::MIN as i128;
/// The largest value of Redis's 64-bit directives.
pub const LONG_MAX: i128 = i64::MAX as i128;

/// An integer directive bounded by `min` and `max`, both inclusive.
pub const fn int(min: i128, max: i128) -> Int {
    assert!(min <= max);
    Int { min, max }
}

/// A TCP port; 0 means none.
pub const PORT: Int = int(0, 65535);

impl<T: Number> Kind<T> for Int {
    fn read(&self, words: &[&[u8]], _: &T) -> Result<T, Reject> {
        let number =
            parse_i64(only(words)?).ok_or("argument couldn't be parsed into an integer")?;
        bounded(i128::from(number), self.min, self.max)
    }

    fn show(&self, value: &T) -> Vec<u8> {
        (*value).into().to_string().into_bytes()
    }
}

/// `value` as a `T` if it lies within the bounds.
fn bounded<T: Number>(value: i128, min: i128, max: i128) -> Result<T, Reject> {
    let fits = (min..=max).contains(&value);
    fits.then(|| T::try_from(value).ok())
        .flatten()
        .ok_or_else(|| {
            Reject::from(format!(
                "argument must be between {min} and {max} inclusive"
            ))
        })
}

/// A number of bytes, with an optional unit (`100mb`), within inclusive bounds.
pub struct Memory {
    pub min: u64,
    pub max: u64,
}

/// A size in bytes bounded by `min` and `max`, both inclusive.
pub const fn memory(min: u64, max: i128) -> Memory {
    assert!(max >= 0 && max <= u64::MAX as i128);
    Memory {
        min,
        max: max as u64,
    }
}

/// The largest size of Redis's unsigned memory directives.
pub const SIZE_MAX: i128 = u64::MAX as i128;

impl Kind<u64> for Memory {
    fn read(&self, words: &[&[u8]], _: &u64) -> Result<u64, Reject> {
        let bytes = parse_memory_size(only(words)?).ok_or("argument must be a memory value")?;
        bounded(
            i128::from(bytes),
            i128::from(self.min),
            i128::from(self.max),
        )
    }

    fn show(&self, value: &u64) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    fn lines(&self, value: &u64, default: &u64) -> Vec<Line> {
        vec![Line {
            words: memory_words(*value).into_bytes(),
            forced: value != default,
        }]
    }
}

/// A bound given in bytes or as a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteBound {
    /// Bytes; 0 means no bound.
    Bytes(u64),
    /// Hundredths of `maxmemory`, 1 to 100.
    PercentOfMaxmemory(u8),
}

impl ByteBound {
    /// The bound in bytes under `maxmemory`; `None` if there is none.
    pub fn bytes(self, maxmemory: u64) -> Option<u64> {
        let bytes = match self {
            ByteBound::Bytes(bytes) => bytes,
            ByteBound::PercentOfMaxmemory(percent) => {
                (u128::from(maxmemory) * u128::from(percent) / 100) as u64
            }
        };
        (bytes > 0).then_some(bytes)
    }
}

/// A memory size or a percentage.
pub struct MemoryOrPercent;

impl Kind<ByteBound> for MemoryOrPercent {
    fn read(&self, words: &[&[u8]], _: &ByteBound) -> Result<ByteBound, Reject> {
        const NEITHER: &str = "argument must be a memory or percent value";
        let word = only(words)?;
        let Some(percent) = word.strip_suffix(b"%") else {
            return Ok(ByteBound::Bytes(parse_memory_size(word).ok_or(NEITHER)?));
        };
        let percent = parse_i64(percent).filter(|p| *p >= 0).ok_or(NEITHER)?;
        match u8::try_from(percent) {
            Ok(0) => Ok(ByteBound::Bytes(0)),
            Ok(percent @ 1..=100) => Ok(ByteBound::PercentOfMaxmemory(percent)),
            _ => Err("percentage argument must be less or equal to 100".into()),
        }
    }

    fn show(&self, value: &ByteBound) -> Vec<u8> {
        match value {
            ByteBound::Bytes(bytes) => bytes.to_string().into_bytes(),
            ByteBound::PercentOfMaxmemory(percent) => format!("{percent}%").into_bytes(),
        }
    }

    fn lines(&self, value: &ByteBound, default: &ByteBound) -> Vec<Line> {
        let words = match value {
            ByteBound::Bytes(bytes) => memory_words(*bytes).into_bytes(),
            ByteBound::PercentOfMaxmemory(_) => self.show(value),
        };
        vec![Line {
            words,
            forced: value != default,
        }]
    }
}

/// An octal number up to `max`, as in file modes.
pub struct Octal {
    pub max: u32,
}

impl Kind<u32> for Octal {
    fn read(&self, words: &[&[u8]], _: &u32) -> Result<u32, Reject> {
        const NOT_OCTAL: &str = "argument couldn't be parsed as an octal number";
        let word = only(words)?;
        if word.is_empty() {
            return Ok(0);
        }
        let text = std::str::from_utf8(word).map_err(|_| NOT_OCTAL)?;
        let mode = i64::from_str_radix(text, 8).map_err(|_| NOT_OCTAL)?;
        match u32::try_from(mode) {
            Ok(mode) if mode <= self.max => Ok(mode),
            _ => Err(format!("argument must be between 0 and {:o} inclusive", self.max).into()),
        }
    }

    fn show(&self, value: &u32) -> Vec<u8> {
        format!("{value:o}").into_bytes()
    }
}

/// An enumeration whose variants have names in the configuration. Declare one with `choices!`.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every name and its variant, in the order error texts list them.
    const NAMES: &'static [(&'static str, Self)];

    /// The name of this variant.
    fn name(self) -> &'static str {
        let row = Self::NAMES.iter().find(|(_, variant)| *variant == self);
        row.expect("choices! lists every variant").0
    }
}

/// Declares an enumeration and its names in the configuration.
macro_rules! choices {
    ($(#[$meta:meta])* pub enum $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($(#[$doc])* $variant),+ }

        impl $crate::config::kind::Choice for $type {
            const NAMES: &'static [(&'static str, Self)] = &[$(($name, $type::$variant)),+];
        }
    };
}
pub(super) use choices;

/// One word out of an enumeration's names.
pub struct OneOf;

impl<T: Choice> Kind<T> for OneOf {
    fn read(&self, words: &[&[u8]], _: &T) -> Result<T, Reject> {
        choice(only(words)?)
    }

    fn show(&self, value: &T) -> Vec<u8> {
        value.name().as_bytes().to_vec()
    }
}

/// The variant called `word`, without regard to case.
pub fn choice<T: Choice>(word: &[u8]) -> Result<T, Reject> {
    let found = T::NAMES
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, variant)| *variant).ok_or_else(|| {
        let names: Vec<&str> = T::NAMES.iter().map(|(name, _)| *name).collect();
        format!(
            "argument(s) must be one of the following: {}",
            names.join(", ")
        )
        .into()
    })
}

/// A string in UTF-8, checked by `check`. Redis takes any bytes here; file names, addresses and
/// templates that are not text would only fail later and less clearly.
pub struct Text {
    pub check: fn(&str) -> Result<(), &'static str>,
}

/// Any text.
pub const TEXT: Text = Text { check: |_| Ok(()) };

impl Kind<String> for Text {
    fn read(&self, words: &[&[u8]], _: &String) -> Result<String, Reject> {
        let word = std::str::from_utf8(only(words)?).map_err(|_| "argument must be valid UTF-8")?;
        (self.check)(word)?;
        Ok(word.to_owned())
    }

    fn show(&self, value: &String) -> Vec<u8> {
        value.as_bytes().to_vec()
    }

    /// An empty string that is also the default leaves the file.
    fn lines(&self, value: &String, default: &String) -> Vec<Line> {
        text_lines(value.as_bytes(), default.as_bytes())
    }
}

fn text_lines(value: &[u8], default: &[u8]) -> Vec<Line> {
    if value.is_empty() && default.is_empty() {
        return Vec::new();
    }
    vec![Line {
        words: quoted(value),
        forced: value != default,
    }]
}

/// A password or key phrase: bytes that are wiped when dropped and never printed by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The secret's bytes; empty means that none is set.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Secret {
        Secret(Zeroizing::new(bytes.to_vec()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() {
            "Secret(none)"
        } else {
            "Secret(..)"
        })
    }
}

/// A secret of any bytes.
pub struct Password;

impl Kind<Secret> for Password {
    fn read(&self, words: &[&[u8]], _: &Secret) -> Result<Secret, Reject> {
        Ok(Secret::from(only(words)?))
    }

    fn show(&self, value: &Secret) -> Vec<u8> {
        value.as_bytes().to_vec()
    }

    fn lines(&self, value: &Secret, default: &Secret) -> Vec<Line> {
        text_lines(value.as_bytes(), default.as_bytes())
    }
}

/// A size in the largest unit that expresses it exactly, as CONFIG REWRITE spells it.
pub fn memory_words(bytes: u64) -> String {
    for (scale, unit) in [(1u64 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")] {
        if bytes > 0 && bytes.is_multiple_of(scale) {
            return format!("{}{unit}", bytes / scale);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rewritten_in_the_largest_exact_unit() {
        assert_eq!(memory_words(0), "0");
        assert_eq!(memory_words(1000), "1000");
        assert_eq!(memory_words(3 << 20), "3mb");
        assert_eq!(memory_words(1 << 30), "1gb");
    }

    #[test]
    fn percentages_are_shares_of_maxmemory() {
        let read = |word: &str| MemoryOrPercent.read(&[word.as_bytes()], &ByteBound::Bytes(0));
        assert_eq!(read("5%"), Ok(ByteBound::PercentOfMaxmemory(5)));
        assert_eq!(read("0%"), Ok(ByteBound::Bytes(0)));
        assert_eq!(read("1mb"), Ok(ByteBound::Bytes(1 << 20)));
        assert_eq!(
            read("101%"),
            Err("percentage argument must be less or equal to 100".into())
        );
        assert_eq!(
            read("%"),
            Err("argument must be a memory or percent value".into())
        );
        assert_eq!(ByteBound::PercentOfMaxmemory(50).bytes(1000), Some(500));
        assert_eq!(ByteBound::Bytes(0).bytes(1000), None);
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Secret::from(&b"hunter2"[..])), "Secret(..)");
    }
}
