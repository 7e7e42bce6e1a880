//! The options of a certificate: which changes of them need a new one, and when time does.

use std::time::SystemTime;

use mesh_types::hub::certificate::IssuedCertificate;
use mesh_types::hub::names;

/// Digest of everything that makes another certificate. The moment of renewal does not.
pub fn digest(spec: &IssuedCertificate) -> String {
    let signer = &spec.signing_certificate_secret;
    let text = [
        spec.hosts.join(","),
        spec.org_name.clone(),
        spec.ttl_days.to_string(),
        signer.namespace.clone(),
        signer.name.clone(),
    ];
    format!("{:016x}", names::digest(text.join("\n").as_bytes()))
}

/// When a certificate is renewed: as soon as less than the share of its life that was asked for is left.
pub fn renewal(spec: &IssuedCertificate, not_before: SystemTime, not_after: SystemTime) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    // One that is renewed at once would be renewed for ever.
    let ratio = spec.secret_rotation_grace_period_ratio;
    let ratio = if ratio.is_finite() { ratio.clamp(0.0, 0.9) } else { 0.1 };
    not_after - life.mul_f64(ratio)
}

/// A time in the form of Kubernetes.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
