//! The area `trust` of the catalogue, one test for each file: it runs with every change, the whole catalogue on demand.

use std::path::PathBuf;

use camino::Utf8PathBuf;
use rstest::rstest;
use scenarios::{Environment, Error, cases_of, topology};

#[rstest]
fn trust(#[files("catalogue/trust/*.yaml")] file: PathBuf) -> Result<(), Error> {
    let file = Utf8PathBuf::try_from(file).expect("UTF-8");
    for case in cases_of(&file) {
        let plan = case.plan.unwrap_or_else(|problems| panic!("{problems}"));
        let environment = Environment::of(topology(&plan.topology.name));
        environment.prove(&case.name, &plan)?;
    }
    Ok(())
}
