//! The containers, volumes, labels and annotations that injection adds.

use serde_json::{Value, json};

use super::annotations::Annotations;
use super::{INIT_CONTAINER, MeshSettings, PROXY_CONTAINER, Workload};

const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
/// Label with the network of a pod.
pub(super) const NETWORK: &str = "topology.istio.io/network";
const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";

/// All that the templates draw on.
pub(super) struct Context<'a> {
    pub(super) settings: &'a MeshSettings,
    pub(super) namespace: &'a str,
    pub(super) workload: &'a Workload,
    pub(super) annotations: &'a Annotations,
    /// The pod's own label for its network wins over the cluster's.
    pub(super) network: Option<&'a str>,
}

impl Context<'_> {
    /// Labels to add where the pod does not have them.
    pub(super) fn labels(&self, existing: &Value) -> Vec<(String, String)> {
        let label = |names: &[&str]| names.iter().find_map(|name| existing.get(*name)?.as_str()).map(ToOwned::to_owned);
        let name =
            label(&[CANONICAL_NAME, "app.kubernetes.io/name", "app"]).unwrap_or_else(|| self.workload.name.clone());
        let revision = label(&[CANONICAL_REVISION, "app.kubernetes.io/version", "version"]);
        let mut labels = vec![
            (CANONICAL_NAME.to_owned(), name),
            (CANONICAL_REVISION.to_owned(), revision.unwrap_or_else(|| "latest".to_owned())),
            ("istio.io/rev".to_owned(), self.settings.revision.clone()),
        ];
        if self.annotations.sidecar() {
            labels.push(("security.istio.io/tlsMode".to_owned(), "istio".to_owned()));
        }
        if let Some(network) = self.network {
            labels.push((NETWORK.to_owned(), network.to_owned()));
        }
        labels
    }

    /// Annotations to set.
    pub(super) fn annotations(&self, first_container: Option<&str>) -> Vec<(String, String)> {
        let volumes: Vec<Value> = self.volumes().into_iter().map(|volume| volume["name"].clone()).collect();
        let init: &[&str] = if self.annotations.sidecar() { &[INIT_CONTAINER] } else { &[] };
        let status = json!({"initContainers": init, "containers": [PROXY_CONTAINER], "volumes": volumes,
            "imagePullSecrets": null, "revision": self.settings.revision});
        let mut annotations = vec![("sidecar.istio.io/status".to_owned(), status.to_string())];
        if let Some(name) = first_container.filter(|_| self.annotations.sidecar()) {
            annotations.push(("kubectl.kubernetes.io/default-container".to_owned(), name.to_owned()));
            annotations.push(("kubectl.kubernetes.io/default-logs-container".to_owned(), name.to_owned()));
        }
        if self.annotations.merge_metrics {
            let page = [("scrape", "true"), ("port", "15020"), ("path", "/stats/prometheus")];
            annotations.extend(page.map(|(key, value)| (format!("prometheus.io/{key}"), value.to_owned())));
        }
        annotations
    }

    fn image(&self) -> &str {
        self.annotations.proxy_image.as_deref().unwrap_or(&self.settings.proxy_image)
    }

    /// The proxy's container; `applications` are the pod's others.
    pub(super) fn proxy(&self, applications: &[Value], probers: Option<&str>) -> Value {
        let sidecar = self.annotations.sidecar();
        let level = self.annotations.log_level.as_deref().unwrap_or(&self.settings.proxy_log_level);
        let mut container = json!({
            "name": PROXY_CONTAINER,
            "image": self.image(),
            "args": ["proxy", if sidecar { "sidecar" } else { "router" },
                "--domain", "$(POD_NAMESPACE).svc.cluster.local", format!("--proxyLogLevel={level}")],
            "ports": [{"containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom"}],
            "env": self.environment(applications, probers),
            "readinessProbe": {
                "httpGet": {"path": "/healthz/ready", "port": 15021},
                "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 4,
            },
            "resources": {"requests": {"cpu": "10m", "memory": "40Mi"}},
            "securityContext": self.security(),
            "volumeMounts": [
                {"name": "workload-socket", "mountPath": "/var/run/secrets/workload-spiffe-uds"},
                {"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio"},
                {"name": "istio-envoy", "mountPath": "/etc/istio/proxy"},
                {"name": "istio-token", "mountPath": "/var/run/secrets/tokens"},
                {"name": "istio-podinfo", "mountPath": "/etc/istio/pod"},
            ],
            "workingDir": "/",
        });
        self.pull_policy(&mut container);
        if self.annotations.hold {
            container["lifecycle"] = json!({"postStart": {"exec": {"command": ["pilot-agent", "wait"]}}});
        }
        container
    }

    /// Only a proxy with captured traffic marks its sockets, which takes NET_ADMIN.
    fn security(&self) -> Value {
        let add: &[&str] = if self.annotations.sidecar() { &["NET_ADMIN"] } else { &[] };
        json!({
            "allowPrivilegeEscalation": false,
            "capabilities": if add.is_empty() { json!({"drop": ["ALL"]}) } else { json!({"add": add, "drop": ["ALL"]}) },
            "privileged": false,
            "readOnlyRootFilesystem": true,
        })
    }

    fn pull_policy(&self, container: &mut Value) {
        if let Some(policy) = &self.settings.image_pull_policy {
            container["imagePullPolicy"] = policy.as_str().into();
        }
    }

    fn environment(&self, applications: &[Value], probers: Option<&str>) -> Vec<Value> {
        let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let plain = |name: &str, value: &str| json!({"name": name, "value": value});
        let settings = self.settings;
        let mut environment = vec![
            plain("CA_ADDR", &settings.discovery_address),
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("INSTANCE_IP", "status.podIP"),
            field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
            field("HOST_IP", "status.hostIP"),
            plain("PROXY_CONFIG", &self.proxy_config().to_string()),
            plain("ISTIO_META_POD_PORTS", &pod_ports(applications).to_string()),
            plain("ISTIO_META_APP_CONTAINERS", &names(applications)),
            plain("ISTIO_META_CLUSTER_ID", &settings.cluster_id),
            field("ISTIO_META_NODE_NAME", "spec.nodeName"),
            plain("ISTIO_META_INTERCEPTION_MODE", if self.annotations.sidecar() { "REDIRECT" } else { "NONE" }),
        ];
        if let Some(network) = self.network {
            environment.push(plain("ISTIO_META_NETWORK", network));
        }
        environment.extend([
            plain("ISTIO_META_WORKLOAD_NAME", &self.workload.name),
            plain("ISTIO_META_OWNER", &self.workload.owner(self.namespace)),
            plain("ISTIO_META_MESH_ID", &settings.mesh_id),
            plain("TRUST_DOMAIN", &settings.trust_domain),
        ]);
        if let Some(probers) = probers {
            environment.push(plain("ISTIO_KUBE_APP_PROBERS", probers));
        }
        if let Some(prometheus) = &self.annotations.prometheus {
            environment.push(plain("ISTIO_PROMETHEUS_ANNOTATIONS", &prometheus.to_string()));
        }
        environment
    }

    fn proxy_config(&self) -> Value {
        let mut config = json!({"discoveryAddress": self.settings.discovery_address});
        for (key, value) in self.annotations.proxy_config.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config
    }

    /// Whether the proxy is told to answer the application's DNS queries.
    fn captures_dns(&self) -> bool {
        let value = self.annotations.proxy_config.pointer("/proxyMetadata/ISTIO_META_DNS_CAPTURE");
        value.is_some_and(|value| value == "true")
    }

    /// The init container that sets capture up.
    pub(super) fn init(&self) -> Value {
        let capture = &self.annotations.capture;
        let mut excluded = "15090,15021,15020".to_owned();
        if !capture.exclude_inbound_ports.is_empty() {
            excluded = format!("{excluded},{}", capture.exclude_inbound_ports);
        }
        let mut args = vec![
            "istio-iptables".to_owned(),
            "-p".to_owned(),
            "15001".to_owned(),
            "-z".to_owned(),
            "15006".to_owned(),
            "-m".to_owned(),
            "REDIRECT".to_owned(),
        ];
        let flags = [
            ("-i", capture.include_outbound_ranges.as_str()),
            ("-x", &capture.exclude_outbound_ranges),
            ("-b", &capture.include_inbound_ports),
            ("-d", &excluded),
            ("-q", &capture.include_outbound_ports),
            ("-o", &capture.exclude_outbound_ports),
        ];
        // The defaults of the program are those of an absent annotation, except that an empty inclusion means nothing.
        for (flag, value) in flags {
            if !value.is_empty() || matches!(flag, "-i" | "-b") {
                args.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        if self.captures_dns() {
            args.push("--redirect-dns".to_owned());
        }
        let mut container = json!({
            "name": INIT_CONTAINER,
            "image": self.image(),
            "args": args,
            "resources": {"requests": {"cpu": "10m", "memory": "40Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
                "privileged": false,
                "readOnlyRootFilesystem": false,
            },
        });
        self.pull_policy(&mut container);
        container
    }

    /// The volumes of the proxy.
    pub(super) fn volumes(&self) -> Vec<Value> {
        let downward = |path: &str| json!({"path": path, "fieldRef": {"fieldPath": format!("metadata.{path}")}});
        vec![
            json!({"name": "workload-socket", "emptyDir": {}}),
            json!({"name": "istio-envoy", "emptyDir": {"medium": "Memory"}}),
            json!({"name": "istio-podinfo", "downwardAPI": {"items": [downward("labels"), downward("annotations")]}}),
            json!({"name": "istio-token", "projected": {"sources": [
                {"serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token"}}]}}),
            json!({"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}}),
        ]
    }
}

fn names(containers: &[Value]) -> String {
    let names: Vec<&str> = containers.iter().filter_map(|container| container["name"].as_str()).collect();
    names.join(",")
}

fn pod_ports(containers: &[Value]) -> Value {
    containers.iter().flat_map(|container| container["ports"].as_array().cloned().unwrap_or_default()).collect()
}
