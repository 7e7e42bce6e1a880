//! Deployments over time: rollouts, their history, and the way back.

use requirements::{Capability, require};

use crate::kubectl::Kubectl;
use crate::objects::TALK;
use crate::world::World;

/// Progress depends on timing; the verdict does not.
#[track_caller]
fn rolled_out(kubectl: &Kubectl) {
    let output = kubectl.ok(&["rollout", "status", "deploy/talk", "--timeout=20s"]);
    assert_eq!(output.lines().last(), Some("deployment \"talk\" successfully rolled out"));
}

fn greetings(kubectl: &Kubectl) -> String {
    kubectl.ok(&["get", "deploy", "talk", "-o", "jsonpath={.spec.template.spec.containers[0].env[0].value}"])
}

#[test]
fn a_rollout_is_watched_undone_and_restarted() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let world = World::start();
    let mut kubectl = Kubectl::new(&world, 0);
    kubectl.apply(TALK);
    rolled_out(&kubectl);
    kubectl.apply(&TALK.replace("hello", "bye"));
    rolled_out(&kubectl);
    kubectl.show("rollout history deploy/talk");
    kubectl.show("rollout history deploy/talk --revision=2");
    kubectl.show("rollout undo deploy/talk");
    rolled_out(&kubectl);
    assert_eq!(greetings(&kubectl), "hello");
    kubectl.show("rollout history deploy/talk");
    kubectl.show("rollout restart deploy/talk");
    rolled_out(&kubectl);
    kubectl.show("get rs --sort-by=.metadata.annotations.deployment\\.kubernetes\\.io/revision");
    kubectl.show("rollout pause deploy/talk");
    kubectl.show("set env deploy/talk -c main GREETING=later");
    kubectl.show("rollout resume deploy/talk");
    rolled_out(&kubectl);
    kubectl.show("get deploy talk");
    insta::assert_snapshot!(kubectl.transcript());
}
