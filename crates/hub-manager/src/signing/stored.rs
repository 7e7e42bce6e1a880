//! What is remembered about the root of a VirtualMesh, in a Secret: the root in force, the one that takes its place, how far that
//! is, and for which options it was made. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use mesh_certificates::{Authority, AuthorityError};
use mesh_types::hub::names::{ANNOTATION_OPTIONS, ANNOTATION_ROTATE, LABEL_OWNER, TYPE_ROOT};
use serde_json::{Value, json};

use crate::plane::Plane;

const PHASE: &str = "certificates.meshproof.dev/phase";

/// An authority as texts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// `tls.crt`: the certificate that signs, and what is between it and its root.
    pub certificate: String,
    /// `tls.key`; none where somebody else keeps it.
    pub key: Option<String>,
    /// `ca.crt`: its root.
    pub root: String,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Held")
            .field("root", &self.root)
            .field("key", &self.key.is_some())
            .finish_non_exhaustive()
    }
}

impl Held {
    /// The texts of an authority.
    pub fn of(authority: &Authority) -> Self {
        Self { certificate: authority.chain_pem(), key: authority.key_pem(), root: authority.root_pem() }
    }

    /// The authority.
    ///
    /// # Errors
    /// [`AuthorityError`], naming the field.
    pub fn authority(&self) -> Result<Authority, AuthorityError> {
        Authority::load(&self.certificate, self.key.as_deref(), Some(&self.root))
    }

    /// The same without its key.
    pub fn public(&self) -> Self {
        Self { key: None, ..self.clone() }
    }
}

/// How far the change of a root is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// There is one root.
    #[default]
    Steady,
    /// Members sign under the old root, and are told to trust the new one, too.
    Introduce(Held),
    /// Members sign under the new root, and are told to trust the old one still.
    Switch(Held),
}

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The root in force; while one changes, the old one.
    pub current: Held,
    /// How far a change is, with the new one.
    pub phase: Phase,
    /// Digest of the options that the newest root was made for.
    pub options: String,
    /// The wish for another root that was fulfilled last.
    pub rotation: String,
}

/// Reads what is remembered; nothing where the Secret is another.
pub fn read(secret: &Secret) -> Option<Stored> {
    if secret.type_.as_deref() != Some(TYPE_ROOT) {
        return None;
    }
    let text = |key: &str| {
        let found = secret.data.as_ref()?.get(key)?;
        Some(String::from_utf8_lossy(&found.0).into_owned()).filter(|text| !text.is_empty())
    };
    let held =
        |certificate, key, root| Some(Held { certificate: text(certificate)?, key: text(key), root: text(root)? });
    let annotation = |name: &str| secret.annotations().get(name).cloned().unwrap_or_default();
    let next = held("next-tls.crt", "next-tls.key", "next-ca.crt");
    let phase = match (annotation(PHASE).as_str(), next) {
        ("introduce", Some(next)) => Phase::Introduce(next),
        ("switch", Some(next)) => Phase::Switch(next),
        _ => Phase::Steady,
    };
    Some(Stored {
        current: held("tls.crt", "tls.key", "ca.crt")?,
        phase,
        options: annotation(ANNOTATION_OPTIONS),
        rotation: annotation(ANNOTATION_ROTATE),
    })
}

/// The authority that somebody brought in.
///
/// # Errors
/// Which field is missing or wrong.
pub fn brought_in(secret: &Secret) -> Result<Held, AuthorityError> {
    let text = |key: &'static str| {
        let found = secret.data.as_ref().and_then(|data| data.get(key));
        found.map(|ByteString(bytes)| String::from_utf8_lossy(bytes).into_owned())
    };
    let certificate = text("tls.crt").ok_or(AuthorityError::Missing("tls.crt"))?;
    let key = text("tls.key").ok_or(AuthorityError::Missing("tls.key"))?;
    let root = text("ca.crt");
    Authority::load(&certificate, Some(&key), root.as_deref()).map(|authority| Held::of(&authority))
}

/// The Secret that remembers it; `version` is that of the Secret whose place it takes.
pub fn secret(plane: &Plane, name: &str, stored: &Stored, version: Option<&str>) -> Value {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data: BTreeMap<&str, ByteString> = BTreeMap::new();
    let mut hold = |held: &Held, names: [&'static str; 3]| {
        data.insert(names[0], bytes(&held.certificate));
        data.insert(names[1], bytes(held.key.as_deref().unwrap_or_default()));
        data.insert(names[2], bytes(&held.root));
    };
    hold(&stored.current, ["tls.crt", "tls.key", "ca.crt"]);
    let phase = match &stored.phase {
        Phase::Steady => "steady",
        Phase::Introduce(next) => {
            hold(next, ["next-tls.crt", "next-tls.key", "next-ca.crt"]);
            "introduce"
        }
        Phase::Switch(next) => {
            hold(next, ["next-tls.crt", "next-tls.key", "next-ca.crt"]);
            "switch"
        }
    };
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE_ROOT,
        "metadata": {
            "name": name,
            "namespace": plane.namespace,
            "resourceVersion": version,
            "labels": { LABEL_OWNER: plane.identity },
            "annotations": { PHASE: phase, ANNOTATION_OPTIONS: stored.options, ANNOTATION_ROTATE: stored.rotation },
        },
        "data": data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let held = |name: &str, key: Option<&str>| Held {
            certificate: format!("{name} certificate"),
            key: key.map(str::to_owned),
            root: format!("{name} root"),
        };
        let plane = Plane { namespace: "hub".to_owned(), identity: "1".to_owned() };
        for phase in [Phase::Steady, Phase::Introduce(held("new", Some("key"))), Phase::Switch(held("new", None))] {
            let stored =
                Stored { current: held("old", Some("key")), phase, options: "o".to_owned(), rotation: "r".to_owned() };
            let written: Secret = serde_json::from_value(secret(&plane, "root", &stored, Some("7"))).unwrap();
            assert_eq!(read(&written), Some(stored));
            assert_eq!(written.metadata.resource_version.as_deref(), Some("7"));
            assert_eq!(
                (written.metadata.namespace.as_deref(), &written.metadata.labels.unwrap()[LABEL_OWNER]),
                (Some("hub"), &plane.identity)
            );
        }
    }

    #[test]
    fn another_secret_is_not_taken_for_it() {
        assert_eq!(read(&Secret::default()), None);
        assert!(brought_in(&Secret::default()).unwrap_err().to_string().contains("tls.crt"));
    }
}
