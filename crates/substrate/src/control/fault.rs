//! One fault of a client: what it is, since when, until when, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use substrate_api::{ApiServer, Pause};
use substrate_config::control::{FaultState, HealedBy, Healing};
use substrate_node::fabric::{LinkFault, Links};
use tokio::time::Instant;

/// How long a server may take to answer again after its pause.
const ANSWER: Duration = Duration::from_secs(5);

/// A fault that could not be ended at its time is ended again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// What is in force.
pub(super) enum Running {
    /// Between networks.
    Link(LinkFault),
    /// An API server is paused.
    Pause { server: Arc<ApiServer>, pause: Pause },
}

/// See the module.
pub(super) struct Fault {
    since: Instant,
    until: Instant,
    condition: Condition,
}

enum Condition {
    Running(Running),
    /// What was seen when it ended.
    Ended(FaultState),
}

impl Fault {
    pub(super) fn new(running: Running, limit: Duration) -> Self {
        let since = Instant::now();
        Self { since, until: since + limit, condition: Condition::Running(running) }
    }

    /// When it has to end; `None` where it has ended.
    pub(super) fn until(&self) -> Option<Instant> {
        matches!(self.condition, Condition::Running(_)).then_some(self.until)
    }

    pub(super) async fn state(&self, links: &Links) -> FaultState {
        let running = match &self.condition {
            Condition::Ended(state) => return state.clone(),
            Condition::Running(running) => running,
        };
        match touched(running, links).await {
            Ok(touched) => {
                FaultState::Active { remaining_milliseconds: milliseconds(self.until - Instant::now()), touched }
            }
            Err(message) => FaultState::NotHealed { message },
        }
    }

    /// Ends it where it has not ended before. One that could not be ended can be asked again.
    pub(super) async fn end(&mut self, by: HealedBy, links: &Links) -> FaultState {
        let ended = match &mut self.condition {
            Condition::Ended(state) => return state.clone(),
            Condition::Running(Running::Link(fault)) => end_link(fault, links).await,
            Condition::Running(Running::Pause { server, pause }) => {
                let (server, touched) = (server.clone(), pause.held());
                // Whatever is seen of it, the pause itself ends here.
                self.condition = Condition::Ended(FaultState::NotHealed { message: "it is ending".to_owned() });
                answers_again(&server).await.map(|evidence| (touched, evidence))
            }
        };
        let state = match ended {
            Ok((touched, evidence)) => {
                let lasted_milliseconds = milliseconds(self.since.elapsed());
                FaultState::Healed { healing: Healing { by, lasted_milliseconds, touched, evidence } }
            }
            Err(message) => FaultState::NotHealed { message },
        };
        if matches!((&state, &self.condition), (FaultState::NotHealed { .. }, Condition::Running(_))) {
            self.until = Instant::now() + AGAIN;
        } else {
            self.condition = Condition::Ended(state.clone());
        }
        state
    }
}

async fn touched(running: &Running, links: &Links) -> Result<u64, String> {
    match running {
        Running::Link(fault) => links.touched(fault).await.map_err(|error| error.to_string()),
        Running::Pause { pause, .. } => Ok(pause.held()),
    }
}

async fn end_link(fault: &LinkFault, links: &Links) -> Result<(u64, String), String> {
    links.end(fault).await.map(|ended| (ended.touched, ended.evidence)).map_err(|error| error.to_string())
}

/// Asks the server itself, the way everybody does.
async fn answers_again(server: &Arc<ApiServer>) -> Result<String, String> {
    let client = server.client("system:control", &["system:masters"]);
    let asked = tokio::time::timeout(ANSWER, client.apiserver_version().boxed()).await;
    match asked {
        Ok(Ok(version)) => Ok(format!("the API server answers again (version {})", version.git_version)),
        Ok(Err(error)) => Err(format!("the API server does not answer: {error}")),
        Err(_) => Err(format!("the API server did not answer within {} s", ANSWER.as_secs())),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
