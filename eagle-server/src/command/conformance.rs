//! The command table against a running redis-server 7.0.15: COMMAND INFO and COMMAND DOCS of every
//! command both know.

use super::describe::{arguments_of, write_docs, write_info};
use super::syntax::{self, Argument, ArgumentKind};
use super::table::{Entry, table};
use crate::reference::{Reference, items, text};
use eagle_core::resp::{Protocol, Reply, ReplyLimits, Writer};
use std::collections::{BTreeMap, BTreeSet};

type Map = BTreeMap<String, Reply>;

fn map(reply: &Reply) -> Map {
    match reply {
        Reply::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| (text(key), value.clone()))
            .collect(),
        other => panic!("expected a map, got {other:?}"),
    }
}

/// A reply without the order of sets and maps.
fn normal(reply: &Reply) -> Reply {
    let sorted = |items: &[Reply]| {
        let mut items: Vec<Reply> = items.iter().map(normal).collect();
        items.sort_by_key(|item| format!("{item:?}"));
        items
    };
    match reply {
        Reply::Array(items) => Reply::Array(items.iter().map(normal).collect()),
        Reply::Set(items) => Reply::Set(sorted(items)),
        Reply::Map(pairs) => {
            let mut pairs: Vec<_> = pairs.iter().map(|(k, v)| (normal(k), normal(v))).collect();
            pairs.sort_by_key(|(key, _)| format!("{key:?}"));
            Reply::Map(pairs)
        }
        other => other.clone(),
    }
}

/// What `write` writes, read back.
fn written(write: impl FnOnce(&mut Writer)) -> Reply {
    let mut out = Writer::new(Protocol::Resp3);
    write(&mut out);
    let parsed = Reply::parse(out.as_bytes(), &ReplyLimits::default());
    parsed.expect("a valid reply").expect("a whole reply").0
}

fn reference() -> Option<Reference> {
    let mut server = Reference::start()?;
    server.call(&["HELLO", "3"]);
    Some(server)
}

/// Elements of COMMAND INFO, by position.
const INFO_FIELDS: [&str; 9] = [
    "name",
    "arity",
    "flags",
    "first key",
    "last key",
    "key step",
    "categories",
    "tips",
    "key specs",
];

#[test]
fn info_is_that_of_7_0_15() {
    let Some(mut server) = reference() else {
        return;
    };
    let mut differences = Vec::new();
    for entry in table().entries() {
        let reply = server.call(&["COMMAND", "INFO", &entry.full_name]);
        let Reply::Array(theirs) = &items(&reply)[0] else {
            continue;
        };
        let ours = written(|out| write_info(out, table(), entry));
        for ((field, ours), theirs) in INFO_FIELDS.iter().zip(items(&ours)).zip(theirs) {
            let differs = normal(ours) != normal(theirs);
            assert!(
                differs || !is_extended(&entry.full_name, field),
                "{} {field} is that of 7.0.15",
                entry.full_name
            );
            if differs && !is_extended(&entry.full_name, field) {
                let (ours, theirs) = (short(&normal(ours)), short(&normal(theirs)));
                differences.push(format!("{} {field}: {ours}, not {theirs}", entry.full_name));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn docs_are_those_of_7_0_15() {
    let Some(mut server) = reference() else {
        return;
    };
    let mut differences = Vec::new();
    for entry in table().entries() {
        let reply = map(&server.call(&["COMMAND", "DOCS", &entry.full_name]));
        let Some(theirs) = reply.get(&entry.full_name) else {
            continue;
        };
        let ours = written(|out| {
            out.map(1);
            write_docs(out, table(), entry);
        });
        let (ours, theirs) = (map(&map(&ours)[&entry.full_name]), map(theirs));
        for field in [
            "summary",
            "since",
            "group",
            "complexity",
            "deprecated_since",
            "replaced_by",
            "history",
            "doc_flags",
        ] {
            let (ours, theirs) = (ours.get(field).map(normal), theirs.get(field).map(normal));
            if ours != theirs && !is_extended(&entry.full_name, field) {
                let show =
                    |reply: Option<Reply>| reply.as_ref().map_or("nothing".to_owned(), short);
                differences.push(format!(
                    "{} {field}: {}, not {}",
                    entry.full_name,
                    show(ours),
                    show(theirs)
                ));
            }
        }
        if ours.get("arguments").map(normal) != theirs.get("arguments").map(normal)
            && !is_extended(&entry.full_name, "syntax")
        {
            let wanted = tree(theirs.get("arguments"));
            let line = syntax::tests::line(&wanted, entry.command.keys.len());
            differences.push(format!(
                "{} syntax: {:?}, not {line:?}",
                entry.full_name, entry.command.docs.syntax
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Every tree of 7.0.15 can be written as a line, whether we have the command or not.
#[test]
fn every_argument_tree_has_a_syntax() {
    let Some(mut server) = reference() else {
        return;
    };
    let mut trees = Vec::new();
    for (name, docs) in map(&server.call(&["COMMAND", "DOCS"])) {
        let docs = map(&docs);
        trees.push((name, tree(docs.get("arguments"))));
        if let Some(subcommands) = docs.get("subcommands") {
            let subs = map(subcommands).into_iter();
            trees.extend(subs.map(|(name, docs)| (name, tree(map(&docs).get("arguments")))));
        }
    }
    assert!(trees.len() > 300);
    for (name, wanted) in trees {
        let info = server.call(&["COMMAND", "INFO", &name]);
        let key_specs = items(&items(&items(&info)[0])[8]).len();
        let line = syntax::tests::line(&wanted, key_specs);
        assert_eq!(
            syntax::parse(&line, key_specs).as_ref(),
            Ok(&wanted),
            "{name}: {line}"
        );
    }
}

#[test]
fn every_syntax_is_well_formed() {
    for Entry {
        command, full_name, ..
    } in table().entries()
    {
        let parsed = syntax::parse(command.docs.syntax, command.keys.len());
        assert!(parsed.is_ok(), "{full_name}: {parsed:?}");
        assert_eq!(
            arguments_of(command).is_empty(),
            command.docs.syntax.is_empty(),
            "{full_name}"
        );
    }
}

/// The argument tree in a reply of COMMAND DOCS.
fn tree(reply: Option<&Reply>) -> Vec<Argument> {
    let argument = |reply: &Reply| {
        let fields = map(reply);
        let word = |name: &str| fields.get(name).map(text);
        let kind = word("type").expect("every argument has a type");
        let flags: Vec<String> = match fields.get("flags") {
            Some(Reply::Set(flags)) => flags.iter().map(text).collect(),
            _ => Vec::new(),
        };
        let has = |flag: &str| flags.iter().any(|name| name == flag);
        Argument {
            name: word("name").expect("every argument has a name"),
            kind: ArgumentKind::NAMES
                .iter()
                .find(|(name, _)| *name == kind)
                .expect("a known type")
                .1,
            token: word("token"),
            key_spec: fields.get("key_spec_index").map(|index| match index {
                Reply::Integer(index) => *index as usize,
                other => panic!("expected an integer, got {other:?}"),
            }),
            since: word("since"),
            deprecated_since: word("deprecated_since"),
            is_optional: has("optional"),
            is_multiple: has("multiple"),
            repeats_token: has("multiple_token"),
            parts: tree(fields.get("arguments")),
        }
    };
    reply.map_or(Vec::new(), |reply| {
        items(reply).iter().map(argument).collect()
    })
}

/// A reply in one line.
fn short(reply: &Reply) -> String {
    match reply {
        Reply::Array(items) | Reply::Set(items) => {
            format!(
                "[{}]",
                items.iter().map(short).collect::<Vec<_>>().join(", ")
            )
        }
        Reply::Map(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(key, value)| format!("{}: {}", short(key), short(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Reply::Integer(number) => number.to_string(),
        other => format!("{:?}", text(other)),
    }
}

/// The commands of 7.0.15 that this server does not have, and why.
const ABSENT: &[(&str, &[&str])] = &[
    ("not there yet: to follow another node", &["failover"]),
    ("not there yet: files", &["bgrewriteaof"]),
];

/// Our own commands.
const OWN: &[&str] = &["client|routing"];

/// Commands of later versions of Redis and Valkey, in order.
const LATER: &[&str] = &[
    "client|no-touch",
    "client|setinfo",
    "clusterscan",
    "cluster|myshardid",
    "cluster|slot-stats",
    "delex",
    "delifeq",
    "digest",
    "hexpire",
    "hexpireat",
    "hexpiretime",
    "hgetdel",
    "hgetex",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "hsetex",
    "httl",
    "msetex",
];

/// Commands of 7.0.15 that take arguments of later versions too, and what their rows differ in.
const EXTENDED: &[(&str, &[&str])] = &[
    ("set", &["history", "syntax"]),
    ("zrank", &["arity", "history", "syntax"]),
    ("zrevrank", &["arity", "history", "syntax"]),
];

fn is_extended(name: &str, field: &str) -> bool {
    EXTENDED
        .iter()
        .any(|(extended, fields)| *extended == name && fields.contains(&field))
}

#[test]
fn every_command_of_7_0_15_is_there() {
    let Some(mut server) = reference() else {
        return;
    };
    let ours: BTreeSet<String> = table()
        .entries()
        .iter()
        .map(|entry| entry.full_name.clone())
        .collect();
    let absent: BTreeSet<&str> = ABSENT
        .iter()
        .flat_map(|(_, names)| *names)
        .copied()
        .collect();
    let (mut theirs, mut missing) = (BTreeSet::new(), Vec::new());
    for (name, doc) in map(&server.call(&["COMMAND", "DOCS"])) {
        let doc = map(&doc);
        let subcommands = doc.get("subcommands").map(map).unwrap_or_default();
        for name in std::iter::once(name).chain(subcommands.into_keys()) {
            if !absent.contains(&*name) && !ours.contains(&name) {
                missing.push(name.clone());
            }
            theirs.insert(name);
        }
    }
    assert!(missing.is_empty(), "missing: {missing:?}");
    let landed: Vec<_> = absent.iter().filter(|name| ours.contains(**name)).collect();
    assert!(landed.is_empty(), "no longer absent: {landed:?}");
    let unknown: Vec<_> = ours
        .difference(&theirs)
        .filter(|name| !OWN.contains(&name.as_str()) && !LATER.contains(&name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "not in 7.0.15: {unknown:?}");
    assert!(LATER.is_sorted());
    let gone: Vec<_> = LATER.iter().filter(|name| !ours.contains(**name)).collect();
    assert!(
        gone.is_empty(),
        "of later versions, but not there: {gone:?}"
    );
}
