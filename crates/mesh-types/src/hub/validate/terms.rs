//! Checks of fields that several kinds share.

use super::Errors;
use crate::hub::reference::{ClusterObjectRef, ObjectRef};
use crate::hub::selector::DestinationSelector;
use crate::validate::refuse;

pub(super) fn object(reference: &ObjectRef, path: &str, errors: &mut Errors) {
    needed(&[("name", &reference.name), ("namespace", &reference.namespace)], path, errors);
}

pub(super) fn service(reference: &ClusterObjectRef, path: &str, errors: &mut Errors) {
    let ClusterObjectRef { cluster_name, namespace, name } = reference;
    needed(&[("name", name), ("namespace", namespace), ("clusterName", cluster_name)], path, errors);
}

pub(super) fn needed(fields: &[(&str, &str)], path: &str, errors: &mut Errors) {
    for (field, _) in fields.iter().filter(|(_, value)| value.is_empty()) {
        refuse(errors, format!("{path}.{field}"), "is required");
    }
}

pub(super) fn destinations(selectors: &[DestinationSelector], path: &str, errors: &mut Errors) {
    for (index, selector) in selectors.iter().enumerate() {
        let path = format!("{path}[{index}].kubeServiceRefs.services");
        if selector.kube_service_refs.as_ref().is_some_and(|refs| refs.services.is_empty()) {
            refuse(errors, &path, "must name a Service");
        }
        for (at, reference) in selector.names().enumerate() {
            service(reference, &format!("{path}[{at}]"), errors);
        }
    }
}

pub(super) fn percentage(value: Option<f64>, path: &str, errors: &mut Errors) {
    if value.is_some_and(|value| !(0.0..=100.0).contains(&value)) {
        refuse(errors, path, "must be between 0 and 100");
    }
}

pub(super) fn expression(pattern: &str, path: &str, errors: &mut Errors) {
    if let Err(reason) = crate::regular_expression::check(pattern) {
        refuse(errors, path, format!("`{pattern}` is not a regular expression: {reason}"));
    }
}

/// A DNS name of at least `labels` labels.
pub(super) fn host(name: &str, labels: usize, path: &str, errors: &mut Errors) {
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|sign| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(good) {
        refuse(errors, path, format!("`{name}` is not a DNS name in lower case"));
    } else if name.split('.').count() < labels {
        refuse(errors, path, format!("`{name}` needs at least {labels} labels"));
    }
}
