//! When a proxy may receive traffic: certificates are there, the first configuration has arrived, Envoy is live.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};

use crate::http_client;
use crate::identity::SecretsWatch;
use crate::settings::Settings;

const DEADLINE: Duration = Duration::from_secs(1);
const STATS: &str =
    "/stats?usedonly&filter=^(cluster_manager\\.cds|listener_manager\\.lds)\\.update_(success|rejected)$";

/// Remembers that configuration has arrived, since that cannot become untrue and is the costly question.
pub struct Readiness {
    secrets: SecretsWatch,
    configured: AtomicBool,
}

impl Readiness {
    /// Judges by `secrets` and by Envoy's admin interface.
    #[must_use]
    pub fn new(secrets: SecretsWatch) -> Self {
        Self { secrets, configured: AtomicBool::new(false) }
    }

    /// `Ok` where the proxy may receive traffic.
    ///
    /// # Errors
    /// The first reason against it.
    pub async fn check(&self, settings: &Settings) -> Result<(), String> {
        if self.secrets.borrow().is_none() {
            return Err("no workload certificate yet".to_owned());
        }
        if !self.configured.load(Ordering::Relaxed) {
            configured(&admin(settings, STATS).await?.1)?;
            self.configured.store(true, Ordering::Relaxed);
        }
        let (status, body) = admin(settings, "/ready").await?;
        if status != StatusCode::OK {
            return Err(format!("Envoy is {}", body.trim()));
        }
        Ok(())
    }
}

async fn admin(settings: &Settings, path: &str) -> Result<(StatusCode, String), String> {
    let answer = http_client::local(Method::GET, settings.ports.admin, path, DEADLINE)
        .await
        .map_err(|error| format!("Envoy does not answer: {error}"))?;
    Ok((answer.status(), String::from_utf8_lossy(answer.body()).into_owned()))
}

/// Reads Envoy's counters of configuration received.
fn configured(stats: &str) -> Result<(), String> {
    let count = |name: &str| {
        stats
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.trim().parse::<u64>().ok())
            .unwrap_or(0)
    };
    for (name, what) in [("cluster_manager.cds", "clusters"), ("listener_manager.lds", "listeners")] {
        if count(&format!("{name}.update_success")) == 0 {
            let rejected = count(&format!("{name}.update_rejected"));
            return Err(format!("no {what} from the control plane yet ({rejected} updates rejected)"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_must_have_arrived() {
        assert!(configured("").unwrap_err().contains("clusters"));
        let clusters = "cluster_manager.cds.update_success: 1\n";
        let error = configured(&format!("{clusters}listener_manager.lds.update_rejected: 2\n")).unwrap_err();
        assert_eq!(error, "no listeners from the control plane yet (2 updates rejected)");
        assert_eq!(configured(&format!("{clusters}listener_manager.lds.update_success: 3\n")), Ok(()));
    }
}
