//! Counters of a service in Prometheus' text form, for `/metrics`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts answers given and answers received.
#[derive(Debug, Default)]
pub struct Metrics {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    answered: BTreeMap<u16, u64>,
    upstream: BTreeMap<(String, String), u64>,
}

impl Metrics {
    /// Counts an answer of this service.
    pub fn count_answer(&self, status: u16) {
        *self.lock().answered.entry(status).or_default() += 1;
    }

    /// Counts a call to another service; `None` stands for no answer.
    pub fn count_upstream(&self, service: &str, status: Option<u16>) {
        let code = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        *self.lock().upstream.entry((service.to_owned(), code)).or_default() += 1;
    }

    /// The counters as text.
    pub fn render(&self, service: &str) -> String {
        let counts = self.lock();
        let mut text = String::from("# TYPE bookinfo_requests_total counter\n");
        for (code, count) in &counts.answered {
            let _ = writeln!(text, "bookinfo_requests_total{{service=\"{service}\",code=\"{code}\"}} {count}");
        }
        text.push_str("# TYPE bookinfo_upstream_requests_total counter\n");
        for ((upstream, code), count) in &counts.upstream {
            let labels = format!("service=\"{service}\",upstream=\"{upstream}\",code=\"{code}\"");
            let _ = writeln!(text, "bookinfo_upstream_requests_total{{{labels}}} {count}");
        }
        text
    }

    /// Counters stay usable after a panic elsewhere: each update is one addition.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_by_code_and_upstream() {
        let metrics = Metrics::default();
        metrics.count_answer(200);
        metrics.count_answer(200);
        metrics.count_upstream("ratings", Some(503));
        metrics.count_upstream("ratings", None);
        let text = metrics.render("reviews");
        assert!(text.contains("bookinfo_requests_total{service=\"reviews\",code=\"200\"} 2\n"), "{text}");
        assert!(text.contains("upstream=\"ratings\",code=\"503\"} 1\n"), "{text}");
        assert!(text.contains("upstream=\"ratings\",code=\"none\"} 1\n"), "{text}");
    }
}
