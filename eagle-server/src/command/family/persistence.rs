//! Snapshots of the dataset in a file: SAVE, BGSAVE, LASTSAVE.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::saving::{self, SaveError};
use crate::command::spec::{Categories, Command, Docs, Family, Flags};

pub const FAMILY: Family = Family {
    name: "persistence",
    commands: &[&BGSAVE, &LASTSAVE, &SAVE],
};

const BUSY: CommandError = CommandError::new("ERR Background save already in progress");

/// SAVE -- writes a snapshot; the reply comes when it is on the medium. Other clients go on meanwhile.
const SAVE: Command = Command::new(
    "save",
    1,
    save,
    Docs::new("server", "1.0.0", "Synchronously save the dataset to disk")
        .complexity("O(N) where N is the total number of keys in all databases"),
)
.flags(&[
    Flags::ADMIN,
    Flags::NOSCRIPT,
    Flags::NO_ASYNC_LOADING,
    Flags::NO_MULTI,
]);

fn save(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if cx.node.saving.in_background() {
        return Err(BUSY);
    }
    let node = cx.thread.node.clone();
    Ok(Flow::Later(Box::pin(async move {
        match tokio::task::spawn_blocking(move || saving::now(&node)).await {
            Ok(Ok(())) => b"+OK\r\n".to_vec(),
            Ok(Err(SaveError::Busy)) => format!("-{}\r\n", BUSY.text()).into_bytes(),
            Ok(Err(SaveError::Failed(_))) | Err(_) => b"-ERR\r\n".to_vec(),
        }
    })))
}

/// BGSAVE [SCHEDULE] -- writes a snapshot in the background.
const BGSAVE: Command = Command::new(
    "bgsave",
    -1,
    bgsave,
    Docs::new("server", "1.0.0", "Asynchronously save the dataset to disk")
        .complexity("O(1)")
        .syntax("[SCHEDULE]{3.2.2}")
        .history(&[("3.2.2", "Added the `SCHEDULE` option.")]),
)
.flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::NO_ASYNC_LOADING]);

fn bgsave(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    if args.len() > 1 || (!args.is_empty() && !args.accept("SCHEDULE")) {
        return Err(errors::SYNTAX);
    }
    // There is nothing else that a snapshot would have to wait for, so SCHEDULE changes nothing.
    match saving::in_background(&cx.thread.node) {
        Ok(()) => {
            cx.out.simple("Background saving started");
            Ok(Flow::Done)
        }
        Err(SaveError::Busy) => Err(BUSY),
        Err(SaveError::Failed(error)) => {
            tracing::warn!("Can't save in background: {error}");
            Err(CommandError::new("ERR"))
        }
    }
}

/// LASTSAVE -- when a snapshot was last written, or the server started.
const LASTSAVE: Command = Command::new(
    "lastsave",
    1,
    lastsave,
    Docs::new(
        "server",
        "1.0.0",
        "Get the UNIX time stamp of the last successful save to disk",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE, Flags::FAST])
.family(Categories::ADMIN.with(Categories::DANGEROUS))
.tips(&["nondeterministic_output"]);

fn lastsave(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_integer(cx.node.saving.past().saved_at_s as i64)
}
