//! The kinds of the management plane: their names, groups and printer columns.

/// A kind of resource of the management plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A cluster that is registered.
    KubernetesCluster,
    /// A control plane that was found.
    Mesh,
    /// A controller of pods, or a virtual machine, that was found in a mesh.
    Workload,
    /// A Service that was found in a mesh.
    Destination,
    /// Meshes that shall be one.
    VirtualMesh,
    /// How requests to destinations are treated.
    TrafficPolicy,
    /// One host over destinations of several clusters.
    VirtualDestination,
    /// Who may call destinations.
    AccessPolicy,
    /// A certificate that a mesh shall sign with.
    IssuedCertificate,
    /// What a cluster asks to have signed for an [`Kind::IssuedCertificate`].
    CertificateRequest,
    /// Workloads that have to be restarted, in order.
    WorkloadRestart,
}

/// A column of `kubectl get`: title, JSONPath, type.
pub type Column = (&'static str, &'static str, &'static str);

const STATE: Column = ("State", ".status.state", "string");
const MESH: Column = ("Mesh", ".spec.mesh.name", "string");

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::KubernetesCluster,
        Self::Mesh,
        Self::Workload,
        Self::Destination,
        Self::VirtualMesh,
        Self::TrafficPolicy,
        Self::VirtualDestination,
        Self::AccessPolicy,
        Self::IssuedCertificate,
        Self::CertificateRequest,
        Self::WorkloadRestart,
    ];

    /// The version under which all kinds are served.
    pub const VERSION: &'static str = "v1";

    /// The kind with this `apiVersion` and `kind`.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/')?;
        Self::ALL.into_iter().find(|known| known.name() == kind && known.group() == group && version == Self::VERSION)
    }

    /// `TrafficPolicy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::KubernetesCluster => "KubernetesCluster",
            Self::Mesh => "Mesh",
            Self::Workload => "Workload",
            Self::Destination => "Destination",
            Self::VirtualMesh => "VirtualMesh",
            Self::TrafficPolicy => "TrafficPolicy",
            Self::VirtualDestination => "VirtualDestination",
            Self::AccessPolicy => "AccessPolicy",
            Self::IssuedCertificate => "IssuedCertificate",
            Self::CertificateRequest => "CertificateRequest",
            Self::WorkloadRestart => "WorkloadRestart",
        }
    }

    /// `trafficpolicies`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::KubernetesCluster => "kubernetesclusters",
            Self::Mesh => "meshes",
            Self::Workload => "workloads",
            Self::Destination => "destinations",
            Self::VirtualMesh => "virtualmeshes",
            Self::TrafficPolicy => "trafficpolicies",
            Self::VirtualDestination => "virtualdestinations",
            Self::AccessPolicy => "accesspolicies",
            Self::IssuedCertificate => "issuedcertificates",
            Self::CertificateRequest => "certificaterequests",
            Self::WorkloadRestart => "workloadrestarts",
        }
    }

    /// What kubectl accepts instead of the plural. None collides with a short name of Kubernetes or Istio.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::KubernetesCluster => "kcl",
            Self::Mesh => "msh",
            Self::Workload => "wkl",
            Self::Destination => "dst",
            Self::VirtualMesh => "vmesh",
            Self::TrafficPolicy => "tpol",
            Self::VirtualDestination => "vdst",
            Self::AccessPolicy => "apol",
            Self::IssuedCertificate => "icert",
            Self::CertificateRequest => "creq",
            Self::WorkloadRestart => "wrs",
        }
    }

    /// `networking.meshproof.dev` and its neighbours.
    pub fn group(self) -> &'static str {
        match self {
            Self::KubernetesCluster => "multicluster.meshproof.dev",
            Self::Mesh | Self::Workload | Self::Destination => "discovery.meshproof.dev",
            Self::VirtualMesh | Self::TrafficPolicy | Self::VirtualDestination | Self::AccessPolicy => {
                "networking.meshproof.dev"
            }
            Self::IssuedCertificate | Self::CertificateRequest | Self::WorkloadRestart => "certificates.meshproof.dev",
        }
    }

    /// `networking.meshproof.dev/v1`.
    pub fn api_version(self) -> String {
        format!("{}/{}", self.group(), Self::VERSION)
    }

    /// Whether people write it; the others are written by the plane and its agents.
    pub fn written_by_people(self) -> bool {
        self == Self::KubernetesCluster || self.group() == "networking.meshproof.dev"
    }

    /// What `kubectl get` shows besides name and age.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::KubernetesCluster => &[STATE, ("Domain", ".spec.clusterDomain", "string")],
            Self::Mesh => &[
                ("Cluster", ".spec.istio.installation.cluster", "string"),
                ("Version", ".spec.istio.installation.version", "string"),
                ("Trust domain", ".spec.istio.trustDomain", "string"),
                ("Virtual mesh", ".status.virtualMesh.name", "string"),
            ],
            Self::Workload => &[
                ("Cluster", ".spec.controller.clusterName", "string"),
                ("Kind", ".spec.controllerKind", "string"),
                ("Account", ".spec.serviceAccountName", "string"),
                MESH,
            ],
            Self::Destination => &[
                ("Cluster", ".spec.kubeService.ref.clusterName", "string"),
                ("Host", ".status.localFqdn", "string"),
                ("Federated host", ".status.federation.hostname", "string"),
                MESH,
            ],
            Self::VirtualMesh => &[STATE, ("Meshes", ".spec.meshes[*].name", "string")],
            Self::TrafficPolicy | Self::AccessPolicy => {
                &[STATE, ("Targets", ".status.targets", "integer"), ("Message", ".status.errors[0]", "string")]
            }
            Self::VirtualDestination => {
                &[STATE, ("Host", ".spec.hostname", "string"), ("Address", ".status.address", "string")]
            }
            Self::IssuedCertificate => {
                &[STATE, ("Mesh", ".spec.hosts[0]", "string"), ("Error", ".status.error", "string")]
            }
            Self::CertificateRequest | Self::WorkloadRestart => &[STATE, ("Error", ".status.error", "string")],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_told_apart() {
        let short: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.short_name()).collect();
        assert_eq!(short.len(), Kind::ALL.len());
        // Short names of Kubernetes and Istio that a management cluster has as well.
        for taken in ["po", "svc", "ns", "cm", "sa", "ds", "sts", "vs", "dr", "se", "gw", "we", "wg", "pa", "ap", "crd"]
        {
            assert!(!short.contains(taken), "{taken}");
        }
        assert_eq!(Kind::of("networking.meshproof.dev/v1", "TrafficPolicy"), Some(Kind::TrafficPolicy));
        assert_eq!(Kind::of("networking.mesh.gloo.solo.io/v1", "TrafficPolicy"), None);
        assert_eq!(Kind::of("networking.meshproof.dev/v2", "TrafficPolicy"), None);
    }
}
