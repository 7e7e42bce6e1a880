//! Who may call.

use hub::state::{Change, InputKey, Subject};
use hub::status::Status;
use insta::assert_snapshot;
use mesh_types::hub::ObjectRef;
use serde_json::{Value, json};

use crate::support::{TWO_CLUSTERS, VIRTUAL_MESH, names, object, put, shown, state};

fn policy(source: &str, rest: &str) -> String {
    format!(
        "apiVersion: networking.meshproof.dev/v1\nkind: AccessPolicy\nmetadata: {{ name: callers, namespace: bookinfo, generation: 1 }}\n\
         spec:\n  destinationSelector: [{{ kubeServiceMatcher: {{ clusters: [cluster2] }} }}]\n  sourceSelector: [{source}]\n{rest}"
    )
}

fn errors(state: &hub::state::State) -> Vec<String> {
    match state.status(&Subject::AccessPolicy(ObjectRef::new("callers", "bookinfo"))) {
        Some(Status::Policy(status)) => status.errors,
        other => panic!("{other:?}"),
    }
}

/// A resource by which nobody may call.
fn nothing() -> Value {
    json!({ "selector": { "matchLabels": { "app": "reviews" } }, "action": "ALLOW" })
}

const REVIEWS: &str = "AuthorizationPolicy bookinfo/reviews";

#[test]
fn callers_by_account_namespace_and_operation() {
    let source = "{ kubeServiceAccountRefs: { serviceAccounts: [{ name: bookinfo-productpage, namespace: bookinfo }] } }, { kubeIdentityMatcher: { namespaces: [ops] } }";
    let rest = "  allowedPaths: [/reviews/*]\n  allowedMethods: [GET]\n  allowedPorts: [9080]\n";
    let state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, &policy(source, rest)]);
    assert_eq!(errors(&state), Vec::<String>::new());
    let object = object(&state, "cluster2", REVIEWS).unwrap();
    mesh_types::validate(&object).unwrap();
    assert_snapshot!(serde_saphyr::to_string(&object["spec"]).unwrap());
}

#[test]
fn a_policy_for_everybody_is_an_open_rule() {
    let state = state(&[TWO_CLUSTERS, &policy("", "")]);
    assert_eq!(
        object(&state, "cluster2", REVIEWS).unwrap()["spec"],
        json!({ "selector": { "matchLabels": { "app": "reviews" } }, "rules": [{}], "action": "ALLOW" })
    );
}

#[test]
fn clusters_are_told_apart_by_trust_domains_only() {
    let one_cluster = policy("{ kubeIdentityMatcher: { clusters: [cluster1], namespaces: [bookinfo] } }", "");
    let shared = state(&[TWO_CLUSTERS, VIRTUAL_MESH, &one_cluster]);
    assert_eq!(
        errors(&shared),
        [
            "on reviews.bookinfo.cluster2: cluster cluster1 shares the trust domain cluster.local with cluster2: callers of one cannot be told from those of the other, so leave clusters out, or give the meshes trust domains of their own"
        ]
    );
    // What is refused must not let everybody in: the resource without rules allows nothing.
    assert_eq!(object(&shared, "cluster2", REVIEWS).unwrap()["spec"], nothing());
    let own = TWO_CLUSTERS.replacen("trustDomain: cluster.local", "trustDomain: cluster1.example", 1);
    let own = state(&[&own, VIRTUAL_MESH, &one_cluster]);
    assert_eq!(errors(&own), Vec::<String>::new());
    assert_eq!(
        object(&own, "cluster2", REVIEWS).unwrap()["spec"]["rules"],
        json!([{ "from": [{ "source": { "principals": ["cluster1.example/ns/bookinfo/*"] } }] }])
    );
}

#[test]
fn trust_domains_that_are_aliases_are_one() {
    let one_cluster = policy("{ kubeIdentityMatcher: { clusters: [cluster1] } }", "");
    let alias = TWO_CLUSTERS.replacen("trustDomain: cluster.local", "trustDomain: cluster1.example", 1).replacen(
        "trustDomain: cluster.local",
        "trustDomain: cluster2.example\n    trustDomainAliases: [cluster1.example]",
        1,
    );
    let state = state(&[&alias, VIRTUAL_MESH, &one_cluster]);
    assert_eq!(
        errors(&state),
        [
            "on reviews.bookinfo.cluster2: the control plane of cluster cluster2 takes the trust domains cluster1.example and cluster2.example for one (trustDomainAliases): callers of cluster cluster1 cannot be told from those of cluster2, so leave clusters out, or take the alias away"
        ]
    );
    assert_eq!(object(&state, "cluster2", REVIEWS).unwrap()["spec"], nothing());
}

/// In Istio's policies `cluster.local` is whatever the own trust domain is called.
#[test]
fn the_default_trust_domain_names_nobody_elsewhere() {
    let renamed = TWO_CLUSTERS.replace("trustDomain: cluster.local", "trustDomain: cluster2.example").replacen(
        "trustDomain: cluster2.example",
        "trustDomain: cluster.local",
        1,
    );
    for source in ["{ kubeIdentityMatcher: { clusters: [cluster1] } }".to_owned(), format!("{{ {ACCOUNT} }}")] {
        let state = state(&[&renamed, VIRTUAL_MESH, &policy(&source, "")]);
        assert_eq!(
            errors(&state),
            [
                "on reviews.bookinfo.cluster2: the control plane of cluster cluster2 understands the trust domain cluster.local, that of cluster cluster1, as its own: callers of that cluster cannot be named, so give its mesh another trust domain"
            ],
            "{source}"
        );
    }
}

#[test]
fn a_cluster_outside_of_the_virtual_mesh_cannot_call() {
    let state = state(&[TWO_CLUSTERS, &policy("{ kubeIdentityMatcher: { clusters: [cluster1] } }", "")]);
    assert_eq!(
        errors(&state),
        ["on reviews.bookinfo.cluster2: cluster cluster1 has no mesh that can call this destination"]
    );
}

#[test]
fn deny_by_default_leaves_gateways_open() {
    let denied = VIRTUAL_MESH.replace("federation: { permissive: {} }", "globalAccessPolicy: ENABLED");
    let state = state(&[TWO_CLUSTERS, &denied]);
    assert_snapshot!(shown(&state, "cluster1"));
}

const ACCOUNT: &str = "kubeServiceAccountRefs: { serviceAccounts: [{ name: productpage, namespace: bookinfo }] }";

#[test]
fn accounts_of_a_mesh_that_is_gone_let_nobody_in() {
    let mut state = state(&[TWO_CLUSTERS, &policy(&format!("{{ {ACCOUNT} }}"), "")]);
    let rules = json!([{ "from": [{ "source": { "principals": ["cluster.local/ns/bookinfo/sa/productpage"] } }] }]);
    assert_eq!(object(&state, "cluster2", REVIEWS).unwrap()["spec"]["rules"], rules);
    let mesh = state.world().mesh_in("cluster2").unwrap().0.clone();
    state.apply([Change::Remove(InputKey::Mesh(mesh))]);
    assert_eq!(object(&state, "cluster2", REVIEWS).unwrap()["spec"], nothing());
    assert_eq!(
        errors(&state),
        ["on reviews.bookinfo.cluster2: no mesh is known whose workloads could call this destination"]
    );
}

#[test]
fn a_selector_with_namespaces_and_accounts_selects_what_both_do() {
    let source = format!("{{ {ACCOUNT}, kubeIdentityMatcher: {{ namespaces: [ops] }} }}");
    let both = state(&[TWO_CLUSTERS, &policy(&source, "")]);
    assert_eq!(
        object(&both, "cluster2", REVIEWS).unwrap()["spec"]["rules"],
        json!([{ "from": [{ "source": { "principals": ["cluster.local/ns/bookinfo/sa/productpage"], "namespaces": ["ops"] } }] }])
    );
}

#[test]
fn a_selector_with_clusters_and_accounts_selects_what_both_do() {
    let own = TWO_CLUSTERS.replacen("trustDomain: cluster.local", "trustDomain: cluster1.example", 1);
    let of = |matcher: &str| policy(&format!("{{ {ACCOUNT}, kubeIdentityMatcher: {{ clusters: [{matcher}] }} }}"), "");
    let both = state(&[&own, VIRTUAL_MESH, &of("cluster1")]);
    assert_eq!(
        object(&both, "cluster2", REVIEWS).unwrap()["spec"]["rules"],
        json!([{ "from": [{ "source": { "principals": ["cluster1.example/ns/bookinfo/sa/productpage"] } }] }])
    );
    let elsewhere =
        of("cluster1").replace("namespace: bookinfo }] }", "namespace: bookinfo, clusterName: cluster2 }] }");
    let elsewhere = state(&[&own, VIRTUAL_MESH, &elsewhere]);
    assert_eq!(object(&elsewhere, "cluster2", REVIEWS).unwrap()["spec"], nothing());
    assert_eq!(
        errors(&elsewhere),
        ["on reviews.bookinfo.cluster2: no service account is in the clusters that the matcher beside it names"]
    );
}

#[test]
fn an_empty_matcher_beside_accounts_adds_nobody() {
    let source = format!("{{ {ACCOUNT}, kubeIdentityMatcher: {{}} }}");
    let state = state(&[TWO_CLUSTERS, &policy(&source, "")]);
    assert_eq!(
        object(&state, "cluster2", REVIEWS).unwrap()["spec"]["rules"],
        json!([{ "from": [{ "source": { "principals": ["cluster.local/ns/bookinfo/sa/productpage"] } }] }])
    );
}

#[test]
fn a_policy_that_becomes_invalid_lets_nobody_in() {
    let mut state = state(&[TWO_CLUSTERS, &policy("", "")]);
    assert_eq!(object(&state, "cluster2", REVIEWS).unwrap()["spec"]["rules"], json!([{}]));
    let broken = policy("", "  allowedMethods: [fetch]\n").replace("generation: 1", "generation: 2");
    put(&mut state, &[&broken]);
    assert_eq!(object(&state, "cluster2", REVIEWS).unwrap()["spec"], nothing());
    assert_eq!(object(&state, "cluster1", REVIEWS), None);
    let errors = errors(&state);
    assert!(matches!(errors.as_slice(), [one] if one.starts_with("spec.allowedMethods[0]: ")), "{errors:?}");
}

#[test]
fn a_policy_whose_only_destinations_cannot_be_read_is_on_none() {
    let broken =
        policy("", "").replace("kubeServiceMatcher: { clusters: [cluster2] }", "kubeServiceRefs: { services: [] }");
    let state = state(&[TWO_CLUSTERS, &broken]);
    assert!(!errors(&state).is_empty());
    assert_eq!(names(&state, "cluster1"), Vec::<String>::new());
    assert_eq!(names(&state, "cluster2"), Vec::<String>::new());
}

#[test]
fn a_virtual_mesh_that_becomes_invalid_goes_on_denying() {
    let denied = VIRTUAL_MESH.replace("federation: { permissive: {} }", "globalAccessPolicy: ENABLED");
    let broken = denied.replace(
        "  mtlsConfig: { shared: {}, autoRestartPods: true }\n",
        "  mtlsConfig: { shared: { rootCertificateAuthority: { generated: { ttlDays: 0 } } } }\n",
    );
    let mut state = state(&[TWO_CLUSTERS, &denied]);
    let before = shown(&state, "cluster1");
    put(&mut state, &[&broken]);
    let virtual_mesh = state.world().inputs.virtual_meshes.values().next().unwrap();
    assert!(!virtual_mesh.errors.is_empty(), "the change makes it invalid");
    assert_eq!(shown(&state, "cluster1"), before);
    let gone = virtual_mesh.object.reference();
    state.apply([Change::Remove(InputKey::VirtualMesh(gone))]);
    assert_eq!(shown(&state, "cluster1"), "");
}
