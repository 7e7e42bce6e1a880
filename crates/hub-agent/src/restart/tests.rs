//! Restarts in order, and none that is not needed.

use std::time::Duration;

use mesh_types::hub::certificate::RootConfigMap;

use super::*;

const BEGIN: u64 = 1_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(BEGIN + seconds)
}

fn labels(app: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), app.to_owned())])
}

struct Cluster {
    wanted: Object<WorkloadRestart>,
    certificate: IssuedCertificateStatus,
    controllers: Vec<Controller>,
    pods: Vec<Pod>,
}

impl Cluster {
    fn new() -> Self {
        let root = || Some(RootConfigMap { name: "istio-ca-root-cert".to_owned(), key: "root-cert.pem".to_owned() });
        let step = |namespace: &str, labels, after_root_in| RestartStep {
            namespace: namespace.to_owned(),
            labels,
            after_root_in,
        };
        let steps = vec![
            step("istio-system", labels("istiod"), None),
            step("istio-system", labels("gateway"), root()),
            step("", BTreeMap::new(), root()),
        ];
        let mut cluster = Self {
            wanted: Object::new("mesh1", "meshproof-hub", WorkloadRestart { steps }),
            certificate: IssuedCertificateStatus {
                state: IssueState::Issued,
                root_fingerprint: "new".to_owned(),
                trusted_roots: vec!["new".to_owned(), "old".to_owned()],
                ..IssuedCertificateStatus::default()
            },
            controllers: Vec::new(),
            pods: Vec::new(),
        };
        cluster.add("istio-system", "istiod", false);
        cluster.add("istio-system", "gateway", true);
        cluster.add("bookinfo", "reviews", true);
        cluster.add("default", "plain", false);
        cluster
    }

    fn add(&mut self, namespace: &str, name: &str, proxy: bool) {
        self.controllers.push(Controller {
            kind: WorkloadKind::Deployment,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            selector: labels(name),
            restarted_for: None,
            rollout: Rollout { observed: true, wanted: 1, updated: 1, available: 1, all: 1, stopped: None },
        });
        let pod = ProxyPod {
            namespace: namespace.to_owned(),
            name: format!("{name}-1"),
            created: at(0),
            restarted_for: None,
        };
        self.pods.push(Pod { pod, labels: labels(name), proxy });
    }

    fn decide(&mut self) -> Vec<String> {
        let decision = decide(&Inputs {
            wanted: &self.wanted,
            certificate: &self.certificate,
            installed: Some(at(10)),
            controllers: &self.controllers,
            pods: &self.pods,
        });
        self.wanted.status = decision.status;
        let patches = decision.patches;
        for patch in &patches {
            let controller = self.controllers.iter_mut().find(|one| one.name == patch.name).unwrap();
            controller.restarted_for = Some(patch.trust.clone());
            controller.rollout.observed = false;
        }
        patches.into_iter().map(|patch| patch.name).collect()
    }

    fn rolled_out(&mut self, name: &str, created: u64) {
        let controller = self.controllers.iter_mut().find(|one| one.name == name).unwrap();
        controller.rollout = Rollout { observed: true, wanted: 1, updated: 1, available: 1, all: 1, stopped: None };
        let pod = self.pods.iter_mut().find(|pod| pod.labels == labels(name)).unwrap();
        pod.pod.created = at(created);
        pod.pod.restarted_for = controller.restarted_for.clone();
    }

    fn arrived(&mut self) {
        self.certificate.trusted_since =
            Some(jiff::Timestamp::from_second((BEGIN + 20).cast_signed()).unwrap().to_string());
    }

    fn waits_for(&self) -> &str {
        &self.wanted.status.error
    }
}

#[test]
fn control_plane_then_gateways_then_workloads() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.decide(), ["istiod"]);
    assert!(cluster.decide().is_empty());
    assert!(cluster.waits_for().contains("waiting for Deployment istio-system/istiod"), "{}", cluster.waits_for());
    cluster.rolled_out("istiod", 12);
    assert!(cluster.decide().is_empty());
    assert_eq!(cluster.wanted.status.steps_done, 1);
    cluster.arrived();
    assert_eq!(cluster.decide(), ["gateway"]);
    assert!(cluster.decide().is_empty(), "workloads wait for the gateways");
    cluster.rolled_out("gateway", 22);
    assert_eq!(cluster.decide(), ["reviews"], "and what has no proxy is left alone");
    cluster.rolled_out("reviews", 24);
    assert!(cluster.decide().is_empty());
    assert_eq!(cluster.wanted.status.state, IssueState::Finished);
    assert_eq!(cluster.wanted.status.steps_done, 3);
    assert_eq!(cluster.wanted.status.root_fingerprint, "new");
    assert!(cluster.decide().is_empty());
}

#[test]
fn what_is_younger_than_the_roots_is_not_restarted() {
    let mut cluster = Cluster::new();
    cluster.arrived();
    for (name, created) in [("istiod", 11), ("gateway", 21), ("reviews", 30)] {
        cluster.rolled_out(name, created);
    }
    assert!(cluster.decide().is_empty());
    assert_eq!(cluster.wanted.status.state, IssueState::Finished);
}

#[test]
fn fewer_roots_or_the_same_need_no_restart() {
    let mut cluster = Cluster::new();
    cluster.wanted.status = WorkloadRestartStatus {
        state: IssueState::Finished,
        root_fingerprint: "new".to_owned(),
        trusted_roots: vec!["new".to_owned(), "old".to_owned()],
        steps_done: 3,
        ..WorkloadRestartStatus::default()
    };
    assert!(cluster.decide().is_empty());
    cluster.certificate.trusted_roots = vec!["new".to_owned()];
    assert!(cluster.decide().is_empty());
    assert_eq!(cluster.wanted.status.state, IssueState::Finished);
    cluster.certificate.trusted_roots = vec!["new".to_owned(), "newer".to_owned()];
    assert_eq!(cluster.decide(), ["istiod"], "more roots do");
}

#[test]
fn a_restart_is_taken_up_where_it_was_left() {
    let mut cluster = Cluster::new();
    cluster.arrived();
    cluster.decide();
    cluster.rolled_out("istiod", 12);
    assert_eq!(cluster.decide(), ["gateway"]);
    // The agent is another one now: it knows what is in the cluster, and nothing else.
    assert!(cluster.decide().is_empty(), "what was restarted is not restarted again");
    cluster.rolled_out("gateway", 22);
    assert_eq!(cluster.decide(), ["reviews"]);
}

#[test]
fn nothing_begins_before_the_authority_is_installed() {
    let mut cluster = Cluster::new();
    cluster.certificate.state = IssueState::Requested;
    assert!(cluster.decide().is_empty());
    assert_eq!(cluster.wanted.status.steps_done, 0);
}

#[test]
fn a_rollout_that_stands_still_says_why() {
    let rollout =
        Rollout { observed: true, wanted: 2, updated: 1, available: 1, all: 2, stopped: Some("it is paused") };
    assert_eq!(rollout.missing().unwrap(), "1 of 2 pods are new, 1 available (it is paused)");
    let rollout = Rollout { observed: true, wanted: 2, updated: 2, available: 2, all: 3, stopped: None };
    assert_eq!(rollout.missing().unwrap(), "1 old pods are left");
    assert_eq!(Rollout { all: 2, ..rollout }.missing(), None);
}
