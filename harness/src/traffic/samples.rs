//! What the probe reports, as data: counts, groups, latencies. Judges nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::timeline::Timeline;

/// What came back, counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Samples {
    /// Requests that were started.
    pub requests: u64,
    /// Requests that got an HTTP answer, whatever its status.
    pub answered: u64,
    /// Wall time of the run in milliseconds.
    pub duration_ms: f64,
    /// Answers by HTTP status.
    pub by_status: BTreeMap<String, u64>,
    /// Requests without an answer, by class.
    pub errors: BTreeMap<String, u64>,
    /// A few distinct error texts.
    pub error_samples: Vec<ErrorSample>,
    /// A few distinct answers that were no success.
    pub status_samples: Vec<StatusSample>,
    /// Answers by who gave them.
    pub groups: Vec<Group>,
    /// Milliseconds by quantile; `None` without an answer.
    pub latency_ms: Option<BTreeMap<String, f64>>,
    /// Whether the run was stopped before its own end.
    pub interrupted: bool,
    /// The moment that [`Self::timeline`] counts from, in microseconds since 1970.
    pub start_unix_micros: i64,
    /// Open loop: requests that left more than a millisecond after their time.
    pub late_sends: Option<u64>,
    /// Open loop: milliseconds by quantile that requests left after their time.
    pub start_delay_ms: Option<BTreeMap<String, f64>>,
    /// Connections that were opened.
    pub connections_opened: u64,
    /// Requests that found their kept connection ended and went over a new one: for a long-lived stream, its breaks.
    pub reconnects: u64,
    /// The pod that sent.
    pub source: Pod,
    /// Distinct exchanges by the headers that were asked for.
    pub exchanges: Vec<Exchanges>,
    /// All latencies, where they were asked for.
    pub histogram: Option<Histogram>,
    /// Every request, where that was asked for.
    #[serde(rename = "samples", skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
}

/// Values of headers by their names.
pub type Headers = BTreeMap<String, Vec<String>>;

/// Exchanges with the same headers, as far as they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Exchanges {
    /// Status of the answers.
    pub status: u16,
    /// Headers of the answers.
    pub response: Headers,
    /// Headers of the requests as the server got them; `None` where it does not say so.
    pub request: Option<Headers>,
    /// How many.
    pub count: u64,
}

/// One text of errors that agree.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorSample {
    /// Class, as in [`Samples::errors`].
    pub class: String,
    /// The system's words.
    pub text: String,
    /// How many.
    pub count: u64,
}

/// Answers of an error status that agree.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusSample {
    /// HTTP status.
    pub status: u16,
    /// First characters of the body.
    pub body: String,
    /// How many.
    pub count: u64,
}

/// Answers that agree in everything that was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Group {
    /// HTTP status. 200 for answers of protocols without one; for a gRPC status the HTTP status that stands for it.
    pub status: u16,
    /// gRPC status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
    /// Envoy's response flags, where the answer tells them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_flags: Option<String>,
    /// Version of the workload that answered, where the answer says so.
    pub version: Option<String>,
    /// Its cluster.
    pub cluster: Option<String>,
    /// Its network.
    pub network: Option<String>,
    /// Namespace of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its pod.
    pub pod: Option<String>,
    /// SPIFFE id of the caller as the server saw it; `None` where the server saw no mutual TLS.
    pub peer: Option<String>,
    /// SPIFFE id that the server presented.
    pub server: Option<String>,
    /// Hexadecimal SHA-256 of the caller's certificate as the server saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// How many.
    pub count: u64,
}

/// Latencies by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Histogram {
    /// Significant decimal digits of a latency.
    pub digits: u8,
    /// Highest latency of a bucket in microseconds, and how many answers are in it.
    pub buckets: Vec<(u64, u64)>,
}

impl Histogram {
    fn and(self, other: &Self) -> Self {
        let mut buckets: BTreeMap<u64, u64> = self.buckets.into_iter().collect();
        other.buckets.iter().for_each(|(bucket, count)| *buckets.entry(*bucket).or_default() += count);
        Self { digits: self.digits.min(other.digits), buckets: buckets.into_iter().collect() }
    }

    /// Milliseconds at a quantile, by the upper end of its bucket.
    fn at(&self, quantile: f64) -> Option<f64> {
        let total: u64 = self.buckets.iter().map(|(_, count)| count).sum();
        let rank = ((quantile * total as f64).ceil() as u64).max(1);
        let mut below = 0;
        let reached = self.buckets.iter().find(|(_, count)| {
            below += count;
            below >= rank
        });
        reached.map(|(microseconds, _)| *microseconds as f64 / 1_000.0)
    }
}

/// What two runs say of latencies together, by the names that both have; the histogram is that of both.
fn latencies(
    runs: [&BTreeMap<String, f64>; 2],
    answered: [f64; 2],
    histogram: Option<&Histogram>,
) -> BTreeMap<String, f64> {
    let joined = |name: &str, one: f64, other: f64| match name {
        "min" => Some(one.min(other)),
        "max" => Some(one.max(other)),
        "mean" => Some((one * answered[0] + other * answered[1]) / (answered[0] + answered[1])),
        // `p99` and `p999`.
        _ => histogram?.at(format!("0.{}", name.strip_prefix('p')?).parse().ok()?),
    };
    let both = runs[0].iter().filter_map(|(name, one)| Some((name, *one, *runs[1].get(name)?)));
    both.filter_map(|(name, one, other)| Some((name.clone(), joined(name, one, other)?))).collect()
}

/// Where a pod runs, as far as it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Its name.
    pub pod: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its cluster.
    pub cluster: Option<String>,
    /// Its network.
    pub network: Option<String>,
}

impl Samples {
    /// Requests without an answer.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Puts the samples of a later run to these, as if it had been one run. Of single requests with their times, and of
    /// the open loop's delays, nothing is kept: their clocks differ.
    pub(super) fn add(&mut self, later: Self) {
        fn put(into: &mut BTreeMap<String, u64>, from: BTreeMap<String, u64>) {
            from.into_iter().for_each(|(key, count)| *into.entry(key).or_default() += count);
        }
        if self.requests == 0 {
            *self = later;
        } else {
            let answered = [self.answered as f64, later.answered as f64];
            self.requests += later.requests;
            self.answered += later.answered;
            self.duration_ms += later.duration_ms;
            put(&mut self.by_status, later.by_status);
            put(&mut self.errors, later.errors);
            for sample in later.error_samples {
                match self
                    .error_samples
                    .iter_mut()
                    .find(|known| (&known.class, &known.text) == (&sample.class, &sample.text))
                {
                    Some(known) => known.count += sample.count,
                    None => self.error_samples.push(sample),
                }
            }
            for group in later.groups {
                match self.groups.iter_mut().find(|known| Group { count: group.count, ..(*known).clone() } == group) {
                    Some(known) => known.count += group.count,
                    None => self.groups.push(group),
                }
            }
            self.interrupted |= later.interrupted;
            self.late_sends = self.late_sends.zip(later.late_sends).map(|(one, other)| one + other);
            self.connections_opened += later.connections_opened;
            self.reconnects += later.reconnects;
            self.histogram = self.histogram.take().zip(later.histogram).map(|(one, other)| one.and(&other));
            self.latency_ms = match (self.latency_ms.take(), later.latency_ms) {
                (Some(one), Some(other)) => Some(latencies([&one, &other], answered, self.histogram.as_ref())),
                (one, other) => one.or(other),
            };
        }
        (self.timeline, self.start_delay_ms) = (None, None);
    }

    /// Whether the figures agree with each other and with what was asked for; a verdict on fewer requests than planned
    /// would be none.
    pub(super) fn check(&self, asked: Option<u64>) -> Result<(), String> {
        let grouped: u64 = self.groups.iter().map(|group| group.count).sum();
        let answered: u64 = self.by_status.values().sum();
        if let Some(asked) = asked
            && self.requests != asked
        {
            let cause = self.error_samples.first().map(|sample| format!(": {}", sample.text)).unwrap_or_default();
            return Err(format!("the probe sent {} requests of {asked}{cause}", self.requests));
        }
        if answered != self.answered || grouped != answered || answered + self.failed() != self.requests {
            return Err(format!(
                "the probe's figures disagree: {} requests, {answered} answers, {grouped} of them told apart, {} errors",
                self.requests,
                self.failed()
            ));
        }
        self.timeline.as_ref().map_or(Ok(()), |timeline| timeline.check(self.requests))
    }

    /// Counts by a property of the answering workload; only answers of status 200.
    #[must_use]
    pub fn counts(&self, key: impl Fn(&Group) -> String) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for group in self.groups.iter().filter(|group| group.status == 200) {
            *counts.entry(key(group)).or_insert(0) += group.count;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Samples {
        let groups = vec![Group { status: 200, version: Some("v1".to_owned()), count: 9, ..Group::default() }];
        Samples {
            requests: 10,
            answered: 9,
            by_status: BTreeMap::from([("200".to_owned(), 9)]),
            errors: BTreeMap::from([("reset".to_owned(), 1)]),
            groups,
            ..Samples::default()
        }
    }

    #[test]
    fn figures_that_agree_are_taken() {
        assert_eq!(samples().check(Some(10)), Ok(()));
    }

    #[test]
    fn a_later_run_is_put_to_an_earlier_one() {
        let run = |version: &str, micros: u64| Samples {
            histogram: Some(Histogram { digits: 3, buckets: vec![(1_000, 8), (micros, 1)] }),
            latency_ms: Some(
                [("mean", 1.0), ("p50", 1.0), ("p99", 2.0), ("max", micros as f64 / 1e3)]
                    .map(|(name, ms)| (name.to_owned(), ms))
                    .into(),
            ),
            groups: vec![Group { version: Some(version.to_owned()), ..samples().groups[0].clone() }],
            error_samples: vec![ErrorSample { class: "reset".into(), text: "Connection reset".into(), count: 1 }],
            duration_ms: 5.0,
            ..samples()
        };
        let mut all = Samples::default();
        [run("v1", 2_000), run("v2", 4_000), run("v1", 2_000)].into_iter().for_each(|one| all.add(one));
        assert_eq!(all.check(Some(30)), Ok(()));
        let counts = all.counts(|group| group.version.clone().unwrap_or_default());
        assert_eq!(counts, [("v1".to_owned(), 18), ("v2".to_owned(), 9)].into());
        assert_eq!((all.errors["reset"], all.error_samples[0].count, all.error_samples.len()), (3, 3, 1));
        let latency = all.latency_ms.expect("latencies");
        assert_eq!((latency["p50"], latency["p99"], latency["max"], latency["mean"]), (1.0, 4.0, 4.0, 1.0));
        assert_eq!(all.duration_ms, 15.0);
    }

    #[test]
    fn fewer_requests_than_asked_for_are_no_measurement() {
        assert!(samples().check(Some(11)).is_err());
    }

    #[test]
    fn a_run_without_a_number_is_taken_as_long_as_it_was() {
        assert_eq!(samples().check(None), Ok(()));
    }

    #[test]
    fn answers_that_nobody_gave_are_no_measurement() {
        let mut samples = samples();
        samples.groups.clear();
        assert!(samples.check(Some(10)).is_err());
    }
}
