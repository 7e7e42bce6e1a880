//! `meshproof doctor`: what this machine can run, and what to fix.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::cli::args::{DoctorArgs, Format};
use crate::provider::programs::Programs;
use crate::report::RunOutcome;

pub(super) async fn run(args: &DoctorArgs) -> RunOutcome {
    let lacks = lacks().await;
    match args.format {
        Format::Json => crate::cli::print(&format!("{:#}\n", json!({ "embedded": lacks.is_empty(), "lacks": lacks }))),
        Format::Text => crate::cli::print(&text(&lacks)),
    }
    if lacks.is_empty() { RunOutcome::Passed } else { RunOutcome::MachineCannot }
}

/// What the embedded provider would not find here, each with what, found and cure.
async fn lacks() -> Vec<Value> {
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(error) => {
            return vec![json!({ "what": "a program", "found": error.to_string(), "cure": "cargo xtask doctor" })];
        }
    };
    let lack =
        |found: String| json!({ "what": "an answer of the preflight", "found": found, "cure": "cargo xtask doctor" });
    match Command::new(&programs.substrate).arg("preflight").output().await {
        Ok(output) => serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| vec![lack(format!("{error}: {}", String::from_utf8_lossy(&output.stderr).trim()))]),
        Err(error) => vec![lack(error.to_string())],
    }
}

fn text(lacks: &[Value]) -> String {
    if lacks.is_empty() {
        return "provider embedded: this machine can run it\n".to_owned();
    }
    let word = |lack: &Value, key: &str| lack[key].as_str().unwrap_or("").to_owned();
    let mut text = "provider embedded: this machine cannot run it\n".to_owned();
    for lack in lacks {
        text.push_str(&format!("  it lacks {}: {}\n", word(lack, "what"), word(lack, "found")));
        text.push_str(&format!("    help: {}\n", word(lack, "cure")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_comes_with_its_cure() {
        assert_eq!(text(&[]), "provider embedded: this machine can run it\n");
        let lack = json!({ "what": "user namespaces", "found": "EPERM", "cure": "sysctl -w x=1" });
        assert_eq!(
            text(&[lack]),
            "provider embedded: this machine cannot run it\n  it lacks user namespaces: EPERM\n    help: sysctl -w x=1\n"
        );
    }
}
