//! The reports of several sources as one. Pure.

use std::collections::BTreeMap;

use super::samples::{ErrorSample, Exchanges, Group, Histogram, Samples, StatusSample};

/// Quantiles as the probe reports them.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];

impl Samples {
    /// What all of them counted together. Single requests stay with their sources, whose clocks they count by.
    #[must_use]
    pub fn merged(all: &[Self]) -> Self {
        if let [one] = all {
            return one.clone();
        }
        let mut sum = Self::default();
        for one in all {
            sum.requests += one.requests;
            sum.answered += one.answered;
            sum.duration_ms = sum.duration_ms.max(one.duration_ms);
            add(&mut sum.by_status, &one.by_status);
            add(&mut sum.errors, &one.errors);
            sum.interrupted |= one.interrupted;
            sum.late_sends = one.late_sends.map_or(sum.late_sends, |late| Some(sum.late_sends.unwrap_or(0) + late));
            sum.connections_opened += one.connections_opened;
            sum.reconnects += one.reconnects;
        }
        sum.error_samples = together(
            all,
            |one| &one.error_samples,
            |one: &ErrorSample| &one.count,
            |one, count| ErrorSample { count, ..one.clone() },
        );
        sum.status_samples = together(
            all,
            |one| &one.status_samples,
            |one: &StatusSample| &one.count,
            |one, count| StatusSample { count, ..one.clone() },
        );
        sum.groups =
            together(all, |one| &one.groups, |one: &Group| &one.count, |one, count| Group { count, ..one.clone() });
        sum.exchanges = together(
            all,
            |one| &one.exchanges,
            |one: &Exchanges| &one.count,
            |one, count| Exchanges { count, ..one.clone() },
        );
        sum.histogram = histogram(all);
        sum.latency_ms = latency(all, sum.histogram.as_ref());
        sum
    }
}

fn add(sum: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (key, count) in more {
        *sum.entry(key.clone()).or_default() += count;
    }
}

/// Entries that agree in all but their count become one, in the order in which they are first met.
fn together<Entry: PartialEq>(
    all: &[Samples],
    list: impl Fn(&Samples) -> &Vec<Entry>,
    count: impl Fn(&Entry) -> &u64,
    with: impl Fn(&Entry, u64) -> Entry,
) -> Vec<Entry> {
    let mut sums: Vec<(Entry, u64)> = Vec::new();
    for entry in all.iter().flat_map(list) {
        let (alike, more) = (with(entry, 0), *count(entry));
        match sums.iter_mut().find(|(known, _)| *known == alike) {
            Some((_, sum)) => *sum += more,
            None => sums.push((alike, more)),
        }
    }
    sums.into_iter().map(|(entry, sum)| with(&entry, sum)).collect()
}

fn histogram(all: &[Samples]) -> Option<Histogram> {
    let mut buckets: BTreeMap<u64, u64> = BTreeMap::new();
    let histograms: Vec<&Histogram> = all.iter().filter_map(|one| one.histogram.as_ref()).collect();
    for (bound, count) in histograms.iter().flat_map(|one| &one.buckets) {
        *buckets.entry(*bound).or_default() += count;
    }
    let digits = histograms.iter().map(|one| one.digits).min()?;
    Some(Histogram { digits, buckets: buckets.into_iter().collect() })
}

/// The statistics of each that follow from those of all, and the quantiles.
fn latency(all: &[Samples], histogram: Option<&Histogram>) -> Option<BTreeMap<String, f64>> {
    let mut sum = quantiles(histogram?)?;
    let answered: u64 = all.iter().map(|one| one.answered).sum();
    let of_each = |name: &str| {
        let values = all.iter().filter_map(|one| Some((*one.latency_ms.as_ref()?.get(name)?, one.answered)));
        values.collect::<Vec<(f64, u64)>>()
    };
    let means = of_each("mean").into_iter().map(|(mean, count)| mean * count as f64 / answered.max(1) as f64);
    let extremes = [
        ("min", of_each("min").into_iter().map(|(value, _)| value).reduce(f64::min)),
        ("mean", Some(means.sum())),
        ("max", of_each("max").into_iter().map(|(value, _)| value).reduce(f64::max)),
    ];
    sum.extend(extremes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Some(sum)
}

/// The bounds of the buckets that the quantiles are in, in milliseconds.
fn quantiles(histogram: &Histogram) -> Option<BTreeMap<String, f64>> {
    let count: u64 = histogram.buckets.iter().map(|(_, count)| count).sum();
    let at = |quantile: f64| {
        let rank = (quantile * count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        histogram.buckets.iter().find_map(|(bound, count)| {
            seen += count;
            (seen >= rank).then_some(*bound as f64 / 1_000.0)
        })
    };
    QUANTILES.into_iter().map(|(name, quantile)| Some((name.to_owned(), at(quantile)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(version: &str, bounds: &[(u64, u64)]) -> Samples {
        let count = bounds.iter().map(|(_, count)| count).sum();
        Samples {
            requests: count + 1,
            answered: count,
            duration_ms: count as f64,
            by_status: BTreeMap::from([("200".to_owned(), count)]),
            errors: BTreeMap::from([("reset".to_owned(), 1)]),
            error_samples: vec![ErrorSample { class: "reset".to_owned(), text: "gone".to_owned(), count: 1 }],
            groups: vec![Group { status: 200, version: Some(version.to_owned()), count, ..Group::default() }],
            latency_ms: Some(BTreeMap::from([
                ("min".to_owned(), bounds[0].0 as f64 / 1_000.0),
                (
                    "mean".to_owned(),
                    bounds.iter().map(|(bound, _)| *bound as f64 / 1_000.0).sum::<f64>() / bounds.len() as f64,
                ),
                ("max".to_owned(), bounds[bounds.len() - 1].0 as f64 / 1_000.0),
            ])),
            histogram: Some(Histogram { digits: 3, buckets: bounds.to_vec() }),
            ..Samples::default()
        }
    }

    #[test]
    fn what_agrees_is_added_up_and_the_rest_stays_apart() {
        let all =
            [samples("v1", &[(1_000, 90)]), samples("v2", &[(1_000, 5), (9_000, 5)]), samples("v1", &[(2_000, 1)])];
        let merged = Samples::merged(&all);
        assert_eq!((merged.requests, merged.answered, merged.failed()), (104, 101, 3));
        assert_eq!(merged.error_samples.len(), 1);
        let groups: Vec<_> = merged.groups.iter().map(|group| (group.version.as_deref(), group.count)).collect();
        assert_eq!(groups, [(Some("v1"), 91), (Some("v2"), 10)]);
        let buckets = merged.histogram.as_ref().map(|one| one.buckets.clone());
        assert_eq!(buckets, Some(vec![(1_000, 95), (2_000, 1), (9_000, 5)]));
        let latency = merged.latency_ms.clone().expect("quantiles");
        assert_eq!((latency["p50"], latency["p90"], latency["p99"]), (1.0, 1.0, 9.0));
        assert_eq!((latency["min"], latency["max"]), (1.0, 9.0));
        assert!((latency["mean"] - (90.0 + 50.0 + 2.0) / 101.0).abs() < 1e-9, "{latency:?}");
        assert_eq!(merged.check(Some(104)), Ok(()));
    }

    #[test]
    fn one_source_is_what_it_is() {
        let one = samples("v1", &[(1_000, 90)]);
        let merged = Samples::merged(std::slice::from_ref(&one));
        assert_eq!((merged.requests, merged.groups, merged.latency_ms), (91, one.groups, one.latency_ms));
    }
}
