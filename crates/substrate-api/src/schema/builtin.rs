//! The built-in kinds and their structural schemas.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, authentication::v1 as authentication,
    authorization::v1 as authorization, autoscaling::v1 as autoscaling_v1, autoscaling::v2 as autoscaling_v2,
    batch::v1 as batch, certificates::v1 as certificates, coordination::v1 as coordination, core::v1 as core,
    discovery::v1 as discovery, events::v1 as events, networking::v1 as networking, node::v1 as node,
    policy::v1 as policy, rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;
use schemars::{JsonSchema, SchemaGenerator};

use super::definitions::{Document, document};
use super::model::Structural;
use super::parse;

/// A kind whose schema is compiled in.
#[derive(Debug, Clone, Copy)]
pub struct BuiltinKind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version within the group.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    pub(super) definition: fn() -> Cow<'static, str>,
    pub(super) generate: fn(&mut SchemaGenerator),
}

impl BuiltinKind {
    const fn of<T: k8s_openapi::Resource + JsonSchema>() -> BuiltinKind {
        BuiltinKind {
            group: T::GROUP,
            version: T::VERSION,
            kind: T::KIND,
            definition: T::schema_name,
            generate: |generator| {
                generator.subschema_for::<T>();
            },
        }
    }

    /// Full name of the kind's definition, such as `io.k8s.api.core.v1.Pod`.
    pub fn definition(&self) -> Cow<'static, str> {
        (self.definition)()
    }
}

const KINDS: &[BuiltinKind] = &[
    BuiltinKind::of::<core::Binding>(),
    BuiltinKind::of::<core::ConfigMap>(),
    BuiltinKind::of::<core::Endpoints>(),
    BuiltinKind::of::<core::Event>(),
    BuiltinKind::of::<core::LimitRange>(),
    BuiltinKind::of::<core::Namespace>(),
    BuiltinKind::of::<core::Node>(),
    BuiltinKind::of::<core::PersistentVolume>(),
    BuiltinKind::of::<core::PersistentVolumeClaim>(),
    BuiltinKind::of::<core::Pod>(),
    BuiltinKind::of::<core::PodTemplate>(),
    BuiltinKind::of::<core::ReplicationController>(),
    BuiltinKind::of::<core::ResourceQuota>(),
    BuiltinKind::of::<core::Secret>(),
    BuiltinKind::of::<core::Service>(),
    BuiltinKind::of::<core::ServiceAccount>(),
    BuiltinKind::of::<admission::MutatingWebhookConfiguration>(),
    BuiltinKind::of::<admission::ValidatingAdmissionPolicy>(),
    BuiltinKind::of::<admission::ValidatingAdmissionPolicyBinding>(),
    BuiltinKind::of::<admission::ValidatingWebhookConfiguration>(),
    BuiltinKind::of::<apiextensions::CustomResourceDefinition>(),
    BuiltinKind::of::<apiregistration::APIService>(),
    BuiltinKind::of::<apps::ControllerRevision>(),
    BuiltinKind::of::<apps::DaemonSet>(),
    BuiltinKind::of::<apps::Deployment>(),
    BuiltinKind::of::<apps::ReplicaSet>(),
    BuiltinKind::of::<apps::StatefulSet>(),
    BuiltinKind::of::<authentication::SelfSubjectReview>(),
    BuiltinKind::of::<authentication::TokenRequest>(),
    BuiltinKind::of::<authentication::TokenReview>(),
    BuiltinKind::of::<authorization::LocalSubjectAccessReview>(),
    BuiltinKind::of::<authorization::SelfSubjectAccessReview>(),
    BuiltinKind::of::<authorization::SelfSubjectRulesReview>(),
    BuiltinKind::of::<authorization::SubjectAccessReview>(),
    BuiltinKind::of::<autoscaling_v1::HorizontalPodAutoscaler>(),
    BuiltinKind::of::<autoscaling_v1::Scale>(),
    BuiltinKind::of::<autoscaling_v2::HorizontalPodAutoscaler>(),
    BuiltinKind::of::<batch::CronJob>(),
    BuiltinKind::of::<batch::Job>(),
    BuiltinKind::of::<certificates::CertificateSigningRequest>(),
    BuiltinKind::of::<coordination::Lease>(),
    BuiltinKind::of::<discovery::EndpointSlice>(),
    BuiltinKind::of::<events::Event>(),
    BuiltinKind::of::<networking::Ingress>(),
    BuiltinKind::of::<networking::IngressClass>(),
    BuiltinKind::of::<networking::NetworkPolicy>(),
    BuiltinKind::of::<node::RuntimeClass>(),
    BuiltinKind::of::<policy::Eviction>(),
    BuiltinKind::of::<policy::PodDisruptionBudget>(),
    BuiltinKind::of::<rbac::ClusterRole>(),
    BuiltinKind::of::<rbac::ClusterRoleBinding>(),
    BuiltinKind::of::<rbac::Role>(),
    BuiltinKind::of::<rbac::RoleBinding>(),
    BuiltinKind::of::<scheduling::PriorityClass>(),
    BuiltinKind::of::<storage::CSIDriver>(),
    BuiltinKind::of::<storage::CSINode>(),
    BuiltinKind::of::<storage::StorageClass>(),
    BuiltinKind::of::<storage::VolumeAttachment>(),
];

/// Every kind whose schema is compiled in; a server may serve fewer.
pub fn builtin_kinds() -> &'static [BuiltinKind] {
    KINDS
}

/// The schema of a built-in kind, parsed on first use.
pub fn builtin(group: &str, version: &str, kind: &str) -> Option<&'static Structural> {
    type Cache = Mutex<HashMap<(&'static str, &'static str, &'static str), &'static Structural>>;
    static CACHE: OnceLock<Cache> = OnceLock::new();
    let found = KINDS.iter().find(|known| known.kind == kind && known.group == group && known.version == version)?;
    let document: &'static Document = document(group, version)?;
    let mut cache = CACHE.get_or_init(Cache::default).lock().unwrap_or_else(PoisonError::into_inner);
    let entry = cache.entry((found.group, found.version, found.kind));
    // Leaked on purpose: at most one schema per kind, alive as long as the process.
    Some(*entry.or_insert_with(|| Box::leak(Box::new(parse::builtin(&document.definitions, &found.definition())))))
}

/// [`builtin`] for a group-version-kind in the form `apps/v1, Kind=Deployment` (core: `v1, Kind=Pod` or `/v1, ...`).
pub fn builtin_for(gvk: &str) -> Option<&'static Structural> {
    let (group, version, kind) = parse_gvk(gvk)?;
    builtin(group, version, kind)
}

/// Splits `apps/v1, Kind=Deployment` into group, version and kind.
pub fn parse_gvk(gvk: &str) -> Option<(&str, &str, &str)> {
    let (group_version, kind) = gvk.split_once(", Kind=")?;
    let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
    Some((group, version, kind))
}

/// The schema of `metadata`, the same for every kind.
pub(super) fn object_meta() -> Option<&'static Structural> {
    builtin("", "v1", "ConfigMap")?.field("metadata")
}
