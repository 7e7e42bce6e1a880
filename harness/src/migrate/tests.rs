//! Files of the original, what becomes of them, and what is said about them.

use insta::assert_snapshot;

use super::gloo_mesh;

fn shown(name: &str, text: &str) -> String {
    let migrated = gloo_mesh(name, text, "meshproof-hub");
    let objects: Vec<_> =
        migrated.objects.iter().map(|object| serde_saphyr::to_string(object).expect("YAML")).collect();
    let problem = |problem: &crate::diagnostic::Problem| {
        let help = problem.help.as_ref().map(|help| format!("\n  help: {help}")).unwrap_or_default();
        let at = problem.location();
        format!("{}:{}:{}: {:?}: {}{help}\n", at.file, at.line, at.column, problem.severity, problem.message)
    };
    let problems: String = migrated.problems.iter().map(problem).collect();
    format!("{problems}\n{}", objects.join("---\n"))
}

#[test]
fn the_slide_is_put_right() {
    assert_snapshot!(shown("slide.yaml", include_str!("fixtures/slide.yaml")));
}

#[test]
fn resources_of_v1alpha2() {
    assert_snapshot!(shown("v1alpha2.yaml", include_str!("fixtures/v1alpha2.yaml")));
}

#[test]
fn resources_of_v1() {
    assert_snapshot!(shown("v1.yaml", include_str!("fixtures/v1.yaml")));
}

#[test]
fn a_value_whose_place_is_taken_is_told_and_the_other_stays() {
    let text = "apiVersion: networking.mesh.gloo.solo.io/v1\nkind: TrafficPolicy\nmetadata: {name: a, namespace: gloo-mesh}\n\
                spec:\n  requestTimeout: 2s\n  retries: {attempts: 1}\n  policy:\n    requestTimeout: 5s\n    retries: {attempts: 1}\n";
    let migrated = gloo_mesh("two.yaml", text, "meshproof-hub");
    assert_eq!(migrated.objects[0]["spec"]["policy"]["requestTimeout"], "5s");
    let errors: Vec<_> = migrated.problems.iter().filter(|one| one.message.contains("is left out")).collect();
    let [error] = errors.as_slice() else { panic!("{}", migrated.problems.render(false)) };
    assert_eq!((error.severity, error.location().line), (crate::diagnostic::Severity::Error, 5));
    assert!(error.message.starts_with("`requestTimeout`"), "{}", error.message);
}

#[test]
fn a_file_that_is_no_yaml_has_a_place() {
    let migrated = gloo_mesh("broken.yaml", "a: [1\nb: 2", "meshproof-hub");
    assert!(migrated.problems.has_errors());
    assert_eq!(migrated.problems.iter().next().expect("one").location().file, "broken.yaml");
}
