//! How far the shared trust of a VirtualMesh is, as its status tells it: the root, and member by member its certificate and its
//! restart. Pure.

use mesh_types::hub::Object;
use mesh_types::hub::certificate::{IssueState, IssuedCertificateStatus, WorkloadRestart};
use mesh_types::hub::virtual_mesh::{MeshTrust, RootPhase, TrustStatus};

use super::plan::fingerprint;
use super::stored::{Held, Phase, Stored};

/// The status before its members are filled in.
pub fn of(stored: Option<&Stored>, waiting: Option<&str>) -> TrustStatus {
    let root = |held: &Held| fingerprint(held).unwrap_or_default();
    let (phase, next) = match stored.map(|stored| &stored.phase) {
        None | Some(Phase::Steady) => (RootPhase::Steady, String::new()),
        Some(Phase::Introduce(next)) => (RootPhase::Introduce, root(next)),
        Some(Phase::Switch(next)) => (RootPhase::Switch, root(next)),
    };
    TrustStatus {
        phase,
        root_fingerprint: stored.map(|stored| root(&stored.current)).unwrap_or_default(),
        next_root_fingerprint: next,
        waiting: waiting.unwrap_or_default().to_owned(),
        ..TrustStatus::default()
    }
}

/// What the agent of a member tells; `None` where it cannot be seen.
pub fn member(certificate: Option<IssuedCertificateStatus>, restart: Option<Object<WorkloadRestart>>) -> MeshTrust {
    let Some(certificate) = certificate else {
        let error = "its certificate cannot be seen".to_owned();
        return MeshTrust { state: IssueState::Pending, error, ..MeshTrust::default() };
    };
    let (steps, done, restart_error) = match restart {
        Some(restart) => {
            let steps = u32::try_from(restart.spec.steps.len()).unwrap_or(u32::MAX);
            // What was done for other roots is done for nothing.
            let same = restart.status.trusted_roots == certificate.trusted_roots;
            (steps, if same { restart.status.steps_done } else { 0 }, restart.status.error)
        }
        None => (0, 0, String::new()),
    };
    MeshTrust {
        state: certificate.state,
        root_fingerprint: certificate.root_fingerprint,
        trusted_roots: certificate.trusted_roots,
        not_after: certificate.not_after,
        restart_steps: steps,
        restart_steps_done: done,
        error: if certificate.error.is_empty() { restart_error } else { certificate.error },
    }
}

#[cfg(test)]
mod tests {
    use mesh_types::hub::certificate::{RestartStep, WorkloadRestartStatus};

    use super::*;

    fn certificate(root: &str) -> IssuedCertificateStatus {
        IssuedCertificateStatus {
            state: IssueState::Issued,
            root_fingerprint: root.to_owned(),
            trusted_roots: vec![root.to_owned()],
            not_after: Some("2030-01-01T00:00:00Z".to_owned()),
            ..IssuedCertificateStatus::default()
        }
    }

    fn restart(root: &str) -> Object<WorkloadRestart> {
        let mut restart = Object::new("r", "hub", WorkloadRestart { steps: vec![RestartStep::default(); 3] });
        let (trusted_roots, error) = (vec![root.to_owned()], "waiting for pods of bookinfo".to_owned());
        restart.status = WorkloadRestartStatus { trusted_roots, error, steps_done: 2, ..restart.status };
        restart
    }

    #[test]
    fn steps_count_for_the_roots_for_which_they_were_done() {
        let told = member(Some(certificate("a")), Some(restart("a")));
        assert_eq!((told.restart_steps_done, told.restart_steps), (2, 3));
        assert_eq!(told.error, "waiting for pods of bookinfo");
        assert_eq!(member(Some(certificate("b")), Some(restart("a"))).restart_steps_done, 0);
    }

    #[test]
    fn who_is_not_seen_is_said_not_to_be() {
        assert_eq!(member(None, None).error, "its certificate cannot be seen");
        assert_eq!(of(None, Some("Secret hub/root is missing")).waiting, "Secret hub/root is missing");
    }
}
