//! The condition `Healthy` of a WorkloadEntry. Pure.

use mesh_types::names;
use serde_json::{Value, json};

/// What a workload says of its application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It may be called.
    Healthy,
    /// It may not, and why.
    Unhealthy(String),
}

impl Health {
    /// Reads a report: one with an error is of an application that is not healthy.
    pub fn reported(error: Option<&str>) -> Self {
        error.map_or(Self::Healthy, |message| Self::Unhealthy(message.to_owned()))
    }
}

/// The conditions after a report; nothing where they are so already. Conditions of others are left alone.
pub fn conditions(before: &[Value], health: &Health, now: &str) -> Option<Vec<Value>> {
    let (status, message) = match health {
        Health::Healthy => ("True", ""),
        Health::Unhealthy(message) => ("False", message.as_str()),
    };
    let own = |condition: &&Value| condition["type"] == names::CONDITION_HEALTHY;
    let known = before.iter().find(own);
    let same = known.filter(|condition| condition["status"] == status);
    if same.is_some_and(|condition| condition["message"].as_str().unwrap_or_default() == message) {
        return None;
    }
    let since = same.and_then(|condition| condition["lastTransitionTime"].as_str()).unwrap_or(now);
    let condition = json!({
        "type": names::CONDITION_HEALTHY,
        "status": status,
        "message": message,
        "lastProbeTime": now,
        "lastTransitionTime": since,
    });
    Some(before.iter().filter(|one| !own(one)).cloned().chain([condition]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_replaces_its_own_condition_only() {
        let other = json!({"type": "Reconciled", "status": "True"});
        let first = conditions(std::slice::from_ref(&other), &Health::reported(None), "t1").unwrap();
        assert_eq!(first[0], other);
        assert_eq!((&first[1]["status"], &first[1]["lastTransitionTime"]), (&json!("True"), &json!("t1")));
        assert_eq!(conditions(&first, &Health::Healthy, "t2"), None, "nothing new");
        let refused = Health::reported(Some("connection refused"));
        let second = conditions(&first, &refused, "t3").unwrap();
        assert_eq!(second.len(), 2);
        assert_eq!((&second[1]["status"], &second[1]["lastTransitionTime"]), (&json!("False"), &json!("t3")));
        let third = conditions(&second, &Health::reported(Some("timeout")), "t4").unwrap();
        assert_eq!((&third[1]["message"], &third[1]["lastTransitionTime"]), (&json!("timeout"), &json!("t3")));
    }
}
