//! How a run ends, and the exit code that tells it to scripts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunOutcome {
    /// Everything that was asked for is proved.
    Passed,
    /// A defect of meshproof.
    InternalError,
    /// Wrong arguments, or a file with mistakes.
    WrongUsage,
    /// No scenario matches the selection.
    NothingSelected,
    /// Nothing is refuted, but not everything is proved.
    Inconclusive,
    /// This machine lacks something that is needed.
    MachineCannot,
    /// A promise of the mesh is refuted.
    MeshFailed,
    /// The environment failed, so nothing is known about the mesh.
    EnvironmentFailed,
    /// Stopped by SIGINT.
    Interrupted,
    /// Stopped by SIGTERM.
    Terminated,
}

impl RunOutcome {
    /// Every outcome, in the order of exit codes.
    pub const ALL: [Self; 10] = [
        Self::Passed,
        Self::InternalError,
        Self::WrongUsage,
        Self::NothingSelected,
        Self::Inconclusive,
        Self::MachineCannot,
        Self::MeshFailed,
        Self::EnvironmentFailed,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The exit code.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::InternalError => 1,
            Self::WrongUsage => 2,
            Self::NothingSelected => 4,
            Self::Inconclusive => 5,
            Self::MachineCannot => 96,
            Self::MeshFailed => 100,
            Self::EnvironmentFailed => 105,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// What it means, for `--help` and the summary.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::InternalError => "internal error",
            Self::WrongUsage => "wrong usage, or a file with mistakes",
            Self::NothingSelected => "nothing selected",
            Self::Inconclusive => "inconclusive: nothing refuted, not everything proved",
            Self::MachineCannot => "this machine cannot; `meshproof doctor` says why",
            Self::MeshFailed => "the mesh failed",
            Self::EnvironmentFailed => "the environment failed, nothing is known about the mesh",
            Self::Interrupted => "interrupted (SIGINT)",
            Self::Terminated => "terminated (SIGTERM)",
        }
    }

    /// Which of two outcomes a run that saw both has: an interruption hides everything, then what makes the verdict
    /// worthless, then what is worst for the mesh.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if self.gravity() >= other.gravity() { self } else { other }
    }

    fn gravity(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::NothingSelected => 1,
            Self::Inconclusive => 2,
            Self::MeshFailed => 3,
            Self::EnvironmentFailed => 4,
            Self::MachineCannot => 5,
            Self::WrongUsage => 6,
            Self::InternalError => 7,
            Self::Terminated => 8,
            Self::Interrupted => 9,
        }
    }
}

impl From<RunOutcome> for std::process::ExitCode {
    fn from(outcome: RunOutcome) -> Self {
        Self::from(outcome.exit_code())
    }
}
