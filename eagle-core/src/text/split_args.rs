//! One line into arguments, as inline commands and the configuration file write them.
//!
//! Blanks separate arguments. `"..."` takes the escapes `\xHH \n \r \t \b \a` and a backslash before
//! any other byte stands for that byte; `'...'` takes only `\'`. A quote may open in the middle of
//! an argument, and after the closing one a blank or the end must follow. A NUL byte ends the line.

use super::integer::is_space_c;

/// A quote is not closed, or a byte follows right after the closing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

impl std::fmt::Display for UnbalancedQuotes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unbalanced quotes")
    }
}

impl std::error::Error for UnbalancedQuotes {}

/// The arguments of `line`, unquoted.
pub fn split_args(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let mut bytes = Vec::new();
    let mut spans = Vec::new();
    split_args_into(line, &mut bytes, |start, end| spans.push(start..end))?;
    Ok(spans.into_iter().map(|span| bytes[span].to_vec()).collect())
}

/// Appends the unquoted arguments of `line` to `out` with nothing between them, and tells `found`
/// where in `out` each begins and ends.
pub fn split_args_into(
    line: &[u8],
    out: &mut Vec<u8>,
    mut found: impl FnMut(usize, usize),
) -> Result<(), UnbalancedQuotes> {
    let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut rest = line;
    loop {
        let blank = rest.iter().take_while(|&&byte| is_space_c(byte)).count();
        rest = &rest[blank..];
        if rest.is_empty() {
            return Ok(());
        }
        let start = out.len();
        rest = argument(rest, out)?;
        found(start, out.len());
    }
}

/// Appends `bytes` to `out` in double quotes such that [`split_args`] reads it back, printable on
/// one line of ASCII: the form in logs, MONITOR, CONFIG REWRITE and ACL files.
pub fn quote_into(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
    }
    out.push(b'"');
}

/// [`quote_into`] a new vector.
pub fn quoted(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    quote_into(bytes, &mut out);
    out
}

/// Whether `bytes` must be quoted to be one argument of a configuration line.
pub fn needs_quotes(bytes: &[u8]) -> bool {
    bytes.is_empty()
        || bytes
            .iter()
            .any(|byte| !matches!(byte, b'!'..=b'~') || matches!(byte, b'\\' | b'"' | b'\''))
}

/// Unquotes the argument at the beginning of `rest` into `out`; returns what follows it.
fn argument<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    while let [byte, after @ ..] = rest {
        match byte {
            // Vertical tab and form feed separate arguments but do not end one, as in Redis.
            b' ' | b'\n' | b'\r' | b'\t' => return Ok(after),
            b'"' => return double_quoted(after, out),
            b'\'' => return single_quoted(after, out),
            _ => out.push(*byte),
        }
        rest = after;
    }
    Ok(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(hex_value(*high) << 4 | hex_value(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                after
            }
            [b'"', after @ ..] => return closed(after),
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
            [] => return Err(UnbalancedQuotes),
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [b'\\', b'\'', after @ ..] => {
                out.push(b'\'');
                after
            }
            [b'\'', after @ ..] => return closed(after),
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
            [] => return Err(UnbalancedQuotes),
        }
    }
}

fn closed(after: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match after.first() {
        Some(&byte) if !is_space_c(byte) => Err(UnbalancedQuotes),
        _ => Ok(after),
    }
}

/// The value of a hexadecimal digit, which `digit` must be.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(line: &str) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
        split_args(line.as_bytes())
    }

    fn words(words: &[&str]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
        Ok(words.iter().map(|word| word.as_bytes().to_vec()).collect())
    }

    #[test]
    fn blanks_and_quotes() {
        assert_eq!(split(""), words(&[]));
        assert_eq!(split(" \t\x0b\r\n"), words(&[]));
        assert_eq!(split("set  a\tb "), words(&["set", "a", "b"]));
        assert_eq!(split(r#"a"b c" 'd e' """#), words(&["ab c", "d e", ""]));
        assert_eq!(
            split(r#""\x41\n\q\"\xzz" '\'\n'"#),
            words(&["A\nq\"xzz", "'\\n"])
        );
        assert_eq!(split("a\x0bb \x0bc"), words(&["a\x0bb", "c"]));
        assert_eq!(split("a b\0 c"), words(&["a", "b"]));
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [
            r#"""#,
            r#"a "b"#,
            r#""a"b"#,
            "'",
            "'a'b",
            r#"'a'"b""#,
            r#""\"#,
            "\"a\0\"",
        ] {
            assert_eq!(split(line), Err(UnbalancedQuotes), "{line:?}");
        }
    }

    #[test]
    fn quoted_form_is_printable() {
        assert_eq!(
            quoted(b"a\"\\\n\r\t\x07\x08\x00\xff"),
            br#""a\"\\\n\r\t\a\b\x00\xff""#
        );
    }

    proptest! {
        #[test]
        fn quoted_arguments_split_back(args: Vec<Vec<u8>>) {
            let line: Vec<u8> = args.iter().flat_map(|arg| [quoted(arg), b" ".to_vec()].concat()).collect();
            prop_assert!(line.iter().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(split_args(&line), Ok(args));
        }

        #[test]
        fn plain_arguments_need_no_quotes(arg in "[!-~ ]{0,8}") {
            let arg = arg.into_bytes();
            prop_assert!(needs_quotes(&arg) || split_args(&arg) == Ok(vec![arg]));
        }

        #[test]
        fn output_is_no_longer_than_the_line(line: Vec<u8>) {
            if let Ok(args) = split_args(&line) {
                prop_assert!(args.iter().map(Vec::len).sum::<usize>() <= line.len());
            }
        }
    }
}
