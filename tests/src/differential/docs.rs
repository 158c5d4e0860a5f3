//! The whole command table with the syntax of every command, as the reference server documents it.
//!
//! `COMMAND DOCS` describes arguments as a tree, `COMMAND INFO` says in its tips which replies are
//! random or unordered. From both a command line can be made for commands that no hand-written
//! rule knows.

use std::collections::BTreeMap;

use super::Compare;
use crate::{Client, Reply};

/// One command or subcommand.
#[derive(Clone, Debug)]
pub struct Documented {
    /// `set`, or `client|list`.
    pub name: String,
    /// Its words, as they are sent.
    pub words: Vec<String>,
    pub arguments: Vec<Argument>,
    /// What its tips say about its replies.
    pub compare: Compare,
    /// It has subcommands, and does nothing without one.
    pub is_container: bool,
}

/// A node of the tree of arguments.
#[derive(Clone, Debug)]
pub struct Argument {
    pub name: String,
    pub kind: Kind,
    /// The literal word before the value, or the whole argument.
    pub token: Option<String>,
    pub optional: bool,
    pub multiple: bool,
    /// The token is repeated with the value.
    pub multiple_token: bool,
    pub parts: Vec<Argument>,
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Key,
    Pattern,
    Integer,
    Double,
    UnixTime,
    Text,
    Token,
    OneOf,
    Block,
}

impl Argument {
    /// All literal words of this argument and below.
    pub fn tokens<'a>(&'a self, into: &mut Vec<&'a str>) {
        into.extend(self.token.as_deref());
        self.parts.iter().for_each(|part| part.tokens(into));
    }
}

/// Reads the table from a server, sorted by name.
pub fn read(client: &mut Client) -> Vec<Documented> {
    client.call(&["HELLO", "3"]);
    let mut found = Vec::new();
    for (name, doc) in map(&client.call(&["COMMAND", "DOCS"])) {
        let doc = map(&doc);
        let subcommands = doc.get("subcommands").map(map).unwrap_or_default();
        found.push(documented(name, &doc, !subcommands.is_empty()));
        for (name, doc) in subcommands {
            found.push(documented(name, &map(&doc), false));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<String> = found.iter().map(|command| command.name.clone()).collect();
    let mut words = vec!["COMMAND", "INFO"];
    words.extend(names.iter().map(String::as_str));
    let infos = client.call(&words);
    for (command, info) in found.iter_mut().zip(infos.items()) {
        let tips = info.items()[7].items().iter().map(Reply::text);
        let tips: Vec<String> = tips.collect();
        let has = |tip: &str| tips.iter().any(|known| known == tip);
        if has("nondeterministic_output") {
            command.compare = Compare::Shape;
        } else if has("nondeterministic_output_order") {
            command.compare = Compare::Unordered;
        }
    }
    found
}

fn documented(name: String, doc: &BTreeMap<String, Reply>, is_container: bool) -> Documented {
    Documented {
        words: name.split('|').map(str::to_ascii_uppercase).collect(),
        arguments: doc.get("arguments").map(arguments).unwrap_or_default(),
        compare: Compare::Exact,
        name,
        is_container,
    }
}

fn arguments(list: &Reply) -> Vec<Argument> {
    list.items()
        .iter()
        .map(|argument| {
            let fields = map(argument);
            let text = |field: &str| fields.get(field).map(Reply::text);
            let flags: Vec<String> = match fields.get("flags") {
                Some(flags) => flags.items().iter().map(Reply::text).collect(),
                None => Vec::new(),
            };
            let has = |flag: &str| flags.iter().any(|known| known == flag);
            Argument {
                name: text("name").unwrap_or_default(),
                kind: kind(&text("type").unwrap_or_default()),
                token: text("token"),
                optional: has("optional"),
                multiple: has("multiple"),
                multiple_token: has("multiple_token"),
                parts: fields.get("arguments").map(arguments).unwrap_or_default(),
            }
        })
        .collect()
}

fn kind(name: &str) -> Kind {
    match name {
        "key" => Kind::Key,
        "pattern" => Kind::Pattern,
        "integer" => Kind::Integer,
        "double" => Kind::Double,
        "unix-time" => Kind::UnixTime,
        "string" => Kind::Text,
        "pure-token" => Kind::Token,
        "oneof" => Kind::OneOf,
        "block" => Kind::Block,
        other => panic!("an argument of type {other}"),
    }
}

fn map(reply: &Reply) -> BTreeMap<String, Reply> {
    match reply {
        Reply::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| (key.text(), value.clone()))
            .collect(),
        other => panic!("a map was expected, not {other:?}"),
    }
}
