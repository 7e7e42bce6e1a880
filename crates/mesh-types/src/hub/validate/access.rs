//! Rules of access policies.

use super::{Errors, policy, terms};
use crate::authorization_policy::{is_path_template, path_template_error};
use crate::hub::AccessPolicy;
use crate::hub::selector::IdentitySelector;
use crate::validate::refuse;

pub(super) fn check(access: &AccessPolicy, errors: &mut Errors) {
    terms::destinations(&access.destination_selector, "spec.destinationSelector", errors);
    for (index, selector) in access.source_selector.iter().enumerate() {
        source(selector, &format!("spec.sourceSelector[{index}]"), errors);
    }
    for (index, path) in access.allowed_paths.iter().enumerate() {
        let at = format!("spec.allowedPaths[{index}]");
        if !path.starts_with(['/', '*']) {
            refuse(errors, &at, format!("path `{path}` begins with neither `/` nor `*`"));
        } else if let Some(wrong) = path_template_error(path).filter(|_| is_path_template(path)) {
            refuse(errors, &at, format!("`{path}`: {wrong}"));
        }
    }
    for (index, name) in access.allowed_methods.iter().enumerate() {
        policy::method(name, &format!("spec.allowedMethods[{index}]"), errors);
    }
    for (index, _) in access.allowed_ports.iter().enumerate().filter(|(_, port)| **port == 0) {
        refuse(errors, format!("spec.allowedPorts[{index}]"), "port 0 must be between 1 and 65535");
    }
}

fn source(selector: &IdentitySelector, path: &str, errors: &mut Errors) {
    if let Some(refs) = &selector.kube_service_account_refs {
        let at = format!("{path}.kubeServiceAccountRefs.serviceAccounts");
        if refs.service_accounts.is_empty() {
            refuse(errors, &at, "must name a service account");
        }
        for (index, account) in refs.service_accounts.iter().enumerate() {
            let fields = [("name", account.name.as_str()), ("namespace", account.namespace.as_str())];
            terms::needed(&fields, &format!("{at}[{index}]"), errors);
        }
    }
    let names = selector.kube_identity_matcher.iter().flat_map(|matcher| {
        let fields = [("namespaces", &matcher.namespaces), ("clusters", &matcher.clusters)];
        fields.into_iter().flat_map(|(field, names)| names.iter().enumerate().map(move |(at, name)| (field, at, name)))
    });
    for (field, at, name) in names.filter(|(_, _, name)| name.is_empty() || name.contains('*')) {
        let message = format!("`{name}` is no name; leave the list out to mean all");
        refuse(errors, format!("{path}.kubeIdentityMatcher.{field}[{at}]"), message);
    }
}
