//! How far what follows from a unit got: written, and acknowledged by the proxies that it concerns. Pure; the runtime reports
//! what it sees, with the revision of the writes that it is about.

use std::collections::BTreeMap;

use mesh_types::hub::acknowledgement::{Acknowledgement, Acknowledgements};

use crate::state::Unit;

/// How far one object, or all objects of a unit, got. The worse sorts behind the better.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Every proxy concerned has it.
    Acknowledged,
    /// It stands in the cluster; nobody there tells about its proxies, for the reason.
    Unknown(String),
    /// It stands in the cluster; somebody has not acknowledged it yet.
    Waiting(String),
    /// It is not written yet.
    #[default]
    Pending,
    /// A proxy refused it.
    Refused(String),
}

/// What is known of the proxies of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxies {
    /// Nothing, for the reason.
    Unknown(String),
    /// What the agent tells, by `Kind/namespace/name`.
    Known(BTreeMap<String, Acknowledgement>),
}

impl Default for Proxies {
    fn default() -> Self {
        Self::Unknown("the cluster has not been asked yet".to_owned())
    }
}

impl Proxies {
    /// Takes a line of the agent over; the first one is the whole table. Returns the objects that it is about.
    pub fn tell(&mut self, line: Acknowledgements) -> Vec<String> {
        if let Self::Unknown(_) = self {
            *self = Self::Known(BTreeMap::new());
        }
        let Self::Known(table) = self else { return Vec::new() };
        let mut told = Vec::new();
        for (path, entry) in line.resources {
            told.push(path.clone());
            match entry {
                Some(entry) => table.insert(path, entry),
                None => table.remove(&path),
            };
        }
        told
    }

    /// How far an object got that stands in the cluster in a state of `version`.
    pub fn progress(&self, path: &str, version: &str) -> Progress {
        let table = match self {
            Self::Unknown(reason) => return Progress::Unknown(reason.clone()),
            Self::Known(table) => table,
        };
        match table.get(path) {
            None => Progress::Waiting(format!("{path}: the control plane has not taken it yet")),
            Some(entry) if is_before(&entry.resource_version, version) => {
                Progress::Waiting(format!("{path}: the control plane has an earlier state of it"))
            }
            Some(entry) => match entry.refused.iter().next() {
                Some((proxy, why)) => Progress::Refused(format!("{path}: {proxy} refused it: {why}")),
                None if entry.acknowledged => Progress::Acknowledged,
                None => Progress::Waiting(format!("{path}: not acknowledged yet by {}", some(&entry.waiting))),
            },
        }
    }
}

/// The first of some names, and how many more there are.
fn some(names: &[String]) -> String {
    match names {
        [] => "some proxy".to_owned(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

/// Whether a version is an earlier one than another. Versions of one API server are numbers that grow.
fn is_before(version: &str, other: &str) -> bool {
    match (version.parse::<u64>(), other.parse::<u64>()) {
        (Ok(version), Ok(other)) => version < other,
        _ => version != other,
    }
}

/// What a runtime reports of the objects of a unit in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The unit.
    pub unit: Unit,
    /// The cluster.
    pub cluster: String,
    /// The last writes of the unit in the cluster that this takes into account; see [`crate::state::Effects::revision`].
    pub revision: u64,
    /// How far they got, all together.
    pub progress: Progress,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "VirtualService/ns/reviews";

    fn told(entry: Acknowledgement) -> Proxies {
        let mut proxies = Proxies::default();
        proxies.tell(Acknowledgements { resources: BTreeMap::from([(PATH.to_owned(), Some(entry))]) });
        proxies
    }

    fn entry(version: &str, acknowledged: bool) -> Acknowledgement {
        Acknowledgement { resource_version: version.to_owned(), acknowledged, ..Acknowledgement::default() }
    }

    #[test]
    fn only_the_state_that_was_written_counts() {
        assert_eq!(told(entry("9", true)).progress(PATH, "9"), Progress::Acknowledged);
        assert_eq!(told(entry("11", true)).progress(PATH, "9"), Progress::Acknowledged, "somebody wrote it once more");
        assert!(matches!(told(entry("8", true)).progress(PATH, "9"), Progress::Waiting(_)));
        assert!(matches!(told(entry("9", true)).progress("VirtualService/ns/other", "9"), Progress::Waiting(_)));
    }

    #[test]
    fn who_is_waited_for_and_who_refused_is_said() {
        let waiting = Acknowledgement { waiting: vec!["a.ns".to_owned(), "b.ns".to_owned()], ..entry("9", false) };
        let Progress::Waiting(text) = told(waiting).progress(PATH, "9") else { panic!("not waiting") };
        assert!(text.contains("a.ns and 1 more"), "{text}");
        let refused = BTreeMap::from([("a.ns".to_owned(), "no such cluster".to_owned())]);
        let refused = Acknowledgement { refused, ..entry("9", false) };
        let Progress::Refused(text) = told(refused).progress(PATH, "9") else { panic!("not refused") };
        assert!(text.contains("a.ns refused it: no such cluster"), "{text}");
    }

    #[test]
    fn without_an_agent_nothing_is_known_and_what_is_gone_is_not_acknowledged() {
        let silent = Proxies::Unknown("no agent".to_owned());
        assert_eq!(silent.progress(PATH, "9"), Progress::Unknown("no agent".to_owned()));
        let mut proxies = told(entry("9", true));
        let gone = Acknowledgements { resources: BTreeMap::from([(PATH.to_owned(), None)]) };
        assert_eq!(proxies.tell(gone), [PATH]);
        assert!(matches!(proxies.progress(PATH, "9"), Progress::Waiting(_)));
    }
}
