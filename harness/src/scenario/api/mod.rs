//! Scenarios written in Rust: the same steps as in YAML, checked and run in the same way.
//!
//! A step is the type that the YAML form is read into ([`super::file`]), so whatever can be written there can be written
//! here, and nothing else. What a scenario in a file says with `parameters` and `matrix` are variables and cases of a test
//! here. Mistakes are reported where the step or the expectation was written.
//!
//! ```
//! use meshproof::cli::files;
//! use meshproof::scenario::api::{Expect, Object, Scenario, Split, Step, Traffic, Workload};
//! use serde_json::json;
//!
//! let all_to_v3 = json!({
//!     "apiVersion": "networking.istio.io/v1",
//!     "kind": "VirtualService",
//!     "metadata": { "name": "reviews", "namespace": "bookinfo" },
//!     "spec": { "hosts": ["reviews"], "http": [{ "route": [{ "destination": { "host": "reviews", "subset": "v3" } }] }] },
//! });
//! let probe = Workload::new("cluster1", "probe").in_namespace("bookinfo");
//! let scenario = Scenario::new("all-to-v3", "Every request goes to v3.")
//!     .tag("traffic-shift")
//!     .step(
//!         Step::apply(["cluster1"], [&all_to_v3])
//!             .cleanup(Step::delete(["cluster1"], [Object::of(&all_to_v3)])),
//!     )
//!     .step(Step::converge())
//!     .step(
//!         Step::traffic(Traffic::new(probe, "http://reviews:9080/reviews/0"))
//!             .expect(Expect::answered())
//!             .expect(Split::new("version", [("v3", 100.0)], 5.0)),
//!     );
//! let topology = files::topology("../scenarios/topologies/two-clusters.yaml".into())?;
//! let plan = files::written(&scenario, &topology)?;
//! assert_eq!(plan.name, "all-to-v3");
//! # Ok::<(), meshproof::cli::files::Error>(())
//! ```

mod places;
mod short;
mod step;
#[cfg(test)]
mod tests;

use std::panic::Location;

use super::check::{self, Checked, ReadFile};
use super::file::{ScenarioFile, ScenarioKind, StepFile};
use super::suite::Defaults;
use crate::diagnostic::tree::Path;
use crate::topology::file::ApiVersion;
use places::Places;

pub use super::file::{
    ApplyFile as Apply, BackgroundFile as Background, BudgetFile as Budget, ConditionFile as Condition,
    ConfigFile as Config, ConnectFile as Connect, ConvergeFile as Converge, DelayFile as Delay, DeleteFile as Delete,
    DeniedFile as Denied, ErrorsFile as Errors, ExecFile as Exec, ExpectFile as Expect, FailoverFile as Failover,
    FailuresFile as Failures, FaultFile as Fault, GatewayFile as Gateway, HealFile as Heal, IdentityFile as Identity,
    LinkFaultFile as LinkFault, LinkFile as Link, LossFile as Loss, MtlsFile as Mtls, ObjectFile as Object,
    OnboardFile as Onboard, PatchFile as Patch, PauseFile as Pause, ProgramOnFile as ProgramOn, RefutedFile as Refuted,
    RefutedSomeFile as RefutedSome, RegisterFile as Register, RestartFile as Restart, ScaleFile as Scale,
    SourcesFile as Sources, SplitFile as Split, TrafficFile as Traffic, WaitFile as Wait, WorkloadFile as Workload,
};
pub use super::keys::{
    Capability, CertificateKind, ConnectionOutcome, DenialReason, FailureReason, LinkDirection, TokenKind,
};
pub use step::{Control, Step};

/// A scenario, and where its parts were written.
#[derive(Clone, Debug)]
pub struct Scenario {
    file: ScenarioFile,
    places: Places,
}

impl Scenario {
    /// A scenario without steps: its name (lower-case letters, digits and `-`), and what it shows, in a sentence.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        let file = ScenarioFile {
            api_version: ApiVersion::V1Alpha1,
            kind: ScenarioKind::Scenario,
            name: name.into(),
            description: description.into(),
            topology: String::new(),
            tags: Vec::new(),
            parameters: std::collections::BTreeMap::new(),
            matrix: std::collections::BTreeMap::new(),
            requires: Vec::new(),
            budget: Budget::default(),
            steps: Vec::new(),
            finally: Vec::new(),
        };
        Self { file, places: Places::of(Location::caller()) }
    }

    /// Adds a word to select it by.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.file.tags.push(tag.into());
        self
    }

    /// Adds what the environment must be able to do.
    #[must_use]
    pub fn requires(mut self, capability: Capability) -> Self {
        self.file.requires.push(capability);
        self
    }

    /// Sets the most that it may take.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.file.budget = budget;
        self
    }

    /// Adds what is done next.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        add(&mut self.places, &Path::root().key("steps"), &mut self.file.steps, step);
        self
    }

    /// Adds what is done afterwards, whatever happened.
    #[must_use]
    pub fn finally(mut self, step: Step) -> Self {
        add(&mut self.places, &Path::root().key("finally"), &mut self.file.finally, step);
        self
    }

    /// Checks it as a file is checked. `given` has the topology, for a scenario in Rust names none; `files` gives the files
    /// that it applies, and for messages the source that it was written in.
    #[must_use]
    pub fn check(&self, given: &Defaults, files: &dyn ReadFile) -> Checked {
        check::of_document(&self.places.document(&self.file, files), given, files)
    }
}

fn add(places: &mut Places, list: &Path, files: &mut Vec<StepFile>, step: Step) {
    let (file, inner) = step.into_parts();
    places.put(&list.index(files.len()), inner);
    files.push(file);
}
