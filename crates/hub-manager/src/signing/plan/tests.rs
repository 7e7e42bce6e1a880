//! Signing, and the property that a change of the root keeps: at no moment two pods do not trust each other.

use std::collections::BTreeSet;

use mesh_certificates::chain::{self, Wanted};
use proptest::prelude::*;

use super::*;

fn id(cluster: &str) -> String {
    format!("spiffe://{cluster}.example/ns/istio-system/sa/istiod")
}

fn generated(rotation: &str) -> Source<'_> {
    Source::Generated { options: CertificateOptions::default(), rotation }
}

/// A cluster with its agent and its pods. Each pod runs with what its cluster had when it was started: the root that its
/// certificate leads to, and the roots that it trusts.
#[derive(Clone)]
struct Cluster {
    member: Member,
    key: String,
    installed: Option<(String, BTreeSet<String>)>,
    pods: Vec<(String, BTreeSet<String>)>,
}

impl Cluster {
    fn new(name: &str) -> Self {
        let made = request::make(&[id(name)], "Istio").unwrap();
        let mut asked = Object::new(name, "hub", CertificateRequest { certificate_signing_request: made.csr_pem });
        asked.metadata.generation = Some(1);
        let wanted = IssuedCertificate {
            hosts: vec![id(name)],
            org_name: "Istio".to_owned(),
            ttl_days: 30,
            ..IssuedCertificate::default()
        };
        let member = Member {
            cluster: name.to_owned(),
            wanted,
            request: Some(asked),
            certificate: Some(IssuedCertificateStatus::default()),
        };
        Self { member, key: made.key_pem, installed: None, pods: Vec::new() }
    }

    fn answer(&self) -> Option<(String, BTreeSet<String>)> {
        let status = &self.member.request.as_ref().unwrap().status;
        if status.state != IssueState::Finished {
            return None;
        }
        let wanted = Wanted { hosts: &self.member.wanted.hosts, key_pem: &self.key, now: SystemTime::now() };
        let checked = chain::check(&wanted, &status.signed_certificate, &status.signing_root_ca).unwrap();
        Some((checked.root_fingerprint(), checked.trusted().into_iter().collect()))
    }

    /// The agent installs what was signed.
    fn install(&mut self) {
        self.installed = self.answer().or(self.installed.take());
        if self.pods.is_empty()
            && let Some(installed) = &self.installed
        {
            self.pods = vec![installed.clone(), installed.clone()];
        }
    }

    fn restart(&mut self, pod: usize) {
        if let Some(installed) = &self.installed
            && let Some(pod) = self.pods.get_mut(pod)
        {
            *pod = installed.clone();
        }
    }

    /// The agent tells how things are, which may be late.
    fn report(&mut self) {
        let Some((root, trusted)) = &self.installed else { return };
        let done = self.pods.iter().all(|(leaf, trusts)| leaf == root && trusts.is_superset(trusted));
        self.member.certificate = Some(IssuedCertificateStatus {
            state: if done { IssueState::Finished } else { IssueState::Issued },
            root_fingerprint: root.clone(),
            trusted_roots: trusted.iter().cloned().collect(),
            ..IssuedCertificateStatus::default()
        });
    }
}

struct World {
    clusters: Vec<Cluster>,
    stored: Option<Stored>,
    rotation: String,
}

impl World {
    fn new(clusters: usize) -> Self {
        let clusters = (0..clusters).map(|number| Cluster::new(&format!("cluster{number}"))).collect();
        Self { clusters, stored: None, rotation: String::new() }
    }

    fn decide(&self) -> Decision {
        let members: Vec<Member> = self.clusters.iter().map(|cluster| cluster.member.clone()).collect();
        decide(&Inputs {
            source: generated(&self.rotation),
            stored: self.stored.as_ref(),
            members: &members,
            now: SystemTime::now(),
        })
    }

    /// The manager looks once; `lost` says that it ended between remembering and answering.
    fn look(&mut self) -> Decision {
        let decision = self.decide();
        if let Some(stored) = &decision.store {
            self.stored = Some(stored.clone());
        }
        for (place, status) in &decision.answers {
            self.clusters[*place].member.request.as_mut().unwrap().status = status.clone();
        }
        decision
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            self.look();
            for cluster in &mut self.clusters {
                cluster.install();
                (0..cluster.pods.len()).for_each(|pod| cluster.restart(pod));
                cluster.report();
            }
        }
    }

    /// Two pods of which one does not trust the other.
    fn strangers(&self) -> Option<(String, String)> {
        let pods =
            || self.clusters.iter().flat_map(|cluster| cluster.pods.iter().map(|pod| (&cluster.member.cluster, pod)));
        pods().find_map(|(client, (leaf, _))| {
            let server = pods().find(|(_, (_, trusts))| !trusts.contains(leaf))?.0;
            Some((client.clone(), server.clone()))
        })
    }

    fn roots(&self) -> BTreeSet<String> {
        self.clusters.iter().flat_map(|cluster| cluster.pods.iter().map(|pod| pod.0.clone())).collect()
    }
}

#[test]
fn nothing_is_signed_before_the_root_is_remembered() {
    let mut world = World::new(2);
    let first = world.look();
    assert!(first.store.is_some() && first.answers.is_empty());
    let second = world.look();
    assert_eq!(second.answers.len(), 2);
    assert!(second.again.unwrap() > SystemTime::now() + DAY * 200);
    assert!(world.look().answers.is_empty(), "an answer that is right is left as it is");
}

#[test]
fn a_request_for_another_name_fails() {
    let mut world = World::new(1);
    world.clusters[0].member.wanted.hosts = vec![id("somebody")];
    world.look();
    world.look();
    let status = &world.clusters[0].member.request.as_ref().unwrap().status;
    assert_eq!(status.state, IssueState::Failed);
    assert!(status.error.contains("may only be spiffe://somebody.example"), "{}", status.error);
    assert!(status.signed_certificate.is_empty());
}

#[test]
fn a_root_changes_in_three_phases_and_waits_for_everybody() {
    let mut world = World::new(2);
    world.settle();
    let old = world.roots();
    world.rotation = "2026".to_owned();
    assert!(matches!(world.look().store.unwrap().phase, Phase::Introduce(_)));
    world.look();
    for cluster in &mut world.clusters {
        cluster.install();
    }
    world.clusters[0].restart(0);
    world.clusters[0].restart(1);
    world.clusters[0].report();
    world.clusters[1].report();
    assert!(world.look().waiting.unwrap().contains("cluster1"));
    assert_eq!(world.roots(), old, "nobody signs under the new one yet");
    world.clusters[1].member.certificate = None;
    assert!(world.look().waiting.unwrap().contains("cannot be seen"));
    world.settle();
    assert_eq!(world.stored.as_ref().unwrap().phase, Phase::Steady);
    assert_eq!(world.stored.as_ref().unwrap().rotation, "2026");
    let new = world.roots();
    assert_eq!(new.len(), 1);
    assert!(new.is_disjoint(&old));
    assert!(world.clusters.iter().all(|cluster| cluster.pods.iter().all(|pod| pod.1 == new)), "the old one is dropped");
}

#[test]
fn a_root_is_renewed_ahead_of_its_end() {
    let mut world = World::new(1);
    world.settle();
    let again = world.decide().again.unwrap();
    let members = [world.clusters[0].member.clone()];
    let at = |now| {
        let inputs = Inputs { source: generated(""), stored: world.stored.as_ref(), members: &members, now };
        decide(&inputs).store.map(|stored| stored.phase)
    };
    assert_eq!(at(again - Duration::from_secs(1)), None);
    assert!(matches!(at(again), Some(Phase::Introduce(_))));
}

#[test]
fn one_that_is_brought_in_is_used_and_its_key_is_not_copied() {
    let terms = Terms { organisation: "somebody".to_owned(), life: DAY, now: SystemTime::now() };
    let own = Held::of(&Authority::generate(&terms).unwrap());
    let cluster = Cluster::new("cluster1");
    let members = [cluster.member.clone()];
    let decide_with = |held: Result<Held, String>, stored: Option<&Stored>| {
        decide(&Inputs { source: Source::BroughtIn(held), stored, members: &members, now: SystemTime::now() })
    };
    let missing = decide_with(Err("Secret hub/root is missing".to_owned()), None);
    assert_eq!(missing.answers[0].1.state, IssueState::Pending);
    assert_eq!(missing.answers[0].1.error, "Secret hub/root is missing");
    let stored = decide_with(Ok(own.clone()), None).store.unwrap();
    assert_eq!(stored.current.key, None);
    let answered = decide_with(Ok(own.clone()), Some(&stored)).answers.remove(0).1;
    assert_eq!(answered.state, IssueState::Finished);
    assert_eq!(answered.signing_root_ca, own.root);
    let other = Held::of(&Authority::generate(&terms).unwrap());
    let changed = decide_with(Ok(other.clone()), Some(&stored)).store.unwrap();
    assert_eq!(changed.phase, Phase::Introduce(other.public()));
    assert_eq!(changed.current, stored.current);
}

/// What the property would not hold for: the same members, when the new root is switched to at once.
#[test]
fn without_overlap_members_become_strangers() {
    let mut world = World::new(2);
    world.settle();
    assert_eq!(world.strangers(), None);
    world.stored = None;
    world.look();
    world.look();
    world.clusters[0].install();
    world.clusters[0].restart(0);
    assert!(world.strangers().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, with reports that are late and a manager that starts anew at any time.
    #[test]
    fn members_trust_each_other_at_every_moment(events in prop::collection::vec((0..7_u8, 0..3_usize, 0..2_usize), 1..80)) {
        let mut world = World::new(3);
        world.settle();
        for (number, (event, cluster, pod)) in events.into_iter().enumerate() {
            match event {
                0 | 1 => drop(world.look()),
                2 => world.clusters[cluster].install(),
                3 | 4 => world.clusters[cluster].restart(pod),
                5 => world.clusters[cluster].report(),
                _ => world.rotation = number.to_string(),
            }
            prop_assert_eq!(world.strangers(), None);
        }
        world.settle();
        world.settle();
        prop_assert_eq!(world.strangers(), None);
        prop_assert_eq!(world.roots().len(), 1);
        prop_assert_eq!(&world.stored.as_ref().unwrap().rotation, &world.rotation);
    }
}
