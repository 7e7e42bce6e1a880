//! Starting worlds.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The example program, which cargo builds together with the tests.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let folder = test.ancestors().nth(2).expect("tests are in <target>/<profile>/deps");
    let program = folder.join("examples").join("world");
    assert!(program.exists(), "{} is not built: run the tests of the whole package", program.display());
    program
}

/// Runs a scenario to its end.
pub(crate) fn run(scenario: &str) -> Value {
    let output = Command::new(program()).arg(scenario).stdin(Stdio::null()).output().expect("the world starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario} ended with {}: {stderr}", output.status);
    serde_json::from_slice(&output.stdout).expect("the scenario prints JSON")
}

/// Asserts that the value at a JSON pointer is as expected.
#[track_caller]
pub(crate) fn expect(facts: &Value, pointer: &str, expected: impl Into<Value>) {
    assert_eq!(facts.pointer(pointer), Some(&expected.into()), "at {pointer} of {facts:#}");
}
