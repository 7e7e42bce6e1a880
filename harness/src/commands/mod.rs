//! Commands about environments, one file each: from arguments to a job for [`crate::run`], and its events to reports.

mod bundle;
mod doctor;
mod down;
mod durations;
mod e2e;
mod images;
mod inject;
mod kubeconfig;
mod last_failed;
mod logs;
mod machines;
mod merge;
mod mesh;
mod report;
mod selftest;
mod session;
mod status;
mod up;
mod versions;
mod vm;

use camino::Utf8PathBuf;

use crate::cli::args::Command;
use crate::environment::state_root;
use crate::report::RunOutcome;
use crate::run::{self, Kept, KeptError};

/// Carries out a command that [`crate::cli::handle`] handed back.
#[must_use]
pub fn run(command: Command) -> RunOutcome {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, RunOutcome::EnvironmentFailed),
    };
    let outcome = runtime.block_on(dispatch(command));
    // A thread that waits for input of a terminal must not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(command: Command) -> RunOutcome {
    match command {
        Command::E2e(args) => e2e::run(&args).await,
        Command::Run(args) => e2e::run_on_kept(&args).await,
        Command::Selftest(args) => selftest::run(&args).await,
        Command::Up(args) => up::run(&args).await,
        Command::Demo(args) => up::demo(&args).await,
        Command::Down(args) => down::run(&args).await,
        Command::Status(args) => status::run(&args).await,
        Command::Kubeconfig(args) => kubeconfig::run(&args),
        Command::Logs(args) => logs::run(&args).await,
        Command::Report(args) => report::run(&args),
        Command::Inject(args) => inject::run(&args).await,
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Images(args) => images::run(&args).await,
        Command::Bundle(args) => bundle::run(&args).await,
        Command::Mesh(args) => mesh::run(&args).await,
        Command::Debug(args) => mesh::debug(&args).await,
        Command::Vm(args) => vm::run(&args).await,
        // Without an environment, so `cli::handle` carries them out.
        Command::Plan(_) | Command::Lint(_) | Command::Schema(_) | Command::Generate(_) | Command::Migrate(_) => {
            RunOutcome::InternalError
        }
    }
}

/// Says what went wrong, causes included.
fn complain(error: &(dyn std::error::Error + 'static), outcome: RunOutcome) -> RunOutcome {
    eprintln!("error: {}", crate::cluster::chain(error));
    outcome
}

/// The state folder of all environments; where there is none, it was said why.
fn root() -> Result<Utf8PathBuf, RunOutcome> {
    state_root().map_err(|message| {
        eprintln!("error: {message}");
        RunOutcome::EnvironmentFailed
    })
}

/// The kept environment of a name, or the only one; where there is none, it was said why.
fn kept(name: Option<&str>) -> Result<Kept, RunOutcome> {
    run::find(&root()?, name).map_err(|error| complain_kept(&error))
}

/// Says why a kept environment cannot be used, with the exit code for it.
fn complain_kept(error: &KeptError) -> RunOutcome {
    let outcome = match error {
        KeptError::Unknown { .. }
        | KeptError::Several(_)
        | KeptError::None
        | KeptError::Left(_)
        | KeptError::HalfMade(_)
        | KeptError::InUse(_) => RunOutcome::WrongUsage,
        KeptError::Fleet(_) | KeptError::TakeDown(_) | KeptError::Docker(_) | KeptError::State { .. } => {
            RunOutcome::EnvironmentFailed
        }
    };
    complain(error, outcome)
}
