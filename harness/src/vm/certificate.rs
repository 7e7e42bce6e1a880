//! Certificates that a machine did not buy: of its own identity and by the authority of its cluster, in or out of their time.
//! Whoever has the authority's key can make them; what the machine's peers make of them is what is tested.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType};
use substrate_config::machine::MachineFile;
use time::OffsetDateTime;

use crate::cluster::{self, Cluster};
use crate::install::remote_secret::ISTIO_SYSTEM;
use crate::scenario::keys::CertificateKind;
use crate::topology::Vm;

/// Where they lie on a machine: the chain, and its key.
const PLACES: [&str; 2] = ["/etc/certs/other/cert-chain.pem", "/etc/certs/other/key.pem"];
/// Secret with the authority of a cluster.
const AUTHORITY: &str = "cacerts";
const HOUR: Duration = Duration::from_secs(3600);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster was asked for its authority.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// It has none that can be used.
    #[error(
        "Secret {ISTIO_SYSTEM}/{AUTHORITY} of {cluster} has no {part}; only an authority that was brought in can be used"
    )]
    Authority {
        /// The cluster.
        cluster: String,
        /// What is missing.
        part: &'static str,
    },
    /// The certificate was not signed.
    #[error("cannot sign a certificate for a virtual machine")]
    Sign(#[from] rcgen::Error),
}

/// The files of a machine: a certificate of a kind with its key, or empty ones.
pub(super) async fn files(
    vm: &Vm,
    cluster: &Cluster,
    kind: Option<CertificateKind>,
) -> Result<[MachineFile; 2], Error> {
    let contents = match kind {
        Some(kind) => signed(vm, kind, &authority(cluster).await?)?,
        None => [String::new(), String::new()],
    };
    let mut contents = contents.into_iter();
    Ok(PLACES.map(|path| MachineFile {
        path: path.into(),
        mode: 0o600,
        content: contents.next().expect("invariant: a content for each place"),
    }))
}

/// The authority of a cluster.
struct Authority {
    certificate: String,
    key: String,
}

async fn authority(cluster: &Cluster) -> Result<Authority, Error> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), ISTIO_SYSTEM);
    let found = secrets.get_opt(AUTHORITY).await;
    let found = found.map_err(|source| cluster.api_error(format!("get Secret {AUTHORITY}"), source))?;
    let mut data: BTreeMap<String, ByteString> = found.and_then(|secret| secret.data).unwrap_or_default();
    let mut part = |name: &'static str| {
        let text = data.remove(name).and_then(|bytes| String::from_utf8(bytes.0).ok());
        text.ok_or_else(|| Error::Authority { cluster: cluster.name().to_owned(), part: name })
    };
    Ok(Authority { certificate: part("ca-cert.pem")?, key: part("ca-key.pem")? })
}

/// Chain and key.
fn signed(vm: &Vm, kind: CertificateKind, authority: &Authority) -> Result<[String; 2], rcgen::Error> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.subject_alt_names = vec![SanType::URI(vm.identity.as_str().try_into()?)];
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let now = OffsetDateTime::now_utc();
    (parameters.not_before, parameters.not_after) = match kind {
        CertificateKind::Good => (now - HOUR, now + HOUR),
        CertificateKind::Expired => (now - 2 * HOUR, now - HOUR),
        CertificateKind::NotYetValid => (now + HOUR, now + 2 * HOUR),
    };
    let key = KeyPair::generate()?;
    let leaf = parameters.signed_by(&key, &issuer)?.pem();
    Ok([format!("{leaf}{}", authority.certificate), key.serialize_pem()])
}

#[cfg(test)]
mod tests {
    use x509_parser::pem::Pem;

    use super::*;
    use crate::topology::validate;
    use crate::trust::Root;

    const SHIPPED: &str = include_str!("../../../scenarios/topologies/virtual-machines.yaml");

    #[test]
    fn they_are_of_the_machine_by_the_authority_and_of_their_time() {
        let topology = validate::read("virtual-machines.yaml", SHIPPED).expect("no problems");
        let vm = topology.vm("echo-vm").expect("it is there");
        let mut secret = Root::generate("mesh1").and_then(|root| root.intermediate("cluster1")).expect("an authority");
        let mut part = |name: &str| secret.remove(name).expect("it is there");
        let authority = Authority { certificate: part("ca-cert.pem"), key: part("ca-key.pem") };
        for (kind, is_valid) in
            [(CertificateKind::Good, true), (CertificateKind::Expired, false), (CertificateKind::NotYetValid, false)]
        {
            let [chain, key] = signed(vm, kind, &authority).expect("signed");
            let chain: Vec<Pem> = Pem::iter_from_buffer(chain.as_bytes()).map(|pem| pem.expect("PEM")).collect();
            let [leaf, issuer] = [0, 1].map(|index| chain[index].parse_x509().expect("DER"));
            leaf.verify_signature(Some(issuer.public_key())).expect("signed by the authority");
            assert_eq!(leaf.validity().is_valid(), is_valid, "{kind}");
            let names = leaf.subject_alternative_name().expect("readable").expect("names");
            assert_eq!(format!("{:?}", names.value.general_names), format!("[URI({:?})]", vm.identity));
            KeyPair::from_pem(&key).expect("a key");
        }
    }
}
