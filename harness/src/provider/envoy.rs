//! Asks an Envoy who it is, before an environment is built on it.

use std::process::Stdio;
use std::time::Duration;

use camino::Utf8Path;
use tokio::process::Command;

/// The oldest that understands what the mesh sends.
const OLDEST: (u32, u32) = (1, 40);
/// How long it may take to say its version on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// Whether the program is an Envoy that can be used.
///
/// # Errors
/// A sentence that says why not.
pub async fn check(path: &Utf8Path) -> Result<(), String> {
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output())
        .await
        .map_err(|_elapsed| format!("`{path} --version` did not end within {} s", DEADLINE.as_secs()))?
        .map_err(|error| format!("{path} cannot be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{path} --version` ended with {}: {}", output.status, complaint.trim()));
    }
    match version(&said) {
        Some(version) if version >= OLDEST => Ok(()),
        Some((major, minor)) => Err(format!("{path} is version {major}.{minor}, older than {}.{}", OLDEST.0, OLDEST.1)),
        None => Err(format!("`{path} --version` says no version of Envoy but {:?}", said.trim())),
    }
}

/// Major and minor of `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`.
fn version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_once("version:")?.1.split('/').nth(1)?;
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Utf8Path, text: &str) -> camino::Utf8PathBuf {
        let path = folder.join("envoy");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("executable");
        path
    }

    #[tokio::test]
    async fn only_an_envoy_that_is_new_enough_is_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let says = |number: &str| format!("echo 'envoy  version: 1a2b/{number}/Clean/RELEASE/BoringSSL'");
        assert_eq!(check(&program(folder, &says("1.40.0"))).await, Ok(()));
        let cases = [
            (says("1.38.2"), "is version 1.38, older than 1.40"),
            (
                "echo 'libfoo.so is missing' >&2; exit 127".to_owned(),
                "ended with exit status: 127: libfoo.so is missing",
            ),
            ("echo hello".to_owned(), "says no version of Envoy but \"hello\""),
        ];
        for (text, expected) in cases {
            let said = check(&program(folder, &text)).await.expect_err("it is refused");
            assert!(said.contains(expected), "{said}");
        }
        assert!(check(&folder.join("none")).await.expect_err("it is refused").contains("cannot be started"));
    }
}
