//! The text form of INFO: sections of `name:value` lines, and the lines made from counters.

use super::distribution::Latencies;
use super::stats::CommandTotals;
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
    pub fn percentiles(&mut self, name: &str, latencies: &Latencies, percentiles: &[f64]) {
        let mut values = String::new();
        for percentile in percentiles {
            let comma = if values.is_empty() { "" } else { "," };
            let us = latencies.percentile(*percentile) as f64 / 1000.0;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Distribution;

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
    fn percentiles_are_told_in_microseconds() {
        let worker = Distribution::default();
        worker.record(1500);
        let mut latencies = Latencies::default();
        latencies.add(&worker);
        let mut report = Report::default();
        report.percentiles("get", &latencies, &[50.0, 99.9]);
        let text = "latency_percentiles_usec_get:p50=1.503,p99.9=1.503\r\n";
        assert_eq!(report.into_text(), text);
    }
}
