//! The kinds of assertion that the scenario language knows. A new one does not compile until it is named here, and the
//! shipped catalogue has to hold a control for each.

use super::plan::{Action, Check, Expectation, Step};

macro_rules! kinds {
    ($($(#[$doc:meta])+ $name:ident = $word:literal,)+) => {
        /// A kind of assertion.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])+ $name,)+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word used in files and reports.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

kinds! {
    /// Every request is answered.
    Answered = "answered",
    /// At most so many requests fail.
    Errors = "errors",
    /// Shares by weight.
    Split = "split",
    /// Mutual TLS between two identities.
    Mtls = "mtls",
    /// Who calls and who answers.
    Identity = "identity",
    /// Failures for one reason at a gateway.
    Failures = "failures",
    /// Refusals for one reason at a proxy.
    Denied = "denied",
    /// Times until an answer.
    Latency = "latency",
    /// A timeline through a fault.
    Failover = "failover",
    /// How a connection ends.
    Connection = "connection",
    /// Whether a pod is reached.
    Reached = "reached",
    /// Who reaches whom.
    Reachable = "reachable",
    /// What servers received and clients got back.
    Headers = "headers",
    /// An expression over what was measured.
    Cel = "cel",
    /// What a proxy holds.
    Config = "config",
}

impl Kind {
    /// Of an expectation of a step that measures.
    #[must_use]
    pub fn of(step: &Step, expectation: &Expectation) -> Self {
        match &expectation.check {
            Check::Answered(plan) if plan.limit > 0.0 => Self::Errors,
            Check::Answered(_) => Self::Answered,
            Check::Split(_) => Self::Split,
            Check::MutualTls(_) => Self::Mtls,
            Check::Failures(_) => Self::Failures,
            Check::Identity(_) => Self::Identity,
            Check::Denied(_) => Self::Denied,
            Check::Failover(_) => Self::Failover,
            Check::Latency(_) => Self::Latency,
            Check::Cel(_) if matches!(step.action, Action::Config(_)) => Self::Config,
            Check::Cel(_) => Self::Cel,
            Check::Connection(_) => Self::Connection,
            Check::Reached(_) => Self::Reached,
            Check::Reachable(_) => Self::Reachable,
            Check::Headers(_) => Self::Headers,
            Check::Holds(_) => Self::Config,
        }
    }
}
