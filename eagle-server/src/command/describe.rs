//! What COMMAND INFO and COMMAND DOCS say of a command.

use super::spec::{BeginSearch, Command, FindKeys, KeyFlags, KeySpec};
use super::syntax::{self, Argument};
use super::table::{Entry, Table};
use eagle_core::resp::Writer;

/// Writes the entry of COMMAND INFO: ten elements, the last being the subcommands' entries.
pub fn write_info(out: &mut Writer, table: &Table, entry: &Entry) {
    let command = entry.command;
    out.array(10);
    out.bulk(&entry.full_name);
    out.integer(i64::from(command.arity));
    write_set(out, command.flags.names());
    let (first, last, step) = command.legacy_range();
    out.integer(first);
    out.integer(last);
    out.integer(step);
    let categories: Vec<String> = command
        .categories()
        .names()
        .map(|name| format!("@{name}"))
        .collect();
    write_set(out, categories.iter().map(String::as_str));
    out.set(command.tips.len());
    command.tips.iter().for_each(|tip| out.bulk(tip));
    out.set(command.keys.len());
    command
        .keys
        .iter()
        .for_each(|spec| write_key_spec(out, spec));
    // Redis calls the absence of subcommands a set.
    match entry.subcommands.len() {
        0 => out.set(0),
        count => out.array(count),
    }
    for id in &entry.subcommands {
        write_info(out, table, &table.entries()[*id]);
    }
}

/// A set of statuses.
fn write_set<'a>(out: &mut Writer, names: impl Iterator<Item = &'a str>) {
    let names: Vec<&str> = names.collect();
    out.set(names.len());
    names.into_iter().for_each(|name| out.simple(name));
}

/// Writes the flags of a key, as COMMAND INFO and GETKEYSANDFLAGS show them.
pub fn write_key_flags(out: &mut Writer, flags: KeyFlags) {
    write_set(out, flags.names());
}

fn write_key_spec(out: &mut Writer, spec: &KeySpec) {
    out.map(3 + usize::from(!spec.notes.is_empty()));
    if !spec.notes.is_empty() {
        out.bulk("notes");
        out.bulk(spec.notes);
    }
    out.bulk("flags");
    write_key_flags(out, spec.flags);
    out.bulk("begin_search");
    match spec.begin {
        BeginSearch::Index(position) => {
            write_search(out, "index", &[("index", i64::from(position))]);
        }
        BeginSearch::Keyword { keyword, start } => {
            out.map(2);
            out.bulk("type");
            out.bulk("keyword");
            out.bulk("spec");
            out.map(2);
            out.bulk("keyword");
            out.bulk(keyword);
            out.bulk("startfrom");
            out.integer(i64::from(start));
        }
        BeginSearch::Unknown => write_search(out, "unknown", &[]),
    }
    out.bulk("find_keys");
    match spec.find {
        FindKeys::Range { last, step, limit } => {
            let fields = [
                ("lastkey", i64::from(last)),
                ("keystep", i64::from(step)),
                ("limit", i64::from(limit)),
            ];
            write_search(out, "range", &fields);
        }
        FindKeys::KeyNum { index, first, step } => {
            let fields = [
                ("keynumidx", i64::from(index)),
                ("firstkey", i64::from(first)),
                ("keystep", i64::from(step)),
            ];
            write_search(out, "keynum", &fields);
        }
        FindKeys::Unknown => write_search(out, "unknown", &[]),
    }
}

fn write_search(out: &mut Writer, kind: &str, fields: &[(&str, i64)]) {
    out.map(2);
    out.bulk("type");
    out.bulk(kind);
    out.bulk("spec");
    out.map(fields.len());
    for (name, value) in fields {
        out.bulk(name);
        out.integer(*value);
    }
}

/// Writes the name and documentation of a command: one pair of the map of COMMAND DOCS.
pub fn write_docs(out: &mut Writer, table: &Table, entry: &Entry) {
    let docs = &entry.command.docs;
    let (deprecated_since, replaced_by) = docs.deprecated;
    let arguments = arguments_of(entry.command);
    let doc_flags = doc_flags(entry.command);
    let texts = [
        ("summary", docs.summary),
        ("since", docs.since),
        ("group", docs.group),
        ("complexity", docs.complexity),
    ];
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    let pairs = texts.clone().count()
        + 2 * usize::from(!deprecated_since.is_empty())
        + usize::from(!doc_flags.is_empty())
        + usize::from(!docs.history.is_empty())
        + usize::from(!arguments.is_empty())
        + usize::from(!entry.subcommands.is_empty());
    out.bulk(&entry.full_name);
    out.map(pairs);
    for (name, text) in texts {
        out.bulk(name);
        out.bulk(text);
    }
    if !doc_flags.is_empty() {
        out.bulk("doc_flags");
        write_set(out, doc_flags.into_iter());
    }
    if !deprecated_since.is_empty() {
        out.bulk("deprecated_since");
        out.bulk(deprecated_since);
        out.bulk("replaced_by");
        out.bulk(replaced_by);
    }
    if !docs.history.is_empty() {
        out.bulk("history");
        out.set(docs.history.len());
        for (version, change) in docs.history {
            out.array(2);
            out.bulk(version);
            out.bulk(change);
        }
    }
    if !arguments.is_empty() {
        out.bulk("arguments");
        write_arguments(out, &arguments);
    }
    if !entry.subcommands.is_empty() {
        out.bulk("subcommands");
        out.map(entry.subcommands.len());
        for id in &entry.subcommands {
            write_docs(out, table, &table.entries()[*id]);
        }
    }
}

fn doc_flags(command: &Command) -> Vec<&'static str> {
    let mut flags = Vec::new();
    if !command.docs.deprecated.0.is_empty() {
        flags.push("deprecated");
    }
    if command.docs.is_internal {
        flags.push("syscmd");
    }
    flags
}

/// The arguments of `command` as a tree. A row's syntax is checked by a test, so it is never wrong.
pub fn arguments_of(command: &Command) -> Vec<Argument> {
    syntax::parse(command.docs.syntax, command.keys.len()).unwrap_or_default()
}

fn write_arguments(out: &mut Writer, arguments: &[Argument]) {
    out.array(arguments.len());
    for argument in arguments {
        write_argument(out, argument);
    }
}

fn write_argument(out: &mut Writer, argument: &Argument) {
    let flags = [
        (argument.is_optional, "optional"),
        (argument.is_multiple, "multiple"),
        (argument.repeats_token, "multiple_token"),
    ];
    let flags: Vec<&str> = flags
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| name)
        .collect();
    let texts = [
        ("token", &argument.token),
        ("since", &argument.since),
        ("deprecated_since", &argument.deprecated_since),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name, text.as_ref()?)));
    let pairs = 2
        + usize::from(argument.key_spec.is_some())
        + texts.clone().count()
        + usize::from(!flags.is_empty())
        + usize::from(!argument.parts.is_empty());
    out.map(pairs);
    out.bulk("name");
    out.bulk(&argument.name);
    out.bulk("type");
    out.bulk(argument.kind.name());
    if let Some(spec) = argument.key_spec {
        out.bulk("key_spec_index");
        out.integer(spec as i64);
    }
    for (name, text) in texts {
        out.bulk(name);
        out.bulk(text);
    }
    if !flags.is_empty() {
        out.bulk("flags");
        write_set(out, flags.into_iter());
    }
    if !argument.parts.is_empty() {
        out.bulk("arguments");
        write_arguments(out, &argument.parts);
    }
}
