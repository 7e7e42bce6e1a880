//! `meshproof doctor`: what this machine can run, and what to fix.

use serde_json::json;

use crate::cli::args::{DoctorArgs, Format};
use crate::provider::programs::Programs;
use crate::report::RunOutcome;
use crate::run::{Lack, lacks};

pub(super) async fn run(args: &DoctorArgs) -> RunOutcome {
    let lacks = missing().await;
    match args.format {
        Format::Json => crate::cli::print(&format!("{:#}\n", json!({ "embedded": lacks.is_empty(), "lacks": lacks }))),
        Format::Text => crate::cli::print(&text(&lacks)),
    }
    if lacks.is_empty() { RunOutcome::Passed } else { RunOutcome::MachineCannot }
}

/// What the embedded provider would not find here.
async fn missing() -> Vec<Lack> {
    let lack = |what: &str, found: String| Lack {
        what: what.to_owned(),
        found,
        cure: "`cargo xtask doctor` looks at the machine, builds what is missing and fetches Envoy".to_owned(),
    };
    match Programs::find() {
        Err(error) => vec![lack("a program", error.to_string())],
        Ok(programs) => {
            let mut lacking = lacks(&programs)
                .await
                .unwrap_or_else(|error| vec![lack("an answer of the preflight", error.to_string())]);
            lacking.extend(programs.check().await.err().map(|error| lack("a program", error.to_string())));
            lacking
        }
    }
}

fn text(lacks: &[Lack]) -> String {
    if lacks.is_empty() {
        return "provider embedded: this machine can run it\n".to_owned();
    }
    let mut text = "provider embedded: this machine cannot run it\n".to_owned();
    for lack in lacks {
        text.push_str(&format!("  it lacks {}: {}\n", lack.what, lack.found));
        text.push_str(&format!("    help: {}\n", lack.cure));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_comes_with_its_cure() {
        assert_eq!(text(&[]), "provider embedded: this machine can run it\n");
        let lack =
            Lack { what: "user namespaces".to_owned(), found: "EPERM".to_owned(), cure: "sysctl -w x=1".to_owned() };
        assert_eq!(
            text(&[lack]),
            "provider embedded: this machine cannot run it\n  it lacks user namespaces: EPERM\n    help: sysctl -w x=1\n"
        );
    }
}
