//! MONITOR: every command, as it is run, to those who want to see it.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::CommandError;
use crate::command::spec::{Command, Docs, Family, Flags};
use std::sync::atomic::Ordering;

pub const FAMILY: Family = Family {
    name: "monitor",
    commands: &[&MONITOR],
};

/// MONITOR -- shows this connection all commands from now on.
const MONITOR: Command = Command::new(
    "monitor",
    1,
    monitor,
    Docs::new(
        "server",
        "1.0.0",
        "Listen for all requests received by the server in real time",
    ),
)
.flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE]);

fn monitor(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if cx.session.in_exec {
        return Err(CommandError::new(
            "ERR MONITOR isn't allowed for DENY BLOCKING client",
        ));
    }
    let info = &cx.session.info;
    if info.monitors.load(Ordering::Relaxed) {
        // Redis does not answer the second time.
        return Ok(Flow::Done);
    }
    cx.node.monitors.add(info);
    cx.reply_ok()
}
