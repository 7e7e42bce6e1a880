//! `meta.k8s.io/v1` tables, what `kubectl get` shows: the columns and cells of Kubernetes' own printers.
//!
//! Built-in resources have a printer each; custom resources are printed by their `additionalPrinterColumns`.

mod access;
mod batch;
mod config;
mod custom;
mod duration;
mod events;
mod network;
mod node;
mod path;
mod pod;
mod text;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use custom::PrinterColumn;
pub use duration::human_duration;

/// What each row carries of its object (`includeObject` of the request).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// A `PartialObjectMetadata`; the default of the API.
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter; `None` if it has another value.
    pub fn parse(text: &str) -> Option<IncludeObject> {
        match text {
            "None" => Some(IncludeObject::None),
            "" | "Metadata" => Some(IncludeObject::Metadata),
            "Object" => Some(IncludeObject::Object),
            _ => None,
        }
    }
}

/// One column of a built-in printer.
#[derive(Debug, Clone, Copy)]
struct Column {
    name: &'static str,
    kind: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    priority: u8,
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: "string", priority: 0 }
}

const fn wide(name: &'static str) -> Column {
    Column { name, kind: "string", priority: 1 }
}

const fn number(name: &'static str) -> Column {
    Column { name, kind: "integer", priority: 0 }
}

/// How one built-in resource is printed. The name is the first column unless the printer says otherwise.
struct Printer {
    columns: &'static [Column],
    cells: fn(&Value, Timestamp) -> Vec<Value>,
}

fn printer(group: &str, resource: &str) -> Option<&'static Printer> {
    Some(match (group, resource) {
        ("", "pods") => &pod::PODS,
        ("", "nodes") => &node::NODES,
        ("", "namespaces") => &config::NAMESPACES,
        ("", "configmaps") => &config::CONFIG_MAPS,
        ("", "secrets") => &config::SECRETS,
        ("", "serviceaccounts") => &config::SERVICE_ACCOUNTS,
        ("", "persistentvolumeclaims") => &config::PERSISTENT_VOLUME_CLAIMS,
        ("", "services") => &network::SERVICES,
        ("", "endpoints") => &network::ENDPOINTS,
        ("discovery.k8s.io", "endpointslices") => &network::ENDPOINT_SLICES,
        ("networking.k8s.io", "ingresses") => &network::INGRESSES,
        ("networking.k8s.io", "ingressclasses") => &network::INGRESS_CLASSES,
        ("networking.k8s.io", "networkpolicies") => &network::NETWORK_POLICIES,
        ("" | "events.k8s.io", "events") => &events::EVENTS,
        ("apps", "deployments") => &workloads::DEPLOYMENTS,
        ("apps", "replicasets") | ("", "replicationcontrollers") => &workloads::REPLICA_SETS,
        ("apps", "daemonsets") => &workloads::DAEMON_SETS,
        ("apps", "statefulsets") => &workloads::STATEFUL_SETS,
        ("apps", "controllerrevisions") => &workloads::CONTROLLER_REVISIONS,
        ("batch", "jobs") => &batch::JOBS,
        ("batch", "cronjobs") => &batch::CRON_JOBS,
        ("policy", "poddisruptionbudgets") => &batch::POD_DISRUPTION_BUDGETS,
        ("rbac.authorization.k8s.io", "roles" | "clusterroles")
        | ("apiextensions.k8s.io", "customresourcedefinitions") => &access::CREATED_AT,
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => &access::BINDINGS,
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations" | "validatingwebhookconfigurations") => {
            &access::WEBHOOK_CONFIGURATIONS
        }
        ("apiregistration.k8s.io", "apiservices") => &access::API_SERVICES,
        ("coordination.k8s.io", "leases") => &access::LEASES,
        ("scheduling.k8s.io", "priorityclasses") => &access::PRIORITY_CLASSES,
        ("storage.k8s.io", "storageclasses") => &access::STORAGE_CLASSES,
        _ => return None,
    })
}

/// Renders objects of one resource as a Table.
///
/// `printer_columns` are those of a custom resource and are ignored for resources with a printer of their own; without
/// either there are NAME and AGE. `now` is what ages are counted from. The caller adds the list's `metadata`.
pub fn render(
    group: &str,
    resource: &str,
    printer_columns: &[PrinterColumn],
    items: &[Value],
    include_object: IncludeObject,
    now: Timestamp,
) -> Value {
    let printer = printer(group, resource);
    let definitions: Vec<Value> = match printer {
        Some(printer) => printer.columns.iter().map(definition).collect(),
        None => custom::definitions(printer_columns),
    };
    let cells_of = |item: &Value| match printer {
        Some(printer) => (printer.cells)(item, now),
        None => custom::cells(printer_columns, item, now),
    };
    let row = |item: &Value| match include_object {
        IncludeObject::None => json!({"cells": cells_of(item), "object": null}),
        IncludeObject::Metadata => json!({"cells": cells_of(item), "object": partial(item)}),
        IncludeObject::Object => json!({"cells": cells_of(item), "object": item}),
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": definitions,
        "rows": items.iter().map(row).collect::<Vec<_>>(),
    })
}

fn definition(column: &Column) -> Value {
    let format = if column.name == "Name" { "name" } else { "" };
    json!({"name": column.name, "type": column.kind, "format": format, "description": "", "priority": column.priority})
}

fn partial(item: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item.get("metadata")})
}

#[cfg(test)]
mod tests;
