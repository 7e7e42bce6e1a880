//! Signing is judged by an independent reader, openssl, and by this crate's own verification.

use std::process::Command;

use requirements::{Capability, require};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::*;
use crate::ca::keys::{KeyFiles, KeysError};

const ID: &str = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn authority() -> SigningKeys {
    SigningKeys::load(SigningKeys::self_signed("cluster.local", now()).unwrap()).unwrap()
}

fn csr() -> String {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = vec![SanType::URI("spiffe://cluster.local/ns/evil/sa/admin".try_into().unwrap())];
    parameters.serialize_request(&key).unwrap().pem().unwrap()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn the_identity_is_the_callers_and_not_the_requests() {
    let chain = workload(&authority(), &csr(), ID, None, now()).unwrap();
    assert_eq!(chain.len(), 2, "leaf and root");
    let leaf = der(&chain[0]);
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    assert!(leaf.subject().iter().next().is_none());
    let name = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(name.critical);
    assert_eq!(name.value.general_names, [GeneralName::URI(ID)]);
    assert!(!leaf.is_ca());
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth);
    assert!(leaf.key_usage().unwrap().unwrap().value.digital_signature());
    assert!(
        leaf.extensions().iter().any(|e| matches!(e.parsed_extension(), ParsedExtension::AuthorityKeyIdentifier(_)))
    );
    assert_eq!(leaf.validity().not_before.timestamp(), 1_800_000_000 - 120);
    assert_eq!(leaf.validity().not_after.timestamp(), 1_800_000_000 + 86_400);
}

#[test]
fn lifetimes_are_bounded() {
    let keys = authority();
    let ask = |lifetime| workload(&keys, &csr(), ID, Some(lifetime), now());
    assert!(ask(MAXIMUM_LIFETIME).is_ok());
    assert!(matches!(ask(MAXIMUM_LIFETIME + Duration::from_secs(1)), Err(SignError::Lifetime { .. })));
    let late = now() + Duration::from_secs(3650 * 24 * 3600 - 60);
    let chain = workload(&keys, &csr(), ID, None, late).unwrap();
    let leaf = der(&chain[0]);
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    assert_eq!(
        leaf.validity().not_after.timestamp(),
        1_800_000_000 + 3650 * 24 * 3600,
        "not longer than the authority"
    );
    assert!(matches!(workload(&keys, &csr(), ID, None, late + Duration::from_secs(61)), Err(SignError::Authority(_))));
}

#[test]
fn broken_requests_are_refused() {
    let keys = authority();
    let certificate = SigningKeys::self_signed("x", now()).unwrap().ca_cert;
    for bad in ["", "hello", certificate.as_str()] {
        assert!(matches!(workload(&keys, bad, ID, None, now()), Err(SignError::Request(_))), "{bad}");
    }
    let good = csr();
    let position = good.len() / 2;
    let other = if good.as_bytes()[position] == b'A' { "B" } else { "A" };
    let mut forged = good.clone();
    forged.replace_range(position..=position, other);
    assert!(workload(&keys, &forged, ID, None, now()).is_err(), "the proof of possession is checked");
}

#[test]
fn an_incomplete_secret_names_the_file() {
    let files = SigningKeys::self_signed("cluster.local", now()).unwrap();
    let other = SigningKeys::self_signed("cluster.local", now()).unwrap();
    let fails = |files: KeyFiles| SigningKeys::load(files).unwrap_err();
    assert!(matches!(fails(KeyFiles { ca_cert: String::new(), ..files.clone() }), KeysError::Missing("ca-cert.pem")));
    assert!(matches!(fails(KeyFiles { ca_key: String::new(), ..files.clone() }), KeysError::Missing("ca-key.pem")));
    assert!(matches!(
        fails(KeyFiles { root_cert: "x".into(), ..files.clone() }),
        KeysError::Certificate { file: "root-cert.pem", .. }
    ));
    assert!(matches!(fails(KeyFiles { ca_key: other.ca_key, ..files.clone() }), KeysError::Mismatch));
    assert!(matches!(fails(KeyFiles { root_cert: other.root_cert, ..files.clone() }), KeysError::NoPath));
    let leaf = workload(&SigningKeys::load(files.clone()).unwrap(), &csr(), ID, None, now()).unwrap().remove(0);
    assert!(matches!(fails(KeyFiles { ca_cert: leaf, ..files }), KeysError::NotAnAuthority));
}

/// Runs openssl in `directory`.
fn openssl(directory: &std::path::Path, arguments: &str) -> String {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A root and an intermediate made by openssl, the intermediate's key in the given older form.
fn plugged_in(directory: &std::path::Path, key: &str) -> KeyFiles {
    std::fs::write(directory.join("ext"), "basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign,digitalSignature\nsubjectAltName=DNS:istiod.istio-system.svc\n").unwrap();
    openssl(
        directory,
        "req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 3650 -subj /O=Istio/CN=Root",
    );
    openssl(directory, key);
    openssl(directory, "req -new -key ca.key -out ca.csr -subj /O=Istio/CN=Intermediate/L=cluster1");
    openssl(
        directory,
        "x509 -req -in ca.csr -CA root.pem -CAkey root.key -CAcreateserial -out ca.pem -days 3650 -extfile ext",
    );
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    KeyFiles {
        ca_cert: read("ca.pem"),
        ca_key: read("ca.key"),
        root_cert: read("root.pem"),
        cert_chain: format!("{}{}", read("ca.pem"), read("root.pem")),
    }
}

#[test]
fn intermediates_of_every_form_sign_what_openssl_verifies() {
    require!(Capability::Openssl);
    for key in [
        "genrsa -traditional -out ca.key 2048",
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out ca.key",
        "ecparam -name prime256v1 -genkey -out ca.key",
        "ecparam -name secp384r1 -genkey -noout -out ca.key",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let keys =
            SigningKeys::load(plugged_in(directory.path(), key)).unwrap_or_else(|error| panic!("{key}: {error}"));
        let chain = workload(&keys, &csr(), ID, None, SystemTime::now()).unwrap();
        assert_eq!(chain.len(), 3, "leaf, intermediate, root");
        std::fs::write(directory.path().join("leaf.pem"), &chain[0]).unwrap();
        std::fs::write(directory.path().join("mid.pem"), &chain[1]).unwrap();
        let verdict =
            openssl(directory.path(), "verify -purpose sslserver -CAfile root.pem -untrusted mid.pem leaf.pem");
        assert_eq!(verdict.trim(), "leaf.pem: OK", "{key}");
    }
}
