//! WAIT: until replicas have what this connection wrote.

use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::replication;
use crate::command::spec::{Categories, Command, Docs, Family, Flags};
use std::time::Duration;

pub const FAMILY: Family = Family {
    name: "wait",
    commands: &[&WAIT],
};

/// WAIT numreplicas timeout -- replies how many replicas have acknowledged the connection's writes,
/// once there are so many or the time is up.
const WAIT: Command = Command::new(
    "wait",
    3,
    wait,
    Docs::new(
        "generic",
        "3.0.0",
        "Wait for the synchronous replication of all the write commands sent in the context of the current \
         connection",
    )
    .complexity("O(1)")
    .syntax("numreplicas:integer timeout:integer"),
)
.flags(&[Flags::NOSCRIPT])
.family(Categories::CONNECTION)
.tips(&["request_policy:all_shards", "response_policy:agg_min"]);

fn wait(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let wanted = args.integer()?;
    let timeout_ms = parse_timeout(args.word()?, cx.now_ms)?;
    let written = cx.session.written;
    let acknowledged = cx.node.replicas.count_acked(written) as i64;
    if acknowledged >= wanted || cx.session.in_exec {
        return cx.reply_integer(acknowledged);
    }
    let (thread, replicas) = (cx.thread.clone(), cx.node.replicas.clone());
    replication::ask_for_acks(cx.node);
    let unblocked = cx.session.info.begin_wait();
    Ok(Flow::Later(Box::pin(async move {
        let expired = async {
            match timeout_ms {
                0 => std::future::pending().await,
                ms => tokio::time::sleep(Duration::from_millis(ms)).await,
            }
        };
        let enough = async {
            loop {
                let mut next = std::pin::pin!(replicas.acknowledged.notified());
                // What comes from here on is heard of.
                next.as_mut().enable();
                if replicas.count_acked(written) as i64 >= wanted {
                    return;
                }
                next.await;
            }
        };
        let with_error = tokio::select! {
            with_error = unblocked => with_error.unwrap_or(false),
            () = enough => false,
            () = expired => false,
        };
        if with_error {
            thread.stats.error_replies.add(1);
            thread.node.errors.record(errors::UNBLOCKED.code());
            return format!("-{}\r\n", errors::UNBLOCKED.text()).into_bytes();
        }
        format!(":{}\r\n", replicas.count_acked(written)).into_bytes()
    })))
}

/// A timeout in milliseconds; 0 is for ever.
fn parse_timeout(word: &[u8], now_ms: u64) -> Result<u64, CommandError> {
    let timeout_ms = parse_integer(word)
        .map_err(|_| CommandError::new("ERR timeout is not an integer or out of range"))?;
    let timeout_ms =
        u64::try_from(timeout_ms).map_err(|_| CommandError::new("ERR timeout is negative"))?;
    if timeout_ms > i64::MAX as u64 - now_ms {
        return Err(CommandError::new("ERR timeout is out of range"));
    }
    Ok(timeout_ms)
}
