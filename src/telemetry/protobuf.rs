//! The scrape as `io.prometheus.client.MetricFamily` messages, each with its length before it: the one format in
//! which Prometheus reads native histograms.
//!
//! Families are read off the text, which this process has just written, so that no metric has to be known in two
//! places; only the buckets of the native histogram are added, because the text has no place for them.

use prost::Message;

use super::histogram::{FIRST_INDEX, SCHEMA, ZERO_THRESHOLD};

/// Media type, message and encoding, as Prometheus asks for them.
pub(super) const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The counts of the native buckets of one histogram, from [`FIRST_INDEX`] on.
pub(super) struct Native {
    /// Without labels.
    pub(super) family: &'static str,
    pub(super) zero: u64,
    pub(super) counts: Vec<u64>,
}

/// Translates what [`classic`](super::classic) writes.
pub(super) fn protobuf(classic: &str, native: &Native) -> Vec<u8> {
    let mut out = Vec::with_capacity(classic.len());
    let mut family: Option<MetricFamily> = None;
    let mut help = "";
    let mut put = |family: Option<MetricFamily>| {
        let Some(mut family) = family.filter(|family| !family.metric.is_empty()) else { return };
        if family.name == native.family {
            family
                .metric
                .iter_mut()
                .filter_map(|metric| metric.histogram.as_mut())
                .for_each(|it| it.add(native));
        }
        family.encode_length_delimited(&mut out).expect("a Vec takes every byte");
    };
    for line in classic.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let kind = match kind {
                "counter" => Kind::Counter,
                "gauge" => Kind::Gauge,
                "histogram" => Kind::Histogram,
                _ => Kind::Untyped,
            };
            let (name, help) = (name.to_owned(), std::mem::take(&mut help).to_owned());
            put(family.replace(MetricFamily { name, help, kind: kind.into(), metric: Vec::new() }));
        } else if let (Some(family), Some(sample)) = (&mut family, Sample::read(line)) {
            family.take(sample);
        }
    }
    put(family);
    out
}

/// One line of text.
struct Sample<'t> {
    name: &'t str,
    labels: Vec<LabelPair>,
    value: f64,
}

impl<'t> Sample<'t> {
    /// `name{label="value",…} number`, or without labels.
    fn read(line: &'t str) -> Option<Self> {
        let (front, value) = line.rsplit_once(' ')?;
        let value = value.parse().ok()?;
        let Some((name, labels)) = front.split_once('{') else {
            return Some(Self { name: front, labels: Vec::new(), value });
        };
        let mut rest = labels.strip_suffix('}')?;
        let mut labels = Vec::new();
        while let Some((label, after)) = rest.split_once("=\"") {
            let (value, after) = unquoted(after)?;
            labels.push(LabelPair { name: label.to_owned(), value });
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest.is_empty().then_some(Self { name, labels, value })
    }
}

/// The text up to a quotation mark that is not escaped, and what is behind that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

impl MetricFamily {
    fn take(&mut self, Sample { name, mut labels, value }: Sample<'_>) {
        let number = Number { value };
        match self.kind() {
            Kind::Counter => {
                self.metric.push(Metric { label: labels, counter: Some(number), ..Metric::default() })
            }
            Kind::Gauge => {
                self.metric.push(Metric { label: labels, gauge: Some(number), ..Metric::default() })
            }
            Kind::Untyped => {
                self.metric.push(Metric { label: labels, untyped: Some(number), ..Metric::default() })
            }
            Kind::Histogram => {
                let bound =
                    labels.pop_if(|label| label.name == "le").and_then(|label| label.value.parse().ok());
                if self.metric.last().is_none_or(|metric| metric.label != labels) {
                    let histogram = Some(Histogram::default());
                    self.metric.push(Metric { label: labels, histogram, ..Metric::default() });
                }
                let Some(histogram) = self.metric.last_mut().and_then(|metric| metric.histogram.as_mut())
                else {
                    return;
                };
                match (name.strip_prefix(&*self.name), bound) {
                    (Some("_sum"), _) => histogram.sample_sum = value,
                    (Some("_count"), _) => histogram.sample_count = value as u64,
                    (_, Some(upper_bound)) => {
                        histogram.bucket.push(Bucket { cumulative_count: value as u64, upper_bound });
                    }
                    (_, None) => {}
                }
            }
        }
    }
}

impl Histogram {
    /// Adds the native buckets: spans of those that are not empty, and each count's difference from the one before.
    fn add(&mut self, native: &Native) {
        (self.schema, self.zero_threshold, self.zero_count) = (SCHEMA, ZERO_THRESHOLD, native.zero);
        let mut next = 0;
        let mut before = 0;
        for (index, count) in (FIRST_INDEX..).zip(&native.counts).filter(|(_, count)| **count > 0) {
            match self.positive_span.last_mut().filter(|_| index == next) {
                Some(span) => span.length += 1,
                // The first offset counts from bucket 0, each other from the end of the span before it.
                None => self.positive_span.push(BucketSpan { offset: index - next, length: 1 }),
            }
            next = index + 1;
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.positive_delta.push(count - before);
            before = count;
        }
        // Without any span it would be taken for a histogram of the old kind.
        if self.positive_span.is_empty() {
            self.positive_span.push(BucketSpan { offset: 0, length: 0 });
        }
    }
}

/// The numbers are those of `io/prometheus/client/metrics.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    // Proto2: a counter is 0, and is written all the same.
    #[prost(enumeration = "Kind", required, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Kind {
    Counter = 0,
    Gauge = 1,
    Untyped = 3,
    Histogram = 4,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "5")]
    untyped: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// A `Gauge`, a `Counter` or an `Untyped`: the same but for their names.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Number {
    #[prost(double, required, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "true", tag = "13")]
    positive_delta: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{Exposition, Metrics};

    fn families(mut bytes: &[u8]) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        while !bytes.is_empty() {
            families.push(MetricFamily::decode_length_delimited(&mut bytes).expect("a whole message"));
        }
        families
    }

    #[test]
    fn families_have_what_the_text_has() {
        let text = "# HELP a_total Calls, \\\"x\\\".\n# TYPE a_total counter\na_total{x=\"1,\\\"\\n\",y=\"\"} 3\na_total 4\n\
                    # TYPE b gauge\nb -1.5\n# HELP c None.\n# TYPE c gauge\n# TYPE d untyped\nd 1\n";
        let families = families(&protobuf(text, &Native { family: "none", zero: 0, counts: Vec::new() }));
        let names: Vec<_> = families.iter().map(|family| (family.name.as_str(), family.kind())).collect();
        assert_eq!(names, [("a_total", Kind::Counter), ("b", Kind::Gauge), ("d", Kind::Untyped)]);
        let labels: Vec<_> =
            families[0].metric[0].label.iter().map(|label| (&*label.name, &*label.value)).collect();
        assert_eq!(labels, [("x", "1,\"\n"), ("y", "")]);
        assert_eq!(families[0].metric[1].counter, Some(Number { value: 4.0 }));
        assert_eq!(families[1].metric[0].gauge, Some(Number { value: -1.5 }));
    }

    #[test]
    fn durations_are_a_native_histogram() {
        let metrics = Metrics::new();
        let (one, two) = (metrics.worker(), metrics.worker());
        for us in [10, 1_000_000, 1_000_000, 1_050_000, 4_000_000] {
            one.replied(200, Duration::from_micros(us));
        }
        two.replied(200, Duration::from_secs(1));
        let families = families(&metrics.expose(Exposition::Protobuf));
        let family = families.iter().find(|family| family.name == "transom_http_duration_seconds");
        let histogram = family.and_then(|family| family.metric[0].histogram.clone()).expect("a histogram");
        assert_eq!((histogram.sample_count, histogram.zero_count, histogram.schema), (6, 1, 3));
        assert_eq!(histogram.bucket.last().map(|bucket| bucket.cumulative_count), Some(6));
        // Bucket 0 ends at 1 s, bucket 1 at 1.09 s, bucket 16 at 4 s.
        let spans: Vec<_> = histogram.positive_span.iter().map(|span| (span.offset, span.length)).collect();
        assert_eq!((spans, histogram.positive_delta), (vec![(0, 2), (14, 1)], vec![3, -2, 0]));
        assert!((histogram.sample_sum - 8.050_01).abs() < 1e-6, "{}", histogram.sample_sum);
    }
}
