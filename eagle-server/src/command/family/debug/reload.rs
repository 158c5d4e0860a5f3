//! DEBUG RELOAD: the dataset goes through a snapshot file and back, as a restart would take it.

use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::CommandError;
use crate::command::saving::{self, Present, SaveError};
use crate::node::{Node, unix_ms};
use crate::session::PauseMode;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
struct Options {
    /// Keys of the file replace those that are there.
    merge: bool,
    no_flush: bool,
    no_save: bool,
}

/// DEBUG RELOAD [MERGE] [NOFLUSH] [NOSAVE]
pub(super) fn reload(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    let mut options = Options::default();
    for word in &words[1..] {
        let flag = match word.to_ascii_lowercase().as_slice() {
            b"merge" => &mut options.merge,
            b"noflush" => &mut options.no_flush,
            b"nosave" => &mut options.no_save,
            _ => {
                return Err(CommandError::new(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        };
        *flag = true;
    }
    if !options.no_flush {
        cx.flushed();
    }
    let node = cx.thread.node.clone();
    Ok(Flow::Later(Box::pin(async move {
        // Nobody else is to see a dataset that is half there.
        node.pause.start(u64::MAX, PauseMode::All, unix_ms());
        let paused = node.clone();
        let mut reload = tokio::task::spawn_blocking(move || run(&node, options));
        let done = tokio::select! {
            done = &mut reload => done,
            () = paused.loading.shown() => {
                // From now on they are told, and refused what they cannot have.
                paused.pause.end();
                reload.await
            }
        };
        paused.pause.end();
        match done {
            Ok(Ok(())) => b"+OK\r\n".to_vec(),
            Ok(Err(error)) => format!("-{error}\r\n").into_bytes(),
            Err(_) => b"-ERR\r\n".to_vec(),
        }
    })))
}

fn run(node: &Arc<Node>, options: Options) -> Result<(), &'static str> {
    if !options.no_save {
        save(node).map_err(|_| "ERR")?;
    }
    const NOT_LOADED: &str = "ERR Error trying to load the RDB dump, check server logs.";
    let failed = |error: String| {
        tracing::warn!("{error}");
        NOT_LOADED
    };
    if !options.no_flush {
        saving::clear(node).map_err(failed)?;
    }
    let present = if options.merge {
        Present::Replaced
    } else {
        Present::Kept
    };
    let path = saving::file(&node.config.load());
    saving::load(node, &path, present).map_err(failed)?;
    tracing::warn!("DB reloaded by DEBUG RELOAD");
    Ok(())
}

/// Saves, after a snapshot that is being written.
fn save(node: &Node) -> Result<(), std::io::Error> {
    loop {
        match saving::now(node) {
            Ok(()) => return Ok(()),
            Err(SaveError::Failed(error)) => return Err(error),
            Err(SaveError::Busy) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
