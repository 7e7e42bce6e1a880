//! The health of an application that no kubelet looks at: the probe of its WorkloadGroup, whose verdict goes to the
//! control plane on Envoy's stream.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::rpc;
use http::HeaderMap;
use prost::Message as _;
use serde::Deserialize;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use crate::proto::HEALTH_INFORMATION;
use crate::settings::Settings;
use crate::status::{self, Action};

/// gRPC's code for what does not work.
const INTERNAL: i32 = 13;

/// What the application was found to be: nothing before the thresholds are reached for the first time.
pub type Verdict = Option<Result<(), String>>;

/// The probe of a WorkloadGroup.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    #[serde(default)]
    initial_delay_seconds: u64,
    #[serde(default)]
    timeout_seconds: u64,
    #[serde(default)]
    period_seconds: u64,
    #[serde(default)]
    success_threshold: u32,
    #[serde(default)]
    failure_threshold: u32,
    #[serde(flatten)]
    check: Check,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Check {
    Exec(Exec),
    #[serde(untagged)]
    Network(Action),
}

#[derive(Clone, Debug, Deserialize)]
struct Exec {
    command: Vec<String>,
}

impl Probe {
    /// Time for one attempt.
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.max(1))
    }

    /// Time from one attempt to the next.
    fn period(&self) -> Duration {
        if self.period_seconds == 0 { Duration::from_secs(10) } else { Duration::from_secs(self.period_seconds) }
    }

    async fn attempt(&self, settings: &Settings) -> Result<(), String> {
        let attempt = async {
            match &self.check {
                Check::Exec(exec) => run(&exec.command).await,
                Check::Network(action) => {
                    let answer = status::perform(action, &HeaderMap::new(), settings.instance_ip()).await;
                    let code = answer.map_err(|error| error.to_string())?;
                    // As for a kubelet: a redirection is an answer, too.
                    let good = code.is_success() || code.is_redirection();
                    if good { Ok(()) } else { Err(format!("the application answered {code}")) }
                }
            }
        };
        let late = |_elapsed| Err(format!("no answer within {:?}", self.timeout()));
        tokio::time::timeout(self.timeout(), attempt).await.unwrap_or_else(late)
    }
}

async fn run(command: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else { return Err("the command is empty".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let ended = command.status().await.map_err(|error| format!("cannot start {program:?}: {error}"))?;
    if ended.success() { Ok(()) } else { Err(format!("{program:?} ended with {ended}")) }
}

/// Counts attempts until they mean something.
#[derive(Debug)]
struct Thresholds {
    success: u32,
    failure: u32,
    successes: u32,
    failures: u32,
    verdict: Verdict,
}

impl Thresholds {
    fn new(probe: &Probe) -> Self {
        let at_least_one = |given: u32| given.max(1);
        Self {
            success: at_least_one(probe.success_threshold),
            failure: at_least_one(probe.failure_threshold),
            successes: 0,
            failures: 0,
            verdict: None,
        }
    }

    /// Takes an attempt; returns the verdict where it has turned.
    fn take(&mut self, attempt: Result<(), String>) -> Option<Result<(), String>> {
        let reached = match &attempt {
            Ok(()) => {
                (self.successes, self.failures) = (self.successes + 1, 0);
                self.successes >= self.success
            }
            Err(_) => {
                (self.successes, self.failures) = (0, self.failures + 1);
                self.failures >= self.failure
            }
        };
        let turned = self.verdict.as_ref().is_none_or(|verdict| verdict.is_ok() != attempt.is_ok());
        if !reached || !turned {
            return None;
        }
        self.verdict = Some(attempt.clone());
        Some(attempt)
    }
}

/// Probes for ever, and publishes when the verdict turns.
pub async fn watch(settings: Arc<Settings>, probe: Probe, verdict: watch::Sender<Verdict>) {
    let first = Instant::now() + Duration::from_secs(probe.initial_delay_seconds);
    let mut next = tokio::time::interval_at(first, probe.period());
    next.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut thresholds = Thresholds::new(&probe);
    loop {
        next.tick().await;
        let Some(turned) = thresholds.take(probe.attempt(&settings).await) else { continue };
        match &turned {
            Ok(()) => info!("the application is healthy"),
            Err(reason) => warn!(reason, "the application is not healthy"),
        }
        verdict.send_replace(Some(turned));
    }
}

/// The message for the control plane.
#[must_use]
pub fn message(verdict: &Result<(), String>) -> Bytes {
    let error_detail = verdict.as_ref().err().map(|reason| rpc::Status {
        code: INTERNAL,
        message: reason.clone(),
        ..Default::default()
    });
    let request = DeltaDiscoveryRequest { type_url: HEALTH_INFORMATION.to_owned(), error_detail, ..Default::default() };
    request.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;
    use crate::settings::Role;

    fn probe(value: Value) -> Probe {
        serde_json::from_value(value).unwrap()
    }

    fn settings() -> Settings {
        let environment = [("POD_NAME", "vm1"), ("POD_NAMESPACE", "ns"), ("INSTANCE_IP", "127.0.0.1")];
        let environment: BTreeMap<String, String> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::from_environment(Role::Sidecar, None, &environment).unwrap()
    }

    #[test]
    fn a_verdict_turns_when_its_threshold_is_reached() {
        let mut thresholds =
            Thresholds::new(&probe(json!({"tcpSocket": {"port": 1}, "successThreshold": 2, "failureThreshold": 3})));
        let bad = || Err("refused".to_owned());
        assert_eq!(thresholds.take(Ok(())), None);
        assert_eq!(thresholds.take(bad()), None);
        assert_eq!(thresholds.take(Ok(())), None);
        assert_eq!(thresholds.take(Ok(())), Some(Ok(())));
        assert_eq!(thresholds.take(Ok(())), None, "nothing new");
        assert_eq!((thresholds.take(bad()), thresholds.take(bad())), (None, None));
        assert_eq!(thresholds.take(bad()), Some(bad()));
    }

    #[test]
    fn without_thresholds_one_attempt_is_enough() {
        let mut thresholds = Thresholds::new(&probe(json!({"exec": {"command": ["true"]}})));
        assert_eq!(thresholds.take(Err("no".to_owned())), Some(Err("no".to_owned())));
        assert_eq!(thresholds.take(Ok(())), Some(Ok(())));
    }

    #[tokio::test]
    async fn commands_and_connections_are_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = settings();
        let connects = probe(json!({"tcpSocket": {"port": port}}));
        assert_eq!(connects.attempt(&settings).await, Ok(()));
        drop(listener);
        assert!(connects.attempt(&settings).await.unwrap_err().contains("cannot connect"));
        assert_eq!(probe(json!({"exec": {"command": ["true"]}})).attempt(&settings).await, Ok(()));
        assert!(probe(json!({"exec": {"command": ["false"]}})).attempt(&settings).await.is_err());
        let late = probe(json!({"exec": {"command": ["sleep", "60"]}, "timeoutSeconds": 1}));
        assert!(late.attempt(&settings).await.unwrap_err().contains("no answer within"));
    }

    #[test]
    fn a_probe_without_a_check_is_refused() {
        assert!(serde_json::from_value::<Probe>(json!({"periodSeconds": 1})).is_err());
    }

    #[test]
    fn the_message_is_istios() {
        let message = |verdict| DeltaDiscoveryRequest::decode(super::message(&verdict)).unwrap();
        assert_eq!(message(Ok(())).type_url, "type.googleapis.com/istio.v1.HealthInformation");
        assert_eq!(message(Ok(())).error_detail, None);
        assert_eq!(message(Err("refused".to_owned())).error_detail.unwrap().message, "refused");
    }
}
