//! The real kubectl against the server: what people type, exit codes and output.

use std::process::Stdio;

use requirements::{Capability, require};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::pods::place;
use crate::world::{World, pod};

/// kubectl with a kubeconfig in a directory of its own.
struct Kubectl {
    directory: tempfile::TempDir,
}

impl Kubectl {
    fn new(world: &World) -> Kubectl {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config"), world.server.admin_kubeconfig(&world.url)).unwrap();
        Kubectl { directory }
    }

    /// Exit code and output; standard error follows standard output.
    async fn try_run(&self, arguments: &[&str], input: &str) -> (i32, String) {
        let mut child = Command::new("kubectl")
            .args(arguments)
            .env("KUBECONFIG", self.directory.path().join("config"))
            .env("HOME", self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let output = child.wait_with_output();
        let output =
            tokio::time::timeout(std::time::Duration::from_secs(60), output).await.expect("kubectl ends").unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    async fn run(&self, arguments: &[&str]) -> String {
        let (code, output) = self.try_run(arguments, "").await;
        assert_eq!(code, 0, "kubectl {arguments:?}: {output}");
        output
    }
}

const MANIFEST: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, name: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "web:1"}]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_applied_shown_changed_and_deleted() {
    require!(Capability::Kubectl);
    let world = World::start().await;
    let kubectl = Kubectl::new(&world);
    let apply = async |text: &str| kubectl.try_run(&["apply", "-f", "-"], text).await;
    assert_eq!(apply(MANIFEST).await, (0, "service/web created\ndeployment.apps/web created\n".to_owned()));
    assert_eq!(apply(MANIFEST).await, (0, "service/web unchanged\ndeployment.apps/web unchanged\n".to_owned()));
    let changed = MANIFEST.replace("web:1", "web:2");
    assert_eq!(apply(&changed).await, (0, "service/web unchanged\ndeployment.apps/web configured\n".to_owned()));
    assert_eq!(
        kubectl.run(&["get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"]).await,
        "web:2"
    );
    let table = kubectl.run(&["get", "deploy,svc", "-A", "-o", "wide"]).await;
    assert!(table.contains("deployment.apps/web") && table.contains("service/kubernetes"), "{table}");
    assert_eq!(kubectl.run(&["label", "svc", "web", "tier=front"]).await, "service/web labeled\n");
    assert_eq!(kubectl.run(&["scale", "deploy", "web", "--replicas=3"]).await, "deployment.apps/web scaled\n");
    assert_eq!(kubectl.run(&["rollout", "restart", "deploy", "web"]).await, "deployment.apps/web restarted\n");
    assert_eq!(
        kubectl.run(&["patch", "deploy", "web", "-p", r#"{"spec":{"replicas":1}}"#]).await,
        "deployment.apps/web patched\n"
    );
    let server_side = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let expected = "service/web serverside-applied\ndeployment.apps/web serverside-applied\n";
    assert_eq!(kubectl.try_run(&server_side, &changed).await, (0, expected.to_owned()));
    assert!(kubectl.run(&["describe", "deploy", "web"]).await.contains("StrategyType:           RollingUpdate"));
    assert_eq!(
        kubectl.run(&["delete", "svc,deploy", "web"]).await,
        "service \"web\" deleted\ndeployment.apps \"web\" deleted\n"
    );
    assert_eq!(
        kubectl.try_run(&["get", "svc", "web"], "").await,
        (1, "Error from server (NotFound): services \"web\" not found\n".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_explained() {
    require!(Capability::Kubectl);
    let world = World::start().await;
    let kubectl = Kubectl::new(&world);
    let typo = MANIFEST.replace("selector: {app", "selektor: {app");
    let (code, output) = kubectl.try_run(&["apply", "-f", "-"], &typo).await;
    assert_eq!(code, 1);
    assert!(output.contains("strict decoding error: unknown field \"spec.selektor\""), "{output}");
    let (code, output) = kubectl.try_run(&["run", "p", "--image=", "--restart=Never"], "").await;
    assert_eq!(code, 1, "{output}");
    let unknown = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n";
    let (code, output) = kubectl.try_run(&["apply", "-f", "-"], unknown).await;
    let expected = "error: resource mapping not found for name: \"w\" namespace: \"\" from \"STDIN\": no matches for \
                    kind \"Widget\" in version \"example.com/v1\"\nensure CRDs are installed first\n";
    assert_eq!((code, output.as_str()), (1, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_applied_with_validation() {
    require!(Capability::Kubectl);
    let world = World::start().await;
    let kubectl = Kubectl::new(&world);
    let definition = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object}}}}
";
    let created = "customresourcedefinition.apiextensions.k8s.io/widgets.example.com created\n";
    assert_eq!(kubectl.try_run(&["apply", "-f", "-"], definition).await, (0, created.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_show_what_they_aggregate() {
    require!(Capability::Kubectl);
    let world = World::start().await;
    let kubectl = Kubectl::new(&world);
    let rules = ["get", "clusterrole", "view", "-o", "jsonpath={.rules[*].resources}"];
    assert!(kubectl.run(&rules).await.contains("\"configmaps\""));
    kubectl.run(&["create", "clusterrole", "extra", "--verb=get", "--resource=leases"]).await;
    kubectl.run(&["label", "clusterrole", "extra", "rbac.authorization.k8s.io/aggregate-to-view=true"]).await;
    let first = "--for=jsonpath={.rules[0].resources[0]}=leases";
    kubectl.run(&["wait", "clusterrole/view", first, "--timeout=10s"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_commands_are_understood() {
    require!(Capability::Kubectl);
    let world = World::start().await;
    let kubectl = Kubectl::new(&world);
    assert_eq!(kubectl.run(&["create", "ns", "demo"]).await, "namespace/demo created\n");
    assert_eq!(kubectl.run(&["create", "cm", "a", "--from-literal=x=y"]).await, "configmap/a created\n");
    assert_eq!(
        kubectl.run(&["create", "deployment", "d", "--image=i", "--replicas=0"]).await,
        "deployment.apps/d created\n"
    );
    assert_eq!(kubectl.run(&["get", "deploy", "d", "-o", "jsonpath={.spec.replicas}"]).await, "0");
    assert_eq!(kubectl.run(&["auth", "can-i", "create", "pods"]).await, "yes\n");
    let (code, output) = kubectl.try_run(&["auth", "can-i", "create", "pods", "--as", "ann"], "").await;
    assert_eq!((code, output.as_str()), (1, "no\n"));
    assert!(kubectl.run(&["auth", "whoami"]).await.contains("kubernetes-admin"));
    assert_eq!(kubectl.run(&["create", "token", "default"]).await.split('.').count(), 3);
    let resources = kubectl.run(&["api-resources"]).await;
    assert!(resources.contains("deployments                       deploy       apps/v1"), "{resources}");
    assert!(kubectl.run(&["explain", "deployment.spec.replicas"]).await.contains("FIELD: replicas <integer>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_and_logs_reach_the_node() {
    require!(Capability::Kubectl);
    let world = World::start().await;
    world.create("v1", "Pod", "default", pod("p")).await;
    place(&world, "p").await;
    let kubectl = Kubectl::new(&world);
    assert_eq!(kubectl.run(&["logs", "p"]).await, "p c\ntail None\n");
    assert_eq!(kubectl.run(&["exec", "p", "--", "echo", "hello"]).await, "hello\n");
    let (code, output) = kubectl.try_run(&["exec", "p", "--", "exit", "3"], "").await;
    assert_eq!((code, output.as_str()), (3, "leaving\ncommand terminated with exit code 3\n"));
    assert_eq!(kubectl.try_run(&["exec", "-i", "p", "--", "cat"], "through\n").await, (0, "through\n".to_owned()));
    // kubectl asks a second time, over SPDY, where WebSocket is refused: both answers must say what is wrong.
    let (code, output) = kubectl.try_run(&["exec", "p", "-c", "none", "--", "cat"], "").await;
    assert_eq!((code, output.as_str()), (1, "Error from server (BadRequest): container none is not valid for pod p\n"));
    let (code, output) = kubectl.try_run(&["exec", "p", "--", "missing"], "").await;
    let expected = "error: Internal error occurred: error executing command in container: no program of that name\n";
    assert_eq!((code, output.as_str()), (1, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_and_watching_see_changes() {
    require!(Capability::Kubectl);
    let world = World::start().await;
    let kubectl = Kubectl::new(&world);
    world.create("v1", "Pod", "default", pod("p")).await;
    let change = async {
        let path = "/api/v1/namespaces/default/pods/p/status";
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        crate::world::raw(&world.client, "PATCH", path, "application/merge-patch+json", status).await
    };
    let wait = kubectl.run(&["wait", "--for=condition=Ready", "pod/p", "--timeout=20s"]);
    let (output, (code, _)) = tokio::join!(wait, change);
    assert_eq!((output.as_str(), code), ("pod/p condition met\n", 200));
    let watched = kubectl.run(&["get", "pods", "-w", "--request-timeout=2s"]).await;
    assert!(watched.contains("NAME") && watched.contains("p "), "{watched}");
}
