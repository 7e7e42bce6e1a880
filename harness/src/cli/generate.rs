//! `meshproof generate`: files that follow from others, written or compared.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use super::args::{GenerateArgs, SchemaName};
use super::files::{self, Error};
use super::schema;
use crate::report::RunOutcome;
use crate::scenario::page;
use crate::scenario::suite::Defaults;
use crate::topology::kind;

pub(super) fn run(args: &GenerateArgs) -> RunOutcome {
    let result = files::root(args.root.as_deref()).and_then(|root| generate(&root, args.check));
    match result {
        Ok(stale) if args.check && !stale.is_empty() => {
            for path in &stale {
                eprintln!("{path} is not as it would be generated");
            }
            eprintln!("help: run `meshproof generate`");
            RunOutcome::WrongUsage
        }
        Ok(changed) => {
            for path in &changed {
                super::print(&format!("wrote {path}\n"));
            }
            RunOutcome::Passed
        }
        Err(error) => super::plan::refuse(&error),
    }
}

/// The paths, below the root, of files that differ from what is generated; they are rewritten unless `check`.
fn generate(root: &Utf8Path, check: bool) -> Result<Vec<Utf8PathBuf>, Error> {
    let mut changed = Vec::new();
    for (path, content) in generated(root)? {
        let target = root.join(&path);
        if fs::read_to_string(&target).is_ok_and(|found| found == content) {
            continue;
        }
        if !check {
            write(&target, &content)?;
        }
        changed.push(path);
    }
    Ok(changed)
}

fn write(target: &Utf8Path, content: &str) -> Result<(), Error> {
    let failed = |source| Error::Unwritable { path: target.to_owned(), source };
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(target, content).map_err(failed)
}

/// Every generated file: path below the root, and content.
fn generated(root: &Utf8Path) -> Result<Vec<(Utf8PathBuf, String)>, Error> {
    let mut all = vec![
        ("schemas/topology.json".into(), schema::text(SchemaName::Topology)),
        ("schemas/scenario.json".into(), schema::text(SchemaName::Scenario)),
        ("schemas/suite.json".into(), schema::text(SchemaName::Suite)),
        ("schemas/report.json".into(), schema::text(SchemaName::Report)),
        ("schemas/events.json".into(), schema::text(SchemaName::Events)),
    ];
    for kind in mesh_types::hub::Kind::ALL {
        let path = format!("manifests/hub/crds/{}.yaml", kind.plural());
        all.push((path.into(), definition(kind)));
    }
    for path in files::yaml_files(&root.join(files::TOPOLOGIES))? {
        let topology = files::topology(&path)?;
        let origin = path.strip_prefix(root).unwrap_or(&path);
        let configs = kind::files(&topology, origin.as_str()).into_iter();
        all.extend(configs.map(|(path, content)| (Utf8Path::new("kind-configs").join(path), content)));
    }
    let catalogue = root.join(files::CATALOGUE);
    if catalogue.is_dir() {
        let mut plans = Vec::new();
        for path in files::yaml_files(&catalogue)? {
            let checked = files::scenario(&path, &Defaults::default())?;
            if checked.plans.is_empty() {
                return Err(Error::Problems(checked.problems));
            }
            plans.extend(checked.plans);
        }
        all.push(("docs/catalogue.md".into(), page::catalogue(&plans)));
    }
    Ok(all)
}

/// The definition of a kind of the management plane, as a file.
fn definition(kind: mesh_types::hub::Kind) -> String {
    let yaml = serde_saphyr::to_string(&mesh_types::hub::crd::definition(kind));
    let yaml = yaml.expect("invariant: a definition has only what YAML can hold");
    format!("# Generated from the types in crates/mesh-types by `meshproof generate`.\n{yaml}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> Utf8PathBuf {
        Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned()
    }

    #[test]
    fn generated_files_are_up_to_date() {
        let stale = generate(&repository(), true).expect("readable");
        assert!(stale.is_empty(), "run `meshproof generate`: {stale:?}");
    }

    #[test]
    fn a_difference_is_found_and_repaired() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let topologies = root.join(files::TOPOLOGIES);
        fs::create_dir_all(&topologies).expect("created");
        let source = repository().join(files::DEFAULT_TOPOLOGY);
        fs::copy(source, topologies.join("two-clusters.yaml")).expect("copied");
        let paths = generate(root, true).expect("readable");
        assert_eq!(paths.len(), 7 + mesh_types::hub::Kind::ALL.len(), "{paths:?}");
        assert!(!root.join("schemas").exists(), "a check writes nothing");
        generate(root, false).expect("written");
        assert!(generate(root, true).expect("readable").is_empty());
        fs::write(root.join("kind-configs/two-clusters/cluster1.yaml"), "changed by hand").expect("written");
        assert_eq!(generate(root, true).expect("readable"), ["kind-configs/two-clusters/cluster1.yaml"]);
    }
}
