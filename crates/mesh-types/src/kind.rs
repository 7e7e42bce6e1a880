//! The kinds of resources that the mesh understands.

/// A kind of resource with a type of its own in this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Which hosts and ports a gateway opens.
    Gateway,
    /// How requests to a host are routed.
    VirtualService,
    /// Subsets of a service and how to connect to them.
    DestinationRule,
    /// A service that no cluster has a Service for.
    ServiceEntry,
    /// A workload that no pod stands for.
    WorkloadEntry,
    /// What such workloads have in common.
    WorkloadGroup,
    /// Whether workloads demand mutual TLS.
    PeerAuthentication,
    /// Who may call workloads.
    AuthorizationPolicy,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Gateway,
        Self::VirtualService,
        Self::DestinationRule,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::WorkloadGroup,
        Self::PeerAuthentication,
        Self::AuthorizationPolicy,
    ];

    /// The kind called `name` (`VirtualService`).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind whose resources are called `plural` (`virtualservices`).
    pub fn from_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }

    /// `VirtualService`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::VirtualService => "VirtualService",
            Self::DestinationRule => "DestinationRule",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::WorkloadGroup => "WorkloadGroup",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
        }
    }

    /// `virtualservices`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Gateway => "gateways",
            Self::VirtualService => "virtualservices",
            Self::DestinationRule => "destinationrules",
            Self::ServiceEntry => "serviceentries",
            Self::WorkloadEntry => "workloadentries",
            Self::WorkloadGroup => "workloadgroups",
            Self::PeerAuthentication => "peerauthentications",
            Self::AuthorizationPolicy => "authorizationpolicies",
        }
    }

    /// What kubectl accepts instead of the plural: `vs`.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Gateway => "gw",
            Self::VirtualService => "vs",
            Self::DestinationRule => "dr",
            Self::ServiceEntry => "se",
            Self::WorkloadEntry => "we",
            Self::WorkloadGroup => "wg",
            Self::PeerAuthentication => "pa",
            Self::AuthorizationPolicy => "ap",
        }
    }

    /// `networking.istio.io` or `security.istio.io`.
    pub fn group(self) -> &'static str {
        match self {
            Self::PeerAuthentication | Self::AuthorizationPolicy => "security.istio.io",
            _ => "networking.istio.io",
        }
    }

    /// Versions under which the kind is served, the stored one first. All of them have the same schema.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Self::PeerAuthentication | Self::AuthorizationPolicy => &["v1", "v1beta1"],
            _ => &["v1", "v1alpha3", "v1beta1"],
        }
    }
}
