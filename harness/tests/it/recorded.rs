//! Runs as they are recorded, found again and shown. The runs end early, for the machine has no Envoy: that is recorded, too.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A state folder, and a machine without Envoy.
struct Machine {
    state: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { state: tempfile::tempdir().expect("a folder") }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshproof"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent");
        command.args(arguments).current_dir(root).env("NO_COLOR", "1").env("MESHPROOF_STATE_DIR", self.state.path());
        command
            .env("MESHPROOF_ENVOY", "/nonexistent/envoy")
            .env_remove("GITHUB_STEP_SUMMARY")
            .env_remove("MESHPROOF_ROOT");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("started")
    }

    fn runs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.state.path().join("runs")).expect("there are runs");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

#[test]
fn a_run_that_could_not_begin_leaves_every_report() {
    let machine = Machine::new();
    let output = machine.run(&["e2e"]);
    assert_ne!(code(&output), 0, "there is no Envoy: {}", said(&output));
    let runs = machine.runs();
    let [folder] = &runs[..] else { panic!("one run: {runs:?}") };
    for file in ["events.jsonl", "report.html", "report.json", "junit.xml"] {
        let text = std::fs::read_to_string(folder.join(file)).expect(file);
        assert!(text.contains("nonexistent"), "{file} says why: {text}");
    }
    let junit = std::fs::read_to_string(folder.join("junit.xml")).expect("written");
    assert!(junit.contains("errors=\"1\""), "{junit}");
    let report: Value =
        serde_json::from_slice(&std::fs::read(folder.join("report.json")).expect("written")).expect("JSON");
    assert_eq!(report["exitCode"], code(&output));
}

#[test]
fn recorded_runs_are_listed_shown_and_written_in_other_forms() {
    let machine = Machine::new();
    let failed = machine.run(&["e2e"]);
    let list = machine.run(&["report", "--list", "--format", "json"]);
    let list: Value = serde_json::from_slice(&list.stdout).expect("JSON");
    let id = list["runs"][0]["runId"].as_str().expect("an id").to_owned();
    assert_eq!(list["runs"][0]["exitCode"], code(&failed));
    assert_eq!(list["runs"][0]["notPassed"][0], "bookinfo-75-15-10");
    assert!(said(&machine.run(&["report", "--list"])).contains(&id));

    let text = machine.run(&["report", &id[..4]]);
    assert_eq!(code(&text), 0, "{}", said(&text));
    let folder = machine.runs().remove(0);
    assert!(
        said(&text).contains(folder.to_str().expect("UTF-8")) && said(&text).contains("report.html"),
        "{}",
        said(&text)
    );
    for (format, file) in [("html", "report.html"), ("junit", "junit.xml"), ("json", "report.json")] {
        let again = machine.run(&["report", "--format", format]);
        assert_eq!(again.stdout, std::fs::read(folder.join(file)).expect("written"), "{format} is what the run wrote");
    }
    let by_folder = machine.run(&["report", folder.to_str().expect("UTF-8")]);
    assert_eq!(by_folder.stdout, text.stdout);
    // Environments and runs share a state folder, and are not mistaken for each other.
    assert!(said(&machine.run(&["status"])).contains("no environments"));
}

#[test]
fn what_did_not_pass_is_run_again() {
    let machine = Machine::new();
    machine.run(&["e2e"]);
    let again = machine.run(&["e2e", "--last-failed"]);
    assert!(said(&again).contains("note: bookinfo-75-15-10 did not pass in run"), "{}", said(&again));
    // A newer run of something else hides it no more.
    machine.run(&["e2e", "-E", "name(half-and-half)"]);
    let again = machine.run(&["e2e", "--last-failed", "-E", "tag(smoke)"]);
    assert!(said(&again).contains("note: bookinfo-75-15-10 did not pass in run"), "{}", said(&again));
    let other = machine.run(&["e2e", "--last-failed", "-E", "tag(none-such)"]);
    assert_eq!(code(&other), 4, "{}", said(&other));
}

#[test]
fn a_run_with_a_folder_of_its_own_is_found_again() {
    let machine = Machine::new();
    let out = tempfile::tempdir().expect("a folder");
    let out = out.path().join("reports");
    machine.run(&["e2e", "--out", out.to_str().expect("UTF-8")]);
    let shown = machine.run(&["report"]);
    assert!(said(&shown).contains(out.to_str().expect("UTF-8")), "{}", said(&shown));
}

#[test]
fn twenty_runs_are_kept() {
    let machine = Machine::new();
    for _ in 0..22 {
        machine.run(&["e2e"]);
    }
    assert_eq!(machine.runs().len(), 20);
}

#[test]
fn what_is_printed_and_the_exit_code_agree_when_a_disk_is_full() {
    let machine = Machine::new();
    for file in ["report.json", "junit.xml", "report.html"] {
        let out = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink("/dev/full", out.path().join(format!("{file}.partial"))).expect("linked");
        let output = machine.run(&["e2e", "--out", out.path().to_str().expect("UTF-8")]);
        let shown = said(&output);
        assert!(shown.contains(&format!("{file}: No space left on device")), "{shown}");
        assert!(shown.contains("make room on that disk"), "{shown}");
        assert!(shown.contains(&format!("(exit {}, ", code(&output))), "{shown}");
        assert!(
            !shown.contains(&format!("report: {}", out.path().join(file).display())),
            "its path leads nowhere: {shown}"
        );
        let written = if file == "report.json" { "junit.xml" } else { "report.json" };
        let written = std::fs::read_to_string(out.path().join(written)).expect("the other one is there");
        assert!(written.contains("No space left on device"), "and names what is missing: {written}");
        assert!(!out.path().join(format!("{file}.partial")).exists(), "nothing half-written is left");
    }
}

#[test]
fn the_summary_of_a_job_is_appended() {
    let machine = Machine::new();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "before\n").expect("written");
    machine.command(&["e2e"]).env("GITHUB_STEP_SUMMARY", file.path()).output().expect("started");
    let page = std::fs::read_to_string(file.path()).expect("readable");
    assert!(page.starts_with("before\n## ❌ meshproof e2e: ") && page.contains("### What did not pass"), "{page}");
}
