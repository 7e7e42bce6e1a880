//! The CustomResourceDefinitions as the files that are installed.

use mesh_types::Kind;
use mesh_types::crd;

/// Name of the file of a kind.
pub fn file_name(kind: Kind) -> String {
    format!("{}.yaml", kind.plural())
}

/// The file of a kind.
///
/// # Errors
/// The definition cannot be written as YAML.
pub fn document(kind: Kind) -> Result<String, serde_saphyr::ser::Error> {
    let definition = serde_saphyr::to_string(&crd::definition(kind))?;
    Ok(format!("# Generated from the types in crates/mesh-types; a test fails where they differ.\n{definition}"))
}
