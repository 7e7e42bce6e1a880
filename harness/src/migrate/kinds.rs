//! Which kind becomes which, and all but traffic policies.

use mesh_types::hub::Kind;

use super::Conversion;
use super::edit::{empty, get_mut, items, items_of, mapping, put, rename, take};
use crate::diagnostic::tree::{Key, Node, Path, Value};

/// Groups of the original, without `.mesh.gloo.solo.io` and `.smh.solo.io`.
fn area(group: &str) -> Option<&str> {
    match group {
        "multicluster.solo.io" => Some("multicluster"),
        _ => group.strip_suffix(".mesh.gloo.solo.io").or_else(|| group.strip_suffix(".smh.solo.io")),
    }
}

/// Our kind for one of theirs.
pub(super) fn counterpart(group: &str, kind: &str) -> Option<Kind> {
    match (area(group)?, kind) {
        ("networking", "TrafficPolicy") => Some(Kind::TrafficPolicy),
        ("networking", "AccessPolicy") => Some(Kind::AccessPolicy),
        ("networking", "VirtualMesh") => Some(Kind::VirtualMesh),
        ("networking", "FailoverService") | ("networking.enterprise", "VirtualDestination") => {
            Some(Kind::VirtualDestination)
        }
        ("multicluster", "KubernetesCluster") => Some(Kind::KubernetesCluster),
        _ => None,
    }
}

/// Why a document has no counterpart, and what to do.
pub(super) fn why_not(group: &str, kind: &str) -> (String, &'static str) {
    let Some(area) = area(group) else {
        return (
            format!("{kind} of {group} is not of Gloo Mesh, and is left out"),
            "apply it by yourself where it belongs",
        );
    };
    let help = match (area, kind) {
        ("discovery", "Destination" | "TrafficTarget") => {
            "the hub finds Services and virtual machines by itself, also those of WorkloadEntries"
        }
        ("discovery" | "certificates", _) => "the hub writes this by itself",
        ("settings", _) => "the hub has no settings as a resource; its options are those of its program",
        (_, "VirtualGateway" | "VirtualHost" | "RouteTable") => "write Istio's Gateway and VirtualService",
        (_, "ServiceDependency") => "write Istio's Sidecar",
        (_, "AccessLogRecord") => "the hub has every access log without being asked",
        ("rbac.enterprise", _) => "write Kubernetes' Role and RoleBinding for the group networking.meshproof.dev",
        _ => "there is nothing that does the same",
    };
    (format!("{kind} of {group} has no counterpart, and is left out"), help)
}

/// What is to be said about a field without counterpart, beyond that.
pub(super) fn no_counterpart(field: &str) -> &'static str {
    match field {
        "rsaKeySizeBytes" => ": keys are of ECDSA",
        "limited" => ": it never worked in the original either",
        "intermediateCertificateAuthority" => ": give the authority as rootCertificateAuthority.secret",
        "staticDestination" | "clusterHeader" => ": a shift goes to a kubeService or a virtualDestination",
        "csrf" | "rateLimit" => ": write Istio's EnvoyFilter where the mesh takes it",
        "zone" | "subZone" => ": directives name regions, zones are preferred by themselves",
        "providerInfo" => ": the hub needs a kubeconfig only",
        _ => "",
    }
}

impl Conversion<'_> {
    pub(super) fn access_policy(&mut self, root: &mut Node) {
        let named = |source: &Node| -> Vec<Path> {
            let clusters = Path::root().key("kubeIdentityMatcher").key("clusters");
            let accounts = Path::root().key("kubeServiceAccountRefs").key("serviceAccounts");
            let listed = source.get("kubeServiceAccountRefs").and_then(|refs| refs.get("serviceAccounts"));
            let count = match listed.map(|list| &list.value) {
                Some(Value::List(list)) => list.len(),
                _ => 0,
            };
            let own = (0..count).map(|index| accounts.index(index).key("clusterName"));
            std::iter::once(clusters).chain(own).collect()
        };
        let base = Path::root().key("spec").key("sourceSelector");
        let sources = root.nearest(&base).clone();
        let Value::List(sources) = sources.value else { return };
        for (index, source) in sources.iter().enumerate() {
            for path in named(source) {
                let given = path.split_last().is_some_and(|(parent, segment)| match segment {
                    crate::diagnostic::tree::Segment::Key(key) => source.nearest(&parent).get(key).is_some(),
                    crate::diagnostic::tree::Segment::Index(_) => false,
                });
                if given {
                    let message = "a cluster is named; the policy is INVALID where meshes share a trust domain";
                    let help = "the original let callers of every cluster in there; leave it out if that is meant";
                    self.warn(root, &base.index(index).join(&path), message).help(help);
                }
            }
        }
    }

    pub(super) fn virtual_mesh(&mut self, root: &mut Node) {
        let secret =
            Path::root().key("spec").key("mtlsConfig").key("shared").key("rootCertificateAuthority").key("secret");
        let given = secret.split_last().is_some_and(|(parent, _)| root.nearest(&parent).get("secret").is_some());
        if given {
            let message = "the Secret of the root needs other keys";
            let help =
                "rename root-cert.pem to tls.crt and key.pem to tls.key; ca.crt is for an authority that is no root";
            self.warn(root, &secret, message).help(help);
        }
    }

    /// The host over an ordered list of Services that came before VirtualDestination.
    pub(super) fn failover_service(&mut self, root: &mut Node) {
        let Some(spec) = get_mut(root, "spec") else { return };
        let mut left = Vec::new();
        if let Some((key, meshes)) = take(spec, "meshes") {
            let span = meshes.span;
            let list = mapping(spec, "meshList");
            list.span = span;
            left.extend(put(list, key, meshes));
        }
        if let Some((key, services)) = take(spec, "backingServices") {
            let list = mapping(spec, "static");
            left.extend(put(list, Key { text: "destinations".to_owned(), ..key }, services));
        }
        self.left_out(left);
        self.default_outlier_detection(root);
    }

    pub(super) fn virtual_destination(&mut self, root: &mut Node) {
        let Some(spec) = get_mut(root, "spec") else { return };
        let mut left = Vec::new();
        let moved = get_mut(spec, "localized").and_then(|localized| take(localized, "outlierDetection"));
        if let Some((key, outlier)) = moved {
            left.extend(put(spec, key, outlier));
        }
        if let Some(localized) = get_mut(spec, "localized") {
            left.extend(rename(localized, "destinationSelector", "destinationSelectors"));
        }
        let lacks = get_mut(spec, "outlierDetection").is_none();
        self.left_out(left);
        if lacks {
            self.default_outlier_detection(root);
        }
    }

    fn default_outlier_detection(&mut self, root: &mut Node) {
        let Some(spec) = get_mut(root, "spec") else { return };
        let span = spec.span;
        if put(spec, Key { text: "outlierDetection".to_owned(), span }, empty(span)).is_some() {
            return;
        }
        let message = "`outlierDetection` with its defaults is added: without it no backend takes over";
        let help = "the original took it from traffic policies on the backends; say it here";
        self.warn(root, &Path::root().key("spec"), message).help(help);
    }
}

/// Every selector of destinations below a field, however deep.
pub(super) fn each_item(spec: &mut Node, field: &str, mut change: impl FnMut(&mut Node)) {
    items_of(spec, field).iter_mut().for_each(&mut change);
}

/// Whether a list has exactly one item.
pub(super) fn is_single(node: &mut Node) -> bool {
    items(node).len() == 1
}
