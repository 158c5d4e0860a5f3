//! The text form of INFO: sections of `name:value` lines, and the lines made from counters.

use super::stats::{BUCKETS, CommandTotals, bucket_bound_us};
use std::fmt::{Display, Write};

/// A report under way.
#[derive(Default, Debug)]
pub struct Report {
    text: String,
}

impl Report {
    /// Begins a section. Sections are parted by an empty line.
    pub fn section(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\r\n");
        }
        self.line(format_args!("# {title}"));
    }

    /// One `name:value` line. A value may not break the line.
    pub fn field(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("{name}:{value}"));
    }

    /// Several fields of one kind.
    pub fn fields<V: Display>(&mut self, fields: &[(&str, V)]) {
        for (name, value) in fields {
            self.field(name, value);
        }
    }

    /// A `cmdstat_` line.
    pub fn command(&mut self, name: &str, totals: &CommandTotals) {
        let us = totals.nanos / 1000;
        let per_call = us as f64 / totals.calls.max(1) as f64;
        self.line(format_args!(
            "cmdstat_{name}:calls={},usec={us},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
            totals.calls, totals.rejected, totals.failed
        ));
    }

    /// An `errorstat_` line.
    pub fn error(&mut self, code: &str, count: u64) {
        self.line(format_args!("errorstat_{code}:count={count}"));
    }

    /// A `latency_percentiles_usec_` line.
    pub fn percentiles(&mut self, name: &str, totals: &CommandTotals, percentiles: &[f64]) {
        let mut values = String::new();
        for percentile in percentiles {
            let comma = if values.is_empty() { "" } else { "," };
            let us = percentile_us(&totals.buckets, *percentile);
            let _ = write!(values, "{comma}p{percentile}={us:.3}");
        }
        self.line(format_args!("latency_percentiles_usec_{name}:{values}"));
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = write!(self.text, "{line}\r\n");
    }
}

/// The latency in microseconds that `percentile` percent of the calls did not exceed. Within a
/// bucket the calls are taken to be spread evenly.
pub fn percentile_us(buckets: &[u64; BUCKETS], percentile: f64) -> f64 {
    let calls: u64 = buckets.iter().sum();
    let wanted = (percentile / 100.0 * calls as f64).max(1.0);
    let mut below = 0;
    for (index, count) in buckets.iter().enumerate() {
        if *count > 0 && (below + count) as f64 >= wanted {
            let upper = bucket_bound_us(index) as f64;
            let lower = if index == 0 {
                0.0
            } else {
                bucket_bound_us(index - 1) as f64
            };
            let share = (wanted - below as f64) / *count as f64;
            return lower + (upper - lower) * share;
        }
        below += count;
    }
    // Reached only without calls, or when rounding asks for more calls than there were.
    let last = buckets.iter().rposition(|count| *count > 0);
    last.map_or(0.0, |index| bucket_bound_us(index) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_lines_have_the_form_clients_parse() {
        let mut report = Report::default();
        report.section("Server");
        report.field("a", 1);
        report.section("Commandstats");
        let totals = CommandTotals {
            calls: 3,
            nanos: 10_500,
            rejected: 1,
            failed: 2,
            ..CommandTotals::default()
        };
        report.command("get", &totals);
        report.error("ERR", 4);
        assert_eq!(
            report.into_text(),
            "# Server\r\na:1\r\n\r\n# Commandstats\r\n\
             cmdstat_get:calls=3,usec=10,usec_per_call=3.33,rejected_calls=1,failed_calls=2\r\n\
             errorstat_ERR:count=4\r\n"
        );
    }

    #[test]
    fn percentiles_lie_in_the_bucket_of_their_call() {
        let mut totals = CommandTotals::default();
        totals.buckets[3] = 99;
        totals.buckets[10] = 1;
        let at = |percentile| percentile_us(&totals.buckets, percentile);
        assert!((4.0..=8.0).contains(&at(50.0)));
        assert_eq!(at(99.0), 8.0);
        assert!((512.0..=1024.0).contains(&at(99.9)));
        assert_eq!(at(100.0), 1024.0);
        assert_eq!(percentile_us(&[0; BUCKETS], 50.0), 0.0);
        let mut report = Report::default();
        report.percentiles("get", &totals, &[50.0, 99.9]);
        let text = report.into_text();
        assert!(
            text.starts_with("latency_percentiles_usec_get:p50="),
            "{text}"
        );
        assert!(text.contains(",p99.9="), "{text}");
    }
}
