//! `meshproof down`: ends environments and removes their files.

use super::{complain_kept, root};
use crate::cli::args::DownArgs;
use crate::report::RunOutcome;
use crate::run::{self, Kept, KeptError};

pub(super) async fn run(args: &DownArgs) -> RunOutcome {
    let root = match root() {
        Ok(root) => root,
        Err(outcome) => return outcome,
    };
    let chosen = if args.all { run::list(&root) } else { one(&root, args.name.as_deref()).map(|kept| vec![kept]) };
    let chosen = match chosen {
        Ok(chosen) => chosen,
        Err(error) => return complain_kept(&error),
    };
    let mut worst = RunOutcome::Passed;
    for kept in chosen {
        let name = kept.name.clone();
        match run::down(kept).await {
            Ok(()) => crate::cli::print(&format!("{name} is down\n")),
            // All means all that are there to be taken down, not what other commands have in hand.
            Err(error @ KeptError::InUse(_)) if args.all => eprintln!("note: {error}"),
            Err(error) => worst = worst.worse(complain_kept(&error)),
        }
    }
    worst
}

/// Unlike other commands, this one also takes the only environment of which nothing runs any more.
fn one(root: &camino::Utf8Path, name: Option<&str>) -> Result<Kept, KeptError> {
    match (run::find(root, name), name) {
        (Err(KeptError::None), None) => {
            let mut left = run::list(root)?;
            match left.len() {
                0 => Err(KeptError::None),
                1 => Ok(left.swap_remove(0)),
                _ => Err(KeptError::Left(left.into_iter().map(|kept| kept.name).collect::<Vec<_>>().join(", "))),
            }
        }
        (found, _) => found,
    }
}
