//! Roles and bindings, webhook configurations, leases and other small cluster-wide kinds.

use serde_json::Value;

use super::duration::age;
use super::text::{at, condition, integer, list, name};
use super::{Printer, number, text, wide};

/// Kinds that show only when they were created.
pub(super) const CREATED_AT: Printer = Printer {
    columns: &[text("Name"), text("Created At")],
    cells: |object, _| vec![name(object), at(object, "/metadata/creationTimestamp").into()],
};

pub(super) const BINDINGS: Printer = Printer {
    columns: &[text("Name"), text("Role"), text("Age"), wide("Users"), wide("Groups"), wide("ServiceAccounts")],
    cells: |object, now| {
        let role = format!("{}/{}", at(object, "/roleRef/kind"), at(object, "/roleRef/name"));
        let subjects = |kind: &str| {
            let of_kind = list(object, "/subjects").iter().filter(|subject| at(subject, "/kind") == kind);
            let shown = of_kind.map(|subject| match kind {
                "ServiceAccount" => format!("{}/{}", at(subject, "/namespace"), at(subject, "/name")),
                _ => at(subject, "/name").to_owned(),
            });
            Value::from(shown.collect::<Vec<_>>().join(", "))
        };
        vec![
            name(object),
            role.into(),
            age(object, now),
            subjects("User"),
            subjects("Group"),
            subjects("ServiceAccount"),
        ]
    },
};

pub(super) const WEBHOOK_CONFIGURATIONS: Printer = Printer {
    columns: &[text("Name"), number("Webhooks"), text("Age")],
    cells: |object, now| vec![name(object), list(object, "/webhooks").len().into(), age(object, now)],
};

pub(super) const API_SERVICES: Printer = Printer {
    columns: &[text("Name"), text("Service"), text("Available"), text("Age")],
    cells: |object, now| {
        let service = match at(object, "/spec/service/name") {
            "" => "Local".to_owned(),
            service => format!("{}/{service}", at(object, "/spec/service/namespace")),
        };
        let available = match condition(object, "Available") {
            Some(condition) if at(condition, "/status") == "True" => "True".to_owned(),
            Some(condition) => format!("{} ({})", at(condition, "/status"), at(condition, "/reason")),
            None => "Unknown".to_owned(),
        };
        vec![name(object), service.into(), available.into(), age(object, now)]
    },
};

pub(super) const LEASES: Printer = Printer {
    columns: &[text("Name"), text("Holder"), text("Age")],
    cells: |object, now| vec![name(object), at(object, "/spec/holderIdentity").into(), age(object, now)],
};

pub(super) const PRIORITY_CLASSES: Printer = Printer {
    columns: &[text("Name"), text("Value"), text("Global-Default"), text("Age"), text("PreemptionPolicy")],
    cells: |object, now| {
        let default = object.get("globalDefault").and_then(Value::as_bool).unwrap_or(false);
        let policy = match at(object, "/preemptionPolicy") {
            "" => "PreemptLowerPriority",
            policy => policy,
        };
        vec![name(object), integer(object, "/value").into(), default.into(), age(object, now), policy.into()]
    },
};

pub(super) const STORAGE_CLASSES: Printer = Printer {
    columns: &[
        text("Name"),
        text("Provisioner"),
        text("ReclaimPolicy"),
        text("VolumeBindingMode"),
        text("AllowVolumeExpansion"),
        text("Age"),
    ],
    cells: |object, now| {
        let default = at(object, "/metadata/annotations/storageclass.kubernetes.io~1is-default-class") == "true";
        let shown = if default {
            format!("{} (default)", at(object, "/metadata/name"))
        } else {
            at(object, "/metadata/name").to_owned()
        };
        let or = |text: &str, other: &'static str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        vec![
            shown.into(),
            at(object, "/provisioner").into(),
            or(at(object, "/reclaimPolicy"), "Delete").into(),
            or(at(object, "/volumeBindingMode"), "Immediate").into(),
            object.get("allowVolumeExpansion").and_then(Value::as_bool).unwrap_or(false).into(),
            age(object, now),
        ]
    },
};
