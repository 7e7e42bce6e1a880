//! The workflows of GitHub and the action, which run nowhere else: rights, pinned actions, limits of time, the versions that
//! are covered, and that the commands in them are commands of this program.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use meshproof::cli;
use meshproof::provider::kind::lock::{Lock, Minor};
use regex::Regex;
use serde_json::{Value, json};

fn repository() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned()
}

fn read(path: &Utf8Path) -> Value {
    let text = std::fs::read_to_string(path).expect("readable");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn workflows() -> Vec<(String, Value)> {
    let folder = repository().join(".github/workflows");
    let files = folder.read_dir_utf8().expect("a folder").map(|entry| entry.expect("an entry").path().to_owned());
    let named = |path: Utf8PathBuf| (path.file_name().unwrap_or_default().to_owned(), read(&path));
    files.map(named).collect()
}

fn workflow(name: &str) -> Value {
    read(&repository().join(".github/workflows").join(name))
}

fn list<'value>(value: &'value Value, key: &str) -> impl Iterator<Item = &'value Value> {
    value[key].as_array().into_iter().flatten()
}

/// What a workflow lacks.
fn faults(workflow: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    match workflow["permissions"].as_object() {
        Some(rights) => {
            let more = rights.iter().filter(|(_, right)| **right != "read" && **right != "none");
            faults.extend(more.map(|(what, _)| format!("every job may write {what}")));
        }
        None => faults.push("no permissions are set for all jobs".to_owned()),
    }
    let jobs = workflow["jobs"].as_object().cloned().unwrap_or_default();
    for (name, job) in &jobs {
        if job["timeout-minutes"].as_u64().is_none() {
            faults.push(format!("job {name} has no timeout-minutes"));
        }
        let needed = list(job, "needs").chain([&job["needs"]]).filter_map(Value::as_str);
        let unknown = needed.filter(|needed| !jobs.contains_key(*needed));
        faults.extend(unknown.map(|needed| format!("job {name} needs {needed}, which is no job")));
        faults.extend(list(job, "steps").flat_map(of_step).map(|fault| format!("job {name}: {fault}")));
    }
    faults
}

fn of_step(step: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(action) = step["uses"].as_str() {
        let commit = action.split_once('@').map_or("", |(_, commit)| commit);
        let pinned = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !pinned && !action.starts_with("./") {
            faults.push(format!("{action} is not pinned by a commit"));
        }
        if action.starts_with("actions/checkout@") && step["with"]["persist-credentials"] != json!(false) {
            faults.push("the checkout leaves its credentials to all later steps".to_owned());
        }
    }
    // What a branch or a pull request is called would be read as shell.
    if step["run"].as_str().is_some_and(|script| script.contains("${{")) {
        faults.push("a script has an expression in it: hand it over by `env`".to_owned());
    }
    faults
}

#[test]
fn every_workflow_has_few_rights_pinned_actions_and_limits_of_time() {
    let workflows = workflows();
    assert!(workflows.len() >= 5, "{workflows:?}");
    for (name, workflow) in workflows {
        assert_eq!(faults(&workflow), Vec::<String>::new(), "{name}");
    }
    let action = read(&repository().join("action.yml"));
    assert_eq!(list(&action["runs"], "steps").flat_map(of_step).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn what_a_workflow_lacks_is_found() {
    let bad = json!({
        "permissions": { "contents": "write" },
        "jobs": { "a": { "needs": ["b"], "steps": [
            { "uses": "actions/checkout@v4" },
            { "uses": "actions/cache@5a3ec84eff668545956fd18022155c47e93e2684" },
            { "uses": "./action" },
            { "run": "echo ${{ github.head_ref }}" },
        ] } },
    });
    let expected = [
        "every job may write contents",
        "job a has no timeout-minutes",
        "job a needs b, which is no job",
        "job a: actions/checkout@v4 is not pinned by a commit",
        "job a: the checkout leaves its credentials to all later steps",
        "job a: a script has an expression in it: hand it over by `env`",
    ];
    assert_eq!(faults(&bad), expected);
    assert_eq!(faults(&json!({ "jobs": {} })), ["no permissions are set for all jobs"]);
}

#[test]
fn only_the_release_may_write() {
    let mut writing = Vec::new();
    for (name, workflow) in workflows() {
        for (job, content) in workflow["jobs"].as_object().expect("jobs") {
            let rights = content["permissions"].as_object().into_iter().flatten();
            let rights = rights.filter(|(_, right)| *right == "write");
            writing.extend(rights.map(|(what, _)| format!("{name} {job}: {what}")));
        }
    }
    assert_eq!(writing, ["release.yml publish: contents"]);
}

#[test]
fn every_night_each_release_of_istio_meets_each_kubernetes_that_it_was_announced_for() {
    let matrix = workflow("nightly.yml")["jobs"]["kind"]["strategy"]["matrix"].clone();
    let lock = Lock::read();
    let texts = |key: &str| -> Vec<String> {
        list(&matrix, key).map(|value| value.as_str().expect("text").to_owned()).collect()
    };
    let (nodes, releases) = (texts("node"), texts("istio"));
    assert_eq!(nodes, lock.node_images.values().cloned().collect::<Vec<_>>());
    let minors: Vec<String> = releases
        .iter()
        .filter(|release| *release != "none")
        .map(|release| release.parse::<Minor>().expect("a version").to_string())
        .collect();
    assert_eq!(minors, lock.istio.releases.keys().cloned().collect::<Vec<_>>(), "one release of each minor version");
    assert!(releases.contains(&lock.istio.version), "the one that is taken by default is among them");
    let excluded: BTreeSet<(String, String)> = list(&matrix, "exclude")
        .map(|one| {
            (one["node"].as_str().expect("a node").to_owned(), one["istio"].as_str().expect("a release").to_owned())
        })
        .collect();
    let mut unsupported = BTreeSet::new();
    for node in &nodes {
        for release in releases.iter().filter(|release| *release != "none") {
            let known = lock.istio.release(Some(release)).expect("locked");
            if !known.kubernetes.has(node.parse().expect("a version")) {
                unsupported.insert((node.clone(), release.clone()));
            }
        }
    }
    assert_eq!(excluded, unsupported);
}

#[test]
fn every_shard_has_a_job() {
    let shards = |name: &str, job: &str| workflow(name)["jobs"][job]["strategy"]["matrix"]["shard"].clone();
    let numbers: Vec<u64> =
        shards("e2e.yml", "embedded").as_array().expect("shards").iter().filter_map(Value::as_u64).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "`strategy.job-total` is their number");
    let named = shards("nightly.yml", "kind");
    let named = named.as_array().expect("shards");
    for (index, shard) in named.iter().enumerate() {
        assert_eq!(*shard, format!("{}/{}", index + 1, named.len()));
    }
}

/// The words of `programs/meshproof …` and `cargo xtask …` in scripts, variables replaced by examples.
fn commands(script: &str) -> Vec<Vec<String>> {
    let whole_lines = script.replace("\\\n", " ");
    let inner = Regex::new(r"\$\([^)]*\)").expect("a pattern");
    let flat = inner.replace_all(&whole_lines, "inner");
    let examples = [
        ("\"${mesh[@]}\"", "--mesh istio --istio-version 1.30.3"),
        ("$SHARD", "1/2"),
        ("$NODE", "kindest/node:v1.34.11"),
        ("${SHARD%/*}", "1"),
        ("$pair", "pair"),
    ];
    let flat = examples.iter().fold(flat.into_owned(), |text, (variable, example)| text.replace(variable, example));
    let of_line = |line: &str| {
        let (_, arguments) = line.split_once("programs/meshproof ")?;
        let arguments = arguments.split(" || ").next()?;
        let word = Regex::new(r#"'([^']*)'|"([^"]*)"|(\S+)"#).expect("a pattern");
        let words = word
            .captures_iter(arguments)
            .filter_map(|found| (1..=3).find_map(|group| found.get(group)).map(|text| text.as_str().to_owned()));
        Some(words.collect())
    };
    flat.lines().filter_map(of_line).collect()
}

#[test]
fn commands_in_workflows_are_commands_of_this_program() {
    let mut count = 0;
    for (name, workflow) in workflows() {
        for job in workflow["jobs"].as_object().expect("jobs").values() {
            for script in list(job, "steps").filter_map(|step| step["run"].as_str()) {
                for words in commands(script) {
                    count += 1;
                    let line = std::iter::once("meshproof".to_owned()).chain(words.clone()).map(Into::into);
                    if let Err(error) = cli::parse(line) {
                        panic!("{name}: {words:?}: {error}");
                    }
                }
            }
        }
    }
    assert_eq!(count, 6, "e2e and merge; images, doctor, e2e and merge");
}
