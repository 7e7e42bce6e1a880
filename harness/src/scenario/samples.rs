//! Plans for unit tests, from steps as text.

use super::check::{NamedText, ReadFile, read};
use super::plan::Plan;
use super::suite::Defaults;

/// Whatever topology is asked for, it has two clusters.
struct Topologies;

impl ReadFile for Topologies {
    fn read(&self, path: &str) -> Result<NamedText, String> {
        let text = include_str!("../../../scenarios/topologies/two-clusters.yaml").to_owned();
        Ok(NamedText { name: path.to_owned(), text })
    }
}

/// The plan of a scenario with these steps, a YAML list.
pub(crate) fn plan(name: &str, steps: &str) -> Plan {
    whole(&format!("name: {name}\nsteps:\n{steps}\n"))
}

/// The plan of a scenario, of which this is what stands beside version, kind, description and topology.
pub(crate) fn whole(text: &str) -> Plan {
    let text =
        format!("apiVersion: meshproof.dev/v1alpha1\nkind: Scenario\ndescription: One.\ntopology: t.yaml\n{text}");
    let checked = read("area/one.yaml", &text, &Defaults::default(), &Topologies);
    checked.plans.into_iter().next().unwrap_or_else(|| panic!("{}", checked.problems.render(false)))
}
