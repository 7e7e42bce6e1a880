//! Who may do what: tokens, roles and the words of a refusal; and what a cluster says of itself.

use requirements::{Capability, require};

use crate::kubectl::Kubectl;
use crate::world::World;

#[test]
fn a_reader_reads_and_may_not_write() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let world = World::start();
    let mut kubectl = Kubectl::new(&world, 0);
    kubectl.show("create sa reader");
    kubectl.show("create rolebinding reader --clusterrole=view --serviceaccount=default:reader");
    kubectl.show("describe rolebinding reader");
    kubectl.show("describe clusterrole view");
    kubectl.show("auth whoami");
    kubectl.show("auth can-i create pods");
    kubectl.show("auth can-i create pods --as=system:serviceaccount:default:reader");
    kubectl.show("auth can-i list pods --as=system:serviceaccount:default:reader");
    kubectl.show("auth can-i --list --as=system:serviceaccount:default:nobody");
    let token = kubectl.ok(&["create", "token", "reader", "--duration=10m"]);
    let mut reader = kubectl.with_token(token.trim());
    reader.show("auth whoami");
    reader.show("get cm");
    reader.show("create configmap c --from-literal=k=v");
    reader.show("delete cm kube-root-ca.crt");
    reader.show("get secrets");
    reader.show("get pods -A");
    reader.show("get nodes");
    let mut stranger = kubectl.with_token("no-token");
    stranger.show("get pods");
    insta::assert_snapshot!([kubectl.transcript(), reader.transcript(), stranger.transcript()].join("\n"));
}

#[test]
fn both_clusters_say_what_they_serve() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let world = World::start();
    let mut announced = world.announced.clone();
    announced.sort();
    assert_eq!(announced, ["cluster1", "cluster2"]);
    let (mut first, second) = (Kubectl::new(&world, 0), Kubectl::new(&world, 1));
    first.ok(&["create", "ns", "only-here"]);
    assert_eq!(second.run(&["get", "ns", "only-here"], "").code, 1);
    assert_eq!(second.ok(&["get", "nodes", "-o", "name"]), "node/cluster2-node\n");
    first.show("api-resources");
    first.show("api-versions");
    first.show("explain deploy.spec.strategy");
    first.show("get --raw /readyz?verbose");
    first.show("get svc,endpointslices -A");
    first.show("get endpoints kubernetes -o jsonpath={.subsets[0].addresses[0].ip}");
    insta::assert_snapshot!(first.transcript());
}
