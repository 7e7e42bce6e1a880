//! `meshproof vm`: what virtual machines need to join a mesh.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::complain;
use crate::cli::vm::{Action, ConfigureArgs, VmArgs};
use crate::report::RunOutcome;
use crate::vm::{self, Error};

pub(super) async fn run(args: &VmArgs) -> RunOutcome {
    let Action::Configure(args) = &args.action;
    let client = match client(args).await {
        Ok(client) => client,
        Err(message) => {
            eprintln!("error: {message}");
            return RunOutcome::WrongUsage;
        }
    };
    let done = match vm::configure(&client, &args.wanted()).await {
        Ok(files) => vm::configure::write(&args.output, &files),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => {
            println!("wrote cluster.env, mesh.yaml, root-cert.pem, istio-token and hosts to {}", args.output);
            eprintln!("note: istio-token lets whoever has it join the mesh for {} s", args.token_duration);
            RunOutcome::Passed
        }
        Err(error @ Error::Api { .. }) => complain(&error, RunOutcome::EnvironmentFailed),
        Err(error) => complain(&error, RunOutcome::WrongUsage),
    }
}

async fn client(args: &ConfigureArgs) -> Result<Client, String> {
    // A second provider cannot be there in this program; the first call wins in any case.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map_err(|error| format!("{path}: {error}"))?,
        None => Kubeconfig::read().map_err(|error| format!("no kubeconfig: {error}; give one by --kubeconfig"))?,
    };
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| error.to_string())?;
    config.default_retry = false;
    Client::try_from(config).map_err(|error| error.to_string())
}
