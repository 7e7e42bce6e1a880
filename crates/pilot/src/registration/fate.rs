//! Which registered WorkloadEntries have had their time. Pure.

use std::time::Duration;

use jiff::Timestamp;
use mesh_types::names;
use mesh_types::object::Metadata;

/// What an entry says about its workload's connection, and what is known about it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays: it was not registered by a control plane, or its workload is connected.
    Stays,
    /// Its workload has been away for this long.
    Away(Duration),
    /// It says that its workload is connected, to an instance of the control plane that does not have it or is gone.
    Orphaned,
}

/// What is known besides the entry itself.
pub struct Known<'a> {
    /// The time.
    pub now: Timestamp,
    /// Name of this instance of the control plane.
    pub instance: &'a str,
    /// Whether the workload is connected to this instance.
    pub connected: bool,
    /// Whether another instance of the control plane is there.
    pub exists: &'a dyn Fn(&str) -> bool,
}

/// The fate of an entry.
pub fn fate(metadata: &Metadata, known: &Known<'_>) -> Fate {
    let text = |name: &str| metadata.annotations.get(name).map(String::as_str).filter(|text| !text.is_empty());
    if known.connected || text(names::ANNOTATION_REGISTERED_FROM).is_none() {
        return Fate::Stays;
    }
    if text(names::ANNOTATION_CONNECTED_AT).is_some() {
        let controller = text(names::ANNOTATION_WORKLOAD_CONTROLLER).unwrap_or_default();
        let elsewhere = controller != known.instance && (known.exists)(controller);
        return if elsewhere { Fate::Stays } else { Fate::Orphaned };
    }
    match text(names::ANNOTATION_DISCONNECTED_AT).and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(since) => Fate::Away(Duration::try_from(known.now.duration_since(since)).unwrap_or_default()),
        // Somebody has spoilt the annotations; nobody is known to be connected.
        None => Fate::Orphaned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(annotations: &[(&str, &str)], connected: bool) -> Fate {
        let annotations = annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let metadata = Metadata { annotations, ..Metadata::default() };
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        fate(&metadata, &Known { now, instance: "istiod-1", connected, exists: &|name| name == "istiod-2" })
    }

    const GROUP: (&str, &str) = (names::ANNOTATION_REGISTERED_FROM, "vms");
    const SINCE: (&str, &str) = (names::ANNOTATION_CONNECTED_AT, "2026-01-01T00:00:00Z");

    fn by(instance: &'static str) -> (&'static str, &'static str) {
        (names::ANNOTATION_WORKLOAD_CONTROLLER, instance)
    }

    #[test]
    fn what_was_written_by_hand_and_who_is_connected_stays() {
        assert_eq!(decided(&[], false), Fate::Stays);
        assert_eq!(decided(&[SINCE, by("istiod-1")], false), Fate::Stays);
        assert_eq!(decided(&[GROUP, SINCE, by("istiod-1")], true), Fate::Stays);
        assert_eq!(decided(&[GROUP, SINCE, by("istiod-2")], false), Fate::Stays, "another instance has it");
    }

    #[test]
    fn nobody_has_the_workloads_of_an_instance_that_is_gone() {
        assert_eq!(decided(&[GROUP, SINCE, by("istiod-0")], false), Fate::Orphaned);
        assert_eq!(
            decided(&[GROUP, SINCE, by("istiod-1")], false),
            Fate::Orphaned,
            "this one, before it was restarted"
        );
        assert_eq!(decided(&[GROUP, SINCE], false), Fate::Orphaned);
        assert_eq!(decided(&[GROUP], false), Fate::Orphaned);
    }

    #[test]
    fn absence_is_counted_from_when_it_began() {
        let left = (names::ANNOTATION_DISCONNECTED_AT, "2026-01-01T00:00:45.5Z");
        assert_eq!(decided(&[GROUP, left, by("istiod-1")], false), Fate::Away(Duration::from_millis(14_500)));
        let ahead = (names::ANNOTATION_DISCONNECTED_AT, "2026-01-01T00:02:00Z");
        assert_eq!(decided(&[GROUP, ahead], false), Fate::Away(Duration::ZERO), "a clock that is ahead");
        let spoilt = (names::ANNOTATION_DISCONNECTED_AT, "yesterday");
        assert_eq!(decided(&[GROUP, spoilt], false), Fate::Orphaned);
    }
}
