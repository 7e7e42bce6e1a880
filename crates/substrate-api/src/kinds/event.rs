//! The two faces of an event: `v1` (as stored) and `events.k8s.io/v1`. Pure renaming of fields, both ways.

use serde_json::{Map, Value, json};

/// Pairs of (name in `v1`, name in `events.k8s.io/v1`).
const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// From `events.k8s.io/v1` to the stored form.
pub(crate) fn to_core(mut event: Value) -> Value {
    rename(&mut event, |(core, new)| (new, core));
    event["apiVersion"] = json!("v1");
    event
}

/// From the stored form to `events.k8s.io/v1`.
pub(crate) fn from_core(mut event: Value) -> Value {
    rename(&mut event, |(core, new)| (core, new));
    event["apiVersion"] = json!("events.k8s.io/v1");
    event
}

fn rename(event: &mut Value, direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str)) {
    let Some(map) = event.as_object_mut() else { return };
    let pairs: Vec<_> = RENAMED.iter().copied().map(direction).collect();
    let renamed: Map<String, Value> = std::mem::take(map)
        .into_iter()
        .map(|(key, value)| {
            let to = pairs.iter().find(|(from, _)| *from == key).map(|(_, to)| (*to).to_owned());
            (to.unwrap_or(key), value)
        })
        .collect();
    *map = renamed;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_round_trip() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "message": "m", "involvedObject": {"name": "x"}});
        let new = from_core(core.clone());
        assert_eq!(new["note"], "m");
        assert_eq!(new["regarding"]["name"], "x");
        assert_eq!(to_core(new), core);
    }
}
