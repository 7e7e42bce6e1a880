//! Clusters are registered and taken away again, on real API servers. The manager's part is played by the test.

use std::time::Duration;

use camino::Utf8Path;
use mesh_types::hub::{Kind, names};
use meshproof::cluster::Cluster;
use meshproof::environment::world_config;
use meshproof::install::hub;
use meshproof::management::target::Target;
use meshproof::management::{Error, deregistration, registration, resources};
use meshproof::provider::embedded::World;
use meshproof::provider::programs::Programs;
use meshproof::topology::validate;
use requirements::{Capability, require};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const TOPOLOGY: &str = "apiVersion: meshproof.dev/v1alpha1\nkind: Topology\nname: registered\n\
    networks: [{name: n1}, {name: n2}]\nclusters:\n- {name: hub, network: n1, mesh: false}\n\
    - {name: east, network: n2, podSubnet: 10.20.0.0/16, serviceSubnet: 10.21.0.0/16, mesh: false}\n\
    management: {cluster: hub}\n";

const SOON: Duration = Duration::from_secs(30);

struct Stage {
    world: World,
    clusters: Vec<Cluster>,
    _directory: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(directory.path()).expect("UTF-8");
        let built = requirements::programs().expect("built");
        let built = Utf8Path::from_path(&built).expect("UTF-8").to_owned();
        let at = |name: &str| built.join(name);
        let programs = Programs {
            substrate: at("meshproof-substrate"),
            pilot: at("pilot-discovery"),
            agent: at("pilot-agent"),
            bookinfo: at("bookinfo"),
            hub_manager: at("hub-manager"),
            hub_agent: at("hub-agent"),
            machine_init: at("meshproof-machine-init"),
            envoy: at("envoy"),
        };
        let topology = validate::read("registered.yaml", TOPOLOGY).expect("no problems");
        let config = world_config(&topology, "registered", "test", path, &programs, None, true);
        let started = World::start(&programs.substrate, &config, |_| {}, &CancellationToken::new()).await;
        let world = started.expect("it comes up");
        let clusters = world.clusters().await.expect("handles");
        Self { world, clusters, _directory: directory }
    }

    fn cluster(&self, name: &str) -> &Cluster {
        self.clusters.iter().find(|cluster| cluster.name() == name).expect("it is there")
    }

    fn hub(&self) -> &Cluster {
        self.cluster("hub")
    }

    fn east(&self) -> Target {
        Target::of_environment(self.cluster("east")).expect("a kubeconfig")
    }

    async fn apply(&self, cluster: &str, object: Value) {
        self.cluster(cluster).apply(&object).await.expect("applied");
    }

    /// What discovery knows a control plane by. It has no pods: nobody here needs them.
    async fn with_mesh(&self) {
        self.apply("east", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "istio-system" } }))
            .await;
        let labels = json!({ "app": "istiod" });
        self.apply(
            "east",
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": "istiod", "namespace": "istio-system", "labels": labels },
                "spec": {
                    "replicas": 0, "selector": { "matchLabels": labels },
                    "template": {
                        "metadata": { "labels": labels },
                        "spec": { "containers": [{ "name": "discovery", "image": "none" }] },
                    },
                },
            }),
        )
        .await;
    }

    /// Everything of every kind that registration touches, to compare what was before with what is after.
    async fn everything(&self, cluster: &str) -> Vec<String> {
        let cluster = self.cluster(cluster);
        let mut all = Vec::new();
        for (version, kind) in [
            ("v1", "Namespace"),
            ("v1", "ServiceAccount"),
            ("v1", "Secret"),
            ("v1", "Service"),
            ("apps/v1", "Deployment"),
            ("rbac.authorization.k8s.io/v1", "Role"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("rbac.authorization.k8s.io/v1", "ClusterRole"),
            ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ] {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let gvk = kube::core::GroupVersionKind::gvk(group, version, kind);
            let (resource, _) = kube::discovery::pinned_kind(&cluster.client(), &gvk).await.expect("a kind");
            let api: kube::Api<kube::api::DynamicObject> = kube::Api::all_with(cluster.client(), &resource);
            let listed = api.list(&kube::api::ListParams::default()).await.expect("listed");
            let name = |object: kube::api::DynamicObject| {
                let metadata = object.metadata;
                format!("{kind} {}/{}", metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default())
            };
            all.extend(listed.items.into_iter().map(name));
        }
        // A controller makes one in every namespace, a moment after that.
        all.retain(|one| !(one.starts_with("ServiceAccount ") && one.ends_with("/default")));
        all.sort();
        all
    }
}

fn refusal(done: Result<(), Error>) -> String {
    let error = done.expect_err("it is refused");
    assert!(error.is_usage() && error.cure().is_some(), "{error:?}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_comes_and_goes_and_nothing_is_left() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Programs);
    let stage = Stage::new().await;
    let (hub, east) = (stage.hub(), stage.east());

    // What stands in the way is told before anything is changed.
    let early = refusal(registration::announce(hub, &east, "east").await);
    assert!(early.contains("has no management plane"), "{early}");
    hub::prepare(hub).await.expect("definitions");
    let before = [stage.everything("hub").await, stage.everything("east").await];
    assert!(refusal(registration::announce(hub, &east, "east").await).contains("has no mesh"));
    assert!(refusal(registration::announce(hub, &east, "East").await).contains("no valid name"));
    let here = east.clone().at(Some("https://127.0.0.1:6443"));
    assert!(refusal(registration::announce(hub, &here, "east").await).contains("cannot reach"));
    assert_eq!([stage.everything("hub").await, stage.everything("east").await], before);

    stage.with_mesh().await;
    let before = [stage.everything("hub").await, stage.everything("east").await];
    registration::announce(hub, &east, "east").await.expect("registered");
    let registered = [stage.everything("hub").await, stage.everything("east").await];
    assert_ne!(registered, before);
    assert!(registered[0].contains(&"Secret meshproof-hub/east".to_owned()), "{registered:?}");
    assert!(registered[1].contains(&"Role istio-system/hub-agent".to_owned()), "{registered:?}");
    the_token_is_least(&stage).await;

    // Again, and under another name, and another cluster under its name.
    registration::announce(hub, &east, "east").await.expect("registered again");
    assert_eq!([stage.everything("hub").await, stage.everything("east").await], registered);
    assert!(refusal(registration::announce(hub, &east, "west").await).contains("registered already, as east"));

    // Somebody who is no manager wrote nothing; the manager's objects are removed only by force while it is down.
    let owner = resources::identity(hub).await.expect("the plane's namespace is there");
    stage.apply("hub", discovered(&owner)).await;
    let unwilling = deregistration::deregister(hub, Some(&east), "east", false, Duration::from_millis(500)).await;
    let error = unwilling.expect_err("nobody removes the Mesh");
    assert!(error.to_string().contains("such as Mesh istiod--istio-system--east"), "{error}");
    assert!(error.cure().expect("a cure").contains("--force"));
    let forced = deregistration::deregister(hub, Some(&east), "east", true, Duration::from_millis(500)).await;
    let forced = forced.expect("by force");
    assert_eq!(forced.notes.len(), 1, "{forced:?}");
    assert_eq!([stage.everything("hub").await, stage.everything("east").await], before);
    let gone = deregistration::deregister(hub, Some(&east), "east", false, SOON).await.expect_err("it is gone");
    assert_eq!(gone.to_string(), "no cluster is registered as east");
    stage.world.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_made_stays_where_it_is() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Programs);
    let stage = Stage::new().await;
    let (hub, east) = (stage.hub(), stage.east());
    hub::prepare(hub).await.expect("definitions");
    stage.with_mesh().await;
    // The namespace was there before; and an account of somebody else's stands in the way.
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": names::NAMESPACE } });
    stage.apply("east", namespace.clone()).await;
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": names::AGENT, "namespace": names::NAMESPACE },
    });
    stage.apply("east", account.clone()).await;
    let refused = refusal(registration::announce(hub, &east, "east").await);
    assert!(
        refused.contains("ServiceAccount meshproof-hub/hub-agent that this registration did not make"),
        "{refused}"
    );
    stage.cluster("east").delete(&account).await.expect("deleted");
    registration::announce(hub, &east, "east").await.expect("registered");
    // With nothing found and nothing written the manager has nothing to do.
    let removed = deregistration::deregister(hub, Some(&east), "east", false, SOON).await.expect("taken away");
    assert_eq!(removed.notes, [""; 0]);
    assert!(stage.cluster("east").get(&namespace).await.expect("asked").is_some(), "it is not ours");
    stage.world.stop().await.expect("it ends");
}

fn discovered(owner: &str) -> Value {
    json!({
        "apiVersion": Kind::Mesh.api_version(), "kind": "Mesh",
        "metadata": {
            "name": "istiod--istio-system--east", "namespace": names::NAMESPACE,
            "labels": { names::LABEL_OWNER: owner, names::LABEL_CLUSTER: "east" },
        },
        "spec": { "istio": { "installation": { "cluster": "east" } } },
    })
}

/// The kubeconfig in the Secret works, and for no more than what the manager does.
async fn the_token_is_least(stage: &Stage) {
    let clusters = resources::list(stage.hub(), Kind::KubernetesCluster).await.expect("listed");
    assert_eq!(clusters[0]["spec"]["secretName"], "east");
    let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> =
        kube::Api::namespaced(stage.hub().client(), names::NAMESPACE);
    let secret = secrets.get("east").await.expect("there");
    assert_eq!(secret.type_.as_deref(), Some(names::KUBECONFIG_SECRET_TYPE));
    let data = secret.data.expect("data");
    let config: Value = serde_json::from_slice(&data[names::KUBECONFIG_KEY].0).expect("JSON is YAML");
    let token = config["users"][0]["user"]["token"].as_str().expect("a token");
    let address = &stage.cluster("east").access().server_for_other_clusters;
    assert_eq!(config["clusters"][0]["cluster"]["server"], address.as_str());

    // From this host the API server has another address; the token is the same.
    let path = &stage.cluster("east").access().kubeconfig;
    let mut kubeconfig = kube::config::Kubeconfig::read_from(path).expect("read");
    for user in &mut kubeconfig.auth_infos {
        user.auth_info = Some(serde_json::from_value(json!({ "token": token })).expect("a user"));
    }
    let made = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await;
    let client = kube::Client::try_from(made.expect("a configuration")).expect("a client");
    let services: kube::Api<k8s_openapi::api::core::v1::Service> = kube::Api::all(client.clone());
    services.list(&kube::api::ListParams::default()).await.expect("discovery reads Services");
    let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> = kube::Api::all(client);
    let denied = secrets.list(&kube::api::ListParams::default()).await.expect_err("no Secrets");
    assert!(matches!(denied, kube::Error::Api(ref status) if status.code == 403), "{denied}");
}
