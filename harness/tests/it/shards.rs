//! Shards and their merged report from outside. The runs end early, for the machine has no Envoy; what is merged of runs that
//! end well is in the unit tests, and in `.github/workflows/e2e.yml`.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

struct Machine {
    state: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { state: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> String {
        self.state.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshproof"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent");
        command.args(arguments).current_dir(root).env("NO_COLOR", "1").env("MESHPROOF_ENVOY", "/nonexistent/envoy");
        command.env("MESHPROOF_STATE_DIR", self.path("state"));
        command.env_remove("GITHUB_STEP_SUMMARY").env_remove("MESHPROOF_ROOT");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("started")
    }

    /// A shard of two of a part of the catalogue; it cannot come up.
    fn shard(&self, shard: &str, out: &str) -> Output {
        self.run(&["e2e", "-E", "area(traffic-shift)", "--shard", shard, "--out", &self.path(out)])
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn names(plan: &Output) -> Vec<String> {
    let plan: Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    let scenarios = plan["scenarios"].as_array().expect("scenarios").iter();
    scenarios.map(|one| one["plan"]["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn plan_shows_what_each_shard_has_and_together_they_have_all() {
    let machine = Machine::new();
    let mut whole = names(&machine.run(&["plan", "--format", "json"]));
    let mut parts = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let plan = machine.run(&["plan", "--format", "json", "--shard", shard]);
        let document: Value = serde_json::from_slice(&plan.stdout).expect("JSON");
        assert_eq!(document["shard"]["of"], 3);
        parts.extend(names(&plan));
    }
    whole.sort();
    parts.sort();
    assert_eq!(whole, parts);
    let text = said(&machine.run(&["plan", "--shard", "2/3"]));
    assert!(
        text.starts_with("shard 2/3: ") && text.contains(&format!(" of {} scenarios, about ", whole.len())),
        "{text}"
    );
}

#[test]
fn shards_that_there_are_not_are_refused_with_the_reason() {
    let machine = Machine::new();
    for (shard, reason) in [
        ("0/3", "there is no shard 0: the first is 1/3"),
        ("4/3", "there is no shard 4 of 3: the last is 3/3"),
        ("x", "write which of how many, such as 2/3"),
    ] {
        for command in ["e2e", "run", "plan"] {
            let output = machine.run(&[command, "--shard", shard]);
            assert_eq!(code(&output), Some(2), "{command} {shard}");
            assert!(said(&output).contains(reason), "{}", said(&output));
        }
    }
    let output = machine.run(&["e2e", "--shard", "1/2"]);
    assert_eq!(code(&output), Some(2));
    assert!(
        said(&output)
            .contains("there are fewer selected scenarios (1) than shards (2)\n  help: ask for no more shards than 1"),
        "{}",
        said(&output)
    );
    let output = machine.run(&["plan", "--shard", "1/2", "--durations", "Cargo.toml"]);
    assert_eq!(code(&output), Some(2));
    assert!(said(&output).contains("Cargo.toml holds no recorded durations"), "{}", said(&output));
    assert_eq!(
        code(&machine.run(&["run", "--shard", "1/2", "--last-failed"])),
        Some(2),
        "that would differ between machines"
    );
}

#[test]
fn shards_are_merged_into_one_report_with_the_worst_exit_code() {
    let machine = Machine::new();
    let failed = machine.shard("1/2", "shards/1");
    machine.shard("2/2", "shards/2");
    let (shards, out, summary) = (machine.path("shards"), machine.path("merged"), machine.path("summary.md"));
    let merged = machine
        .command(&["report", "merge", &shards, "--out", &out])
        .env("GITHUB_STEP_SUMMARY", &summary)
        .output()
        .expect("started");
    assert_eq!(code(&merged), code(&failed), "{}", said(&merged));
    for file in ["report.html", "report.json", "junit.xml"] {
        let text = std::fs::read_to_string(Path::new(&out).join(file)).expect(file);
        assert!(text.contains("nonexistent"), "{file} says why: {text}");
        assert!(said(&merged).contains(file), "{}", said(&merged));
    }
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(Path::new(&out).join("report.json")).expect("written"))
            .expect("JSON");
    let mut selected: Vec<String> = report["selected"]
        .as_array()
        .expect("names")
        .iter()
        .map(|name| name.as_str().expect("text").to_owned())
        .collect();
    let mut whole = names(&machine.run(&["plan", "-E", "area(traffic-shift)", "--format", "json"]));
    selected.sort();
    whole.sort();
    assert_eq!(selected, whole);
    let page = std::fs::read_to_string(&summary).expect("a summary");
    assert!(
        page.starts_with("## ❌ meshproof e2e: ") && page.contains("| 1/2 |") && page.contains("| 2/2 |"),
        "{page}"
    );
}

#[test]
fn what_is_not_whole_is_not_merged_and_the_summary_says_so() {
    let machine = Machine::new();
    machine.shard("1/2", "shards/1");
    let (one, out, summary) = (machine.path("shards/1"), machine.path("merged"), machine.path("summary.md"));
    let merge = |folders: &[&str]| {
        let arguments = [&["report", "merge"], folders, &["--out", &out]].concat();
        machine.command(&arguments).env("GITHUB_STEP_SUMMARY", &summary).output().expect("started")
    };
    let missing = merge(&[&one]);
    assert_eq!(code(&missing), Some(2), "{}", said(&missing));
    assert!(said(&missing).contains("shard 2/2 is missing"), "{}", said(&missing));
    assert!(!Path::new(&out).exists(), "nothing that could be taken for a report");
    let page = std::fs::read_to_string(&summary).expect("a summary");
    assert!(page.contains("could not be merged") && page.contains("shard 2/2 is missing"), "{page}");
    assert!(said(&merge(&[&one, &one])).contains("shard 1/2 is there twice"));
    let nothing = merge(&[&machine.path("state")]);
    assert!(code(&nothing) == Some(2) && said(&nothing).contains("there is no events.jsonl"), "{}", said(&nothing));
    assert_eq!(code(&merge(&[&machine.path("none-such")])), Some(105));
    let over = machine.run(&["report", "merge", &one, "--out", &one]);
    assert!(said(&over).contains("is the folder of a run, whose reports would be lost"), "{}", said(&over));
}
