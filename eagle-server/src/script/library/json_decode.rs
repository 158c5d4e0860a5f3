//! JSON to Lua values.
//!
//! As lenient as the original: numbers are whatever `strtod` takes unless the settings forbid it, and the text ends at
//! its first zero byte.

use super::super::raise;
use super::cjson::{Settings, null};
use mlua::{Error, Lua, Table, Value};

/// Values nested deeper are refused whatever the settings say: the C stack ends.
const NESTING_MAX: i32 = 3500;

pub(super) fn decode(lua: &Lua, settings: &Settings, text: &[u8]) -> mlua::Result<Value> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        let text = "JSON parser does not support UTF-16 or UTF-32";
        return Err(raise::text(lua, text));
    }
    let mut decoder = Decoder {
        lua,
        settings,
        text,
        at: 0,
        depth: 0,
    };
    let token = decoder.next();
    let value = decoder.value(token)?;
    let token = decoder.next();
    match token.kind {
        Kind::End => Ok(value),
        _ => Err(decoder.unexpected("the end", &token)),
    }
}

enum Kind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Kind {
    /// What messages call it.
    fn name(&self) -> &'static str {
        match self {
            Kind::ObjectBegin => "T_OBJ_BEGIN",
            Kind::ObjectEnd => "T_OBJ_END",
            Kind::ArrayBegin => "T_ARR_BEGIN",
            Kind::ArrayEnd => "T_ARR_END",
            Kind::String(_) => "T_STRING",
            Kind::Number(_) => "T_NUMBER",
            Kind::Boolean(_) => "T_BOOLEAN",
            Kind::Null => "T_NULL",
            Kind::Colon => "T_COLON",
            Kind::Comma => "T_COMMA",
            Kind::End => "T_END",
            Kind::Error(why) => why,
        }
    }
}

struct Token {
    kind: Kind,
    at: usize,
}

struct Decoder<'a> {
    lua: &'a Lua,
    settings: &'a Settings,
    text: &'a [u8],
    at: usize,
    depth: i32,
}

impl Decoder<'_> {
    /// The byte `ahead` of the position; zero behind the end, as in a C string.
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn unexpected(&self, expected: &str, token: &Token) -> Error {
        let text = format!(
            "Expected {expected} but found {} at character {}",
            token.kind.name(),
            token.at + 1
        );
        raise::text(self.lua, text)
    }

    fn next(&mut self) -> Token {
        while matches!(self.peek(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let at = self.at;
        let single = match self.peek(0) {
            b'{' => Some(Kind::ObjectBegin),
            b'}' => Some(Kind::ObjectEnd),
            b'[' => Some(Kind::ArrayBegin),
            b']' => Some(Kind::ArrayEnd),
            b':' => Some(Kind::Colon),
            b',' => Some(Kind::Comma),
            _ => None,
        };
        if let Some(kind) = single {
            self.at += 1;
            return Token { kind, at };
        }
        let kind = match self.peek(0) {
            0 => Kind::End,
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.settings.decode_invalid_numbers.get() && self.is_invalid_number() {
                    Kind::Error("invalid number")
                } else {
                    self.number()
                }
            }
            _ if self.accept(b"true") => Kind::Boolean(true),
            _ if self.accept(b"false") => Kind::Boolean(false),
            _ if self.accept(b"null") => Kind::Null,
            b'+' | b'i' | b'I' | b'n' | b'N'
                if self.settings.decode_invalid_numbers.get() && self.is_invalid_number() =>
            {
                self.number()
            }
            _ => Kind::Error("invalid token"),
        };
        // Errors inside a token stand where they are.
        let at = if let Kind::Error(_) = kind {
            self.at
        } else {
            at
        };
        Token { kind, at }
    }

    fn accept(&mut self, word: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Whether this is a number to `strtod` but not to JSON.
    fn is_invalid_number(&self) -> bool {
        if self.peek(0) == b'+' {
            return true;
        }
        let skip = usize::from(self.peek(0) == b'-');
        let (first, second) = (self.peek(skip), self.peek(skip + 1));
        if first == b'0' {
            return second | 0x20 == b'x' || second.is_ascii_digit();
        }
        if first <= b'9' {
            return false;
        }
        let rest = &self.text[self.at + skip..];
        rest.len() >= 3
            && (rest[..3].eq_ignore_ascii_case(b"inf") || rest[..3].eq_ignore_ascii_case(b"nan"))
    }

    fn number(&mut self) -> Kind {
        match strtod(&self.text[self.at..]) {
            Some((number, len)) => {
                self.at += len;
                Kind::Number(number)
            }
            None => Kind::Error("invalid number"),
        }
    }

    fn string(&mut self) -> Kind {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.peek(0) {
                b'"' => break,
                0 => return Kind::Error("unexpected end of string"),
                b'\\' => {
                    let plain = match self.peek(1) {
                        byte @ (b'"' | b'\\' | b'/') => byte,
                        b'b' => 8,
                        b't' => 9,
                        b'n' => 10,
                        b'f' => 12,
                        b'r' => 13,
                        b'u' => {
                            if !self.unicode(&mut bytes) {
                                return Kind::Error("invalid unicode escape code");
                            }
                            continue;
                        }
                        _ => return Kind::Error("invalid escape code"),
                    };
                    bytes.push(plain);
                    self.at += 2;
                }
                byte => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Kind::String(bytes)
    }

    /// Reads `\uXXXX`, two of them if the first is half of a pair.
    fn unicode(&mut self, bytes: &mut Vec<u8>) -> bool {
        let Some(mut code) = self.hex4(2) else {
            return false;
        };
        let mut len = 6;
        if code & 0xf800 == 0xd800 {
            if code & 0x400 != 0 || self.peek(6) != b'\\' || self.peek(7) != b'u' {
                return false;
            }
            let Some(low) = self.hex4(8).filter(|low| low & 0xfc00 == 0xdc00) else {
                return false;
            };
            code = ((code & 0x3ff) << 10 | low & 0x3ff) + 0x1_0000;
            len = 12;
        }
        let Some(character) = char::from_u32(code) else {
            return false;
        };
        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += len;
        true
    }

    fn hex4(&self, ahead: usize) -> Option<u32> {
        (ahead..ahead + 4).try_fold(0, |code, ahead| {
            let digit = char::from(self.peek(ahead)).to_digit(16)?;
            Some(code << 4 | digit)
        })
    }

    fn value(&mut self, token: Token) -> mlua::Result<Value> {
        Ok(match token.kind {
            Kind::String(bytes) => Value::String(self.lua.create_string(bytes)?),
            Kind::Number(number) => Value::Number(number),
            Kind::Boolean(value) => Value::Boolean(value),
            Kind::Null => null(),
            Kind::ObjectBegin => Value::Table(self.object()?),
            Kind::ArrayBegin => Value::Table(self.array()?),
            _ => return Err(self.unexpected("value", &token)),
        })
    }

    fn descend(&mut self) -> mlua::Result<()> {
        self.depth += 1;
        if self.depth <= self.settings.decode_depth_max.get().min(NESTING_MAX) {
            return Ok(());
        }
        let text = format!(
            "Found too many nested data structures ({}) at character {}",
            self.depth, self.at
        );
        Err(raise::text(self.lua, text))
    }

    fn object(&mut self) -> mlua::Result<Table> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.next();
        if let Kind::ObjectEnd = token.kind {
            self.depth -= 1;
            return Ok(table);
        }
        loop {
            let Kind::String(key) = &token.kind else {
                return Err(self.unexpected("object key string", &token));
            };
            let key = self.lua.create_string(key)?;
            token = self.next();
            if !matches!(token.kind, Kind::Colon) {
                return Err(self.unexpected("colon", &token));
            }
            token = self.next();
            let value = self.value(token)?;
            table.raw_set(key, value)?;
            token = self.next();
            match token.kind {
                Kind::ObjectEnd => break,
                Kind::Comma => token = self.next(),
                _ => return Err(self.unexpected("comma or object end", &token)),
            }
        }
        self.depth -= 1;
        Ok(table)
    }

    fn array(&mut self) -> mlua::Result<Table> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.next();
        if let Kind::ArrayEnd = token.kind {
            self.depth -= 1;
            return Ok(table);
        }
        for index in 1.. {
            let value = self.value(token)?;
            table.raw_set(index, value)?;
            token = self.next();
            match token.kind {
                Kind::ArrayEnd => break,
                Kind::Comma => token = self.next(),
                _ => return Err(self.unexpected("comma or array end", &token)),
            }
        }
        self.depth -= 1;
        Ok(table)
    }
}

/// The number at the beginning of a text, as `strtod` reads it, and its length.
fn strtod(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let sign_len = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let rest = &text[sign_len..];
    let starts =
        |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
    let (value, len) = if starts(b"infinity") {
        (f64::INFINITY, 8)
    } else if starts(b"inf") {
        (f64::INFINITY, 3)
    } else if starts(b"nan") {
        (f64::NAN, 3)
    } else if starts(b"0x")
        && let Some(found) = hexadecimal(&rest[2..])
    {
        (found.0, found.1 + 2)
    } else {
        decimal(rest)?
    };
    Some((if negative { -value } else { value }, sign_len + len))
}

fn decimal(text: &[u8]) -> Option<(f64, usize)> {
    let digits = |from: usize| {
        text[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let whole = digits(0);
    let mut len = whole;
    if text.get(len) == Some(&b'.') {
        let fraction = digits(len + 1);
        if whole + fraction == 0 {
            return None;
        }
        len += 1 + fraction;
    }
    if len == 0 {
        return None;
    }
    if matches!(text.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'-' | b'+')));
        let from = (len + 1 + sign).min(text.len());
        let exponent = digits(from);
        if exponent > 0 {
            len = from + exponent;
        }
    }
    let number = std::str::from_utf8(&text[..len]).ok()?.parse().ok()?;
    Some((number, len))
}

/// Digits behind `0x`, at least one; with a fraction and a binary exponent if there are any.
fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let (mut value, mut scale, mut any, mut at) = (0.0f64, 0i32, false, 0);
    let mut is_fraction = false;
    while let Some(byte) = text.get(at) {
        if let Some(digit) = char::from(*byte).to_digit(16) {
            value = value * 16.0 + f64::from(digit);
            scale -= if is_fraction { 4 } else { 0 };
            any = true;
        } else if *byte == b'.' && !is_fraction {
            is_fraction = true;
        } else {
            break;
        }
        at += 1;
    }
    if !any {
        return None;
    }
    if matches!(text.get(at), Some(b'p' | b'P')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'-' | b'+')));
        let from = (at + 1 + sign).min(text.len());
        let count = text[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count > 0 {
            let exponent = std::str::from_utf8(&text[from..from + count]).ok()?;
            let exponent = exponent.parse().unwrap_or(100_000i32).min(100_000);
            let negative = text[at + 1] == b'-';
            scale = scale.saturating_add(if negative { -exponent } else { exponent });
            at = from + count;
        }
    }
    Some((value * 2f64.powi(scale), at))
}

#[cfg(test)]
mod tests {
    use super::strtod;

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, number, len) in [
            ("0", 0.0, 1),
            ("-12.5e2x", -1250.0, 7),
            ("1e", 1.0, 1),
            ("1.", 1.0, 2),
            ("0x1F,", 31.0, 4),
            ("0x", 0.0, 1),
            ("0x.8p1", 1.0, 6),
            ("-Infinity", f64::NEG_INFINITY, 9),
            ("inf]", f64::INFINITY, 3),
        ] {
            assert_eq!(strtod(text.as_bytes()), Some((number, len)), "{text}");
        }
        assert!(strtod(b"nan").is_some_and(|(number, len)| number.is_nan() && len == 3));
        assert_eq!(strtod(b"-"), None);
        assert_eq!(strtod(b"-."), None);
    }
}
