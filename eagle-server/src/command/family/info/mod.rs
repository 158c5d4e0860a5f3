//! INFO: what the server tells of itself, in sections.
//!
//! Field names and their order are those of Redis 7.0.15, since exporters and test suites read them
//! by name. A field about something EagleDB does not do is there and honest: zero, or `ok`.

mod activity;
pub(super) mod data;
pub(super) mod process;

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::spec::{Categories, Command, Docs, Family, Flags};
use crate::metrics::info::Report;

pub const FAMILY: Family = Family {
    name: "info",
    commands: &[&INFO],
};

/// INFO [section [section ...]] -- information and statistics about the server.
const INFO: Command = Command::new(
    "info",
    -1,
    info,
    Docs::new(
        "server",
        "1.0.0",
        "Get information and statistics about the server",
    )
    .complexity("O(1)")
    .syntax("[section [section ...]]")
    .history(&[(
        "7.0.0",
        "Added support for taking multiple section arguments.",
    )]),
)
.flags(&[Flags::LOADING, Flags::STALE])
.family(Categories::DANGEROUS)
.tips(&[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
]);

/// The widest request that a section is part of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Width {
    /// Of INFO without arguments, and of `default`.
    Default,
    /// Of `all`.
    All,
    /// Of `everything`.
    Everything,
}

struct Section {
    /// As the client names it, in lower case.
    name: &'static str,
    title: &'static str,
    width: Width,
    write: fn(&mut Report, &Context<'_>),
}

const fn section(
    name: &'static str,
    title: &'static str,
    width: Width,
    write: fn(&mut Report, &Context<'_>),
) -> Section {
    Section {
        name,
        title,
        width,
        write,
    }
}

/// In the order they are printed, whatever the order asked for.
const SECTIONS: &[Section] = &[
    section("server", "Server", Width::Default, process::server),
    section("clients", "Clients", Width::Default, process::clients),
    section("memory", "Memory", Width::Default, process::memory),
    section(
        "persistence",
        "Persistence",
        Width::Default,
        data::persistence,
    ),
    section("stats", "Stats", Width::Default, activity::stats),
    section(
        "replication",
        "Replication",
        Width::Default,
        data::replication,
    ),
    section("cpu", "CPU", Width::Default, process::cpu),
    section("modules", "Modules", Width::Default, |_, _| ()),
    section(
        "commandstats",
        "Commandstats",
        Width::All,
        activity::commandstats,
    ),
    section(
        "errorstats",
        "Errorstats",
        Width::Default,
        activity::errorstats,
    ),
    section(
        "latencystats",
        "Latencystats",
        Width::All,
        activity::latencystats,
    ),
    section("cluster", "Cluster", Width::Default, data::cluster),
    section("keyspace", "Keyspace", Width::Default, data::keyspace),
    section("pool", "Pool", Width::Everything, data::pool),
];

fn info(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut report = Report::default();
    for section in select(args.rest()) {
        report.section(section.title);
        (section.write)(&mut report, cx);
    }
    cx.out.verbatim(b"txt", report.into_text());
    Ok(Flow::Done)
}

/// The sections that `words` ask for. Words that mean nothing ask for nothing.
fn select<'a>(words: &'a [&[u8]]) -> impl Iterator<Item = &'static Section> + 'a {
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let width = |word: &[u8]| {
        [
            ("default", Width::Default),
            ("all", Width::All),
            ("everything", Width::Everything),
        ]
        .into_iter()
        .find(|(name, _)| is(word, name))
        .map(|(_, width)| width)
    };
    let widest = if words.is_empty() {
        Some(Width::Default)
    } else {
        words.iter().filter_map(|word| width(word)).max()
    };
    SECTIONS.iter().filter(move |section| {
        widest.is_some_and(|widest| section.width <= widest)
            || words.iter().any(|word| is(word, section.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&[u8]]) -> Vec<&'static str> {
        select(words).map(|section| section.name).collect()
    }

    #[test]
    fn sections_are_chosen_by_name_or_width() {
        let default = names(&[]);
        assert_eq!(default, names(&[b"default"]));
        assert!(!default.contains(&"commandstats") && !default.contains(&"pool"));
        assert_eq!(
            names(&[b"CPU", b"server", b"nosuch", b"cpu"]),
            ["server", "cpu"]
        );
        assert_eq!(names(&[b"nosuch"]), [""; 0]);
        let all = names(&[b"All", b"server"]);
        assert!(all.contains(&"latencystats") && !all.contains(&"pool"));
        assert_eq!(names(&[b"all", b"everything"]).len(), SECTIONS.len());
        assert_eq!(
            names(&[b"default", b"pool"]).len(),
            names(&[b"default"]).len() + 1
        );
    }
}
