//! An agent that may not read everything: it says what, and does the rest.

use mesh_types::hub::Kind;
use serde_json::{Value, json};

use crate::certificates::{CERTIFICATES, certificate_in, root, sign_for};
use crate::world::{World, until};

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const AGENT: &str = "agent";

async fn allow(world: &World, namespace: &str, rules: Value) {
    let (role, binding) =
        if namespace.is_empty() { ("ClusterRole", "ClusterRoleBinding") } else { ("Role", "RoleBinding") };
    world.create(RBAC, role, namespace, json!({ "metadata": { "name": AGENT }, "rules": rules })).await;
    let binding_of = json!({
        "metadata": { "name": AGENT },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": AGENT },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": AGENT }],
    });
    world.create(RBAC, binding, namespace, binding_of).await;
}

#[tokio::test]
async fn a_place_that_cannot_be_read_is_told_and_holds_up_no_other() {
    let world = World::start().await;
    world.create("v1", "Namespace", "", json!({ "metadata": { "name": "locked" } })).await;
    let everything = |groups: &[&str]| json!({ "apiGroups": groups, "resources": ["*"], "verbs": ["*"] });
    let read = json!({ "apiGroups": [""], "resources": ["namespaces", "pods", "services", "configmaps"], "verbs": ["get", "list", "watch"] });
    allow(&world, "", json!([everything(&["apps", "certificates.meshproof.dev"]), read])).await;
    let secrets = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["*"] }]);
    for namespace in ["meshproof-hub", "istio-system"] {
        allow(&world, namespace, secrets.clone()).await;
    }
    let _agent = world.agent_as(AGENT);
    for (name, namespace) in [("blind", "locked"), ("mesh1", "istio-system")] {
        let certificate = certificate_in(name, namespace, false);
        world.create(CERTIFICATES, "IssuedCertificate", "meshproof-hub", certificate).await;
    }
    let certificates = world.hub(Kind::IssuedCertificate);
    let root = root();
    sign_for("mesh1", &world, &root, &[&root], false).await;
    until("the one that can be read", &certificates, "mesh1", |one| one["status"]["state"] == "FINISHED").await;
    let named = |one: &Value| {
        one["status"]["error"].as_str().is_some_and(|error| error.starts_with("cannot be read: Secret locked/cacerts"))
    };
    until("the one that cannot", &certificates, "blind", named).await;

    allow(&world, "locked", secrets).await;
    sign_for("blind", &world, &root, &[&root], false).await;
    let done = until("the other", &certificates, "blind", |one| one["status"]["state"] == "FINISHED").await;
    assert_eq!(done["status"]["error"], Value::Null);
}
