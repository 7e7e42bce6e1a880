//! Where a failure likely comes from: network, gateway, remote secret, endpoints, certificate, route, application.
//!
//! A guess from the figures and sentences that the events carry, made to tell people where to look first. It is never a
//! part of a verdict, it says on what it is founded, and where nothing points anywhere it says nothing.

mod evidence;
mod requests;

use super::event::{CheckReport, StepOutcome};
use super::figures::{Sign, SignKind, Situation};
use super::outcome::RunOutcome;
use super::record::{Record, ScenarioRecord, StepRecord};
use super::words::quoted;
use verdict::Outcome;

/// A layer of a mesh, from the wire up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Links and routes between networks.
    Network,
    /// A gateway between networks.
    Gateway,
    /// What a control plane may read of another cluster.
    RemoteSecret,
    /// Pods behind a service, as proxies know them.
    Endpoints,
    /// Identities and mutual TLS.
    Certificate,
    /// Routes, weights and policies.
    Route,
    /// The program that answers.
    Application,
}

impl Layer {
    /// The word used in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Gateway => "gateway",
            Self::RemoteSecret => "remote secret",
            Self::Endpoints => "endpoints",
            Self::Certificate => "certificate",
            Self::Route => "route",
            Self::Application => "application",
        }
    }

    /// What to look at first.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Network => "look at links, routes and addresses between client and server",
            Self::Gateway => "look at the listeners, filter chains and clusters of the gateway's proxy",
            Self::RemoteSecret => "look at the remote secrets and at what the control plane watches",
            Self::Endpoints => "look at the EndpointSlices and at the endpoints that the client's proxy holds",
            Self::Certificate => "look at PeerAuthentication, DestinationRule and the certificates of both proxies",
            Self::Route => {
                "look at VirtualService and DestinationRule, and at the routes that the client's proxy holds"
            }
            Self::Application => "look at the logs of the application",
        }
    }
}

/// A layer, and on what the guess is founded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// The layer.
    pub layer: Layer,
    /// The observation that points at it.
    pub because: String,
}

impl Guess {
    fn new(layer: Layer, because: impl Into<String>) -> Self {
        Self { layer, because: because.into() }
    }
}

/// A step that did not pass, and what was out of order around it.
struct Scene<'record> {
    step: &'record StepRecord,
    situation: Option<&'record Situation>,
}

impl Scene<'_> {
    /// Kinds of signs from the wire up: what is broken below explains what does not work above.
    const LAYERS: [(SignKind, Layer); 5] = [
        (SignKind::LinkDisturbed, Layer::Network),
        (SignKind::GatewayDown, Layer::Gateway),
        (SignKind::ClusterNotWatched, Layer::RemoteSecret),
        (SignKind::WorkloadCrashes, Layer::Application),
        (SignKind::WorkloadDown, Layer::Endpoints),
    ];

    /// Kinds of signs of the step's own requests, when they were asked again.
    const OF_REQUESTS: [(SignKind, Layer); 5] = [
        (SignKind::PlaintextRefused, Layer::Certificate),
        (SignKind::CertificateRefused, Layer::Certificate),
        (SignKind::ServerNameWrong, Layer::Certificate),
        (SignKind::ServerNameUnknown, Layer::Gateway),
        (SignKind::HandshakeBroken, Layer::Certificate),
    ];

    /// The lowest of the signs that explain what was seen.
    fn sign(&self, explains: impl Fn(&Sign) -> bool) -> Option<Guess> {
        self.first(&Self::LAYERS, explains)
    }

    /// What proxies on the way counted of the step's own requests.
    fn sign_of_requests(&self) -> Option<Guess> {
        self.first(&Self::OF_REQUESTS, |_| true)
    }

    fn first(&self, kinds: &[(SignKind, Layer)], explains: impl Fn(&Sign) -> bool) -> Option<Guess> {
        let signs = &self.situation?.signs;
        kinds.iter().find_map(|(kind, layer)| {
            let sign = signs.iter().find(|sign| sign.kind == *kind && explains(sign))?;
            Some(Guess::new(*layer, sign.what.clone()))
        })
    }

    /// Whether everything was looked at and nothing was out of order.
    fn is_in_order(&self) -> bool {
        self.situation.is_some_and(|seen| seen.signs.is_empty() && seen.unseen.is_empty())
    }

    /// Cluster that requests came from.
    fn source_cluster(&self) -> Option<&str> {
        self.step.traffic.first().map(|traffic| traffic.from_cluster.as_str())
    }

    /// Whether a workload stands behind the service that was asked: its name begins with the service's.
    fn is_asked(&self, workload: &str) -> bool {
        let url = self.step.traffic.first().map(|traffic| traffic.url.as_str()).unwrap_or_default();
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let service = host.split(['.', ':', '/']).next().unwrap_or_default();
        let rest = workload.strip_prefix(service);
        !service.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// Something that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where: scenario and step, or "environment".
    pub place: String,
    /// The scenario and the id of the step; `None` for failures of the environment.
    pub step: Option<(String, String)>,
    /// Whether it is refuted, not decided, or could not be carried out.
    pub word: &'static str,
    /// What is wrong, as a sentence.
    pub cause: String,
    /// More sentences.
    pub evidence: Vec<String>,
    /// The likely layer.
    pub layer: Option<Layer>,
    /// On what the guess is founded.
    pub because: Option<String>,
    /// The command that runs exactly this again.
    pub reproduce: Option<String>,
}

/// Everything that did not pass in a run, in the order of the run.
#[must_use]
pub fn failures(record: &Record) -> Vec<Failure> {
    let of_environment = record.failures.iter().map(|failure| {
        let guess = evidence::of_message(&failure.message);
        Failure {
            place: "environment".to_owned(),
            step: None,
            word: "ERROR",
            cause: failure.message.clone(),
            evidence: failure
                .cure
                .iter()
                .map(|cure| format!("help: {cure}"))
                .chain(failure.evidence.iter().cloned())
                .collect(),
            layer: guess.as_ref().map(|guess| guess.layer),
            because: guess.map(|guess| guess.because),
            reproduce: None,
        }
    });
    let of_scenarios = record.scenarios.iter().flat_map(|scenario| of_scenario(record, scenario));
    of_environment.chain(of_scenarios).collect()
}

fn of_scenario<'record>(
    record: &'record Record,
    scenario: &'record ScenarioRecord,
) -> impl Iterator<Item = Failure> + 'record {
    let broken_parts = scenario.steps.iter().filter(|step| step.is_part_of_control());
    let steps = scenario.leaves().chain(broken_parts).filter(|step| is_trouble(record, step));
    steps.map(move |step| of_step(record, scenario, step))
}

fn is_trouble(record: &Record, step: &StepRecord) -> bool {
    match &step.outcome {
        Some(StepOutcome::Failed | StepOutcome::Inconclusive | StepOutcome::Errored { .. }) => true,
        Some(StepOutcome::Passed | StepOutcome::Skipped { .. }) => false,
        // Of a run that goes on nothing has failed yet.
        None => record.outcome.is_some(),
    }
}

fn of_step(record: &Record, scenario: &ScenarioRecord, step: &StepRecord) -> Failure {
    let bad = step.checks.iter().find(|check| check.outcome == Outcome::Fail);
    let check = bad.or_else(|| step.checks.iter().find(|check| check.outcome != Outcome::Pass));
    let (cause, mut evidence) = match (&step.outcome, check) {
        (Some(StepOutcome::Errored { message }), _) => (message.clone(), Vec::new()),
        (_, Some(check)) => split_first(&check.evidence, &check.name),
        (None, None) => ("did not finish".to_owned(), Vec::new()),
        (_, None) => split_first(&step.evidence, "did not pass"),
    };
    evidence.extend(check.and_then(|check| check.location.as_ref()).map(|location| format!("expected at {location}")));
    let signs = scenario.situation.iter().flat_map(|situation| &situation.signs);
    evidence.extend(signs.map(|sign| format!("out of order: {}", sign.what)));
    let guess = guess(scenario, step, check);
    Failure {
        place: format!("{}, step {} {}", scenario.name, step.id, step.name),
        step: Some((scenario.name.clone(), step.id.clone())),
        word: step.outcome.as_ref().map_or("ERROR", StepOutcome::word),
        cause: check
            .filter(|_| !matches!(step.outcome, Some(StepOutcome::Errored { .. })))
            .map_or(cause.clone(), |check| format!("{}: {cause}", check.name)),
        evidence,
        layer: guess.as_ref().map(|guess| guess.layer),
        because: guess.map(|guess| guess.because),
        reproduce: Some(reproduce(record, scenario)),
    }
}

fn split_first(sentences: &[String], otherwise: &str) -> (String, Vec<String>) {
    match sentences.split_first() {
        Some((first, rest)) => (first.clone(), rest.to_vec()),
        None => (otherwise.to_owned(), Vec::new()),
    }
}

/// The likely layer of a step that did not pass: what its checks say, the one that failed first.
#[must_use]
pub fn guess(scenario: &ScenarioRecord, step: &StepRecord, check: Option<&CheckReport>) -> Option<Guess> {
    if let Some(StepOutcome::Errored { message }) = &step.outcome {
        return evidence::of_message(message);
    }
    let scene = Scene { step, situation: scenario.situation.as_ref() };
    // An answer that is missing explains a split that is off, not the other way round.
    let failed = || step.checks.iter().filter(|check| check.outcome != Outcome::Pass);
    let first = failed().find(|check| check.name.starts_with("answered"));
    let guessed = first.into_iter().chain(check).chain(failed()).find_map(|check| evidence::of_check(&scene, check));
    // A step without expectations fails because a proxy refused what it was given.
    guessed.or_else(|| step.evidence.iter().find_map(|sentence| evidence::of_message(sentence)))
}

/// The command that runs one scenario again, as this run did.
#[must_use]
pub fn reproduce(record: &Record, scenario: &ScenarioRecord) -> String {
    // A test program names its test itself.
    if record.command.starts_with("cargo ") {
        return record.command.clone();
    }
    let file = quoted(&scenario.file);
    let by_name = if scenario.file.is_empty() { format!("-E 'name({})'", scenario.catalogue_name()) } else { file };
    if record.command == "run" && record.outcome != Some(RunOutcome::EnvironmentFailed) {
        let environment = scenario.environment.as_ref().unwrap_or(&record.environment);
        format!("cargo xtask run {by_name} --name {}", quoted(environment))
    } else {
        format!("cargo xtask e2e {by_name}")
    }
}

#[cfg(test)]
mod tests;
