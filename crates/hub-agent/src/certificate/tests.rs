//! Decisions about certificates that are really signed.

use std::time::{Duration, SystemTime};

use mesh_certificates::{Authority, Terms, request};
use mesh_types::hub::certificate::{CertificateRequestStatus, IssueState};
use mesh_types::hub::{Object, ObjectRef};

use super::*;

const ID: &str = "spiffe://cluster.local/ns/istio-system/sa/istiod";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A cluster, on which decisions are carried out.
struct Cluster {
    wanted: Object<IssuedCertificate>,
    pending: Option<PendingKey>,
    request: Option<Object<CertificateRequest>>,
    authority: Option<AuthoritySecret>,
    published: Published,
    pods: Vec<ProxyPod>,
    now: SystemTime,
}

fn terms(days: u32, now: SystemTime) -> Terms {
    Terms { organisation: "Istio".to_owned(), life: DAY * days, now }
}

fn root() -> Authority {
    Authority::generate(&terms(3650, SystemTime::now())).unwrap()
}

impl Cluster {
    fn new() -> Self {
        let spec = IssuedCertificate {
            hosts: vec![ID.to_owned()],
            org_name: "Istio".to_owned(),
            ttl_days: 100,
            secret_rotation_grace_period_ratio: 0.1,
            issued_certificate_secret: ObjectRef::new("cacerts", "istio-system"),
            ..IssuedCertificate::default()
        };
        let mut wanted = Object::new("mesh1", "meshproof-hub", spec);
        wanted.metadata.generation = Some(1);
        Self {
            wanted,
            pending: None,
            request: None,
            authority: None,
            published: Published::new(),
            pods: Vec::new(),
            now: SystemTime::now(),
        }
    }

    fn decide(&self) -> Decision {
        decide(&Inputs {
            wanted: &self.wanted,
            pending: self.pending.as_ref(),
            request: self.request.as_ref(),
            authority: self.authority.as_ref(),
            published_here: None,
            published: &self.published,
            pods: &self.pods,
            now: self.now,
        })
    }

    /// Carries out one decision, as the API server would keep it.
    fn step(&mut self) -> Step {
        let decision = self.decide();
        self.wanted.status = decision.status;
        match decision.step.clone() {
            Step::Wait => {}
            Step::MakeKey => {
                let made = request::make(&self.wanted.spec.hosts, "Istio").unwrap();
                let options = digest(&self.wanted.spec);
                self.pending = Some(PendingKey { key: made.key_pem, request: made.csr_pem, options });
            }
            Step::Ask(csr) => {
                let generation = self.request.as_ref().map_or(1, |asked| asked.metadata.generation.unwrap() + 1);
                let mut asked =
                    Object::new("mesh1", "meshproof-hub", CertificateRequest { certificate_signing_request: csr });
                asked.metadata.generation = Some(generation);
                asked.status = self.request.take().map(|asked| asked.status).unwrap_or_default();
                self.request = Some(asked);
            }
            Step::Install(installation) => {
                self.authority = Some(AuthoritySecret {
                    ours: true,
                    adopt: false,
                    options: installation.options,
                    previous: installation.previous,
                    files: installation.files,
                    resource_version: "1".to_owned(),
                    secret_type: installation.secret_type,
                });
            }
            Step::DropKey => self.pending = None,
        }
        decision.step
    }

    /// Carries on until there is nothing to do.
    fn settle(&mut self) -> IssueState {
        for _ in 0..20 {
            if self.step() == Step::Wait {
                return self.wanted.status.state;
            }
        }
        panic!("it goes on for ever: {:?}", self.wanted.status);
    }

    /// The plane answers.
    fn sign(&mut self, authority: &Authority, trusted: &[&Authority]) {
        let now = self.now;
        let asked = self.request.as_mut().unwrap();
        let requested = request::check(&asked.spec.certificate_signing_request, &self.wanted.spec.hosts).unwrap();
        asked.status = CertificateRequestStatus {
            observed_generation: asked.metadata.generation.unwrap(),
            state: IssueState::Finished,
            error: String::new(),
            signed_certificate: authority.sign(&requested, &terms(self.wanted.spec.ttl_days, now)).unwrap(),
            signing_root_ca: trusted.iter().map(|root| root.root_pem()).collect(),
        };
    }

    /// Istio hands out what it is given.
    fn publish(&mut self) {
        let roots = pem::certificates(&self.authority.as_ref().unwrap().files.roots).unwrap();
        let roots: Vec<String> = roots.iter().map(pem::fingerprint).collect();
        self.published = self.pods.iter().map(|pod| (pod.namespace.clone(), roots.clone())).collect();
    }

    fn pod(&mut self, name: &str, created: SystemTime) {
        let namespace = "bookinfo".to_owned();
        self.pods.push(ProxyPod { namespace, name: name.to_owned(), created, restarted_for: None });
    }

    fn trusted(&self) -> Vec<String> {
        let roots = pem::certificates(&self.authority.as_ref().unwrap().files.roots).unwrap();
        roots.iter().map(pem::fingerprint).collect()
    }
}

#[test]
fn from_nothing_to_an_authority_that_signs() {
    let (mut cluster, root) = (Cluster::new(), root());
    assert_eq!(cluster.settle(), IssueState::Requested);
    assert!(cluster.authority.is_none());
    cluster.sign(&root, &[&root]);
    assert_eq!(cluster.settle(), IssueState::Finished);
    let secret = cluster.authority.as_ref().unwrap();
    assert!(cluster.pending.is_none(), "the key is in one place only");
    assert_eq!(secret.files.roots, root.root_pem());
    assert!(secret.files.chain.ends_with(&root.root_pem()));
    assert_eq!(cluster.wanted.status.root_fingerprint, root.root_fingerprint());
    assert!(cluster.wanted.status.not_after.is_some());
}

#[test]
fn a_foreign_authority_is_never_touched_and_an_adopted_one_is_replaced() {
    let (mut cluster, root) = (Cluster::new(), root());
    let foreign = AuthoritySecret { secret_type: "Opaque".to_owned(), ..AuthoritySecret::default() };
    cluster.authority = Some(foreign.clone());
    assert_eq!(cluster.settle(), IssueState::Failed);
    let error = &cluster.wanted.status.error;
    assert!(error.contains("istio-system/cacerts") && error.contains("certificates.meshproof.dev/adopt"), "{error}");
    assert!(cluster.pending.is_none(), "not even a key is made");
    assert_eq!(cluster.authority, Some(foreign.clone()));
    let old = self::root();
    let files = Files { roots: old.root_pem(), ..Files::default() };
    cluster.authority = Some(AuthoritySecret { adopt: true, files, ..foreign });
    cluster.pod("reviews", cluster.now - DAY);
    cluster.settle();
    cluster.sign(&root, &[&root]);
    assert_eq!(cluster.settle(), IssueState::Issued);
    assert_eq!(cluster.authority.as_ref().unwrap().secret_type, "Opaque");
    assert_eq!(cluster.trusted(), [root.root_fingerprint(), old.root_fingerprint()], "what runs is trusted meanwhile");
}

#[test]
fn what_is_deleted_is_issued_again() {
    let (mut cluster, root) = (Cluster::new(), root());
    cluster.settle();
    cluster.sign(&root, &[&root]);
    assert_eq!(cluster.settle(), IssueState::Finished);
    let before = cluster.authority.take().unwrap();
    cluster.settle();
    cluster.sign(&root, &[&root]);
    assert_eq!(cluster.settle(), IssueState::Finished);
    assert_ne!(cluster.authority.unwrap().files.key, before.files.key);
}

#[test]
fn it_is_renewed_ahead_of_its_end_and_in_force_meanwhile() {
    let (mut cluster, root) = (Cluster::new(), root());
    cluster.settle();
    cluster.sign(&root, &[&root]);
    cluster.settle();
    let before = cluster.authority.clone().unwrap();
    let again = cluster.decide().again.unwrap();
    let days = again.duration_since(cluster.now).unwrap().as_secs() / DAY.as_secs();
    assert_eq!(days, 89, "a tenth of a hundred days is left");
    cluster.now = again - Duration::from_secs(1);
    assert_eq!(cluster.decide().step, Step::Wait);
    cluster.now = again;
    assert_eq!(cluster.settle(), IssueState::Requested);
    assert_eq!(cluster.authority.as_ref(), Some(&before));
    assert_eq!(cluster.wanted.status.root_fingerprint, root.root_fingerprint());
    cluster.pod("reviews", cluster.now - DAY);
    cluster.publish();
    cluster.sign(&root, &[&root]);
    assert_eq!(cluster.settle(), IssueState::Finished, "the root is the same: nobody is restarted");
    assert_ne!(cluster.authority.unwrap().files.key, before.files.key);
}

#[test]
fn changed_options_make_another() {
    let (mut cluster, root) = (Cluster::new(), root());
    cluster.settle();
    cluster.sign(&root, &[&root]);
    cluster.settle();
    let before = cluster.authority.clone().unwrap();
    cluster.wanted.spec.secret_rotation_grace_period_ratio = 0.2;
    assert_eq!(cluster.decide().step, Step::Wait, "the moment of renewal makes no other certificate");
    cluster.wanted.spec.ttl_days = 50;
    assert_eq!(cluster.settle(), IssueState::Requested);
    cluster.sign(&root, &[&root]);
    cluster.settle();
    assert_ne!(cluster.authority.unwrap().options, before.options);
}

#[test]
fn what_is_signed_wrongly_is_not_installed() {
    let (mut cluster, root) = (Cluster::new(), root());
    cluster.settle();
    cluster.sign(&root, &[&self::root()]);
    assert_eq!(cluster.settle(), IssueState::Failed);
    assert!(cluster.wanted.status.error.contains("none of the roots"), "{}", cluster.wanted.status.error);
    assert!(cluster.authority.is_none());
    let asked = cluster.request.as_mut().unwrap();
    asked.status.state = IssueState::Failed;
    asked.status.error = "the Secret of the root is missing".to_owned();
    assert_eq!(cluster.settle(), IssueState::Failed);
    assert_eq!(cluster.wanted.status.error, "the Secret of the root is missing");
    cluster.sign(&root, &[&root]);
    assert_eq!(cluster.settle(), IssueState::Finished, "it goes on once it is mended");
}

#[test]
fn an_answer_to_an_earlier_request_counts_for_nothing() {
    let (mut cluster, root) = (Cluster::new(), root());
    cluster.settle();
    cluster.sign(&root, &[&root]);
    cluster.request.as_mut().unwrap().metadata.generation = Some(2);
    assert_eq!(cluster.settle(), IssueState::Requested);
}

#[test]
fn roots_of_before_are_trusted_until_everything_was_restarted() {
    let (mut cluster, root, old) = (Cluster::new(), root(), self::root());
    cluster.pod("reviews", cluster.now - DAY);
    // What Istio made itself, and handed out before.
    let own = old.root_pem();
    let decide_with = |cluster: &Cluster| {
        decide(&Inputs {
            wanted: &cluster.wanted,
            pending: cluster.pending.as_ref(),
            request: cluster.request.as_ref(),
            authority: cluster.authority.as_ref(),
            published_here: Some(&own),
            published: &cluster.published,
            pods: &cluster.pods,
            now: cluster.now,
        })
    };
    cluster.settle();
    cluster.sign(&root, &[&root]);
    let Step::Install(installation) = decide_with(&cluster).step else { panic!("it is to be installed") };
    assert_eq!(installation.previous, [old.root_fingerprint()]);
    cluster.authority = Some(AuthoritySecret {
        ours: true,
        options: installation.options,
        previous: installation.previous,
        files: installation.files,
        ..AuthoritySecret::default()
    });
    assert_eq!(cluster.settle(), IssueState::Issued);
    assert!(cluster.wanted.status.error.contains("not arrived yet in the namespaces bookinfo"));
    cluster.publish();
    assert_eq!(cluster.settle(), IssueState::Issued);
    assert!(cluster.wanted.status.error.contains("1 pods are older"), "{}", cluster.wanted.status.error);
    assert_eq!(cluster.trusted().len(), 2);
    cluster.pods[0].created = cluster.now + Duration::from_secs(5);
    assert_eq!(cluster.settle(), IssueState::Finished);
    assert_eq!(cluster.trusted(), [root.root_fingerprint()]);
    cluster.publish();
    assert_eq!(cluster.settle(), IssueState::Finished);
}

/// Root rotation, from the side of one cluster: each of the plane's three answers.
#[test]
fn a_root_changes_with_overlap() {
    let (mut cluster, old, new) = (Cluster::new(), root(), self::root());
    cluster.pod("reviews", cluster.now - DAY);
    cluster.settle();
    cluster.sign(&old, &[&old]);
    cluster.settle();
    cluster.publish();
    cluster.settle();
    cluster.pods[0].created = cluster.now + Duration::from_secs(5);
    assert_eq!(cluster.settle(), IssueState::Finished);
    let key = cluster.authority.as_ref().unwrap().files.key.clone();
    for (signer, trusted, wanted, restarts) in [
        (&old, [&old, &new].as_slice(), vec![&old, &new], true),
        (&new, [&old, &new].as_slice(), vec![&new, &old], true),
        (&new, [&new].as_slice(), vec![&new], false),
    ] {
        cluster.now += Duration::from_secs(60);
        cluster.sign(signer, trusted);
        let state = cluster.settle();
        let wanted: Vec<String> = wanted.into_iter().map(Authority::root_fingerprint).collect();
        assert_eq!(cluster.trusted(), wanted);
        assert_eq!(cluster.wanted.status.trusted_roots, wanted);
        if restarts {
            assert_eq!(state, IssueState::Issued, "pods have to be restarted");
            cluster.publish();
            cluster.settle();
            cluster.pods[0].created = cluster.now + Duration::from_secs(5);
            cluster.settle();
        }
        assert_eq!(cluster.wanted.status.state, IssueState::Finished);
        cluster.publish();
    }
    assert_eq!(cluster.authority.unwrap().files.key, key, "the same key was signed anew");
}
