//! `meshproof schema`: the JSON schemas of the file formats.

use crate::cli::args::{SchemaArgs, SchemaName};
use crate::diagnostic::structure::schema_of;
use crate::report::{Event, Record, RunOutcome};
use crate::scenario::file::ScenarioFile;
use crate::scenario::suite::SuiteFile;
use crate::topology::file::TopologyFile;

pub(super) fn run(args: &SchemaArgs) -> RunOutcome {
    super::print(&text(args.name));
    RunOutcome::Passed
}

/// A schema as it is published, with a line feed at the end.
pub(super) fn text(name: SchemaName) -> String {
    let schema = match name {
        SchemaName::Topology => schema_of::<TopologyFile>(),
        SchemaName::Scenario => schema_of::<ScenarioFile>(),
        SchemaName::Suite => schema_of::<SuiteFile>(),
        SchemaName::Report => schema_of::<Record>(),
        SchemaName::Events => schema_of::<Event>(),
    };
    format!("{schema:#}\n")
}
