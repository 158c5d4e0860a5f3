//! The arguments of a command as a tree, read from its one-line syntax.
//!
//! COMMAND DOCS describes arguments as a tree of options and groups, which would take dozens of
//! lines a command. Rows write the line a manual would show instead:
//!
//! ```text
//! key                     an argument
//! count:double            of another type than its name suggests
//! NX   '*'                a word to be written as it is
//! COUNT count             such a word before an argument
//! [..]                    may be left out
//! <..>                    a group
//! A | B                   one of these, within brackets of either sort
//! key...                  may be repeated
//! [key ...]   <a b ...>   the whole bracket may be repeated
//! key [key ...]           once or more often; of pairs: key value [key value ...]
//! expiration=[..]         a group's name, where it is not that of its parts joined by '_'
//! change=CH               a fixed word's name, where it is not the word itself
//! pattern@1               belongs to the key specification 1
//! [GET]{6.2.0}            there since 6.2.0; {,2.8.12} obsolete since 2.8.12
//! ```
//!
//! Keys are told by their names, and numbered as the row's key specifications are.

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    /// A fixed word without a value.
    Token,
    /// One of the parts.
    OneOf,
    /// All parts.
    Block,
}

impl ArgumentKind {
    pub(super) const NAMES: [(&'static str, ArgumentKind); 9] = [
        ("string", ArgumentKind::String),
        ("integer", ArgumentKind::Integer),
        ("double", ArgumentKind::Double),
        ("key", ArgumentKind::Key),
        ("pattern", ArgumentKind::Pattern),
        ("unix-time", ArgumentKind::UnixTime),
        ("pure-token", ArgumentKind::Token),
        ("oneof", ArgumentKind::OneOf),
        ("block", ArgumentKind::Block),
    ];

    /// The name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    /// What an argument of this name is, unless the syntax says otherwise.
    fn by_name(name: &str) -> ArgumentKind {
        match name {
            "pattern" => ArgumentKind::Pattern,
            "longitude" | "latitude" | "radius" | "width" | "height" | "score" => {
                ArgumentKind::Double
            }
            "unix-time-seconds" | "unix-time-milliseconds" => ArgumentKind::UnixTime,
            "seconds" | "milliseconds" | "count" | "cursor" | "numkeys" | "offset" | "index"
            | "index1" | "index2" | "start" | "end" | "increment" | "decrement" | "len" | "db"
            | "destination-db" | "port" | "slot" | "start-slot" | "end-slot" | "client-id"
            | "ttl" | "frequency" | "bit" | "limit" | "rank" | "num-matches" | "weight"
            | "timeout" | "numreplicas" | "protover" | "config-epoch" | "cluster_bus_port"
            | "version" | "ms" | "entries_read" | "entries_added" | "bits" => ArgumentKind::Integer,
            _ => ArgumentKind::String,
        }
    }
}

/// Names of arguments that are keys wherever a command has key specifications.
const KEY_NAMES: [&str; 10] = [
    "key",
    "key1",
    "key2",
    "source",
    "destination",
    "destkey",
    "sourcekey",
    "newkey",
    "src",
    "dst",
];

/// One argument, or group of arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub kind: ArgumentKind,
    /// The fixed word that stands for it, or before it.
    pub token: Option<String>,
    /// The key specification it belongs to.
    pub key_spec: Option<usize>,
    /// Version it came with, if later than the command.
    pub since: Option<String>,
    /// Version that made it obsolete.
    pub deprecated_since: Option<String>,
    pub is_optional: bool,
    pub is_multiple: bool,
    /// Each repetition begins with the fixed word.
    pub repeats_token: bool,
    /// The parts of a group.
    pub parts: Vec<Argument>,
}

/// A mistake in a row's syntax, with the rest of the line from where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError(pub String);

/// Reads `line`, the syntax of a command with `key_specs` key specifications.
pub fn parse(line: &str, key_specs: usize) -> Result<Vec<Argument>, SyntaxError> {
    let mut parser = Parser { rest: line };
    let body = parser.body()?;
    if !parser.rest.is_empty() || body.alternatives.len() > 1 || body.is_multiple {
        return Err(SyntaxError(parser.rest.to_owned()));
    }
    let mut arguments = body.alternatives.into_iter().next().unwrap_or_default();
    let mut next_spec = 0;
    arguments
        .iter_mut()
        .for_each(|argument| number_keys(argument, key_specs, &mut next_spec));
    Ok(arguments)
}

/// Makes arguments with the names of keys keys, and numbers them in order.
fn number_keys(argument: &mut Argument, key_specs: usize, next_spec: &mut usize) {
    let is_plain = argument.kind == ArgumentKind::String && argument.key_spec.is_none();
    if is_plain && key_specs > 0 && KEY_NAMES.contains(&argument.name.as_str()) {
        argument.kind = ArgumentKind::Key;
        argument.key_spec = Some((*next_spec).min(key_specs - 1));
        *next_spec += 1;
    }
    argument
        .parts
        .iter_mut()
        .for_each(|part| number_keys(part, key_specs, next_spec));
}

/// What stands between two brackets.
struct Body {
    alternatives: Vec<Vec<Argument>>,
    is_multiple: bool,
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn accept(&mut self, symbol: &str) -> bool {
        let rest = self.rest.strip_prefix(symbol);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn fail<T>(&self) -> Result<T, SyntaxError> {
        Err(SyntaxError(self.rest.to_owned()))
    }

    /// Reads up to a closing bracket or the end.
    fn body(&mut self) -> Result<Body, SyntaxError> {
        let mut body = Body {
            alternatives: vec![Vec::new()],
            is_multiple: false,
        };
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() || self.rest.starts_with([']', '>']) {
                return Ok(body);
            }
            if body.is_multiple {
                return self.fail();
            }
            let items = body
                .alternatives
                .last_mut()
                .expect("there is always one alternative");
            if self.accept("|") {
                body.alternatives.push(Vec::new());
            } else if self.accept("...") {
                body.is_multiple = true;
            } else {
                let item = self.item()?;
                push_or_merge(items, item);
            }
        }
    }

    /// One argument with everything that belongs to it.
    fn item(&mut self) -> Result<Argument, SyntaxError> {
        let label = self.label();
        let mut item = if self.accept("[") {
            let body = self.closed("]")?;
            let mut item = group(body, label, false);
            item.is_optional = true;
            item
        } else if self.accept("<") {
            group(self.closed(">")?, label, true)
        } else if let Some(token) = self.token()? {
            self.after_token(token, label)?
        } else {
            self.argument(label)?
        };
        if self.accept("...") {
            item.is_multiple = true;
        }
        if self.accept("{") {
            let Some((versions, rest)) = self.rest.split_once('}') else {
                return self.fail();
            };
            self.rest = rest;
            let (since, deprecated) = versions.split_once(',').unwrap_or((versions, ""));
            item.since = Some(since)
                .filter(|version| !version.is_empty())
                .map(str::to_owned);
            item.deprecated_since = Some(deprecated)
                .filter(|version| !version.is_empty())
                .map(str::to_owned);
        }
        Ok(item)
    }

    fn closed(&mut self, bracket: &str) -> Result<Body, SyntaxError> {
        let body = self.body()?;
        if self.accept(bracket) {
            Ok(body)
        } else {
            self.fail()
        }
    }

    /// A name before an equals sign.
    fn label(&mut self) -> Option<String> {
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || "=[]<>|{'".contains(c))?;
        let label = self.rest[..end].to_owned();
        let rest = self.rest[end..].strip_prefix('=').filter(|_| end > 0)?;
        self.rest = rest;
        Some(label)
    }

    /// A word up to the next blank or symbol.
    fn word(&mut self) -> &'a str {
        let is_end = |c: char| c.is_whitespace() || "[]<>|{".contains(c);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let end = self.rest[..end].find("...").unwrap_or(end);
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// A fixed word: in upper case, or quoted.
    fn token(&mut self) -> Result<Option<String>, SyntaxError> {
        if self.accept("'") {
            let Some((token, rest)) = self.rest.split_once('\'') else {
                return self.fail();
            };
            self.rest = rest;
            return Ok(Some(token.to_owned()));
        }
        let before = self.rest;
        let word = self.word();
        let is_token = word.contains(|c: char| c.is_ascii_uppercase())
            && !word.contains(|c: char| c.is_ascii_lowercase());
        if !is_token {
            self.rest = before;
        }
        Ok(is_token.then(|| word.to_owned()))
    }

    /// The argument that `token` stands before, or the token as an argument of its own.
    fn after_token(
        &mut self,
        token: String,
        label: Option<String>,
    ) -> Result<Argument, SyntaxError> {
        let before = self.rest;
        self.rest = self.rest.trim_start();
        let next = self.label();
        let has_value = self
            .rest
            .starts_with(|c: char| c.is_ascii_lowercase() || c == '<');
        if label.is_some() || !has_value || before.starts_with("...") {
            self.rest = before;
            let name = label.unwrap_or_else(|| token.to_lowercase());
            return Ok(Argument {
                token: Some(token),
                ..plain(name, ArgumentKind::Token)
            });
        }
        let mut value = if self.accept("<") {
            group(self.closed(">")?, next, true)
        } else {
            self.argument(next)?
        };
        value.token = Some(token);
        Ok(value)
    }

    /// An argument with a value: `name:type@spec`.
    fn argument(&mut self, label: Option<String>) -> Result<Argument, SyntaxError> {
        let word = self.word();
        if word.is_empty() || label.is_some() {
            return self.fail();
        }
        let (word, spec) = match word.rsplit_once('@') {
            Some((word, spec)) => (
                word,
                Some(spec.parse().map_err(|_| SyntaxError(spec.to_owned()))?),
            ),
            None => (word, None),
        };
        let typed = word.rsplit_once(':').and_then(|(name, kind)| {
            let kind = ArgumentKind::NAMES
                .iter()
                .find(|(known, _)| *known == kind)?;
            Some((name, kind.1))
        });
        let (name, mut kind) = typed.unwrap_or_else(|| (word, ArgumentKind::by_name(word)));
        if spec.is_some() && kind == ArgumentKind::String {
            kind = ArgumentKind::Key;
        }
        Ok(Argument {
            key_spec: spec,
            ..plain(name.to_owned(), kind)
        })
    }
}

fn plain(name: String, kind: ArgumentKind) -> Argument {
    Argument {
        name,
        kind,
        token: None,
        key_spec: None,
        since: None,
        deprecated_since: None,
        is_optional: false,
        is_multiple: false,
        repeats_token: false,
        parts: Vec::new(),
    }
}

/// The argument a bracket stands for. A single part stands for itself unless `is_block`.
fn group(body: Body, label: Option<String>, is_block: bool) -> Argument {
    let Body {
        mut alternatives,
        is_multiple,
    } = body;
    let named = |kind, parts: Vec<Argument>, label: Option<String>| {
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        let name = label.unwrap_or_else(|| names.join("_"));
        Argument {
            parts,
            ..plain(name, kind)
        }
    };
    let mut item = if alternatives.len() > 1 {
        let one = |mut parts: Vec<Argument>| match parts.len() {
            1 => parts.remove(0),
            _ => named(ArgumentKind::Block, parts, None),
        };
        let parts = alternatives.into_iter().map(one).collect();
        named(ArgumentKind::OneOf, parts, label)
    } else {
        let mut parts = alternatives.pop().unwrap_or_default();
        if parts.len() == 1 && !is_block && label.is_none() {
            parts.remove(0)
        } else {
            named(ArgumentKind::Block, parts, label)
        }
    };
    item.is_multiple |= is_multiple;
    item
}

/// Adds `item` to a sequence; `x [x ...]` becomes one argument that may be repeated.
fn push_or_merge(items: &mut Vec<Argument>, item: Argument) {
    if !(item.is_optional && item.is_multiple) {
        return items.push(item);
    }
    let repeated = match item.kind {
        ArgumentKind::Block if item.token.is_none() => item.parts.clone(),
        _ => vec![Argument {
            is_optional: false,
            is_multiple: false,
            ..item.clone()
        }],
    };
    let Some(first) = items.len().checked_sub(repeated.len()) else {
        return items.push(item);
    };
    if items[first..] == repeated[..] && repeated.len() > 1 {
        let parts = items.split_off(first);
        let body = Body {
            alternatives: vec![parts],
            is_multiple: true,
        };
        items.push(group(body, None, true));
    } else if let ([single], [again]) = (&mut items[first..], &repeated[..])
        && (Argument {
            token: again.token.clone(),
            ..single.clone()
        }) == *again
    {
        single.repeats_token = again.token.is_some();
        single.is_multiple = true;
    } else {
        items.push(item);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn shown(line: &str, key_specs: usize) -> String {
        parse(line, key_specs)
            .unwrap()
            .iter()
            .map(shape)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// A terse form of a tree for comparison.
    fn shape(argument: &Argument) -> String {
        let parts: Vec<String> = argument.parts.iter().map(shape).collect();
        let mut text = format!("{}:{}", argument.name, argument.kind.name());
        if !parts.is_empty() {
            text += &format!("({})", parts.join(" "));
        }
        for (mark, set) in [
            ("?", argument.is_optional),
            ("*", argument.is_multiple),
            ("!", argument.repeats_token),
        ] {
            text += if set { mark } else { "" };
        }
        match &argument.token {
            Some(token) => format!("{token}/{text}"),
            None => text,
        }
    }

    #[test]
    fn lines_of_manuals_become_trees() {
        for (line, expected) in [
            ("key value", "key:key value:string"),
            ("key [key ...]", "key:key*"),
            ("[rule ...]", "rule:string?*"),
            (
                "key value [key value ...]",
                "key_value:block(key:key value:string)*",
            ),
            (
                "[NX | XX] [GET]",
                "nx_xx:oneof(NX/nx:pure-token XX/xx:pure-token)? GET/get:pure-token?",
            ),
            (
                "condition=[NX | XX]",
                "condition:oneof(NX/nx:pure-token XX/xx:pure-token)?",
            ),
            (
                "[LIMIT <offset count>]",
                "LIMIT/offset_count:block(offset:integer count:integer)?",
            ),
            (
                "[COUNT count [ANY]]",
                "count_any:block(COUNT/count:integer ANY/any:pure-token?)?",
            ),
            (
                "[PREFIX prefix [PREFIX prefix ...]]",
                "PREFIX/prefix:string?*!",
            ),
            ("[KEYS key [key ...]]", "KEYS/key:key?*"),
            ("<parameter> ...", "parameter:block(parameter:string)*"),
            (
                "id=<id | new_id='$'>",
                "id:oneof(id:string $/new_id:pure-token)",
            ),
            (
                "STREAMS streams=<key... id...>",
                "STREAMS/streams:block(key:key* id:string*)",
            ),
            ("[change=CH]{3.0.2}", "CH/change:pure-token?"),
            ("count:double ip:port", "count:double ip:port:string"),
        ] {
            let line = match line {
                "<parameter> ..." => "<parameter>...",
                line => line,
            };
            assert_eq!(shown(line, 1), expected, "{line}");
        }
    }

    #[test]
    fn keys_are_numbered_and_versions_kept() {
        let arguments = parse("source destination [COPY]{3.0.0} [old]{,2.8}", 2).unwrap();
        assert_eq!(arguments[0].key_spec, Some(0));
        assert_eq!(arguments[1].key_spec, Some(1));
        assert_eq!(arguments[2].since.as_deref(), Some("3.0.0"));
        assert_eq!(arguments[3].deprecated_since.as_deref(), Some("2.8"));
        assert_eq!(parse("key1 key2", 1).unwrap()[1].key_spec, Some(0));
        assert_eq!(parse("key", 0).unwrap()[0].kind, ArgumentKind::String);
        assert_eq!(parse("pattern@1", 2).unwrap()[0].key_spec, Some(1));
    }

    #[test]
    fn mistakes_are_found() {
        for line in [
            "[a", "a]", "<a]", "a | b", "a ...", "'a", "[a]{1", "a@x", "x=y",
        ] {
            assert!(parse(line, 0).is_err(), "{line}");
        }
    }

    /// The line that stands for `arguments`: what a row should say.
    pub fn line(arguments: &[Argument], key_specs: usize) -> String {
        let mut next_spec = 0;
        sequence(arguments, key_specs, &mut next_spec)
    }

    fn sequence(arguments: &[Argument], key_specs: usize, next_spec: &mut usize) -> String {
        let items: Vec<String> = arguments
            .iter()
            .map(|a| one(a, key_specs, next_spec))
            .collect();
        items.join(" ")
    }

    fn one(argument: &Argument, key_specs: usize, next_spec: &mut usize) -> String {
        let fixed = |token: &str| {
            let is_plain = token.contains(|c: char| c.is_ascii_uppercase());
            if is_plain {
                token.to_owned()
            } else {
                format!("'{token}'")
            }
        };
        let mut core = match argument.kind {
            ArgumentKind::Token => {
                let token = argument.token.as_deref().unwrap();
                let label = if token.to_lowercase() == argument.name {
                    String::new()
                } else {
                    format!("{}=", argument.name)
                };
                format!("{label}{}", fixed(token))
            }
            ArgumentKind::OneOf | ArgumentKind::Block => {
                return group_line(argument, key_specs, next_spec);
            }
            kind => {
                let is_key = key_specs > 0 && KEY_NAMES.contains(&argument.name.as_str());
                let expected = is_key.then(|| (*next_spec).min(key_specs - 1));
                let mut text = argument.name.clone();
                if kind == ArgumentKind::Key && expected == argument.key_spec {
                    *next_spec += 1;
                } else {
                    if kind != ArgumentKind::by_name(&argument.name) && kind != ArgumentKind::Key {
                        text += &format!(":{}", kind.name());
                    }
                    if let Some(spec) = argument.key_spec {
                        text += &format!("@{spec}");
                    }
                }
                text
            }
        };
        let token = argument
            .token
            .as_deref()
            .filter(|_| argument.kind != ArgumentKind::Token);
        if let Some(token) = token {
            core = format!("{} {core}", fixed(token));
        }
        if argument.is_multiple {
            let name = core.rsplit(' ').next().unwrap().to_owned();
            core = match (argument.repeats_token, argument.is_optional) {
                (true, _) => format!("{core} [{core} ...]"),
                (false, true) if token.is_none() => format!("{core} ..."),
                (false, _) => format!("{core} [{name} ...]"),
            };
        }
        wrapped(argument, core)
    }

    fn group_line(argument: &Argument, key_specs: usize, next_spec: &mut usize) -> String {
        let separator = if argument.kind == ArgumentKind::OneOf {
            " | "
        } else {
            " "
        };
        let parts: Vec<String> = argument
            .parts
            .iter()
            .map(|part| one(part, key_specs, next_spec))
            .collect();
        let body = parts.join(separator);
        let names: Vec<&str> = argument
            .parts
            .iter()
            .map(|part| part.name.as_str())
            .collect();
        let label = if names.join("_") == argument.name {
            String::new()
        } else {
            format!("{}=", argument.name)
        };
        let versions = versions(argument);
        let dots = if argument.is_multiple { " ..." } else { "" };
        let is_pairs =
            argument.kind == ArgumentKind::Block && label.is_empty() && argument.parts.len() > 1;
        if let Some(token) = &argument.token {
            let group = format!("{token} {label}<{body}>");
            let group = match (argument.is_multiple, argument.repeats_token) {
                (true, true) => format!("{group} [{group} ...]"),
                (true, false) => format!("{token} {label}<{body} ...>"),
                _ => group,
            };
            return if argument.is_optional {
                format!("[{group}]{versions}")
            } else {
                format!("{group}{versions}")
            };
        }
        if argument.is_optional && (argument.parts.len() > 1 || !label.is_empty()) {
            format!("{label}[{body}{dots}]{versions}")
        } else if is_pairs && argument.is_multiple {
            format!("{body} [{body} ...]{versions}")
        } else if argument.is_optional {
            format!("[{label}<{body}>{dots}]{versions}")
        } else {
            format!("{label}<{body}{dots}>{versions}")
        }
    }

    fn wrapped(argument: &Argument, core: String) -> String {
        let core = if argument.is_optional {
            format!("[{core}]")
        } else {
            core
        };
        format!("{core}{}", versions(argument))
    }

    fn versions(argument: &Argument) -> String {
        match (&argument.since, &argument.deprecated_since) {
            (None, None) => String::new(),
            (Some(since), None) => format!("{{{since}}}"),
            (since, Some(deprecated)) => {
                format!("{{{},{deprecated}}}", since.as_deref().unwrap_or(""))
            }
        }
    }
}
