//! `oom-score-adj`: how readily the kernel ends this process when memory is short.

use crate::config::Config;
use crate::config::topic::OomScoreAdjust;
use parking_lot::Mutex;
use std::io;

const FILE: &str = "/proc/self/oom_score_adj";
/// The kernel's own bounds.
const SCORE_MAX: i32 = 1000;

/// The score before it was changed, while it is.
#[derive(Default)]
pub struct OomScore(Mutex<Option<i32>>);

impl OomScore {
    /// Sets the score that `config` asks for of a primary or a replica, or the one before all changes.
    pub fn apply(&self, config: &Config, is_replica: bool) -> io::Result<()> {
        let process = &config.process;
        let mut before = self.0.lock();
        let score = if process.oom_score_adj == OomScoreAdjust::Off {
            let Some(before) = before.take() else {
                return Ok(());
            };
            before
        } else {
            let base = match *before {
                Some(base) => base,
                None => *before.insert(read()?),
            };
            let wanted = process.oom_score_adj_values[usize::from(is_replica)];
            if process.oom_score_adj == OomScoreAdjust::Absolute {
                wanted
            } else {
                wanted + base
            }
        };
        std::fs::write(FILE, format!("{}\n", score.clamp(-SCORE_MAX, SCORE_MAX)))
    }
}

fn read() -> io::Result<i32> {
    let text = std::fs::read_to_string(FILE)?;
    text.trim().parse().map_err(io::Error::other)
}
