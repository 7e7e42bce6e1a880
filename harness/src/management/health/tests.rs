//! A sound plane, and each thing that can be wrong with one.

use super::*;

fn program(image: &str) -> Program {
    Program { exists: true, desired: 1, ready: 1, image: image.to_owned() }
}

fn sound() -> Facts {
    let cluster = |name: &str| Registered {
        name: name.to_owned(),
        state: "ACTIVE".to_owned(),
        is_current: true,
        has_secret: true,
        has_mesh: true,
        agent: Agent::Seen(program("meshproof/hub-agent:dev")),
        ..Registered::default()
    };
    Facts {
        manager: program("meshproof/hub-manager:dev"),
        lease: Some(Leader { holder: "hub-manager-1".to_owned(), age: 2, duration: 15 }),
        clusters: vec![cluster("east"), cluster("west")],
        resources: vec![policy("ACTIVE", &[])],
    }
}

fn policy(state: &str, errors: &[&str]) -> Resource {
    Resource {
        kind: "TrafficPolicy".to_owned(),
        name: "bookinfo/reviews".to_owned(),
        generation: 2,
        observed_generation: 2,
        state: state.to_owned(),
        errors: errors.iter().map(|error| (*error).to_owned()).collect(),
        warnings: Vec::new(),
    }
}

/// What a change of a sound plane comes to: the outcome, and the first finding that is not good.
fn after(change: impl FnOnce(&mut Facts)) -> (RunOutcome, String) {
    let mut facts = sound();
    change(&mut facts);
    let findings = judge(&facts);
    let first = findings.iter().find(|finding| finding.grade != Grade::Good);
    (outcome(&findings), first.map(|finding| format!("{}: {}", finding.subject, finding.message)).unwrap_or_default())
}

#[test]
fn a_sound_plane_passes() {
    assert_eq!(after(|_| {}), (RunOutcome::Passed, String::new()));
    insta::assert_snapshot!(text(&judge(&sound())), @r"
    ok      manager: 1 of 1 ready, meshproof/hub-manager:dev
    ok      leader: hub-manager-1
    ok      cluster east: ACTIVE
    ok      agent of east: 1 of 1 ready, meshproof/hub-agent:dev
    ok      cluster west: ACTIVE
    ok      agent of west: 1 of 1 ready, meshproof/hub-agent:dev
    ok      TrafficPolicy bookinfo/reviews: ACTIVE
    7 looked at, 0 errors, 0 warnings
    ");
}

#[test]
fn a_plane_that_does_not_work_is_no_failure_of_the_mesh() {
    use RunOutcome::EnvironmentFailed;
    let first = |change: fn(&mut Facts)| {
        let (outcome, first) = after(change);
        assert_eq!(outcome, EnvironmentFailed, "{first}");
        first
    };
    assert_eq!(first(|facts| facts.manager = Program::default()), "manager: it is not installed");
    assert!(first(|facts| (facts.manager.desired, facts.manager.ready) = (0, 0)).contains("scaled to nothing"));
    assert!(first(|facts| facts.manager.ready = 0).starts_with("manager: 0 of 1 ready"));
    assert_eq!(first(|facts| facts.lease = None), "leader: nobody has led yet");
    let late = Leader { holder: "old".to_owned(), age: 60, duration: 15 };
    let late = move |facts: &mut Facts| facts.lease = Some(late.clone());
    assert_eq!(after(late).1, "leader: old leads no more: renewed 60 s ago, it holds for 15 s");
    let unreachable = |facts: &mut Facts| {
        facts.clusters[1].state = "FAILED".to_owned();
        facts.clusters[1].errors = vec!["connection refused".to_owned()];
    };
    assert_eq!(first(unreachable), "cluster west: FAILED: connection refused");
    assert_eq!(
        first(|facts| facts.clusters[0].has_secret = false),
        "cluster east: the Secret with its kubeconfig is gone"
    );
    assert!(first(|facts| facts.clusters[0].is_current = false).contains("earlier generation"));
    let gone = |facts: &mut Facts| facts.clusters[0].agent = Agent::Seen(Program::default());
    assert_eq!(first(gone), "agent of east: it is not there");
    assert_eq!(first(|facts| facts.clusters[0].agent = Agent::Found(false)), "agent of east: none was found");
}

#[test]
fn a_resource_that_is_not_in_force_is_one_of_the_mesh() {
    let with = |policy: Resource| after(|facts| facts.resources = vec![policy]);
    let (outcome, first) = with(policy("INVALID", &["weights sum to 90"]));
    assert_eq!(
        (outcome, first.as_str()),
        (RunOutcome::MeshFailed, "TrafficPolicy bookinfo/reviews: INVALID: weights sum to 90")
    );
    assert_eq!(with(policy("FAILED", &[])).0, RunOutcome::MeshFailed);
    assert_eq!(with(policy("ACCEPTED", &[])).0, RunOutcome::MeshFailed);
    assert_eq!(with(policy("", &[])).1, "TrafficPolicy bookinfo/reviews: -");
    let (outcome, first) = with(Resource { observed_generation: 1, ..policy("ACTIVE", &[]) });
    assert_eq!(outcome, RunOutcome::MeshFailed);
    assert_eq!(first, "TrafficPolicy bookinfo/reviews: its status is about generation 1, it has 2");
    let warned = Resource { warnings: vec!["no destination is selected".to_owned()], ..policy("ACTIVE", &[]) };
    assert_eq!(with(warned).0, RunOutcome::Passed);
}

#[test]
fn whatever_is_wrong_says_what_to_do() {
    let mut facts = sound();
    facts.clusters[0].has_secret = false;
    facts.lease = Some(Leader::default());
    facts.resources = vec![policy("INVALID", &[]), policy("FAILED", &[]), policy("PENDING", &[])];
    for finding in judge(&facts).iter().filter(|finding| finding.grade > Grade::Warning) {
        assert!(!finding.cure.is_empty(), "{finding:?}");
    }
    assert!(text(&judge(&facts)).contains("do: correct it; `meshproof mesh describe traffic-policy bookinfo/reviews`"));
}

#[test]
fn different_versions_are_worth_a_look() {
    let (outcome, first) = after(|facts| facts.clusters[0].agent = Agent::Seen(program("meshproof/hub-agent:old")));
    assert_eq!(outcome, RunOutcome::Passed);
    assert!(first.contains("while the manager is meshproof/hub-manager:dev"), "{first}");
}
