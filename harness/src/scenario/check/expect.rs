//! Expectations: that they fit their step, that a sample can decide them, and how large it must be.

use verdict::{ErrorRates, PlanError, RatePlan, SplitPlan, Target, text};

use super::config::held_listener;
use super::context::Context;
use super::reachability::exceptions;
use crate::diagnostic::suggest;
use crate::diagnostic::tree::Path;
use crate::scenario::file::{AnsweredFile, ExpectFile, FailuresFile, SplitFile};
use crate::scenario::keys::{FAILED, SplitKey};
use crate::scenario::plan::{Check, Expectation, Failures, Split};
use crate::topology::{Vm, Workload};

/// Which kind of step an expectation stands under.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Measurement {
    Traffic,
    /// Traffic in the background, when it is stopped.
    Background,
    Connect,
    /// Clusters, routes and listeners of a proxy.
    Config,
    /// What a proxy says at a path.
    ConfigAt,
    Reachability,
}

impl Measurement {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Traffic => {
                &["answered", "errors", "split", "mtls", "identity", "failures", "denied", "latency", "headers", "cel"]
            }
            Self::Background => &["failover", "answered", "identity", "latency", "cel"],
            Self::Connect => &["connection", "reached", "denied", "cel"],
            Self::Config => &["cluster", "route", "listener", "cel"],
            Self::ConfigAt => &["cel"],
            Self::Reachability => &["reachable"],
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Background => "stop",
            Self::Connect => "connect",
            Self::Config => "config",
            Self::ConfigAt => "config with a path",
            Self::Reachability => "reachability",
        }
    }
}

impl Context<'_> {
    pub(super) fn expectations(
        &mut self,
        path: &Path,
        files: Option<&[ExpectFile]>,
        measurement: Measurement,
    ) -> Vec<Expectation> {
        let files = files.unwrap_or_default();
        if files.is_empty() {
            let (place, word) = (path.split_last().map_or_else(Path::root, |(step, _)| step), measurement.word());
            self.error(&place, format!("this `{word}` expects nothing, so it proves nothing")).help("add `expect`");
        }
        let mut expectations = Vec::new();
        for (index, file) in files.iter().enumerate() {
            expectations.extend(self.expectation(&path.index(index), file, measurement));
        }
        expectations
    }

    fn expectation(&mut self, path: &Path, file: &ExpectFile, measurement: Measurement) -> Option<Expectation> {
        let keys = given(file);
        let [name] = keys.as_slice() else {
            let message =
                if keys.is_empty() { "this expectation is empty" } else { "this is more than one expectation" };
            self.error(path, message)
                .help(format!("write one of `{}` for each entry", measurement.keys().join("`, `")));
            return None;
        };
        let (path, beside) = (path.key(*name), path.key("from"));
        if !measurement.keys().contains(name) {
            let message = format!("`{name}` cannot be expected of `{}`", measurement.word());
            self.key_error(&path, message).help(format!("possible here: `{}`", measurement.keys().join("`, `")));
            return None;
        }
        let from = match &file.from {
            Some(from) if matches!(measurement, Measurement::Traffic) => Some(self.workload(&beside, from)?),
            Some(_) => {
                let message = format!("`{}` has no sources to choose from", measurement.word());
                self.key_error(&beside, message).help("leave `from` out");
                None
            }
            None => None,
        };
        let check = self.one_check(&path, file, measurement)?;
        let location = self.document.key_location(&path);
        Some(Expectation { name: (*name).to_owned(), location, from, check })
    }

    fn one_check(&mut self, path: &Path, file: &ExpectFile, measurement: Measurement) -> Option<Check> {
        if let Some(AnsweredFile::All) = file.answered {
            return Some(Check::Answered(RatePlan { limit: 0.0, alpha: ErrorRates::default().false_pass }));
        }
        if let Some(split) = &file.split {
            return self.split(path, split).map(Check::Split);
        }
        if let Some(mtls) = &file.mtls {
            return Some(Check::MutualTls(self.mtls(path, mtls)));
        }
        if let Some(failures) = &file.failures {
            return Some(Check::Failures(self.failures(path, failures)));
        }
        if let Some(errors) = &file.errors {
            return self.errors(path, errors).map(Check::Answered);
        }
        if let Some(identity) = &file.identity {
            return self.both_identities(path, identity).map(Check::Identity);
        }
        if let Some(denied) = &file.denied {
            return self.denied(path, denied, measurement).map(Check::Denied);
        }
        if let Some(failover) = &file.failover {
            return self.failover(path, failover).map(Check::Failover);
        }
        if let Some(latency) = &file.latency {
            return self.latency(path, latency).map(Check::Latency);
        }
        if let Some(text) = &file.cel {
            return self.expression(path, text, measurement).map(Check::Cel);
        }
        if let Some(headers) = &file.headers {
            return self.headers(path, headers).map(Check::Headers);
        }
        if let Some(cluster) = &file.cluster {
            return self.held_cluster(path, cluster).map(Check::Holds);
        }
        if let Some(route) = &file.route {
            return Some(Check::Holds(self.held_route(path, route)));
        }
        if let Some(listener) = &file.listener {
            return Some(Check::Holds(held_listener(listener)));
        }
        if let Some(reachable) = &file.reachable {
            return Some(Check::Reachable(exceptions(reachable)));
        }
        if let Some(outcomes) = &file.connection {
            if outcomes.is_empty() {
                self.error(path, "no way to end is allowed");
            }
            return Some(Check::Connection(outcomes.clone()));
        }
        file.reached.map(Check::Reached)
    }

    fn split(&mut self, path: &Path, file: &SplitFile) -> Option<Split> {
        let by: SplitKey = match file.by.parse() {
            Ok(by) => by,
            Err(error @ super::super::keys::UnknownKey(_)) => {
                let known = ["version", "cluster", "network", "pod"];
                self.error(&path.key("by"), error.to_string()).help(suggest::help(&error.0, known));
                return None;
            }
        };
        let targets = self.targets(path, file)?;
        self.known_categories(path, file, &by);
        let default = ErrorRates::default();
        let rates = ErrorRates {
            false_fail: file.false_fail.unwrap_or(default.false_fail),
            false_pass: file.false_pass.unwrap_or(default.false_pass),
        };
        match SplitPlan::new(targets, file.margin, rates) {
            Ok(plan) => Some(Split { by, plan, early: None }),
            Err(error) => {
                self.impossible(path, &error);
                None
            }
        }
    }

    fn targets(&mut self, path: &Path, file: &SplitFile) -> Option<Vec<Target>> {
        match (file.weights.is_empty(), file.equal.is_empty()) {
            (false, true) => Some(
                file.weights
                    .iter()
                    .map(|(category, weight)| Target { category: category.clone(), weight: *weight })
                    .collect(),
            ),
            (true, false) => {
                let weight = 100.0 / file.equal.len() as f64;
                Some(file.equal.iter().map(|category| Target { category: category.clone(), weight }).collect())
            }
            (true, true) => {
                self.key_error(path, "this split has no categories").help("add `weights` or `equal`");
                None
            }
            (false, false) => {
                self.key_error(&path.key("equal"), "a split has either `weights` or `equal`, not both");
                None
            }
        }
    }

    /// A category that no workload of the topology can fall into is a slip of the pen.
    fn known_categories(&mut self, path: &Path, file: &SplitFile, by: &SplitKey) {
        use crate::scenario::keys::KeyPart;
        if by.parts().contains(&KeyPart::Pod) {
            return;
        }
        let topology = self.topology;
        let network = |workload: &Workload| match &workload.vm {
            Some(vm) => vm.network.clone(),
            None => topology.cluster(&workload.cluster).map_or_else(String::new, |cluster| cluster.network.clone()),
        };
        let known: std::collections::BTreeSet<String> = self
            .workloads
            .iter()
            .cloned()
            .chain(topology.vms.iter().map(Vm::workload))
            .map(|workload| {
                by.category(|part| match part {
                    KeyPart::Version => workload.version.clone().unwrap_or_default(),
                    KeyPart::Cluster => workload.place().to_owned(),
                    KeyPart::Network => network(&workload),
                    KeyPart::Pod => String::new(),
                })
            })
            .filter(|category| !category.is_empty() && !category.starts_with('@'))
            .chain([FAILED.to_owned()])
            .collect();
        let named = file.weights.keys().map(|category| (path.key("weights").key(category), category.clone()));
        let equal =
            file.equal.iter().enumerate().map(|(index, category)| (path.key("equal").index(index), category.clone()));
        for (path, category) in named.chain(equal).filter(|(_, category)| !known.contains(category)) {
            self.key_error(
                &path,
                format!("no workload of topology {} is in category `{category}` by {by}", topology.name),
            )
            .help(suggest::help(&category, known.iter().map(String::as_str)));
        }
    }

    pub(super) fn impossible(&mut self, path: &Path, error: &PlanError) {
        let message = error.to_string();
        match error {
            PlanError::WeightOutOfRange { category, .. } => {
                self.error(&path.key("weights").key(category), message);
            }
            PlanError::Sum { .. } => {
                self.key_error(&path.key("weights"), message).help("weights are percent of all requests");
            }
            PlanError::MarginHidesTarget { weight, .. } => {
                let help = format!("choose a margin below {}", text::points(*weight));
                self.error(&path.key("margin"), message).help(help);
            }
            PlanError::MarginOutOfRange { .. } | PlanError::TooManySamples { .. } => {
                self.error(&path.key("margin"), message);
            }
            PlanError::Duplicate { .. } | PlanError::NoCategories | PlanError::RateOutOfRange { .. } => {
                self.error(path, message);
            }
        }
    }

    pub(super) fn identity(&mut self, path: &Path, identity: &str) {
        let gateways = self.topology.mesh.gateways.iter();
        let domains = self.topology.trust_domains();
        let gateways = gateways.flat_map(|gateway| domains.iter().map(|domain| gateway.identity(domain)));
        let machines = self.topology.vms.iter().map(|vm| vm.identity.clone());
        let known: std::collections::BTreeSet<String> =
            self.workloads.iter().map(|workload| workload.identity.clone()).chain(gateways).chain(machines).collect();
        if !known.contains(identity) {
            self.error(
                path,
                format!("no workload or gateway of topology {} has identity `{identity}`", self.topology.name),
            )
            .help(suggest::help(identity, known.iter().map(String::as_str)));
        }
    }

    fn failures(&mut self, path: &Path, file: &FailuresFile) -> Failures {
        for (index, status) in file.status.iter().enumerate() {
            if !(100..600).contains(status) || *status == 200 {
                self.error(&path.key("status").index(index), format!("{status} is no HTTP status of a failure"));
            }
        }
        if file.status.is_empty() {
            self.key_error(path, "no status is named").help("add `status: [503]`");
        }
        Failures { status: file.status.clone(), at: self.gateway(&path.key("at"), &file.at), reason: file.reason }
    }
}

/// The keys that an expectation has, in their own words.
fn given(file: &ExpectFile) -> Vec<&'static str> {
    [
        ("answered", file.answered.is_some()),
        ("split", file.split.is_some()),
        ("mtls", file.mtls.is_some()),
        ("failures", file.failures.is_some()),
        ("failover", file.failover.is_some()),
        ("errors", file.errors.is_some()),
        ("identity", file.identity.is_some()),
        ("denied", file.denied.is_some()),
        ("latency", file.latency.is_some()),
        ("cel", file.cel.is_some()),
        ("connection", file.connection.is_some()),
        ("reached", file.reached.is_some()),
        ("reachable", file.reachable.is_some()),
        ("headers", file.headers.is_some()),
        ("cluster", file.cluster.is_some()),
        ("route", file.route.is_some()),
        ("listener", file.listener.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, there)| there.then_some(key))
    .collect()
}
