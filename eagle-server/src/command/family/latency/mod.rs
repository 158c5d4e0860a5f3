//! LATENCY: what was slow, and when.

mod doctor;
mod graph;

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::CommandError;
use crate::command::spec::{Command, Docs, Family, Flags, Handler};
use crate::command::table::{Entry, table};
use crate::metrics::Latencies;
use eagle_core::text::c_string::c_string;

pub const FAMILY: Family = Family {
    name: "latency",
    commands: &[&LATENCY],
};

/// LATENCY -- container.
const LATENCY: Command = Command::new(
    "latency",
    -2,
    help,
    Docs::new(
        "server",
        "2.8.13",
        "A container for latency diagnostics commands",
    )
    .complexity("Depends on subcommand."),
)
.subcommands(&[
    &DOCTOR, &GRAPH, &HELP, &HISTOGRAM, &HISTORY, &LATEST, &RESET,
]);

const fn row(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .tips(&[
            "nondeterministic_output",
            "request_policy:all_nodes",
            "response_policy:special",
        ])
}

/// LATENCY LATEST -- the newest spike of each event.
const LATEST: Command = row(
    "latest",
    2,
    latest,
    Docs::new(
        "server",
        "2.8.13",
        "Return the latest latency samples for all events.",
    )
    .complexity("O(1)"),
);

fn latest(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let events = cx.node.latency.events();
    cx.out.array(events.len());
    for (name, event) in events {
        let (time, latest_ms) = event.samples.last().copied().unwrap_or_default();
        cx.out.array(4);
        cx.out.bulk(name);
        cx.out.integer(time as i64);
        cx.out.integer(latest_ms as i64);
        cx.out.integer(event.max_ms as i64);
    }
    Ok(Flow::Done)
}

/// LATENCY HISTORY event -- the spikes of an event, oldest first.
const HISTORY: Command = row(
    "history",
    3,
    history,
    Docs::new(
        "server",
        "2.8.13",
        "Return timestamp-latency samples for the event.",
    )
    .complexity("O(1)")
    .syntax("event"),
);

fn history(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let event = cx.node.latency.event(args.word()?).unwrap_or_default();
    cx.out.array(event.samples.len());
    for (time, ms) in event.samples {
        cx.out.array(2);
        cx.out.integer(time as i64);
        cx.out.integer(ms as i64);
    }
    Ok(Flow::Done)
}

/// LATENCY GRAPH event -- the spikes of an event as a picture.
const GRAPH: Command = row(
    "graph",
    3,
    graph,
    Docs::new("server", "2.8.13", "Return a latency graph for the event.")
        .complexity("O(1)")
        .syntax("event"),
);

fn graph(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let name = args.word()?;
    let Some(event) = cx.node.latency.event(name) else {
        return Err(CommandError::quoting(&[
            b"ERR No samples available for event '",
            c_string(name),
            b"'",
        ]));
    };
    let text = graph::draw(&String::from_utf8_lossy(name), &event, cx.now_ms / 1000);
    cx.out.verbatim(b"txt", text);
    Ok(Flow::Done)
}

/// LATENCY DOCTOR -- what the spikes say, in words.
const DOCTOR: Command = row(
    "doctor",
    2,
    doctor,
    Docs::new(
        "server",
        "2.8.13",
        "Return a human readable latency analysis report.",
    )
    .complexity("O(1)"),
);

fn doctor(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let text = doctor::report(&cx.node.latency.events(), &cx.config.monitoring);
    cx.out.verbatim(b"txt", text);
    Ok(Flow::Done)
}

/// LATENCY RESET [event [event ...]] -- forgets the spikes of these events, or of all.
const RESET: Command = row(
    "reset",
    -2,
    reset,
    Docs::new(
        "server",
        "2.8.13",
        "Reset latency data for one or more events.",
    )
    .complexity("O(1)")
    .syntax("[event [event ...]]"),
)
.tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]);

fn reset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let latency = &cx.node.latency;
    let forgotten: usize = match args.rest() {
        [] => latency.reset(None),
        events => events.iter().map(|event| latency.reset(Some(event))).sum(),
    };
    cx.reply_integer(forgotten as i64)
}

/// LATENCY HISTOGRAM [command [command ...]] -- cumulative distribution of the calls' times.
const HISTOGRAM: Command = row(
    "histogram",
    -2,
    histogram,
    Docs::new(
        "server",
        "7.0.0",
        "Return the cumulative distribution of latencies of a subset of commands or all.",
    )
    .complexity("O(N) where N is the number of commands with latency information being retrieved.")
    .syntax("[command [command ...]]"),
);

fn histogram(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut wanted: Vec<&Entry> = Vec::new();
    if args.is_empty() {
        wanted.extend(table().entries());
    }
    for name in args.rest() {
        let Some(entry) = table().by_full_name(name) else {
            continue;
        };
        wanted.push(entry);
        wanted.extend(entry.subcommands.iter().map(|id| &table().entries()[*id]));
    }
    let found: Vec<(&Entry, Latencies)> = wanted
        .into_iter()
        .map(|entry| (entry, cx.node.stats.latencies(entry.id)))
        .filter(|(_, latencies)| latencies.total() > 0)
        .collect();
    cx.out.map(found.len());
    for (entry, latencies) in found {
        let steps = latencies.doublings();
        cx.out.bulk(&entry.full_name);
        cx.out.map(2);
        cx.out.bulk("calls");
        cx.out.integer(latencies.total() as i64);
        cx.out.bulk("histogram_usec");
        cx.out.map(steps.len());
        for (bound_us, count) in steps {
            cx.out.integer(bound_us as i64);
            cx.out.integer(count as i64);
        }
    }
    Ok(Flow::Done)
}

const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "server",
        "2.8.13",
        "Show helpful text about the different subcommands.",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE]);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "DOCTOR",
        "    Return a human readable latency analysis report.",
        "GRAPH <event>",
        "    Return an ASCII latency graph for the <event> class.",
        "HISTORY <event>",
        "    Return time-latency samples for the <event> class.",
        "LATEST",
        "    Return the latest latency samples for all events.",
        "RESET [<event> ...]",
        "    Reset latency data of one or more <event> classes.",
        "    (default: reset all data for all event classes)",
        "HISTOGRAM [COMMAND ...]",
        "    Return a cumulative distribution of latencies in the format of a histogram for the specified command \
         names.",
        "    If no commands are specified then all histograms are replied.",
    ])
}
