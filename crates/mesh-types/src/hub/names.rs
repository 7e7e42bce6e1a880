//! Labels, annotations and names that the management plane gives.

/// Which plane wrote an object: its [`identity`]. What does not carry it is foreign and left alone.
pub const LABEL_OWNER: &str = "hub.meshproof.dev/owner";
/// Which registered cluster an object was written into, or discovered in.
pub const LABEL_CLUSTER: &str = "hub.meshproof.dev/cluster";
/// Resources of the management cluster that an object follows from: `Kind/namespace/name`, separated by commas.
pub const ANNOTATION_PARENTS: &str = "hub.meshproof.dev/parents";
/// Digest of the specification that an object was written from.
pub const ANNOTATION_WRITTEN: &str = "hub.meshproof.dev/written";
/// Makes a Service a Destination that has no proxy behind it, by the value `true`.
pub const ANNOTATION_DISCOVER: &str = "discovery.meshproof.dev/enabled";
/// Field manager of everything that the hub applies.
pub const FIELD_MANAGER: &str = "meshproof-hub";
/// Labels of failover levels on endpoints begin so; see `hub::translate`.
pub const LABEL_LEVEL: &str = "failover.hub.meshproof.dev/level-";

/// Namespace of the hub in the management cluster, and of its objects in registered clusters.
pub const NAMESPACE: &str = "meshproof-hub";
/// Field manager of everything that an agent applies.
pub const AGENT_FIELD_MANAGER: &str = "meshproof-hub-agent";
/// On a Secret with the authority of a mesh: the IssuedCertificate that it is of. Without it the Secret is foreign.
pub const LABEL_ISSUED: &str = "certificates.meshproof.dev/issued-certificate";
/// Hands a foreign Secret with the authority of a mesh over to the agent, by the value `true`.
pub const ANNOTATION_ADOPT: &str = "certificates.meshproof.dev/adopt";
/// On such a Secret, and on the Secret of a key: digest of the options that it was made for.
pub const ANNOTATION_OPTIONS: &str = "certificates.meshproof.dev/options";
/// On a CertificateRequest: the Secret that its authority is for, `namespace/name`.
pub const ANNOTATION_PLACE: &str = "certificates.meshproof.dev/place";
/// On such a Secret: when it was written last.
pub const ANNOTATION_INSTALLED: &str = "certificates.meshproof.dev/installed-at";
/// On such a Secret: fingerprints of roots from before that are trusted until everything was restarted, separated by commas.
pub const ANNOTATION_PREVIOUS: &str = "certificates.meshproof.dev/previous-roots";
/// On the pods of a workload that was restarted: digest of the roots that it was restarted for.
pub const ANNOTATION_TRUST: &str = "certificates.meshproof.dev/trust";
/// On a VirtualMesh: a generated root is made anew whenever this changes.
pub const ANNOTATION_ROTATE: &str = "certificates.meshproof.dev/rotate-root";
/// Type of the Secret in which an agent keeps a key until its certificate is installed.
pub const TYPE_KEY: &str = "certificates.meshproof.dev/private-key";
/// Type of the Secret in which an agent installs the authority of a mesh.
pub const TYPE_AUTHORITY: &str = "certificates.meshproof.dev/authority";
/// Type of the Secret with the root of a VirtualMesh.
pub const TYPE_ROOT: &str = "certificates.meshproof.dev/root";
/// Port of an agent's gRPC access log service.
pub const PORT_ACCESS_LOG: u16 = 9977;
/// Port of an agent's admin listener, on loopback.
pub const PORT_AGENT_ADMIN: u16 = 9092;
/// Deployment, ServiceAccount, Service and Lease of the manager, in the management cluster.
pub const MANAGER: &str = "hub-manager";
/// Deployment, ServiceAccount and Service of the agent, in each registered cluster.
pub const AGENT: &str = "hub-agent";
/// ServiceAccount that the manager acts as in a registered cluster, and its roles.
pub const REMOTE_ACCOUNT: &str = "meshproof-hub-remote";
/// ValidatingWebhookConfiguration of the manager.
pub const WEBHOOK: &str = "meshproof-hub";
/// Type of the Secret with the kubeconfig of a registered cluster.
pub const KUBECONFIG_SECRET_TYPE: &str = "meshproof.dev/kubeconfig";
/// Key of the kubeconfig in that Secret.
pub const KUBECONFIG_KEY: &str = "kubeconfig";
/// How long the token in it is valid, in seconds; the manager renews it at half of that.
pub const TOKEN_SECONDS: i64 = 24 * 3600;
/// Which registration made an object in a registered cluster: the cluster's name. De-registration removes these.
pub const LABEL_REGISTRATION: &str = "hub.meshproof.dev/registration";
/// On a KubernetesCluster: the identity of the cluster, which is that of its namespace `kube-system`.
pub const ANNOTATION_IDENTITY: &str = "hub.meshproof.dev/cluster-identity";
/// Port of the manager's administration listener, on the loopback address of its pod.
pub const PORT_MANAGER_ADMIN: u16 = 9091;
/// Label of the agent's Deployment and pods.
pub const LABEL_AGENT: (&str, &str) = ("app.kubernetes.io/name", "meshproof-hub-agent");
/// Keeps a KubernetesCluster until everything that the hub wrote into the cluster is gone.
pub const FINALIZER: &str = "hub.meshproof.dev/deregistration";
/// Port of the manager for its admission webhook.
pub const PORT_MANAGER_WEBHOOK: u16 = 9443;
/// Port of manager and agent for the kubelet's probes.
pub const PORT_PROBE: u16 = 8080;

/// On the namespace of the hub in the management cluster: the identity of a plane that was moved here from another management
/// cluster, and takes over what it wrote.
pub const ANNOTATION_PLANE: &str = "hub.meshproof.dev/identity";

/// Which plane this is, by the namespace of its hub: no two namespaces of the world have the same uid, so that of two planes over
/// one cluster neither takes the other's objects for its own. `None` of what is no stored namespace.
pub fn identity(namespace: &serde_json::Value) -> Option<&str> {
    let metadata = &namespace["metadata"];
    let given = metadata["annotations"][ANNOTATION_PLANE].as_str().filter(|given| !given.is_empty());
    given.or_else(|| metadata["uid"].as_str().filter(|uid| !uid.is_empty()))
}

/// Longest name of an object that also is a label value.
const LONGEST: usize = 63;

/// Joins parts to the name of an object: lower-case letters, digits and `-`, at most 63 of them, with `--` between the parts. No
/// `.`, which Istio refuses in the name of a Gateway. Different parts have different names: a part with other signs or with `--`
/// of its own, and what is longer, ends in a digest.
pub fn join(parts: &[&str]) -> String {
    let is_plain = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '-';
    let tells = |part: &&str| {
        part.chars().all(is_plain) && !part.contains("--") && !part.starts_with('-') && !part.ends_with('-')
    };
    let whole = parts.join("--");
    if whole.len() <= LONGEST && parts.iter().all(tells) {
        return whole;
    }
    let lower = whole.to_ascii_lowercase();
    let plain: String = lower.chars().map(|sign| if is_plain(sign) { sign } else { '-' }).collect();
    // No name in Kubernetes has a slash, so it tells where a part ends.
    let digest = format!("{:016x}", digest(parts.join("/").as_bytes()));
    let end = plain.len().min(LONGEST - digest.len() - 1);
    format!("{}-{digest}", plain[..end].trim_end_matches('-'))
}

/// FNV-1a with 64 bits: the same on every machine and in every release, which persisted names and addresses need.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_its_namespace_or_the_one_that_it_takes_the_place_of() {
        let namespace = |metadata: serde_json::Value| serde_json::json!({ "kind": "Namespace", "metadata": metadata });
        let own = namespace(serde_json::json!({ "name": "hub", "uid": "1" }));
        assert_eq!(identity(&own), Some("1"));
        let moved = namespace(serde_json::json!({ "uid": "2", "annotations": { ANNOTATION_PLANE: "1" } }));
        assert_eq!(identity(&moved), Some("1"));
        let empty = namespace(serde_json::json!({ "uid": "2", "annotations": { ANNOTATION_PLANE: "" } }));
        assert_eq!(identity(&empty), Some("2"));
        assert_eq!(identity(&namespace(serde_json::json!({ "name": "hub" }))), None);
    }

    #[test]
    fn long_names_stay_different() {
        assert_eq!(join(&["reviews", "bookinfo", "cluster1"]), "reviews--bookinfo--cluster1");
        let long = |last: &str| join(&["a".repeat(60).as_str(), last]);
        assert_ne!(long("first"), long("second"));
        assert_eq!(long("first").len(), 63);
    }

    #[test]
    fn different_parts_have_different_names() {
        let all = [
            join(&["web-shop", "eu"]),
            join(&["web", "shop-eu"]),
            join(&["web", "shop", "eu"]),
            join(&["web.shop", "eu"]),
            join(&["web", "shop.eu"]),
            join(&["web_shop", "eu"]),
            join(&["web--shop", "eu"]),
            join(&["web", "shop--eu"]),
            join(&["Web-shop", "eu"]),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
        let is_name = |name: &str| name.chars().all(|sign| matches!(sign, 'a'..='z' | '0'..='9' | '-'));
        assert!(all.iter().all(|name| is_name(name)), "{all:?}");
    }

    #[test]
    fn the_digest_is_fnv_1a() {
        // Test vectors of the algorithm's authors.
        assert_eq!(digest(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(digest(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(digest(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
