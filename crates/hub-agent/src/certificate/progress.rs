//! How far an installed authority got: issued, or used by everything that has to use it.

use std::time::{Duration, SystemTime};

use mesh_types::hub::certificate::{IssueState, IssuedCertificateStatus};

use super::options::rfc3339;
use crate::trust::{ProxyPod, Published, Trust, is_older, lacking};

/// How many pods a message names.
const NAMED: usize = 5;

/// The status of an installed authority with these roots. It is finished when every namespace with proxies has the roots, and no
/// pod runs that may have older ones.
pub(super) fn of(
    before: &IssuedCertificateStatus,
    trust: &Trust,
    published: &Published,
    pods: &[ProxyPod],
    now: SystemTime,
) -> IssuedCertificateStatus {
    let known = Trust(before.trusted_roots.clone());
    let mut status = IssuedCertificateStatus {
        state: IssueState::Issued,
        root_fingerprint: trust.root().to_owned(),
        trusted_roots: trust.0.clone(),
        ..IssuedCertificateStatus::default()
    };
    let goes_on = known.serves(trust);
    status.trusted_since = before.trusted_since.clone().filter(|_| goes_on);
    if status.trusted_since.is_none() {
        let lacking = lacking(pods, published, trust);
        if lacking.is_empty() {
            status.trusted_since = Some(rfc3339(now));
        } else {
            let names: Vec<&str> = lacking.into_iter().take(NAMED).collect();
            status.error = format!("the roots have not arrived yet in the namespaces {}", names.join(", "));
            return status;
        }
    }
    let since = status.trusted_since.as_deref().and_then(time).unwrap_or(now);
    // Pods that were restarted for more roots than there are now need no other restart.
    let was_enough = |pod: &&ProxyPod| !(goes_on && pod.restarted_for.as_ref() == Some(&known.digest()));
    let older: Vec<&ProxyPod> = pods.iter().filter(|pod| is_older(pod, trust, since)).filter(was_enough).collect();
    if older.is_empty() || (goes_on && before.state == IssueState::Finished) {
        status.state = IssueState::Finished;
        return status;
    }
    let names: Vec<String> = older.iter().take(NAMED).map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
    let more = if older.len() > NAMED { ", …" } else { "" };
    status.error =
        format!("{} pods are older than the roots and have to be restarted: {}{more}", older.len(), names.join(", "));
    status
}

/// Reads a time that this agent wrote.
pub(crate) fn time(text: &str) -> Option<SystemTime> {
    let seconds = text.parse::<jiff::Timestamp>().ok()?.as_second();
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().ok()?))
}
