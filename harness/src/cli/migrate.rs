//! `meshproof migrate`: resources of other management planes as ours.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use super::files::{self, Error};
use super::pretty;
use crate::migrate;
use crate::report::RunOutcome;

/// Options of `migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Whose resources they are
    #[command(subcommand)]
    pub from: From,
}

/// Whose resources they are.
#[derive(Debug, Subcommand)]
pub enum From {
    /// Gloo Mesh (v1, v1alpha2) and Service Mesh Hub (v1alpha2)
    ///
    /// Prints the resources of our management plane on standard output, and on standard error, with file, line and column, what
    /// was moved, what has no counterpart and what is wrong. Resources of the namespaces gloo-mesh and service-mesh-hub go into
    /// that of the hub. Ends with 2 where a result would be refused.
    #[command(after_help = "Examples:\n  meshproof migrate gloo-mesh policies.yaml > ours.yaml")]
    GlooMesh {
        /// Files with any number of resources
        #[arg(value_name = "FILE", required = true)]
        files: Vec<Utf8PathBuf>,
        /// Namespace of the hub
        #[arg(long, default_value = "meshproof-hub")]
        namespace: String,
    },
}

pub(super) fn run(args: &MigrateArgs) -> RunOutcome {
    let From::GlooMesh { files, namespace } = &args.from;
    match gloo_mesh(files, namespace) {
        Ok(outcome) => outcome,
        Err(error) => super::plan::refuse(&error),
    }
}

fn gloo_mesh(paths: &[Utf8PathBuf], namespace: &str) -> Result<RunOutcome, Error> {
    let mut wrong = false;
    let mut documents = Vec::new();
    for path in paths {
        let migrated = migrate::gloo_mesh(path.as_str(), &files::text(path)?, namespace);
        eprint!("{}", migrated.problems.render(pretty()));
        wrong |= migrated.problems.has_errors();
        let yaml = migrated.objects.iter().map(serde_saphyr::to_string);
        documents.extend(yaml.map(|text| text.expect("invariant: what was YAML can be YAML again")));
    }
    super::print(&documents.join("---\n"));
    Ok(if wrong { RunOutcome::WrongUsage } else { RunOutcome::Passed })
}
