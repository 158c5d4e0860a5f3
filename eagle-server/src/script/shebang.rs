//! The first line of scripts and libraries: `#!lua name=mylib flags=no-writes,allow-stale`.

use super::error::ScriptError;
use eagle_core::text::split_args::split_args;

/// What a script promises or asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScriptFlags(u8);

impl ScriptFlags {
    pub const NO_WRITES: ScriptFlags = ScriptFlags(1 << 0);
    pub const ALLOW_OOM: ScriptFlags = ScriptFlags(1 << 1);
    pub const ALLOW_STALE: ScriptFlags = ScriptFlags(1 << 2);
    pub const NO_CLUSTER: ScriptFlags = ScriptFlags(1 << 3);
    pub const ALLOW_CROSS_SLOT: ScriptFlags = ScriptFlags(1 << 5);
    /// There is no first line of this kind: the script is treated as before Redis 7.
    pub const COMPATIBLE: ScriptFlags = ScriptFlags(1 << 4);

    const NAMES: &'static [(ScriptFlags, &'static str)] = &[
        (ScriptFlags::NO_WRITES, "no-writes"),
        (ScriptFlags::ALLOW_OOM, "allow-oom"),
        (ScriptFlags::ALLOW_STALE, "allow-stale"),
        (ScriptFlags::NO_CLUSTER, "no-cluster"),
        (ScriptFlags::ALLOW_CROSS_SLOT, "allow-cross-slot-keys"),
    ];

    pub fn has(self, other: ScriptFlags) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn with(self, other: ScriptFlags) -> ScriptFlags {
        ScriptFlags(self.0 | other.0)
    }

    /// The flag called `name`.
    pub fn named(name: &[u8]) -> Option<ScriptFlags> {
        let found = Self::NAMES
            .iter()
            .find(|(_, known)| known.as_bytes() == name);
        found.map(|(flag, _)| *flag)
    }

    /// Names of the flags set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .iter()
            .filter(move |(flag, _)| self.has(*flag))
            .map(|(_, name)| *name)
    }
}

/// Splits a script into flags and the code behind the first line. The line break stays, so that lines keep their
/// numbers.
pub(super) fn of_script(body: &[u8]) -> Result<(ScriptFlags, &[u8]), ScriptError> {
    if !body.starts_with(b"#!") {
        return Ok((ScriptFlags::COMPATIBLE, body));
    }
    let Some((line, code)) = first_line(body) else {
        return Err(told("ERR Invalid script shebang"));
    };
    let parts = split_args(line).unwrap_or_default();
    let Some((engine, options)) = parts.split_first() else {
        return Err(told("ERR Invalid engine in script shebang"));
    };
    if engine != b"#!lua" {
        return Err(quoting("ERR Unexpected engine in script shebang: ", engine));
    }
    let mut flags = ScriptFlags::default();
    for option in options {
        let Some(names) = option.strip_prefix(b"flags=") else {
            return Err(quoting("ERR Unknown lua shebang option: ", option));
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|byte| *byte == b',') {
            let Some(flag) = ScriptFlags::named(name) else {
                return Err(quoting("ERR Unexpected flag in script shebang: ", name));
            };
            flags = flags.with(flag);
        }
    }
    Ok((flags, code))
}

/// Splits a library into its name and the code behind the first line.
pub(super) fn of_library(body: &[u8]) -> Result<(String, &[u8]), ScriptError> {
    const INVALID: &str = "ERR Invalid library metadata";
    if !body.starts_with(b"#!") {
        return Err(told("ERR Missing library metadata"));
    }
    let (line, code) = first_line(body).ok_or_else(|| told(INVALID))?;
    let parts = split_args(line).unwrap_or_default();
    let (engine, options) = parts.split_first().ok_or_else(|| told(INVALID))?;
    let mut name: Option<&[u8]> = None;
    for option in options {
        let is_name = option.len() >= 5 && option[..5].eq_ignore_ascii_case(b"name=");
        if !is_name {
            return Err(quoting("ERR Invalid metadata value given: ", option));
        }
        if name.replace(&option[5..]).is_some() {
            return Err(told(
                "ERR Invalid metadata value, name argument was given multiple times",
            ));
        }
    }
    let name = name.ok_or_else(|| told("ERR Library name was not given"))?;
    if !is_name(name) {
        return Err(quoting("ERR ", BAD_NAME.as_bytes()));
    }
    let engine = &engine[2..];
    if !engine.eq_ignore_ascii_case(b"lua") {
        let parts: [&[u8]; 3] = [b"ERR Engine '", engine, b"' not found"];
        return Err(ScriptError(parts.concat()));
    }
    Ok((String::from_utf8_lossy(name).into_owned(), code))
}

pub(super) const BAD_NAME: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

/// Whether a library or function may be called so.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn first_line(body: &[u8]) -> Option<(&[u8], &[u8])> {
    // Redis looks for the line break in a C string.
    let end = body.iter().position(|byte| matches!(byte, b'\n' | 0))?;
    (body[end] == b'\n').then(|| body.split_at(end))
}

fn told(text: &str) -> ScriptError {
    ScriptError(text.as_bytes().to_vec())
}

/// Words, and the bytes of the first line that they are about, whatever those are.
fn quoting(words: &str, what: &[u8]) -> ScriptError {
    ScriptError(what.to_vec()).behind(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_scripts() {
        let (flags, code) = of_script(b"return 1").unwrap();
        assert_eq!((flags, code), (ScriptFlags::COMPATIBLE, &b"return 1"[..]));
        let (flags, code) = of_script(b"#!lua flags=no-writes,allow-oom\nreturn 1").unwrap();
        assert_eq!(code, b"\nreturn 1");
        assert_eq!(flags, ScriptFlags::NO_WRITES.with(ScriptFlags::ALLOW_OOM));
        for (body, error) in [
            ("#!lua", "ERR Invalid script shebang"),
            (
                "#!not-lua\n",
                "ERR Unexpected engine in script shebang: #!not-lua",
            ),
            (
                "#!lua badger=data\n",
                "ERR Unknown lua shebang option: badger=data",
            ),
            (
                "#!lua flags=bad-flag\n",
                "ERR Unexpected flag in script shebang: bad-flag",
            ),
        ] {
            assert_eq!(of_script(body.as_bytes()), Err(told(error)));
        }
    }

    #[test]
    fn names_of_libraries() {
        assert_eq!(
            of_library(b"#!lua name=a_1\nx"),
            Ok(("a_1".to_owned(), &b"\nx"[..]))
        );
        for (body, error) in [
            ("return 1", "ERR Missing library metadata"),
            ("#!lua name=x", "ERR Invalid library metadata"),
            ("#!lua\n", "ERR Library name was not given"),
            ("#!bad name=x\n", "ERR Engine 'bad' not found"),
            (
                "#!lua name=x name=y\n",
                "ERR Invalid metadata value, name argument was given multiple times",
            ),
            (
                "#!lua foo=bar\n",
                "ERR Invalid metadata value given: foo=bar",
            ),
        ] {
            assert_eq!(of_library(body.as_bytes()), Err(told(error)));
        }
        assert!(
            of_library(b"#!lua name=a-b\n")
                .unwrap_err()
                .to_string()
                .contains("letters")
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_quoted_as_they_are() {
        for (body, error) in [
            (
                &b"#!l\xffa name=x\n"[..],
                &b"ERR Engine 'l\xffa' not found"[..],
            ),
            (
                b"#!lua n\xe4me=x\n",
                b"ERR Invalid metadata value given: n\xe4me=x",
            ),
        ] {
            assert_eq!(of_library(body), Err(ScriptError(error.to_vec())));
        }
        for (body, error) in [
            (
                &b"#!l\xffa\n"[..],
                &b"ERR Unexpected engine in script shebang: #!l\xffa"[..],
            ),
            (b"#!lua \xe4\n", b"ERR Unknown lua shebang option: \xe4"),
            (
                b"#!lua flags=\xe4\n",
                b"ERR Unexpected flag in script shebang: \xe4",
            ),
        ] {
            assert_eq!(of_script(body), Err(ScriptError(error.to_vec())));
        }
    }
}
