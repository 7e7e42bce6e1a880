//! The catalogue as tests: one case for each scenario, and for each combination of the values of a matrix.
//!
//! `cargo test --package scenarios traffic_shift::half-and-half` runs one of them.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use scenarios::{Case, Environment};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They take turns anyway; like this, the time that is shown for each is its own.
    arguments.test_threads = Some(1);
    match scenarios::catalogue() {
        Ok(cases) => libtest_mimic::run(&arguments, cases.into_iter().map(trial).collect()).exit_code(),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn trial(Case { name, plan }: Case) -> Trial {
    let test = name.clone();
    Trial::test(name, move || {
        let plan = plan?;
        let environment = Environment::of(scenarios::topology(&plan.topology.name));
        environment.prove(&test, &plan).map_err(|error| Failed::from(format!("{error:?}")))
    })
}
