//! Which clusters a command is about: those of an environment, or those of kubeconfigs.

use super::Failure;
use crate::cli::files;
use crate::cli::mesh::{PlaneArgs, TargetArgs};
use crate::cluster::Cluster;
use crate::commands::{complain, complain_kept, kept};
use crate::diagnostic::suggest;
use crate::management::target::Target;
use crate::provider::fleet::Fleet;
use crate::report::RunOutcome;

/// The management cluster, and the other clusters of its environment.
pub(super) struct Plane {
    /// The management cluster.
    pub(super) management: Cluster,
    /// All clusters, where it is an environment's.
    environment: Option<Environment>,
}

struct Environment {
    name: String,
    clusters: Vec<Cluster>,
    /// What the clusters live in.
    _fleet: Fleet,
}

impl Plane {
    /// What the arguments name.
    pub(super) async fn of(args: &PlaneArgs) -> Result<Self, Failure> {
        if args.management_kubeconfig.is_some() || args.management_context.is_some() {
            let (path, context) = (args.management_kubeconfig.as_deref(), args.management_context.as_deref());
            let target = Target::of_kubeconfig("the management cluster", path, context).await?;
            return Ok(Self { management: target.cluster, environment: None });
        }
        let environment = kept(args.name.as_deref()).map_err(Failure::Told)?;
        let name = environment.name.clone();
        let wanted = match &args.management_cluster {
            Some(wanted) => wanted.clone(),
            None => management_of(&name, &environment.directory)?,
        };
        let fleet = environment.into_fleet().map_err(|error| Failure::Told(complain_kept(&error)))?;
        let clusters = fleet.clusters().await;
        let clusters = clusters.map_err(|error| Failure::Told(complain(&error, RunOutcome::EnvironmentFailed)))?;
        let environment = Environment { name, clusters, _fleet: fleet };
        let management = environment.cluster(&wanted)?.clone();
        Ok(Self { management, environment: Some(environment) })
    }

    /// A cluster to be registered, or that is: what a kubeconfig names, or that of the environment.
    pub(super) async fn target(&self, name: &str, args: &TargetArgs) -> Result<Target, Failure> {
        match &self.environment {
            Some(environment) if args.kubeconfig.is_none() && args.context.is_none() => {
                Ok(Target::of_environment(environment.cluster(name)?)?)
            }
            _ => Ok(Target::of_kubeconfig(name, args.kubeconfig.as_deref(), args.context.as_deref()).await?),
        }
    }

    /// All clusters of the environment.
    pub(super) fn targets(&self) -> Result<Vec<Target>, Failure> {
        let clusters = self.environment.iter().flat_map(|environment| &environment.clusters);
        Ok(clusters.map(Target::of_environment).collect::<Result<_, _>>()?)
    }
}

impl Environment {
    fn cluster(&self, name: &str) -> Result<&Cluster, Failure> {
        self.clusters.iter().find(|cluster| cluster.name() == name).ok_or_else(|| {
            let help = suggest::help(name, self.clusters.iter().map(Cluster::name));
            eprintln!("error: environment {} has no cluster `{name}`\n  help: {help}", self.name);
            Failure::Told(RunOutcome::WrongUsage)
        })
    }
}

/// The management cluster that the topology of an environment names.
fn management_of(name: &str, directory: &crate::environment::Directory) -> Result<String, Failure> {
    let topology = files::topology(&directory.topology());
    let topology = topology.map_err(|error| Failure::Told(complain(&error, RunOutcome::EnvironmentFailed)))?;
    topology.management.map(|management| management.cluster).ok_or_else(|| {
        eprintln!(
            "error: the topology of environment {name} has no management cluster\n  help: name one by \
             --management-cluster, or bring up a topology with a section `management`"
        );
        Failure::Told(RunOutcome::WrongUsage)
    })
}
