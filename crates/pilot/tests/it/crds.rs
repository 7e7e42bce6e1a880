//! The definitions that are installed are those of the types.

use std::path::Path;

use mesh_types::Kind;

#[test]
fn installed_definitions_are_those_of_the_types() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/crds");
    for kind in Kind::ALL {
        let path = directory.join(pilot::crds::file_name(kind));
        let installed = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        similar_asserts::assert_eq!(
            installed,
            pilot::crds::document(kind).unwrap(),
            "{} is out of date: cargo run -p pilot -- crds --directory manifests/crds",
            path.display()
        );
    }
    let count = std::fs::read_dir(&directory).unwrap().count();
    assert_eq!(count, Kind::ALL.len(), "a definition that no type stands for");
}
