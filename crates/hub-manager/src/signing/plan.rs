//! What to do about the root of a VirtualMesh and the requests of its members. Pure but for new keys.

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use mesh_certificates::{Authority, AuthorityError, Terms, pem, request};
use mesh_types::hub::certificate::{
    CertificateRequest, CertificateRequestStatus, IssueState, IssuedCertificate, IssuedCertificateStatus,
};
use mesh_types::hub::virtual_mesh::CertificateOptions;
use mesh_types::hub::{Object, names};

use super::stored::{Held, Phase, Stored};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A generated root is replaced when less than this share of its life is left: members must be done before its end.
const RENEWED_AT: f64 = 0.2;

/// Where the root comes from.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// It is made here.
    Generated {
        /// How.
        options: CertificateOptions,
        /// The wish for another one: whenever this changes, one is made.
        rotation: &'a str,
    },
    /// Somebody brings it in; or why it cannot be used.
    BroughtIn(Result<Held, String>),
}

/// A mesh of the VirtualMesh.
#[derive(Clone, Debug)]
pub struct Member {
    /// For messages: the cluster.
    pub cluster: String,
    /// What the hub wants its authority to be.
    pub wanted: IssuedCertificate,
    /// What the cluster asks for.
    pub request: Option<Object<CertificateRequest>>,
    /// How far the cluster's agent says that it is; nothing where it cannot be seen.
    pub certificate: Option<IssuedCertificateStatus>,
}

/// Everything that a decision depends on.
pub struct Inputs<'a> {
    /// Where the root comes from.
    pub source: Source<'a>,
    /// What is remembered.
    pub stored: Option<&'a Stored>,
    /// The members.
    pub members: &'a [Member],
    /// The time.
    pub now: SystemTime,
}

/// What to do.
#[derive(Debug, Default)]
pub struct Decision {
    /// What to remember. Nothing is signed before it is written.
    pub store: Option<Stored>,
    /// Answers to requests: place of the member, and the status.
    pub answers: Vec<(usize, CertificateRequestStatus)>,
    /// Whom the change of the root waits for, or why nothing can be signed.
    pub waiting: Option<String>,
    /// When time alone changes the decision.
    pub again: Option<SystemTime>,
}

/// Decides.
pub fn decide(inputs: &Inputs<'_>) -> Decision {
    match next_stored(inputs) {
        Ok(Moved::To(stored)) => Decision { store: Some(*stored), ..Decision::default() },
        Ok(Moved::Stays { waiting, again }) => {
            let answers = inputs.stored.map(|stored| answers(inputs, stored)).unwrap_or_default();
            Decision { store: None, answers, waiting, again }
        }
        Err(error) => {
            let fail = |(place, member): (usize, &Member)| {
                let request = member.request.as_ref()?;
                let unsigned = request.status.state != IssueState::Finished || !is_answered(request);
                let status = status(request, IssueState::Pending, &error);
                (unsigned && request.status != status).then_some((place, status))
            };
            let answers = inputs.members.iter().enumerate().filter_map(fail).collect();
            Decision { answers, waiting: Some(error), ..Decision::default() }
        }
    }
}

enum Moved {
    To(Box<Stored>),
    Stays { waiting: Option<String>, again: Option<SystemTime> },
}

impl Moved {
    fn to(stored: Stored) -> Self {
        Self::To(Box::new(stored))
    }

    fn stays() -> Self {
        Self::Stays { waiting: None, again: None }
    }
}

/// What is to be remembered next.
fn next_stored(inputs: &Inputs<'_>) -> Result<Moved, String> {
    let Some(stored) = inputs.stored else {
        let (current, options, rotation) = fresh(inputs)?;
        return Ok(Moved::to(Stored { current, phase: Phase::Steady, options, rotation }));
    };
    match &stored.phase {
        Phase::Steady => steady(inputs, stored),
        Phase::Introduce(next) => {
            let needed = [fingerprint(&stored.current)?, fingerprint(next)?];
            Ok(match unfinished(inputs.members, None, &needed) {
                Some(member) => Moved::Stays { waiting: Some(member), again: None },
                None => Moved::to(Stored { phase: Phase::Switch(next.clone()), ..stored.clone() }),
            })
        }
        Phase::Switch(next) => {
            let needed = fingerprint(next)?;
            Ok(match unfinished(inputs.members, Some(&needed), std::slice::from_ref(&needed)) {
                Some(member) => Moved::Stays { waiting: Some(member), again: None },
                None => Moved::to(Stored { current: next.clone(), phase: Phase::Steady, ..stored.clone() }),
            })
        }
    }
}

/// Whether the root in force stays.
fn steady(inputs: &Inputs<'_>, stored: &Stored) -> Result<Moved, String> {
    let current = stored.current.authority().map_err(|error| format!("the stored root: {error}"))?;
    let introduce = |(next, options, rotation)| {
        Moved::to(Stored { phase: Phase::Introduce(next), options, rotation, ..stored.clone() })
    };
    match &inputs.source {
        Source::Generated { options, rotation } => {
            let (from, to) = current.validity();
            let due = to - to.duration_since(from).unwrap_or_default().mul_f64(RENEWED_AT);
            let same = stored.options == digest(options) && stored.rotation == *rotation && current.has_key();
            if same && inputs.now < due {
                return Ok(Moved::Stays { waiting: None, again: Some(due) });
            }
            fresh(inputs).map(introduce)
        }
        Source::BroughtIn(held) => {
            let held = held.clone()?;
            if fingerprint(&held)? != fingerprint(&stored.current)? {
                return fresh(inputs).map(introduce);
            }
            // Another signer under the same root: trust stays as it is.
            let public = held.public();
            let same = stored.current.public() == public;
            Ok(if same { Moved::stays() } else { Moved::to(Stored { current: public, ..stored.clone() }) })
        }
    }
}

/// The root that is wanted now, with the digest of its options and the wish that it fulfils.
fn fresh(inputs: &Inputs<'_>) -> Result<(Held, String, String), String> {
    match &inputs.source {
        Source::Generated { options, rotation } => {
            let organisation = if options.org_name.is_empty() { "meshproof" } else { &options.org_name };
            let life = DAY * options.ttl_days.unwrap_or(365);
            let terms = Terms { organisation: organisation.to_owned(), life, now: inputs.now };
            let made = Authority::generate(&terms).map_err(|error| error.to_string())?;
            Ok((Held::of(&made), digest(options), (*rotation).to_owned()))
        }
        // Its key stays where it is.
        Source::BroughtIn(held) => Ok((held.clone()?.public(), "brought in".to_owned(), String::new())),
    }
}

fn digest(options: &CertificateOptions) -> String {
    let text = format!("{}\n{}", options.ttl_days.unwrap_or(365), options.org_name);
    format!("{:016x}", names::digest(text.as_bytes()))
}

/// Fingerprint of an authority's root.
pub(super) fn fingerprint(held: &Held) -> Result<String, String> {
    let certificates = pem::certificates(&held.root).map_err(|error| format!("the root {error}"))?;
    certificates.first().map(pem::fingerprint).ok_or_else(|| "the root is empty".to_owned())
}

/// The first member that does not run everywhere with these roots yet, in words.
fn unfinished(members: &[Member], signs_under: Option<&String>, trusts: &[String]) -> Option<String> {
    members.iter().find_map(|member| {
        let cluster = &member.cluster;
        let Some(status) = &member.certificate else {
            return Some(format!("waiting for cluster {cluster}, whose certificate cannot be seen"));
        };
        let right = signs_under.is_none_or(|root| *root == status.root_fingerprint)
            && trusts.iter().all(|root| status.trusted_roots.contains(root));
        if right && status.state == IssueState::Finished {
            return None;
        }
        let reason = if status.error.is_empty() { String::new() } else { format!(": {}", status.error) };
        Some(format!("waiting for cluster {cluster}{reason}"))
    })
}

/// The answers that differ from those that were given.
fn answers(inputs: &Inputs<'_>, stored: &Stored) -> Vec<(usize, CertificateRequestStatus)> {
    let (signer, other) = match &stored.phase {
        Phase::Steady => (&stored.current, None),
        Phase::Introduce(next) => (&stored.current, Some(next)),
        Phase::Switch(next) => (next, Some(&stored.current)),
    };
    let roots = format!("{}{}", signer.root, other.map(|other| other.root.as_str()).unwrap_or_default());
    let signer = with_key(inputs, signer).authority();
    let answer = |(place, member): (usize, &Member)| {
        let request = member.request.as_ref()?;
        let status = answer_to(member, request, &signer, &roots, inputs.now);
        (status != request.status).then_some((place, status))
    };
    inputs.members.iter().enumerate().filter_map(answer).collect()
}

/// An authority that was brought in, with the key where it is.
fn with_key(inputs: &Inputs<'_>, held: &Held) -> Held {
    match &inputs.source {
        Source::BroughtIn(Ok(brought_in)) if brought_in.public() == held.public() => brought_in.clone(),
        _ => held.clone(),
    }
}

fn is_answered(request: &Object<CertificateRequest>) -> bool {
    request.status.observed_generation == request.metadata.generation.unwrap_or_default()
}

fn status(request: &Object<CertificateRequest>, state: IssueState, error: &str) -> CertificateRequestStatus {
    CertificateRequestStatus {
        observed_generation: request.metadata.generation.unwrap_or_default(),
        state,
        error: error.to_owned(),
        ..CertificateRequestStatus::default()
    }
}

fn answer_to(
    member: &Member,
    request: &Object<CertificateRequest>,
    signer: &Result<Authority, AuthorityError>,
    roots: &str,
    now: SystemTime,
) -> CertificateRequestStatus {
    let wanted = &member.wanted;
    let requested = match request::check(&request.spec.certificate_signing_request, &wanted.hosts) {
        Ok(requested) => requested,
        Err(error) => return status(request, IssueState::Failed, &error.to_string()),
    };
    let given = &request.status;
    let was_signed = given.state == IssueState::Finished && is_answered(request);
    let kept = CertificateRequestStatus { signing_root_ca: roots.to_owned(), ..given.clone() };
    let signer = match signer {
        Ok(signer) => signer,
        Err(error) if was_signed => {
            tracing::warn!(cluster = member.cluster, %error, "nothing can be signed at the moment");
            return kept;
        }
        Err(error) => return status(request, IssueState::Pending, &error.to_string()),
    };
    if was_signed && (is_signed_by(&given.signed_certificate, signer) || !signer.has_key()) {
        return kept;
    }
    let terms = Terms { organisation: wanted.org_name.clone(), life: DAY * wanted.ttl_days, now };
    match signer.sign(&requested, &terms) {
        Ok(signed) => CertificateRequestStatus {
            signed_certificate: signed,
            signing_root_ca: roots.to_owned(),
            ..status(request, IssueState::Finished, "")
        },
        // It may come back: a Secret that somebody is writing.
        Err(error @ AuthorityError::NoKey) => status(request, IssueState::Pending, &error.to_string()),
        Err(error) => status(request, IssueState::Failed, &error.to_string()),
    }
}

/// Whether what follows the certificate is the path of this authority.
fn is_signed_by(signed: &str, signer: &Authority) -> bool {
    let Ok(certificates) = pem::certificates(signed) else { return false };
    let Some((_, path)) = certificates.split_first() else { return false };
    pem::certificates(&signer.path_pem()).is_ok_and(|own| own == path)
}
