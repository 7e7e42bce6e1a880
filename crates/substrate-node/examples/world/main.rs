//! A small supervisor for the integration tests: enters a world, runs one scenario in it, and prints what it saw as
//! one JSON document. The tests judge; nothing is judged here.

mod cluster;
mod confinement;
mod containers;
mod datagrams;
mod links;
mod networks;
mod scenarios;

use std::process::ExitCode;

use substrate_node::{runtime, supervision};

fn main() -> ExitCode {
    runtime::maybe_container_init();
    let scenario = std::env::args().nth(1).unwrap_or_default();
    if scenario == "preflight" {
        println!("{}", serde_json::to_string(&supervision::preflight()).expect("problems are plain data"));
        return ExitCode::SUCCESS;
    }
    let world = match supervision::enter_world() {
        Ok(world) => world,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(96);
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(scenarios::run(&scenario, world)) {
        Ok(facts) => {
            println!("{facts}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{scenario}: {error}");
            ExitCode::FAILURE
        }
    }
}
