//! Objects that people write: applied, shown, changed, deleted; and mistakes in them.

use requirements::{Capability, require};

use crate::kubectl::Kubectl;
use crate::world::World;

pub(crate) const TALK: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: talk, labels: {app: talk}}
spec:
  replicas: 2
  selector: {matchLabels: {app: talk}}
  template:
    metadata: {labels: {app: talk}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: shell:1
        command: [/bin/sh, -c, "trap 'exit 0' TERM; echo one; echo two; echo three; while :; do sleep 0.2; done"]
        env: [{name: GREETING, value: hello}]
        resources: {requests: {memory: 8Mi}, limits: {memory: 64Mi}}
      - name: side
        image: shell:1
        command: [/bin/sh, -c, "trap 'exit 0' TERM; echo beside; while :; do sleep 0.2; done"]
---
apiVersion: v1
kind: Service
metadata: {name: talk, labels: {app: talk}}
spec:
  selector: {app: talk}
  ports: [{name: http, port: 80, targetPort: 8080}]
"#;

#[test]
fn objects_are_applied_shown_changed_and_deleted() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let world = World::start();
    let mut kubectl = Kubectl::new(&world, 0);
    kubectl.show_with("apply -f -", TALK);
    kubectl.show("wait --for=condition=Available deploy/talk --timeout=20s");
    kubectl.show("get nodes -o wide");
    kubectl.show("get all -A");
    kubectl.show("get deploy,rs,svc,endpointslices -o wide");
    kubectl.show("get pods -l app=talk -o wide --show-labels");
    kubectl.show("get pods -o custom-columns=NAME:.metadata.name,PHASE:.status.phase");
    kubectl.show_with("apply -f -", TALK);
    kubectl.show_with("apply --server-side -f -", TALK);
    kubectl.show_with("apply --dry-run=server -f -", &TALK.replace("replicas: 2", "replicas: 3"));
    kubectl.show_arguments(&["patch", "deploy", "talk", "-p", r#"{"metadata":{"labels":{"a":"b"}}}"#], "");
    kubectl.show_arguments(&["patch", "svc", "talk", "--type=merge", "-p", r#"{"spec":{"type":"LoadBalancer"}}"#], "");
    let test =
        r#"[{"op":"test","path":"/spec/replicas","value":2},{"op":"replace","path":"/spec/replicas","value":1}]"#;
    kubectl.show_arguments(&["patch", "deploy", "talk", "--type=json", "-p", test], "");
    kubectl.show_arguments(&["patch", "deploy", "talk", "--type=json", "-p", test], "");
    kubectl.show("wait --for=jsonpath={.status.loadBalancer.ingress[0].ip}=172.30.1.100 svc/talk --timeout=10s");
    kubectl.show("get svc talk");
    kubectl.show("scale deploy talk --replicas=0");
    kubectl.ok(&["wait", "--for=delete", "pod", "-l", "app=talk", "--timeout=20s"]);
    kubectl.show("label deploy talk a=c");
    kubectl.show("label deploy talk a=c --overwrite");
    kubectl.show("annotate svc talk note=short");
    kubectl.show("create configmap c --from-literal=k=v");
    kubectl.show("create secret generic s --from-literal=k=v");
    kubectl.show("create secret generic s --from-literal=k=v");
    kubectl.show("get cm,secret");
    kubectl.show("delete deploy,svc,cm,secret -l app=talk");
    kubectl.show("get deploy talk");
    kubectl.show("create ns demo");
    kubectl.show("create deployment idle -n demo --image=shell:1 --replicas=0");
    kubectl.show("run once -n demo --image=shell:1 --restart=Never --command -- /bin/echo hello");
    kubectl.show("wait -n demo --for=jsonpath={.status.phase}=Succeeded pod/once --timeout=20s");
    kubectl.show("get all -n demo");
    kubectl.show("delete ns demo");
    kubectl.show("get ns");
    insta::assert_snapshot!(kubectl.transcript());
}

#[test]
fn a_whole_object_is_shown_as_yaml_and_its_changes_as_a_diff() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let world = World::start();
    let mut kubectl = Kubectl::new(&world, 0);
    kubectl.apply(&TALK.replace("replicas: 2", "replicas: 0"));
    kubectl.ok(&["rollout", "status", "deploy/talk", "--timeout=20s"]);
    kubectl.show("get deploy talk -o yaml");
    kubectl.show("describe svc talk");
    let output = kubectl.run(&["diff", "-f", "-"], &TALK.replace("replicas: 2", "replicas: 0").replace("hello", "bye"));
    assert_eq!(output.code, 1, "a difference is told by the exit code: {}", output.stderr);
    let changed: Vec<&str> = output.stdout.lines().filter(|line| line.starts_with(['-', '+'])).skip(2).collect();
    assert_eq!(changed, ["-  generation: 1", "+  generation: 2", "-          value: hello", "+          value: bye"]);
    insta::assert_snapshot!(kubectl.transcript());
}

#[test]
fn mistakes_are_explained() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let world = World::start();
    let mut kubectl = Kubectl::new(&world, 0);
    kubectl.show("get pods");
    kubectl.show("get pods nope");
    kubectl.show("get nosuch");
    kubectl.show_with("apply -f -", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containerz: []}\n");
    let names = "apiVersion: v1\nkind: Pod\nmetadata: {name: UPPER}\nspec: {containers: [{name: A_b}]}\n";
    kubectl.show_with("apply -f -", names);
    kubectl.show_with("apply -f -", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n");
    kubectl.show_with("apply -n nowhere -f -", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n");
    kubectl.show("run bad --image=no/such:1");
    kubectl.show("wait --for=jsonpath={.status.containerStatuses[0].state.waiting.reason} pod/bad --timeout=10s");
    let output = kubectl.run(&["logs", "bad"], "");
    assert!(output.stderr.contains("container \"bad\" in pod \"bad\" is waiting to start"), "{}", output.stderr);
    insta::assert_snapshot!(kubectl.transcript());
}
