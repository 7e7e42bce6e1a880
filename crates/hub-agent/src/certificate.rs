//! What to do next about the authority of a mesh: make a key, ask for a signature, install what was signed, or nothing. Pure: the
//! cluster's objects in, one step and the status out.

mod options;
mod progress;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::SystemTime;

use mesh_certificates::chain::{self, ChainError, Installed, Wanted};
use mesh_certificates::{pem, request};
use mesh_types::hub::certificate::{CertificateRequest, IssueState, IssuedCertificate, IssuedCertificateStatus};
use mesh_types::hub::{Object, names};

use crate::trust::{ProxyPod, Published, Trust};

pub use options::{digest, renewal};
pub(crate) use progress::time;

/// The files of a Secret that Istio's control plane signs with.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// `ca-cert.pem`.
    pub certificate: String,
    /// `ca-key.pem`.
    pub key: String,
    /// `cert-chain.pem`: from the certificate up to and with its root.
    pub chain: String,
    /// `root-cert.pem`: everything that is trusted, the own root first.
    pub roots: String,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Files").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The Secret of a control plane's authority as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthoritySecret {
    /// Whether an agent wrote it.
    pub ours: bool,
    /// Whether its owner hands it over.
    pub adopt: bool,
    /// Digest of the options that it was issued for.
    pub options: String,
    /// Fingerprints of roots from before that are trusted until everything was restarted.
    pub previous: Vec<String>,
    /// Its files.
    pub files: Files,
    /// Version of the object.
    pub resource_version: String,
    /// Its type, which cannot be changed.
    pub secret_type: String,
}

/// A key that waits for its certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingKey {
    /// PKCS #8, PEM.
    pub key: String,
    /// The request that was made with it, PEM.
    pub request: String,
    /// Digest of the options that it was made for.
    pub options: String,
}

/// Everything that a decision depends on.
pub struct Inputs<'a> {
    /// What is wanted.
    pub wanted: &'a Object<IssuedCertificate>,
    /// The key that waits.
    pub pending: Option<&'a PendingKey>,
    /// The request, with its answer.
    pub request: Option<&'a Object<CertificateRequest>>,
    /// What the control plane signs with.
    pub authority: Option<&'a AuthoritySecret>,
    /// The roots that the control plane's namespace hands out, PEM.
    pub published_here: Option<&'a str>,
    /// The roots of every namespace.
    pub published: &'a Published,
    /// The pods with proxies.
    pub pods: &'a [ProxyPod],
    /// The time.
    pub now: SystemTime,
}

/// What to write into the Secret of the control plane's authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Its files.
    pub files: Files,
    /// Digest of the options that it is issued for.
    pub options: String,
    /// Fingerprints of roots from before that are still trusted.
    pub previous: Vec<String>,
    /// Version of the Secret that it takes the place of; none where there must be none yet.
    pub replaces: Option<String>,
    /// Type of the Secret.
    pub secret_type: String,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, for now.
    Wait,
    /// Make a key and its request, in the place of any that waits.
    MakeKey,
    /// Ask the plane to sign this request.
    Ask(String),
    /// Hand the authority to the control plane.
    Install(Box<Installation>),
    /// The key is installed; forget the copy that waited.
    DropKey,
}

/// What to do, what to report, and when to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The step.
    pub step: Step,
    /// The status.
    pub status: IssuedCertificateStatus,
    /// When time alone changes the decision.
    pub again: Option<SystemTime>,
}

/// Decides.
pub fn decide(inputs: &Inputs<'_>) -> Decision {
    let place = &inputs.wanted.spec.issued_certificate_secret;
    if inputs.authority.is_some_and(|secret| !secret.ours && !secret.adopt) {
        let (namespace, name, adopt) = (&place.namespace, &place.name, names::ANNOTATION_ADOPT);
        let error = format!(
            "Secret {namespace}/{name} was not written by the hub and is left alone: delete it, or hand it over with the annotation {adopt}: \"true\""
        );
        return inputs.failed(error);
    }
    let installed =
        inputs.authority.filter(|secret| secret.ours).map(|secret| (secret, inputs.check_installed(secret)));
    match (inputs.pending, installed) {
        (Some(pending), Some((secret, Ok(installed)))) if pending.key == secret.files.key => {
            Decision { step: Step::DropKey, ..inputs.in_force(secret, &installed) }
        }
        (Some(pending), _) => inputs.signing(pending),
        (None, Some((secret, Ok(installed)))) => inputs.keep(secret, &installed),
        (None, Some((_, Err(error)))) => {
            tracing::warn!(certificate = inputs.wanted.metadata.name, %error, "what is installed cannot be used");
            inputs.at(Step::MakeKey, IssueState::Pending)
        }
        (None, None) => inputs.at(Step::MakeKey, IssueState::Pending),
    }
}

impl Inputs<'_> {
    fn check_installed(&self, secret: &AuthoritySecret) -> Result<Installed, ChainError> {
        let wanted = Wanted { hosts: &self.wanted.spec.hosts, key_pem: &secret.files.key, now: self.now };
        chain::check(&wanted, &format!("{}{}", secret.files.certificate, secret.files.chain), &secret.files.roots)
    }

    /// The answer to a request, where it is one to the present form of it.
    fn answer<'a>(&self, request: &'a Object<CertificateRequest>) -> Option<&'a Object<CertificateRequest>> {
        let current = request.metadata.generation.unwrap_or_default();
        (request.status.observed_generation == current).then_some(request)
    }

    /// A key waits for its certificate.
    fn signing(&self, pending: &PendingKey) -> Decision {
        if pending.options != digest(&self.wanted.spec) {
            return self.at(Step::MakeKey, IssueState::Pending);
        }
        let Some(request) = self.request.filter(|request| request.spec.certificate_signing_request == pending.request)
        else {
            return self.at(Step::Ask(pending.request.clone()), IssueState::Pending);
        };
        let mut waiting = self.at(Step::Wait, IssueState::Requested);
        let Some(request) = self.answer(request) else { return waiting };
        match request.status.state {
            IssueState::Finished => match self.checked(&pending.key, request) {
                Ok(signed) => self.install(&pending.key, &signed),
                Err(error) => self.failed(error.to_string()),
            },
            IssueState::Failed => self.failed(request.status.error.clone()),
            _ => {
                waiting.status.error.clone_from(&request.status.error);
                waiting
            }
        }
    }

    fn checked(&self, key: &str, request: &Object<CertificateRequest>) -> Result<Installed, ChainError> {
        let wanted = Wanted { hosts: &self.wanted.spec.hosts, key_pem: key, now: self.now };
        chain::check(&wanted, &request.status.signed_certificate, &request.status.signing_root_ca)
    }

    /// An authority is installed and in order: does it stay?
    fn keep(&self, secret: &AuthoritySecret, installed: &Installed) -> Decision {
        let due = renewal(&self.wanted.spec, installed.not_before, installed.not_after);
        if secret.options != digest(&self.wanted.spec) || self.now >= due {
            return self.at(Step::MakeKey, IssueState::Pending);
        }
        let in_force = self.in_force(secret, installed);
        let asked =
            self.request.filter(|asked| request::is_for(&asked.spec.certificate_signing_request, &secret.files.key));
        let Some(asked) = asked else {
            let spec = &self.wanted.spec;
            return match request::again(&secret.files.key, &spec.hosts, &spec.org_name) {
                Ok(request) => Decision { step: Step::Ask(request), ..in_force },
                Err(error) => self.failed(error.to_string()),
            };
        };
        match self.answer(asked) {
            Some(answered) if answered.status.state == IssueState::Finished => {
                match self.checked(&secret.files.key, answered) {
                    Ok(signed) => self.follow(secret, installed, &signed, in_force),
                    Err(error) => self.failed(error.to_string()),
                }
            }
            Some(answered) if answered.status.state == IssueState::Failed => self.failed(answered.status.error.clone()),
            _ => in_force,
        }
    }

    /// The plane signed anew, or says that other roots are to be trusted; or the roots from before are not needed any more.
    fn follow(
        &self,
        secret: &AuthoritySecret,
        installed: &Installed,
        signed: &Installed,
        in_force: Decision,
    ) -> Decision {
        let without_previous: Vec<String> =
            installed.trusted().into_iter().filter(|root| !secret.previous.contains(root)).collect();
        let finished = in_force.status.state == IssueState::Finished && !secret.previous.is_empty();
        let changed = signed.path != installed.path || signed.trusted() != without_previous;
        if changed || finished { self.install(&secret.files.key, signed) } else { in_force }
    }

    fn install(&self, key: &str, signed: &Installed) -> Decision {
        let mut roots = signed.roots.clone();
        let previous = self.previous(signed);
        roots.extend(previous.iter().cloned());
        let files = Files {
            certificate: pem::to_pem([&signed.certificate]),
            key: key.to_owned(),
            chain: pem::to_pem(&signed.path),
            roots: pem::to_pem(&roots),
        };
        let installation = Installation {
            files,
            options: digest(&self.wanted.spec),
            previous: previous.iter().map(pem::fingerprint).collect(),
            replaces: self.authority.map(|secret| secret.resource_version.clone()),
            secret_type: self.authority.map_or(names::TYPE_AUTHORITY, |secret| &secret.secret_type).to_owned(),
        };
        self.at(Step::Install(Box::new(installation)), IssueState::Requested)
    }

    /// Roots that are in force and that the plane does not name: where the own root changes, what runs is trusted until it was
    /// restarted.
    fn previous(&self, signed: &Installed) -> Vec<pem::Certificate> {
        let read = |text: &str| pem::certificates(text).unwrap_or_default();
        let ours = self.authority.filter(|secret| secret.ours);
        let in_force = match (self.authority, self.published_here) {
            (Some(secret), _) => read(&secret.files.roots),
            (None, Some(published)) => read(published),
            (None, None) => Vec::new(),
        };
        let same_root = ours.is_some_and(|_| in_force.first() == signed.path.last());
        let finished = same_root && ours.is_some_and(|secret| self.is_finished(secret));
        let kept = |certificate: &pem::Certificate| {
            let known = ours.is_some_and(|secret| secret.previous.contains(&pem::fingerprint(certificate)));
            !signed.roots.contains(certificate) && !finished && (!same_root || known)
        };
        in_force.into_iter().filter(kept).collect()
    }

    fn is_finished(&self, secret: &AuthoritySecret) -> bool {
        self.check_installed(secret)
            .is_ok_and(|installed| self.in_force(secret, &installed).status.state == IssueState::Finished)
    }

    /// The status while an authority is installed.
    fn in_force(&self, _secret: &AuthoritySecret, installed: &Installed) -> Decision {
        let trust = Trust(installed.trusted());
        let mut status = progress::of(&self.wanted.status, &trust, self.published, self.pods, self.now);
        status.observed_generation = self.wanted.metadata.generation.unwrap_or_default();
        status.not_after = Some(options::rfc3339(installed.not_after));
        let again = Some(renewal(&self.wanted.spec, installed.not_before, installed.not_after));
        Decision { step: Step::Wait, status, again }
    }

    /// What is installed stays in force meanwhile, so its root and its end stay in the status.
    fn at(&self, step: Step, state: IssueState) -> Decision {
        let status = IssuedCertificateStatus {
            observed_generation: self.wanted.metadata.generation.unwrap_or_default(),
            state,
            error: String::new(),
            ..self.wanted.status.clone()
        };
        Decision { step, status, again: None }
    }

    fn failed(&self, error: String) -> Decision {
        let mut decision = self.at(Step::Wait, IssueState::Failed);
        decision.status.error = error;
        decision
    }
}

/// Names of the files in a Secret, with their contents.
pub fn contents(files: &Files) -> BTreeMap<&'static str, &str> {
    BTreeMap::from([
        ("ca-cert.pem", files.certificate.as_str()),
        ("ca-key.pem", files.key.as_str()),
        ("cert-chain.pem", files.chain.as_str()),
        ("root-cert.pem", files.roots.as_str()),
    ])
}
