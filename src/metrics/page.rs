//! The page: families of numbers as data, in Prometheus's text format.

use std::{collections::HashMap, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};
use smol_str::SmolStr;

use super::Times;

pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// What every name begins with.
const PREFIX: &str = "mandate";

/// One name, and its numbers.
#[derive(Debug, Clone)]
pub struct Family {
    /// Without the prefix, and for a counter without `_total`.
    pub name: &'static str,
    /// What it counts, as a sentence.
    pub help: &'static str,
    /// One for each set of labels. All are of one kind.
    pub samples: Vec<(Vec<(&'static str, SmolStr)>, Sample)>,
}

/// One number.
#[derive(Debug, Clone)]
pub enum Sample {
    /// It only grows.
    Count(u64),
    /// It goes up and down.
    Gauge(f64),
    /// Buckets and sum, as [`Times::read`] has them.
    Times(Vec<(f64, u64)>, f64),
}

impl Family {
    /// None yet.
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, samples: Vec::new() }
    }
    /// One more number.
    #[must_use]
    pub fn with(mut self, labels: &[(&'static str, &str)], sample: Sample) -> Self {
        self.samples.push((labels.iter().map(|(name, value)| (*name, SmolStr::new(value))).collect(), sample));
        self
    }
    /// A count.
    #[must_use]
    pub fn count(self, labels: &[(&'static str, &str)], count: u64) -> Self {
        self.with(labels, Sample::Count(count))
    }
    /// A number that goes up and down.
    #[must_use]
    pub fn gauge(self, labels: &[(&'static str, &str)], gauge: f64) -> Self {
        self.with(labels, Sample::Gauge(gauge))
    }
    /// A histogram.
    #[must_use]
    pub fn times(self, labels: &[(&'static str, &str)], times: &Times) -> Self {
        let (buckets, sum) = times.read();
        self.with(labels, Sample::Times(buckets, sum))
    }
    fn kind(&self) -> MetricType {
        match self.samples.first() {
            Some((_, Sample::Count(_))) => MetricType::Counter,
            Some((_, Sample::Times(..))) => MetricType::Histogram,
            Some((_, Sample::Gauge(_))) | None => MetricType::Gauge,
        }
    }
}

/// Writes the page.
///
/// # Errors
/// The library could not write, which it has no reason for.
pub fn page(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    prometheus_client::encoding::prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.0.iter().filter(|family| !family.samples.is_empty()) {
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, family.kind())?;
            for (labels, sample) in &family.samples {
                let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                if labels.is_empty() {
                    number(&mut metric, sample)?;
                } else {
                    number(&mut metric.encode_family(&labels)?, sample)?;
                }
            }
        }
        Ok(())
    }
}

fn number(metric: &mut MetricEncoder<'_>, sample: &Sample) -> fmt::Result {
    match sample {
        Sample::Count(count) => metric.encode_counter::<NoLabelSet, u64, f64>(count, None),
        Sample::Gauge(gauge) => metric.encode_gauge(gauge),
        Sample::Times(buckets, sum) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None::<&HashMap<usize, _>>)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::FAST;

    #[test]
    fn the_page_is_prometheus_text() {
        let times = Times::within(&FAST[..2]);
        times.add(Duration::from_micros(2));
        times.add(Duration::from_secs(1));
        let families = vec![
            Family::new("things", "Things.").count(&[("of", "a \"kind\"\n")], 3).count(&[("of", "b")], 0),
            Family::new("level", "A level.").gauge(&[], 0.5),
            Family::new("nothing", "Left out."),
            Family::new("took_seconds", "How long.").times(&[("by", "x")], &times),
        ];
        let expected = "# HELP mandate_things_total Things.\n# TYPE mandate_things_total counter\n\
            mandate_things_total{of=\"a \\\"kind\\\"\\n\"} 3\nmandate_things_total{of=\"b\"} 0\n\
            # HELP mandate_level A level.\n# TYPE mandate_level gauge\nmandate_level 0.5\n\
            # HELP mandate_took_seconds How long.\n# TYPE mandate_took_seconds histogram\n\
            mandate_took_seconds_bucket{by=\"x\",le=\"1e-06\"} 0\n\
            mandate_took_seconds_bucket{by=\"x\",le=\"2e-06\"} 1\n\
            mandate_took_seconds_bucket{by=\"x\",le=\"+Inf\"} 2\n\
            mandate_took_seconds_sum{by=\"x\"} 1.000002\nmandate_took_seconds_count{by=\"x\"} 2\n";
        assert_eq!(page(families).unwrap(), expected);
    }
}
