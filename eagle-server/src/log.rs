//! The server log, in Redis's line format: `pid:role DD Mon YYYY HH:MM:SS.mmm level message`.
//!
//! Events come through `tracing`. ERROR and WARN are printed as `#`, INFO as `*`, DEBUG as `-`,
//! TRACE as `.`, and `loglevel` may change while the server runs.

use parking_lot::Mutex;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Severities that are printed: 0 everything, 3 warnings only.
static LEVEL: AtomicU8 = AtomicU8::new(2);

/// Starts logging to `path`, or to standard output when it is empty. Call once.
pub fn start(path: &str, level: u8) -> io::Result<()> {
    let target = if path.is_empty() {
        Target::Stdout
    } else {
        Target::File(Mutex::new(
            OpenOptions::new().create(true).append(true).open(path)?,
        ))
    };
    set_level(level);
    let subscriber = tracing_subscriber::registry().with(Log { target });
    // A second start (tests in one process) keeps the first log.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// Prints only events at or above `level`: 0 debug, 1 verbose, 2 notice, 3 warning.
pub fn set_level(level: u8) {
    LEVEL.store(level, Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
}

enum Target {
    Stdout,
    File(Mutex<File>),
}

struct Log {
    target: Target,
}

fn rank(level: &Level) -> u8 {
    match *level {
        Level::TRACE => 0,
        Level::DEBUG => 1,
        Level::INFO => 2,
        Level::WARN | Level::ERROR => 3,
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // Libraries below us are heard only when something is wrong with them.
        let own = metadata.target().starts_with("eagle");
        rank(metadata.level()) >= LEVEL.load(Ordering::Relaxed)
            && (own || *metadata.level() <= Level::WARN)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mark = [b'.', b'-', b'*', b'#'][usize::from(rank(event.metadata().level()))];
        let mut line = String::with_capacity(128);
        let now = chrono::Local::now().format("%d %b %Y %H:%M:%S%.3f");
        let _ = write!(line, "{}:M {now} {} ", std::process::id(), char::from(mark));
        event.record(&mut Message(&mut line));
        line.push('\n');
        // A log that cannot be written must not stop the server.
        let _ = match &self.target {
            Target::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Target::File(file) => file.lock().write_all(line.as_bytes()),
        };
    }
}

/// Writes an event's message; a line break inside it would forge a line of its own.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let start = self.0.len();
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        } else {
            let _ = write!(self.0, " {field}={value:?}");
        }
        if self.0[start..].contains(['\n', '\r']) {
            let clean = self.0[start..].replace(['\n', '\r'], " ");
            self.0.truncate(start);
            self.0.push_str(&clean);
        }
    }
}
