//! Command lines and what comes of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rstest::rstest;

/// Runs the program in the root of the repository, with a state folder of its own.
fn meshproof(arguments: &[&str]) -> Output {
    let state = tempfile::tempdir().expect("a folder");
    command(arguments).env("MESHPROOF_STATE_DIR", state.path()).output().expect("started")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshproof"));
    command.args(arguments).current_dir(root()).env_remove("MESHPROOF_ROOT").env("NO_COLOR", "1");
    command
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[rstest]
#[case::help(&["--help"], 0, "Exit codes:")]
#[case::version(&["--version"], 0, "meshproof")]
#[case::lint(&["lint"], 0, "0 errors")]
#[case::plan(&["plan"], 0, "75 % v3, 15 % v1, 10 % v2 [about 1,546 requests, at most 4,457]")]
#[case::plan_by_tag(&["plan", "-E", "tag(mtls) & area(traffic-shift)"], 0, "bookinfo-75-15-10")]
#[case::plan_of_clusters(&["plan", "--provider", "kind"], 0, "kind create cluster --name two-clusters-cluster1")]
#[case::generate(&["generate", "--check"], 0, "")]
#[case::controls(&["selftest", "--list"], 0, "kinds of assertion have a control")]
#[case::no_runs(&["report", "--list"], 0, "no run is recorded")]
#[case::status_of_nothing(&["status"], 0, "no environments")]
fn what_succeeds(#[case] arguments: &[&str], #[case] expected: i32, #[case] said: &str) {
    let output = meshproof(arguments);
    assert_eq!(code(&output), expected, "{}", stderr(&output));
    assert!(stdout(&output).contains(said), "{}", stdout(&output));
}

#[rstest]
#[case::nothing_asked(&[], 2, "Usage:")]
#[case::misspelt_command(&["pln"], 2, "plan")]
#[case::misspelt_option(&["e2e", "--topologie", "x"], 2, "--topology")]
#[case::misspelt_filter(&["plan", "-E", "tags(x)"], 2, "neither `all`, `name`, `tag` nor `area`")]
#[case::nothing_selected(&["plan", "-E", "tag(none-such)"], 4, "no scenario is selected")]
#[case::nothing_to_run(&["e2e", "-E", "tag(none-such)"], 4, "no scenario is selected")]
#[case::missing_file(&["lint", "none-such.yaml"], 2, "cannot read none-such.yaml")]
#[case::missing_topology(&["up", "--topology", "none-such.yaml"], 2, "cannot read none-such.yaml")]
#[case::missing_demo(&["demo", "none-such"], 2, "none-such.yaml")]
#[case::bad_name(&["up", "--name", "Not_A_Name"], 2, "lower-case letters")]
#[case::machines_beside_kind(&["up", "--provider", "kind", "--topology", "scenarios/topologies/virtual-machines.yaml"], 2, "virtual machines beside clusters that are not embedded")]
#[case::plan_of_nothing(&["plan", "--provider", "embedded"], 2, "leave --provider out")]
#[case::doctor_of_nothing(&["doctor", "--provider", "existing"], 2, "need nothing of this machine")]
#[case::no_environment(&["down"], 2, "no environment runs")]
#[case::no_such_environment(&["kubeconfig", "--name", "mine"], 2, "there is no environment mine")]
#[case::no_logs(&["logs"], 2, "no environment runs")]
#[case::name_of_the_runs(&["up", "--name", "runs"], 2, "no environment can have the name `runs`")]
#[case::no_run(&["report"], 4, "no run is recorded")]
#[case::no_such_run(&["report", "1a2b3c4d"], 2, "`meshproof report --list` lists them")]
#[case::list_of_pages(&["report", "--list", "--format", "html"], 2, "leave --list out")]
#[case::nothing_failed_before(&["run", "--last-failed"], 4, "leave --last-failed out")]
#[case::no_controls(&["selftest", "-E", "name(none-such)"], 4, "no scenario is selected")]
#[case::selftest_of_nothing(&["selftest", "--name", "mine"], 2, "there is no environment mine")]
#[case::no_repetition(&["run", "--repeat", "0"], 2, "0 is not in 1..")]
#[case::no_number_of_repetitions(&["e2e", "--repeat", "often"], 2, "invalid digit")]
#[case::no_jobs(&["run", "--jobs", "0"], 2, "number would be zero")]
#[case::repetitions_of_nothing(&["run", "--last-failed", "--repeat", "3"], 4, "leave --last-failed out")]
#[case::nowhere(&["lint", "--root", "/proc"], 2, "no folder `scenarios`")]
fn what_is_refused(#[case] arguments: &[&str], #[case] expected: i32, #[case] said: &str) {
    let output = meshproof(arguments);
    assert_eq!(code(&output), expected, "{}", stderr(&output));
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
}

#[test]
fn mistakes_in_files_are_shown_in_place_for_people_and_for_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("broken.yaml");
    let text = "apiVersion: meshproof.dev/v1alpha1\nkind: Topology\nname: t\nnetworks: [{name: n1}]\nclusters:\n\
                - name: a\n  network: n2\n  regoin: r\n";
    std::fs::write(&file, text).expect("written");
    let path = file.to_str().expect("UTF-8");

    let output = meshproof(&["lint", path]);
    assert_eq!(code(&output), 2);
    let shown = stderr(&output);
    assert!(!shown.contains('\u{1b}'), "no colours under NO_COLOR: {shown}");
    for part in ["broken.yaml:7:12", "unknown network `n2`", "broken.yaml:8:3", "did you mean `region`?", "^^"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }

    let output = meshproof(&["lint", path, "--format", "json"]);
    assert_eq!(code(&output), 2);
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(document["errors"], 2);
    assert_eq!(document["problems"][1]["path"], "clusters[0].network");
    assert_eq!(document["problems"][1]["line"], 7);
}

#[test]
fn a_plan_for_programs_has_the_numbers() {
    let output = meshproof(&["plan", "-E", "tag(smoke)", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(document["topologies"][0]["name"], "two-clusters");
    assert!(document["scenarios"][0]["requests"].as_u64().expect("a number") > 3992);
}

#[test]
fn every_scenario_of_the_catalogue_has_a_negative_control() {
    let output = meshproof(&["plan", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let scenarios = document["scenarios"].as_array().expect("a list");
    assert!(scenarios.len() >= 20, "{}", scenarios.len());
    for scenario in scenarios {
        let plan = &scenario["plan"];
        assert!(plan["steps"].to_string().contains("\"control\""), "{} has none", plan["name"]);
    }
}

#[test]
fn the_words_of_lint_and_up_agree_on_what_cannot_be_brought_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("existing.yaml");
    let shipped = std::fs::read_to_string(root().join("scenarios/topologies/primary-remote.yaml")).expect("read");
    std::fs::write(&path, shipped.replace("kind: Topology", "kind: Topology\nprovider: existing")).expect("written");
    let path = path.to_str().expect("UTF-8");
    let (lint, up) = (meshproof(&["lint", path]), meshproof(&["up", "--topology", path]));
    assert_eq!((code(&lint), code(&up)), (2, 2));
    for output in [&lint, &up] {
        let words = "a shared control plane on clusters that are there is not part of this version";
        assert!(stderr(output).contains(words), "{}", stderr(output));
    }
}

#[rstest]
#[case::empty(b"", "the file is empty")]
#[case::only_a_comment(b"# nothing\n", "the file is empty")]
#[case::binary(b"\x7fELF\x00\x01", "is no text file")]
#[case::other_encoding(b"name: gr\xfc\xdfe", "is no text file")]
fn what_is_no_scenario_is_said_so(#[case] content: &[u8], #[case] said: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.yaml");
    std::fs::write(&path, content).expect("written");
    let output = meshproof(&["lint", path.to_str().expect("UTF-8")]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
}

#[test]
fn a_suite_runs_its_scenarios_with_its_defaults() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("suite.yaml");
    let area = root().join("scenarios/catalogue/trust");
    let text = format!(
        "apiVersion: meshproof.dev/v1alpha1\nkind: Suite\nname: nightly\ndescription: d\n\
         scenarios: [{}]\ndefaults: {{tags: [nightly], budget: {{requests: 1000}}}}\n",
        area.display()
    );
    std::fs::write(&path, &text).expect("written");
    let file = path.to_str().expect("UTF-8");
    let output = meshproof(&["plan", file, "-E", "tag(nightly) & name([service=details])"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("accounts-are-identities[service=details]"), "{}", stdout(&output));
    assert_eq!(code(&meshproof(&["lint", file])), 0);
    std::fs::write(&path, text.replace("requests: 1000", "requests: 10")).expect("written");
    let output = meshproof(&["lint", file]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("and the budget is 10"), "{}", stderr(&output));
    std::fs::write(&path, text.replace(&area.display().to_string(), "missing.yaml")).expect("written");
    assert!(stderr(&meshproof(&["lint", file])).contains("missing.yaml"));
}

#[test]
fn a_printed_schema_is_the_published_one() {
    for name in ["topology", "scenario", "report", "events"] {
        let output = meshproof(&["schema", name]);
        let published = std::fs::read_to_string(root().join(format!("schemas/{name}.json"))).expect("published");
        assert_eq!(stdout(&output), published, "{name}");
    }
}

#[test]
fn files_name_the_schema_that_checks_them() {
    for folder in ["scenarios/topologies", "scenarios/catalogue/traffic-shift"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("readable");
            let first = text.lines().next().unwrap_or("");
            let schema = first.strip_prefix("# yaml-language-server: $schema=").expect("a schema in the first line");
            assert!(path.parent().expect("a folder").join(schema).is_file(), "{}: {schema}", path.display());
        }
    }
}

#[test]
fn commands_work_from_folders_below_the_root() {
    let output = command(&["lint"]).current_dir(root().join("harness/src")).output().expect("started");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(!stdout(&output).starts_with("0 files"), "{}", stdout(&output));
}
