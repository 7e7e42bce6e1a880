//! Runs the commands of a plan, and writes its files.

use std::process::Stdio;

use camino::Utf8Path;
use tokio::process::Command;

use super::Error;
use crate::provider::kind::commands::CommandLine;

/// Writes a file and the folders above it.
pub(in crate::environment) fn write(path: &Utf8Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}

/// How a command ended that never began.
pub(in crate::environment) const NOT_STARTED: &str = "cannot be started";
/// How much of a command's words a message repeats.
const LAST_WORDS: usize = 600;

/// Runs a command, which names the cluster that it is about where it fails.
pub(super) async fn run(cluster: &str, line: &CommandLine) -> Result<(), Error> {
    output(cluster, line).await.map(drop)
}

/// The same, and gives what it wrote on standard output.
pub(in crate::environment) async fn output(cluster: &str, line: &CommandLine) -> Result<String, Error> {
    let mut command = Command::new(line.program);
    command.args(&line.arguments).envs(line.environment.iter().map(|(name, value)| (name, value)));
    let failed = |ended: String, said: String| Error::Command {
        cluster: cluster.to_owned(),
        command: line.to_string(),
        ended,
        said,
    };
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| failed(NOT_STARTED.to_owned(), error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(failed(format!("ended with {}", output.status), last_words(&said)))
}

/// The lines that say what went wrong, where there are such, else the last ones.
fn last_words(said: &str) -> String {
    let plain = said.trim();
    let from = plain.find("ERROR:").unwrap_or(0);
    let text: Vec<&str> = plain[from..].lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = text.join(" ");
    let characters = text.chars().count();
    if from > 0 || characters <= LAST_WORDS {
        return text.chars().take(LAST_WORDS).collect();
    }
    text.chars().skip(characters - LAST_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_is_repeated() {
        let said = "Creating cluster \"x\" ...\n \u{2717} Ensuring node image\nERROR: failed to pull image \"a\": no such host\n";
        assert_eq!(last_words(said), "ERROR: failed to pull image \"a\": no such host");
        assert_eq!(last_words(&"x".repeat(LAST_WORDS + 5)).len(), LAST_WORDS);
    }
}
