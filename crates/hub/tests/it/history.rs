//! Any changes in any order end where a fresh start ends: the same objects, the same statuses. And the writes on the way, carried
//! out in order, lead to these objects in the clusters.
//!
//! What is remembered from before a start comes from the statuses that the state itself reports. How many histories are tried is
//! said by `MESHPROOF_HUB_HISTORIES`; `cargo xtask bench hub` tries ten thousand.

use std::collections::BTreeMap;
use std::sync::Arc;

use hub::address::Pool;
use hub::output::{Desired, ObjectKey};
use hub::progress::{Progress, Report};
use hub::state::{Action, Change, Effects, Input, InputKey, Outcome, State, Subject, Unit};
use hub::status::Status;
use hub::world::Settings;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::universe::{CLUSTERS, FORMS, THINGS, Universe};

/// Clusters as the writes leave them, and statuses as they are told.
#[derive(Default)]
struct Followed {
    objects: BTreeMap<(String, ObjectKey), Arc<Desired>>,
    statuses: BTreeMap<Subject, Status>,
}

impl Followed {
    fn follow(&mut self, state: &State, effects: Effects) {
        for write in effects.writes {
            for cluster in write.clusters.iter() {
                match &write.action {
                    Action::Apply(object) => {
                        let place = (cluster.to_owned(), object.key.clone());
                        let before = self.objects.insert(place, Arc::clone(object));
                        assert!(before.is_none_or(|before| before != *object), "{} is written as it is", object.key);
                    }
                    Action::Delete(key) => {
                        let before = self.objects.remove(&(cluster.to_owned(), key.clone()));
                        assert!(before.is_some(), "{key} in {cluster} is deleted, and was not there");
                    }
                }
            }
        }
        for subject in effects.statuses {
            match state.status(&subject) {
                Some(status) => self.statuses.insert(subject, status),
                None => self.statuses.remove(&subject),
            };
        }
    }
}

/// Reports on the writes of a call: how far the objects of each unit got in each cluster.
fn reports(effects: &Effects, progress: &Progress) -> Vec<Change> {
    let places =
        effects.writes.iter().flat_map(|write| write.clusters.iter().map(move |cluster| (&write.unit, cluster)));
    let report = |(unit, cluster): (&Unit, &str)| Report {
        unit: unit.clone(),
        cluster: cluster.to_owned(),
        revision: effects.revision,
        progress: progress.clone(),
    };
    places.map(report).map(Change::Progress).collect()
}

/// What the last writes came to where they failed, of objects that are wanted all the time since.
type Failures = BTreeMap<(Unit, String, ObjectKey), String>;

fn is_wanted(state: &State, (unit, cluster, key): &(Unit, String, ObjectKey)) -> bool {
    state.desired(cluster).any(|(other, object)| other == unit && object.key == *key)
}

fn written((unit, cluster, key): (Unit, String, ObjectKey), error: Option<String>) -> Change {
    Change::Written(Outcome { unit, cluster, key, error })
}

/// Says of one object that is wanted, if there is one, that it could not be written, or could.
fn write_one(state: &State, at: usize, fails: bool, failures: &mut Failures) -> Option<Change> {
    let of_cluster = |cluster: &'static str| state.desired(cluster).map(move |(unit, object)| (unit, cluster, object));
    let all: Vec<_> = CLUSTERS.into_iter().flat_map(of_cluster).collect();
    let (unit, cluster, object) = all.get(at % all.len().max(1))?;
    let place = ((*unit).clone(), (*cluster).to_owned(), object.key.clone());
    let error = fails.then(|| format!("refused at {at}"));
    match &error {
        Some(error) => failures.insert(place.clone(), error.clone()),
        None => failures.remove(&place),
    };
    Some(written(place, error))
}

fn objects(state: &State) -> BTreeMap<(String, ObjectKey), Arc<Desired>> {
    let mut all = BTreeMap::new();
    for cluster in CLUSTERS {
        for (unit, object) in state.desired(cluster) {
            let twice = all.insert((cluster.to_owned(), object.key.clone()), Arc::clone(object));
            assert!(twice.is_none(), "{} in {cluster} follows twice, also from {unit:?}", object.key);
        }
    }
    all
}

fn subject(key: InputKey) -> Option<Subject> {
    Some(match key {
        InputKey::Mesh(reference) => Subject::Mesh(reference),
        InputKey::Destination(service) => Subject::Destination(service),
        InputKey::VirtualMesh(reference) => Subject::VirtualMesh(reference),
        InputKey::TrafficPolicy(reference) => Subject::TrafficPolicy(reference),
        InputKey::VirtualDestination(reference) => Subject::VirtualDestination(reference),
        InputKey::AccessPolicy(reference) => Subject::AccessPolicy(reference),
        InputKey::Cluster(_) | InputKey::Workload(_) | InputKey::Foreign(_) => return None,
    })
}

fn statuses(state: &State, universe: &Universe) -> BTreeMap<Subject, Status> {
    let subjects = universe.keys().filter_map(subject);
    subjects.filter_map(|subject| Some((subject.clone(), state.status(&subject)?))).collect()
}

/// Writes into an input what the state reports about it.
fn report(state: &State, input: &mut Input) {
    let status = subject(input.key()).and_then(|subject| state.status(&subject));
    match (input, status) {
        (Input::Mesh(object), Some(Status::Mesh(status))) => object.status = status,
        (Input::Destination(object), Some(Status::Destination(status))) => object.status = status,
        (Input::VirtualMesh(object), Some(Status::VirtualMesh(status))) => object.status = status,
        (Input::TrafficPolicy(object), Some(Status::Policy(status))) => object.status = status,
        (Input::VirtualDestination(object), Some(Status::VirtualDestination(status))) => object.status = status,
        (Input::AccessPolicy(object), Some(Status::Policy(status))) => object.status = status,
        _ => {}
    }
}

/// So few addresses that hosts want the same one, and enough for all.
fn crowded() -> Settings {
    Settings { pool: Pool::parse("241.0.0.0/28").unwrap(), ..Settings::default() }
}

/// Applies a history, some changes at a time, and compares where it ends with a fresh start.
fn check(history: &[Vec<(usize, usize)>]) {
    let mut universe = Universe::default();
    let mut state = State::new(crowded());
    let mut followed = Followed::default();
    let mut failures = Failures::new();
    let mut late = Vec::new();
    for batch in history {
        let changes: Vec<Change> = batch.iter().filter_map(|(thing, form)| universe.change(*thing, *form)).collect();
        let effects = state.apply(changes);
        // Reports come late, when the next writes are already under way. Nobody counts on a wrong one being put right.
        let done = reports(&effects, &Progress::Acknowledged);
        followed.follow(&state, effects);
        let effects = state.apply(std::mem::replace(&mut late, done));
        followed.follow(&state, effects);
        failures.retain(|place, _| is_wanted(&state, place));
        let (at, form) = batch.iter().fold((0, 0), |(at, sum), (thing, form)| ((31 * at + thing) % 1_000, sum + form));
        let outcome = write_one(&state, at, form % 3 != 0, &mut failures);
        let effects = state.apply(outcome);
        followed.follow(&state, effects);
    }
    let effects = state.apply(late);
    followed.follow(&state, effects);
    let mut fresh = State::new(crowded());
    let effects = fresh.apply(universe.with_statuses(|input| report(&state, input)));
    fresh.apply(reports(&effects, &Progress::Acknowledged));
    fresh.apply(failures.into_iter().map(|(place, error)| written(place, Some(error))));
    similar_asserts::assert_eq!(objects(&state), objects(&fresh), "objects of the history and of a fresh start");
    similar_asserts::assert_eq!(statuses(&state, &universe), statuses(&fresh, &universe), "statuses likewise");
    similar_asserts::assert_eq!(
        followed.objects,
        objects(&state),
        "objects as the writes leave them, and as they shall be"
    );
    similar_asserts::assert_eq!(followed.statuses, statuses(&state, &universe), "statuses as told, and as they are");
    valid(&state);
}

/// What is written is what Istio accepts.
fn valid(state: &State) {
    for (_, emitted) in state.emitted() {
        let object: serde_json::Value = serde_json::from_str(&emitted.object.manifest).unwrap();
        let own = object["apiVersion"].as_str().is_some_and(|version| version.contains("meshproof.dev"));
        let result = if own { mesh_types::hub::validate(&object) } else { mesh_types::validate(&object) };
        result.unwrap_or_else(|errors| panic!("{errors:?}\n{object:#}"));
        assert_eq!(mesh_types::unsupported_fields(&object), [], "{object:#}");
    }
}

fn histories() -> u32 {
    std::env::var("MESHPROOF_HUB_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(48)
}

#[test]
fn any_history_ends_where_a_fresh_start_ends() {
    let change = (0..THINGS, 0..FORMS);
    // Some come one by one, some together; the first batch is large, or hardly anything would ever be known.
    let batches = prop::collection::vec(prop::collection::vec(change.clone(), 1..4), 0..14);
    let history = (prop::collection::vec(change, 10..60), batches).prop_map(|(first, rest)| {
        let mut all = vec![first];
        all.extend(rest);
        all
    });
    let config = Config { cases: histories(), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&history, |history| {
            check(&history);
            Ok(())
        })
        .unwrap();
}

#[test]
fn everything_at_once_is_everything_one_by_one() {
    // No two policies of these forms conflict, so nothing depends on the order.
    let things: Vec<_> =
        (0..26).filter(|thing| !(14..20).contains(thing)).map(|thing| (thing, 6)).chain([(14, 1)]).collect();
    let one_by_one: Vec<_> = things.iter().map(|change| vec![*change]).collect();
    let mut universe = Universe::default();
    let mut state = State::new(Settings::default());
    for batch in &one_by_one {
        state.apply(batch.iter().filter_map(|(thing, form)| universe.change(*thing, *form)));
    }
    let mut reversed = State::new(Settings::default());
    for change in universe.with_statuses(|_| {}).into_iter().rev() {
        reversed.apply([change]);
    }
    similar_asserts::assert_eq!(objects(&state), objects(&reversed));
    assert!(objects(&state).len() > 20);
    check(&one_by_one);
}
