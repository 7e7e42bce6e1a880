//! A proxy's orderly end: stop inviting connections, let those that exist finish, then let Envoy go.

use std::time::{Duration, Instant};

use http::Method;
use tracing::{info, warn};

use crate::http_client;
use crate::settings::Settings;

const CALL_DEADLINE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Drains. Returns when no connection has been left after the minimum, at the latest after the maximum. A proxy that
/// does not answer is not waited for.
pub async fn drain(settings: &Settings) {
    let start = Instant::now();
    let begun =
        http_client::local(Method::POST, settings.ports.admin, "/drain_listeners?inboundonly&graceful", CALL_DEADLINE);
    if let Err(error) = begun.await {
        warn!(%error, "Envoy does not drain; ending it");
        return;
    }
    let idle = eventually::poll("connections to end", settings.termination_drain, LOOK_EVERY, async || {
        let active = active_connections(settings).await?;
        if active == 0 && start.elapsed() >= settings.minimum_drain {
            return Ok(());
        }
        Err(format!("{active} connections after {:?}", start.elapsed()))
    });
    match idle.await {
        Ok(()) => info!(after = ?start.elapsed(), "no connection is left"),
        Err(error) => info!(%error, "ending Envoy with connections open"),
    }
}

async fn active_connections(settings: &Settings) -> Result<u64, String> {
    let path = "/stats?usedonly&filter=^listener\\..*downstream_cx_active$";
    let answer = http_client::local(Method::GET, settings.ports.admin, path, CALL_DEADLINE)
        .await
        .map_err(|error| error.to_string())?;
    Ok(sum_active(&String::from_utf8_lossy(answer.body()), settings))
}

/// Adds up the connections of listeners, apart from the proxy's own: admin, health and metrics. Listeners are counted
/// in total and once more for every worker; the workers' figures are left out.
fn sum_active(stats: &str, settings: &Settings) -> u64 {
    let own = [format!("_{}.", settings.ports.health), format!("_{}.", settings.ports.prometheus)];
    stats
        .lines()
        .filter(|line| {
            !line.starts_with("listener.admin.") && !line.contains(".worker_") && !line.contains(".main_thread")
        })
        .filter(|line| !own.iter().any(|port| line.contains(port.as_str())))
        .filter_map(|line| line.rsplit_once(": ")?.1.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Role;

    #[test]
    fn only_traffic_counts() {
        let environment = [("POD_NAME", "a-0"), ("POD_NAMESPACE", "ns"), ("INSTANCE_IP", "10.0.0.1")];
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let settings = Settings::from_environment(Role::Sidecar, None, &environment).unwrap();
        let stats = "listener.0.0.0.0_15006.downstream_cx_active: 3\n\
            listener.0.0.0.0_15006.worker_0.downstream_cx_active: 3\n\
            listener.0.0.0.0_15021.downstream_cx_active: 1\n\
            listener.0.0.0.0_15090.downstream_cx_active: 1\n\
            listener.admin.downstream_cx_active: 1\n\
            listener.admin.main_thread.downstream_cx_active: 1\n\
            listener.0.0.0.0_15001.downstream_cx_active: 2\n";
        assert_eq!(sum_active(stats, &settings), 5);
    }
}
