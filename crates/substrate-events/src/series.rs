//! Which occurrences are repeats: a table from occurrence to the event that already tells it. Pure.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::{Value, json};

use crate::{EventType, Occurrence};

/// The table forgets everything at this size, which costs at most some events that start a new series.
const CAPACITY: usize = 4096;

/// What has to be written for one occurrence.
#[derive(Debug)]
pub(crate) enum Write {
    /// It is the first of its series.
    Create(Box<Event>),
    /// It was seen before: raise the count of that event by this merge patch.
    Repeat {
        /// Namespace of the first event.
        namespace: String,
        /// Name of the first event.
        name: String,
        /// The merge patch with the new count and time.
        patch: Value,
        /// What to create when the first event no longer exists.
        first: Box<Event>,
    },
}

#[derive(Debug)]
struct Series {
    name: String,
    count: i32,
    first_seen: Timestamp,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SeriesTable {
    source: EventSource,
    series: HashMap<(String, EventType, String, String), Series>,
    created: u64,
}

impl SeriesTable {
    pub(crate) fn new(component: &str, host: Option<&str>) -> Self {
        let source = EventSource { component: Some(component.into()), host: host.map(Into::into) };
        Self { source, series: HashMap::new(), created: 0 }
    }

    /// Books one occurrence and says what to write for it.
    pub(crate) fn record(&mut self, occurrence: Occurrence, now: Timestamp) -> Write {
        if self.series.len() >= CAPACITY {
            self.series.clear();
        }
        let identity = identity(&occurrence);
        let fresh = self.fresh_name(&occurrence, now);
        let series = self.series.entry(identity).or_insert(Series { name: fresh, count: 0, first_seen: now });
        series.count += 1;
        let event = Box::new(event(&self.source, &occurrence, series, now));
        if series.count == 1 {
            return Write::Create(event);
        }
        Write::Repeat {
            namespace: event.metadata.namespace.clone().unwrap_or_default(),
            name: series.name.clone(),
            patch: json!({"count": series.count, "lastTimestamp": event.last_timestamp, "involvedObject": event.involved_object}),
            first: event,
        }
    }

    /// Gives a repeat whose first event is gone a name of its own.
    pub(crate) fn restart(&mut self, mut event: Event) -> Event {
        self.created += 1;
        let name = format!("{}.{:x}", event.metadata.name.as_deref().unwrap_or("event"), self.created);
        for series in self.series.values_mut().filter(|series| Some(&series.name) == event.metadata.name.as_ref()) {
            series.name.clone_from(&name);
        }
        event.metadata.name = Some(name);
        event
    }

    fn fresh_name(&mut self, occurrence: &Occurrence, now: Timestamp) -> String {
        self.created += 1;
        let object = occurrence.about.name.as_deref().unwrap_or("unknown");
        // The counter keeps two events of the same nanosecond apart.
        format!("{object}.{:x}{:03x}", now.as_nanosecond(), self.created % 0x1000)
    }
}

fn identity(occurrence: &Occurrence) -> (String, EventType, String, String) {
    let about = &occurrence.about;
    let object = format!(
        "{}/{}/{}/{}/{}",
        about.kind.as_deref().unwrap_or_default(),
        about.namespace.as_deref().unwrap_or_default(),
        about.name.as_deref().unwrap_or_default(),
        about.uid.as_deref().unwrap_or_default(),
        about.field_path.as_deref().unwrap_or_default(),
    );
    (object, occurrence.type_, occurrence.reason.clone(), occurrence.message.clone())
}

fn event(source: &EventSource, occurrence: &Occurrence, series: &Series, now: Timestamp) -> Event {
    // Events about cluster-scoped objects live in `default`, as in Kubernetes.
    let namespace = occurrence.about.namespace.clone().unwrap_or_else(|| "default".into());
    Event {
        metadata: ObjectMeta { name: Some(series.name.clone()), namespace: Some(namespace), ..ObjectMeta::default() },
        involved_object: occurrence.about.clone(),
        type_: Some(occurrence.type_.to_string()),
        reason: Some(occurrence.reason.clone()),
        message: Some(occurrence.message.clone()),
        count: Some(series.count),
        first_timestamp: Some(Time(series.first_seen)),
        last_timestamp: Some(Time(now)),
        reporting_component: source.component.clone(),
        reporting_instance: source.host.clone().or_else(|| source.component.clone()),
        source: Some(source.clone()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ObjectReference;

    fn occurrence(message: &str) -> Occurrence {
        let about = ObjectReference {
            kind: Some("Pod".into()),
            name: Some("web".into()),
            namespace: Some("shop".into()),
            ..ObjectReference::default()
        };
        Occurrence { about, type_: EventType::Warning, reason: "BackOff".into(), message: message.into() }
    }

    #[test]
    fn a_repeat_raises_the_count_of_the_first_event() {
        let mut table = SeriesTable::new("kubelet", Some("node"));
        let Write::Create(first) = table.record(occurrence("again"), Timestamp::UNIX_EPOCH) else {
            panic!("the first occurrence must create an event");
        };
        let Write::Repeat { namespace, name, patch, .. } = table.record(occurrence("again"), Timestamp::UNIX_EPOCH)
        else {
            panic!("the second occurrence must be a repeat");
        };
        assert_eq!((namespace.as_str(), Some(name)), ("shop", first.metadata.name));
        assert_eq!(patch["count"], 2);
    }

    #[test]
    fn another_message_is_another_event_even_in_the_same_instant() {
        let mut table = SeriesTable::new("kubelet", None);
        let names: Vec<_> = ["one", "two"]
            .into_iter()
            .map(|message| match table.record(occurrence(message), Timestamp::UNIX_EPOCH) {
                Write::Create(event) => event.metadata.name,
                Write::Repeat { .. } => panic!("different messages are different events"),
            })
            .collect();
        assert_ne!(names[0], names[1]);
    }
}
