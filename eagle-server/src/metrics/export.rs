//! The Prometheus text form: families of samples, built anew at every scrape.
//!
//! Counters live where they are counted (one copy a worker) and are added up here, so a scrape
//! costs the scraped and not the counting. Names begin with `eagledb_`, units are seconds and
//! bytes, counters end in `_total`. A label's values are few and known (command names, database
//! numbers), never keys or clients.

use super::stats::{CommandTotals, bucket_bound_us};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder, TextEncoder};

/// Value of the `Content-Type` header of the encoded text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// How a family's values behave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows, until the process ends or CONFIG RESETSTAT.
    Counter,
    Gauge,
}

/// Everything one scrape shows.
#[derive(Default, Debug)]
pub struct Exposition {
    families: Vec<MetricFamily>,
}

impl Exposition {
    /// A family of a single sample without labels.
    pub fn value(&mut self, kind: Kind, name: &str, help: &str, value: f64) {
        self.push(kind.into(), name, help, vec![sample(kind, vec![], value)]);
    }

    /// A family with one sample for each value of `label`. Nothing if there are none.
    pub fn labelled(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (String, f64)>,
    ) {
        let metrics = samples
            .into_iter()
            .map(|(value, number)| sample(kind, vec![pair(label, &value)], number))
            .collect();
        self.push(kind.into(), name, help, metrics);
    }

    /// A gauge that is always 1 and carries facts in its labels.
    pub fn facts(&mut self, name: &str, help: &str, facts: &[(&str, &str)]) {
        let labels = facts.iter().map(|(name, value)| pair(name, value));
        let metric = sample(Kind::Gauge, labels.collect(), 1.0);
        self.push(MetricType::GAUGE, name, help, vec![metric]);
    }

    /// A histogram of seconds for each command that ran.
    pub fn latencies(&mut self, name: &str, help: &str, commands: &[(&str, CommandTotals)]) {
        let metrics = commands
            .iter()
            .map(|(command, totals)| {
                let mut metric = Metric::from_label(vec![pair("command", command)]);
                metric.set_histogram(histogram(totals));
                metric
            })
            .collect();
        self.push(MetricType::HISTOGRAM, name, help, metrics);
    }

    /// The text a scraper reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.families, &mut text) {
            tracing::warn!("Can't write the metrics: {error}");
        }
        text
    }

    fn push(&mut self, kind: MetricType, name: &str, help: &str, metrics: Vec<Metric>) {
        // The encoder takes a family without samples for an error.
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.families.push(family);
    }
}

impl From<Kind> for MetricType {
    fn from(kind: Kind) -> MetricType {
        match kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        }
    }
}

fn sample(kind: Kind, labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut metric = Metric::from_label(labels);
    match kind {
        Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    metric
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

/// The last bucket of the counters takes what fits nowhere else, so it has no upper bound and is
/// left to the `+Inf` bucket that the encoder adds.
fn histogram(totals: &CommandTotals) -> Histogram {
    let mut cumulative = 0;
    let bounded = &totals.buckets[..totals.buckets.len() - 1];
    let buckets = bounded
        .iter()
        .enumerate()
        .map(|(index, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_cumulative_count(cumulative);
            bucket.set_upper_bound(bucket_bound_us(index) as f64 / 1e6);
            bucket
        })
        .collect();
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(totals.buckets.iter().sum());
    histogram.set_sample_sum(totals.nanos as f64 / 1e9);
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(exposition: &Exposition) -> String {
        String::from_utf8(exposition.encode()).unwrap()
    }

    #[test]
    fn samples_have_help_type_and_escaped_labels() {
        let mut exposition = Exposition::default();
        exposition.value(Kind::Gauge, "eagledb_up", "Whether.", 1.0);
        exposition.labelled(
            Kind::Counter,
            "eagledb_errors_total",
            "Errors.",
            "error",
            [("A\"B".to_owned(), 2.0)],
        );
        exposition.labelled(Kind::Gauge, "eagledb_none", "None.", "x", []);
        exposition.facts(
            "eagledb_build_info",
            "Build.",
            &[("version", "1"), ("os", "x")],
        );
        assert_eq!(
            text(&exposition),
            "# HELP eagledb_up Whether.\n# TYPE eagledb_up gauge\neagledb_up 1\n\
             # HELP eagledb_errors_total Errors.\n# TYPE eagledb_errors_total counter\n\
             eagledb_errors_total{error=\"A\\\"B\"} 2\n\
             # HELP eagledb_build_info Build.\n# TYPE eagledb_build_info gauge\n\
             eagledb_build_info{version=\"1\",os=\"x\"} 1\n"
        );
    }

    #[test]
    fn buckets_are_cumulative_seconds_and_the_last_one_is_unbounded() {
        let mut totals = CommandTotals {
            calls: 3,
            nanos: 3_000_000_000,
            ..CommandTotals::default()
        };
        totals.buckets[0] = 1;
        totals.buckets[10] = 1;
        *totals.buckets.last_mut().unwrap() = 1;
        let mut exposition = Exposition::default();
        exposition.latencies("eagledb_x_seconds", "X.", &[("get", totals)]);
        let text = text(&exposition);
        for line in [
            "eagledb_x_seconds_bucket{command=\"get\",le=\"0.000001\"} 1",
            "eagledb_x_seconds_bucket{command=\"get\",le=\"0.000512\"} 1",
            "eagledb_x_seconds_bucket{command=\"get\",le=\"0.001024\"} 2",
            "eagledb_x_seconds_bucket{command=\"get\",le=\"536.870912\"} 2",
            "eagledb_x_seconds_bucket{command=\"get\",le=\"+Inf\"} 3",
            "eagledb_x_seconds_sum{command=\"get\"} 3",
            "eagledb_x_seconds_count{command=\"get\"} 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
