//! `meshproof inject`: asks the control plane's program, so that the result is that of its webhook.

use tokio::process::Command;

use super::complain;
use crate::cli::args::InjectArgs;
use crate::report::RunOutcome;

pub(super) async fn run(args: &InjectArgs) -> RunOutcome {
    // Needs no Envoy, so it does not ask for all programs.
    let pilot = match std::env::current_exe() {
        Ok(executable) => executable.with_file_name("pilot-discovery"),
        Err(error) => return complain(&error, RunOutcome::EnvironmentFailed),
    };
    let mut command = Command::new(pilot);
    command.args(["inject", "-f", args.file.as_str()]);
    command.args(["--cluster-id", &args.cluster, "--mesh-id", &args.mesh_id, "--trust-domain", &args.trust_domain]);
    if !args.network.is_empty() {
        command.args(["--network", &args.network]);
    }
    match command.status().await {
        Ok(status) if status.success() => RunOutcome::Passed,
        // It has said itself what is wrong with the manifest.
        Ok(_) => RunOutcome::WrongUsage,
        Err(error) => complain(&error, RunOutcome::EnvironmentFailed),
    }
}
