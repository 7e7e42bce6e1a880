//! What is signed is judged by openssl and by the check that the clusters make.

use std::process::Command;

use requirements::{Capability, require};

use super::*;
use crate::chain::{ChainError, Wanted, check};
use crate::request;

const ID: &str = "spiffe://cluster.local/ns/istio-system/sa/istiod";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn terms(days: u32) -> Terms {
    Terms { organisation: "Istio".to_owned(), life: DAY * days, now: SystemTime::now() }
}

fn hosts() -> Vec<String> {
    vec![ID.to_owned()]
}

fn request() -> (String, Requested) {
    let made = request::make(&hosts(), "Istio").unwrap();
    let requested = request::check(&made.csr_pem, &hosts()).unwrap();
    (made.key_pem, requested)
}

/// An intermediate of a root, as somebody brings it in.
fn brought_in(root: &Authority, constraint: BasicConstraints, life: Duration) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "brought in");
    parameters.is_ca = IsCa::Ca(constraint);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters.use_authority_key_identifier_extension = true;
    set_validity(&mut parameters, SystemTime::now() - CLOCK_SKEW, SystemTime::now() + life);
    let issuer = Issuer::from_ca_cert_der(&root.path[0], root.key.as_ref().unwrap()).unwrap();
    (parameters.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
}

fn openssl_verifies(signed: &str, root: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificates = pem::certificates(signed).unwrap();
    let own = write("own.pem", &pem::to_pem(&certificates[..1]));
    let between = write("between.pem", &pem::to_pem(&certificates[1..]));
    let root = write("root.pem", root);
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-CAfile"])
        .arg(root)
        .arg("-untrusted")
        .arg(between)
        .arg(own)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn openssl_verifies_what_a_generated_root_signs() {
    require!(Capability::Openssl);
    let (root, other) = (Authority::generate(&terms(365)).unwrap(), Authority::generate(&terms(365)).unwrap());
    let signed = root.sign(&request().1, &terms(90)).unwrap();
    let (verified, words) = openssl_verifies(&signed, &root.root_pem());
    assert!(verified, "{words}");
    assert!(!openssl_verifies(&signed, &other.root_pem()).0);
}

#[test]
fn an_intermediate_signs_up_to_its_own_end_and_is_verified() {
    require!(Capability::Openssl);
    let root = Authority::generate(&terms(365)).unwrap();
    let (certificate, key) = brought_in(&root, BasicConstraints::Constrained(1), DAY * 10);
    let authority = Authority::load(&certificate, Some(&key), Some(&root.root_pem())).unwrap();
    assert_eq!(authority.root_fingerprint(), root.root_fingerprint());
    let (key, requested) = request();
    let signed = authority.sign(&requested, &terms(90)).unwrap();
    let (verified, words) = openssl_verifies(&signed, &root.root_pem());
    assert!(verified, "{words}");
    let wanted = Wanted { hosts: &hosts(), key_pem: &key, now: SystemTime::now() };
    let installed = check(&wanted, &signed, &root.root_pem()).unwrap();
    assert_eq!(installed.path.len(), 3, "the mesh's, the one that was brought in, the root");
    assert!(installed.not_after <= SystemTime::now() + DAY * 10);
    assert!(installed.not_after > SystemTime::now() + DAY * 9);
}

#[test]
fn an_authority_that_may_not_sign_authorities_is_refused() {
    let root = Authority::generate(&terms(365)).unwrap();
    let (certificate, key) = brought_in(&root, BasicConstraints::Constrained(0), DAY);
    let refused = Authority::load(&certificate, Some(&key), Some(&root.root_pem())).unwrap_err();
    assert_eq!(refused, AuthorityError::PathLength("tls.crt"));
    let (certificate, key) = brought_in(&root, BasicConstraints::Unconstrained, DAY);
    assert_eq!(Authority::load(&certificate, Some(&key), None).unwrap_err(), AuthorityError::NoRoot);
    let other = Authority::generate(&terms(1)).unwrap();
    let refused = Authority::load(&certificate, other.key_pem().as_deref(), Some(&root.root_pem())).unwrap_err();
    assert_eq!(refused, AuthorityError::OtherKey);
    let leaf = rcgen::generate_simple_self_signed(vec!["test".to_owned()]).unwrap();
    let refused = Authority::load(&leaf.cert.pem(), Some(&leaf.signing_key.serialize_pem()), None).unwrap_err();
    assert_eq!(refused, AuthorityError::NoAuthority);
}

#[test]
fn an_authority_without_its_key_or_time_does_not_sign() {
    let root = Authority::generate(&terms(365)).unwrap();
    let known = Authority::load(&root.chain_pem(), None, None).unwrap();
    assert_eq!(known.sign(&request().1, &terms(1)).unwrap_err(), AuthorityError::NoKey);
    let late = Terms { now: SystemTime::now() + DAY * 366, ..terms(1) };
    assert_eq!(root.sign(&request().1, &late).unwrap_err(), AuthorityError::Expired);
}

#[test]
fn what_is_not_right_is_not_installed() {
    let root = Authority::generate(&terms(365)).unwrap();
    let (key, requested) = request();
    let signed = root.sign(&requested, &terms(90)).unwrap();
    let now = SystemTime::now();
    let wanted = Wanted { hosts: &hosts(), key_pem: &key, now };
    let installed = check(&wanted, &signed, &root.root_pem()).unwrap();
    assert_eq!(installed.trusted(), [root.root_fingerprint()]);
    let other = Authority::generate(&terms(365)).unwrap();
    assert_eq!(check(&wanted, &signed, &other.root_pem()), Err(ChainError::NoPath));
    assert_eq!(check(&wanted, "", &root.root_pem()), Err(ChainError::NoPath));
    let (other_key, _) = request();
    assert_eq!(
        check(&Wanted { key_pem: &other_key, ..wanted.clone() }, &signed, &root.root_pem()),
        Err(ChainError::OtherKey)
    );
    let late = Wanted { now: now + DAY * 91, ..wanted.clone() };
    assert!(matches!(check(&late, &signed, &root.root_pem()), Err(ChainError::NotValid { place: 1, .. })));
    let somebody = ["spiffe://cluster.local/ns/a/sa/b".to_owned()];
    let refused = check(&Wanted { hosts: &somebody, ..wanted }, &signed, &root.root_pem()).unwrap_err();
    assert!(refused.to_string().contains("expected spiffe://cluster.local/ns/a/sa/b"), "{refused}");
}

#[test]
fn while_a_root_changes_both_are_trusted_and_the_own_comes_first() {
    let (old, new) = (Authority::generate(&terms(365)).unwrap(), Authority::generate(&terms(365)).unwrap());
    let (key, requested) = request();
    let signed = new.sign(&requested, &terms(90)).unwrap();
    let wanted = Wanted { hosts: &hosts(), key_pem: &key, now: SystemTime::now() };
    let installed = check(&wanted, &signed, &format!("{}{}", old.root_pem(), new.root_pem())).unwrap();
    assert_eq!(installed.root_fingerprint(), new.root_fingerprint());
    assert_eq!(pem::fingerprint(&installed.roots[0]), new.root_fingerprint());
    assert_eq!(installed.trusted().len(), 2);
}
