//! Files of scenarios as cases of a test runner.

use camino::{Utf8Path, Utf8PathBuf};
use meshproof::cli::files;
use meshproof::scenario::Plan;
use meshproof::scenario::suite::Defaults;

/// The folder of this package.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// One test: a scenario, or one combination of the values of its matrix.
#[derive(Debug)]
pub struct Case {
    /// Its area and name, such as `traffic_shift::half-and-half` and `mtls::strict-refuses-plaintext[cluster=cluster1]`.
    pub name: String,
    /// What to do; for a file with mistakes, all of them.
    pub plan: Result<Plan, String>,
}

/// The path of a topology of this package.
#[must_use]
pub fn topology(name: &str) -> Utf8PathBuf {
    Utf8Path::new(HERE).join("topologies").join(name).with_extension("yaml")
}

/// Every case of every file of the catalogue.
///
/// # Errors
/// Where its folder cannot be read.
pub fn catalogue() -> Result<Vec<Case>, files::Error> {
    let files = files::yaml_files(&Utf8Path::new(HERE).join("catalogue"))?;
    Ok(files.iter().flat_map(|file| cases_of(file)).collect())
}

/// The cases of one file. A file that cannot be used is a case that fails, under the name of the file.
#[must_use]
pub fn cases_of(file: &Utf8Path) -> Vec<Case> {
    let area = file.parent().and_then(Utf8Path::file_name).unwrap_or_default().replace('-', "_");
    let named = |name: &str| format!("{area}::{name}");
    let broken = |message: String| {
        let name = named(file.file_stem().unwrap_or_default());
        vec![Case { name, plan: Err(message) }]
    };
    match files::scenario(file, &Defaults::default()) {
        Ok(checked) if checked.problems.has_errors() => broken(checked.problems.render(false)),
        Ok(checked) => checked.plans.into_iter().map(|plan| Case { name: named(&plan.name), plan: Ok(plan) }).collect(),
        Err(error) => broken(meshproof::cluster::chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_found_by_its_area_and_name() {
        let names: Vec<String> = catalogue().expect("a catalogue").into_iter().map(|case| case.name).collect();
        for name in ["traffic_shift::half-and-half", "mtls::strict-refuses-plaintext[cluster=cluster2]"] {
            assert!(names.iter().any(|known| known == name), "{names:?}");
        }
    }

    #[test]
    fn a_file_with_mistakes_is_a_case_that_fails() {
        let cases = cases_of(&Utf8Path::new(HERE).join("topologies/two-clusters.yaml"));
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].name, "topologies::two-clusters");
        let problems = cases[0].plan.as_ref().expect_err("it is no scenario");
        assert!(problems.contains("two-clusters.yaml:"), "{problems}");
    }
}
