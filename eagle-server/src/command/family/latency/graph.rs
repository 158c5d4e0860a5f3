//! LATENCY GRAPH: one column for each spike, its height by how bad it was, its age underneath.

use crate::metrics::LatencyEvent;
use std::fmt::Write;

/// Columns side by side; more spikes go below.
const COLUMNS: usize = 80;
/// Lines of the picture.
const ROWS: usize = 4;
/// The top of a column, from low to high within its line.
const TOPS: [char; 3] = ['_', 'o', '#'];
/// What a column is filled with below its top.
const FILL: char = '|';

/// The picture of an event that has at least one sample; `now` is Unix time in seconds.
pub(super) fn draw(name: &str, event: &LatencyEvent, now: u64) -> String {
    let spikes = event.samples.iter().map(|(_, ms)| *ms);
    let (high, low) = (spikes.clone().max().unwrap_or(0), spikes.min().unwrap_or(0));
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        event.max_ms,
        "-".repeat(COLUMNS)
    );
    for (index, part) in event.samples.chunks(COLUMNS).enumerate() {
        if index > 0 {
            text.push('\n');
        }
        draw_part(&mut text, part, low, high, now);
    }
    text
}

fn draw_part(text: &mut String, samples: &[(u64, u64)], low: u64, high: u64, now: u64) {
    const STEPS: u64 = (ROWS * TOPS.len()) as u64;
    let steps: Vec<usize> = samples
        .iter()
        .map(|(_, ms)| {
            let step = (ms - low) as u128 * u128::from(STEPS) / u128::from((high - low).max(1));
            step.min(u128::from(STEPS - 1)) as usize
        })
        .collect();
    for row in (0..ROWS).rev() {
        text.extend(steps.iter().map(|step| {
            let top = step / TOPS.len();
            match row.cmp(&top) {
                std::cmp::Ordering::Less => FILL,
                std::cmp::Ordering::Equal => TOPS[step % TOPS.len()],
                std::cmp::Ordering::Greater => ' ',
            }
        }));
        text.push('\n');
    }
    draw_ages(text, samples, now);
}

/// The ages, each written downwards under its column.
fn draw_ages(text: &mut String, samples: &[(u64, u64)], now: u64) {
    let ages: Vec<Vec<char>> = samples
        .iter()
        .map(|(time, _)| age(now.saturating_sub(*time)).chars().collect())
        .collect();
    let lines = ages.iter().map(Vec::len).max().unwrap_or(0);
    let _ = writeln!(text, "{}", " ".repeat(samples.len()));
    for line in 0..lines {
        text.extend(ages.iter().map(|age| age.get(line).copied().unwrap_or(' ')));
        text.push('\n');
    }
}

/// Seconds in the largest unit that fits: `59s`, `2m`, `3h`, `1d`.
fn age(seconds: u64) -> String {
    const UNITS: [(u64, char); 3] = [(24 * 3600, 'd'), (3600, 'h'), (60, 'm')];
    let unit = UNITS.iter().find(|(length, _)| seconds >= *length);
    let (length, letter) = unit.copied().unwrap_or((1, 's'));
    format!("{}{letter}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_the_one_redis_draws() {
        let event = LatencyEvent {
            samples: vec![(96, 2), (97, 4), (98, 12), (99, 3)],
            max_ms: 12,
        };
        let text = draw("command", &event, 100);
        let (head, picture) = text.split_once("-\n").unwrap();
        assert!(
            head.starts_with("command - high 12 ms, low 2 ms (all time high 12 ms)\n---"),
            "{text}"
        );
        assert_eq!(picture, "  # \n  | \n  | \n_#|o\n    \n4321\nssss\n");
    }

    #[test]
    fn equal_spikes_and_many_spikes_are_drawn() {
        let one = LatencyEvent {
            samples: vec![(100, 5)],
            max_ms: 5,
        };
        assert!(draw("x", &one, 100).ends_with("-\n \n \n \n_\n \n0\ns\n"));
        let many = LatencyEvent {
            samples: (0..160).map(|i| (i, i)).collect(),
            max_ms: 159,
        };
        let text = draw("x", &many, 200_000);
        assert!(text.lines().all(|line| line.len() <= COLUMNS));
        assert_eq!(age(59), "59s");
        assert_eq!(age(60), "1m");
        assert_eq!(age(7200), "2h");
        assert_eq!(age(200_000), "2d");
    }
}
