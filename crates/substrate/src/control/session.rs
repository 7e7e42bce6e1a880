//! One connection of the control socket. Whatever was started over it ends with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use substrate_api::ApiServer;
use substrate_config::control::{ControlRequest, ControlResponse, HealedBy, Link};
use substrate_node::fabric::{Effect, LinkTap};
use substrate_node::machine::Machine;
use substrate_node::runtime::ExecSession;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::fault::{Fault, Running};
use super::{Control, attached, capabilities};

/// A client that does not take its answer for so long counts as gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Session {
    control: Arc<Control>,
    last: u64,
    faults: BTreeMap<u64, Fault>,
    /// They end when they are dropped.
    taps: BTreeMap<u64, LinkTap>,
}

impl Session {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self { control, last: 0, faults: BTreeMap::new(), taps: BTreeMap::new() }
    }

    /// Serves the connection to its end, and then ends what it has left.
    pub(super) async fn run(mut self, stream: UnixStream) {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        loop {
            let line = match self.next_limit() {
                None => lines.next_line().await,
                Some(at) => match timeout_at(at, lines.next_line()).await {
                    Ok(line) => line,
                    Err(_) => {
                        self.end_expired().await;
                        continue;
                    }
                },
            };
            let Ok(Some(line)) = line else { break };
            let response = match serde_json::from_str(&line) {
                Ok(ControlRequest::Attach { name, program, command, stdin }) => {
                    match self.attach(&name, &program, command, stdin).await {
                        Ok(session) => {
                            attached::serve(session, lines.into_inner(), writer).await;
                            break;
                        }
                        Err(message) => refused(message),
                    }
                }
                Ok(request) => self.answer(request).await,
                Err(error) => refused(format!("this is no request: {error}")),
            };
            let mut text = serde_json::to_vec(&response).expect("invariant: plain data serialises");
            text.push(b'\n');
            if !matches!(timeout(PATIENCE, writer.write_all(&text)).await, Ok(Ok(()))) {
                break;
            }
        }
        self.end_all().await;
    }

    async fn answer(&mut self, request: ControlRequest) -> ControlResponse {
        self.end_expired().await;
        self.serve(request).await.unwrap_or_else(refused)
    }

    async fn serve(&mut self, request: ControlRequest) -> Result<ControlResponse, String> {
        match request {
            ControlRequest::Capabilities => {
                let capabilities = capabilities::all(&self.control.links).await;
                Ok(ControlResponse::Capabilities { capabilities })
            }
            ControlRequest::Cut { link, limit_milliseconds } => {
                self.start_link(&link, Effect::Cut, limit_milliseconds).await
            }
            ControlRequest::PauseApiServer { cluster, limit_milliseconds } => self.pause(&cluster, limit_milliseconds),
            ControlRequest::Revert { lease } => {
                let control = self.control.clone();
                let state = self.fault(lease)?.end(HealedBy::Request, &control.links).await;
                Ok(ControlResponse::State { state })
            }
            ControlRequest::Status { lease } => {
                let control = self.control.clone();
                let state = self.fault(lease)?.state(&control.links).await;
                Ok(ControlResponse::State { state })
            }
            ControlRequest::Counters => {
                let routers = self.control.links.counters().await.map_err(|error| error.to_string())?;
                Ok(ControlResponse::Counters { routers })
            }
            ControlRequest::Delay { link, milliseconds, jitter_milliseconds, limit_milliseconds } => {
                let [delay, jitter] =
                    [milliseconds, jitter_milliseconds].map(|part| Duration::from_millis(part.into()));
                self.start_link(&link, Effect::Delay { delay, jitter }, limit_milliseconds).await
            }
            ControlRequest::Loss { link, percent, limit_milliseconds } => {
                self.start_link(&link, Effect::Loss { chance: percent / 100.0 }, limit_milliseconds).await
            }
            ControlRequest::ExpiredToken { cluster, namespace, account, audience } => {
                let token = self.server(&cluster)?.expired_token(&namespace, &account, &audience);
                let none = || format!("{cluster} has no ServiceAccount {namespace}/{account}");
                Ok(ControlResponse::Token { token: token.ok_or_else(none)? })
            }
            ControlRequest::Machine { name, action } => {
                let machine = self.machine(&name)?;
                // On a task of its own: a client that goes away does not leave a host half started.
                let acted = tokio::spawn(async move { machine.act(action).await }).await;
                let answer = acted.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
                Ok(ControlResponse::Machine { answer })
            }
            // It takes the connection over, so that nothing else can be answered here.
            ControlRequest::Attach { .. } => Err("this connection is not free to be attached".to_owned()),
            ControlRequest::Tap { from, to, markers, file, limit_bytes } => {
                let tap = self.control.links.tap([&from, &to], &markers, &file, limit_bytes).await;
                let tap = tap.map_err(|error| error.to_string())?;
                self.last += 1;
                self.taps.insert(self.last, tap);
                Ok(ControlResponse::Started { lease: self.last })
            }
            ControlRequest::TapStop { lease } => {
                let tap = self.taps.remove(&lease).ok_or_else(|| format!("this connection has no tap {lease}"))?;
                let stopped = tokio::task::spawn_blocking(move || tap.stop()).await;
                let report = stopped.map_err(|error| error.to_string())?;
                let report =
                    report.map_err(|error| format!("the tap failed, and what it saw is incomplete: {error}"))?;
                Ok(ControlResponse::Tap { report })
            }
        }
    }

    fn machine(&self, name: &str) -> Result<Arc<Machine>, String> {
        self.control.machines.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.control.machines.keys().map(String::as_str).collect();
            format!("there is no machine {name:?}; there are {}", known.join(", "))
        })
    }

    async fn attach(
        &self,
        name: &str,
        program: &str,
        command: Vec<String>,
        stdin: bool,
    ) -> Result<ExecSession, String> {
        let attached = self.machine(name)?.attach(program, command, stdin).await;
        attached.map_err(|error| error.to_string())
    }

    async fn start_link(&mut self, link: &Link, effect: Effect, limit: u64) -> Result<ControlResponse, String> {
        let limit = positive(limit)?;
        let fault = self.control.links.start(link, effect).await.map_err(|error| error.to_string())?;
        Ok(self.lease(Fault::new(Running::Link(fault), limit)))
    }

    fn pause(&mut self, cluster: &str, limit: u64) -> Result<ControlResponse, String> {
        let limit = positive(limit)?;
        let server = self.server(cluster)?;
        let pause = server.pause().ok_or_else(|| format!("the API server of {cluster} is paused already"))?;
        Ok(self.lease(Fault::new(Running::Pause { server, pause }, limit)))
    }

    fn server(&self, cluster: &str) -> Result<Arc<ApiServer>, String> {
        self.control.servers.get(cluster).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.control.servers.keys().map(String::as_str).collect();
            format!("there is no cluster {cluster:?}; there are {}", known.join(", "))
        })
    }

    fn lease(&mut self, fault: Fault) -> ControlResponse {
        self.last += 1;
        self.faults.insert(self.last, fault);
        ControlResponse::Started { lease: self.last }
    }

    fn fault(&mut self, lease: u64) -> Result<&mut Fault, String> {
        self.faults.get_mut(&lease).ok_or_else(|| format!("this connection has no fault {lease}"))
    }

    fn next_limit(&self) -> Option<Instant> {
        self.faults.values().filter_map(Fault::until).min()
    }

    async fn end_expired(&mut self) {
        let now = Instant::now();
        for (lease, fault) in &mut self.faults {
            if fault.until().is_some_and(|until| until <= now) {
                let state = fault.end(HealedBy::Limit, &self.control.links).await;
                tracing::info!(lease, ?state, "a fault has reached its time limit");
            }
        }
    }

    async fn end_all(mut self) {
        for (lease, fault) in &mut self.faults {
            if fault.until().is_some() {
                let state = fault.end(HealedBy::Request, &self.control.links).await;
                tracing::info!(lease, ?state, "a fault has ended with its client");
            }
        }
    }
}

fn positive(limit: u64) -> Result<Duration, String> {
    if limit == 0 { Err("a fault needs a time limit above 0".to_owned()) } else { Ok(Duration::from_millis(limit)) }
}

fn refused(message: String) -> ControlResponse {
    ControlResponse::Refused { message }
}
