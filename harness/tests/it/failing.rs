//! A scenario that fails on purpose, in a whole environment: what is left of it for whoever wants to know why.

use std::path::{Path, PathBuf};
use std::process::Command;

use requirements::{Capability, require};
use serde_json::Value;

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, is_folder) = (entry.path(), entry.file_type().expect("a type").is_dir());
        if is_folder { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).expect("readable")).into_owned()
}

#[test]
fn the_state_of_a_scenario_that_fails_is_saved_before_its_clean_up_and_without_secrets() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    require!(Capability::Programs);
    let state = tempfile::tempdir().expect("a folder");
    let out = tempfile::tempdir().expect("a folder");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/failing.yaml");
    let output = Command::new(env!("CARGO_BIN_EXE_meshproof"))
        .args(["e2e", scenario, "--out"])
        .arg(out.path())
        .env("MESHPROOF_STATE_DIR", state.path())
        .env("NO_COLOR", "1")
        .output()
        .expect("started");
    let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(100), "{shown}");
    assert!(shown.contains("state saved: ") && shown.contains("likely layer: certificate"), "{shown}");

    let report: Value = serde_json::from_str(&text(&out.path().join("report.json"))).expect("JSON");
    let artifacts = &report["scenarios"][0]["artifacts"];
    assert_eq!(artifacts["missing"], serde_json::json!([]));
    let folder = out.path().join("artifacts/fails-on-purpose");
    let listed = artifacts["files"].as_array().expect("a list");
    for file in listed {
        let size = folder.join(file["path"].as_str().expect("a path")).metadata().expect("it is there").len();
        assert_eq!(file["bytes"], size, "{file}");
    }
    let files = files_below(&folder);
    assert_eq!(files.len(), listed.len(), "every file is listed");

    let services = text(&folder.join("cluster1/objects/virtualservices.networking.istio.io.v1.json"));
    assert!(services.contains("left-for-the-artifacts"), "saved before the clean-up: {services}");
    let proxy = files.iter().find(|path| path.to_string_lossy().contains("reviews-v1")).and_then(|path| path.parent());
    let proxy = proxy.expect("the folder of a pod");
    for (file, part) in [
        ("config_dump.json", "ListenersConfigDump"),
        ("clusters.json", "cluster_statuses"),
        ("certificates.json", "cert_chain"),
        ("stats.txt", "listener"),
    ] {
        assert!(text(&proxy.join(file)).contains(part), "{file}");
    }
    let secrets = text(&folder.join("cluster1/objects/secrets.v1.json"));
    assert!(secrets.contains("[redacted]") && secrets.contains("cacerts"), "{secrets}");
    for file in files_below(out.path()) {
        assert!(!text(&file).contains("PRIVATE KEY-----\n"), "{}", file.display());
    }
    assert!(text(&out.path().join("report.html")).contains("State saved before the clean-up"));
    let left: Vec<PathBuf> = files_below(state.path());
    assert_eq!(left.len(), 1, "nothing but the link to the reports is left: {left:?}");
}
