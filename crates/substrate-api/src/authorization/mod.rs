//! Whether a user may do something: RBAC over the roles that are stored, impersonation, and limits to granting.
//! The rules themselves are evaluated in `rbac`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use serde_json::Value;

use crate::authentication::User;
use crate::http::request_info::RequestInfo;
use crate::rbac::{self, Attributes, Decision, RbacSnapshot};
use crate::server::ApiServer;
use crate::status::{ApiError, Subject};

const GROUP: &str = "rbac.authorization.k8s.io";
const TABLES: [&str; 4] = [
    "roles.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
];

/// Roles and bindings, resolved anew when one of them has changed.
#[derive(Default)]
pub(crate) struct PolicyCache(Mutex<([u64; 4], Arc<RbacSnapshot>)>);

impl ApiServer {
    /// The roles and bindings of this moment.
    pub(crate) fn policy(&self) -> Arc<RbacSnapshot> {
        let mut cached = self.policy.0.lock().unwrap_or_else(PoisonError::into_inner);
        let revisions = TABLES.map(|table| self.store.table_revision(table));
        if cached.0 != revisions {
            let objects: Vec<_> = TABLES.iter().flat_map(|table| self.store.list(table, None).0).collect();
            let snapshot = RbacSnapshot::from_objects(objects.iter().map(|stored| &stored.value));
            *cached = (revisions, Arc::new(snapshot));
        }
        Arc::clone(&cached.1)
    }

    /// Decides about one action.
    pub(crate) fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        rbac::authorize(&self.policy(), attributes)
    }
}

/// What a request means for authorization.
fn attributes<'a>(user: &'a User, info: &'a RequestInfo) -> Attributes<'a> {
    let base = Attributes { user: &user.name, groups: &user.groups, verb: &info.verb, ..Attributes::default() };
    match &info.target {
        None => Attributes { path: Some(&info.path), ..base },
        Some(target) => Attributes {
            group: &target.group,
            resource: &target.resource,
            subresource: &target.subresource,
            name: &target.name,
            namespace: &target.namespace,
            ..base
        },
    }
}

/// Refuses a request that the user may not make.
pub(crate) fn authorize_request(server: &ApiServer, user: &User, info: &RequestInfo) -> Result<(), ApiError> {
    check(server, &attributes(user, info))
}

fn check(server: &ApiServer, attributes: &Attributes<'_>) -> Result<(), ApiError> {
    if server.decide(attributes).allowed {
        return Ok(());
    }
    let message = rbac::forbidden_message(attributes);
    if attributes.path.is_some() {
        return Err(ApiError::forbidden_path(message));
    }
    // The message begins with the subject, which the error adds itself.
    let why = message.split_once(" is forbidden: ").map_or(message.as_str(), |(_, why)| why);
    let subject = Subject { group: attributes.group, resource: attributes.resource, kind: "" };
    Err(ApiError::forbidden(subject, attributes.name, why))
}

/// The user that a request wants to act as, where it may.
pub(crate) fn impersonate(server: &ApiServer, user: User, headers: &HeaderMap) -> Result<User, ApiError> {
    let values = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    };
    let groups = values("impersonate-group");
    let uid = values("impersonate-uid").into_iter().next();
    let Some(name) = values("impersonate-user").into_iter().next() else {
        if groups.is_empty() && uid.is_none() {
            return Ok(user);
        }
        return Err(ApiError::bad_request("requested user impersonation without impersonating a user"));
    };
    let may = |group: &str, resource: &str, target: &str| {
        let (namespace, target) = account_of(resource, target);
        check(
            server,
            &Attributes {
                user: &user.name,
                groups: &user.groups,
                verb: "impersonate",
                group,
                resource,
                name: target,
                namespace,
                ..Attributes::default()
            },
        )
    };
    let account = name.starts_with("system:serviceaccount:");
    may("", if account { "serviceaccounts" } else { "users" }, &name)?;
    for group in &groups {
        may("", "groups", group)?;
    }
    if let Some(uid) = &uid {
        may("authentication.k8s.io", "uids", uid)?;
    }
    Ok(User { uid: uid.unwrap_or_default(), groups: groups_of(&name, groups), name, extra: BTreeMap::new() })
}

/// Namespace and name of a ServiceAccount's user name; other names stay as they are.
fn account_of<'a>(resource: &str, name: &'a str) -> (&'a str, &'a str) {
    let account = name.strip_prefix("system:serviceaccount:").filter(|_| resource == "serviceaccounts");
    account.and_then(|account| account.split_once(':')).unwrap_or(("", name))
}

fn groups_of(name: &str, mut groups: Vec<String>) -> Vec<String> {
    let (namespace, _) = account_of("serviceaccounts", name);
    if groups.is_empty() && !namespace.is_empty() {
        groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let implied = if name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !groups.iter().any(|group| group == implied) {
        groups.push(implied.to_owned());
    }
    groups
}

/// Refuses a role or binding that would give more than its writer holds.
pub(crate) fn check_escalation(server: &ApiServer, user: &User, table: &str, object: &Value) -> Result<(), ApiError> {
    let (kind, resource) = match table.split_once('.') {
        Some((resource @ ("roles" | "clusterroles"), GROUP)) => ("role", resource),
        Some((resource @ ("rolebindings" | "clusterrolebindings"), GROUP)) => ("binding", resource),
        _ => return Ok(()),
    };
    let name = crate::object::name(object);
    let request = Attributes {
        user: &user.name,
        groups: &user.groups,
        group: GROUP,
        resource,
        name,
        namespace: crate::object::namespace(object),
        ..Attributes::default()
    };
    let policy = server.policy();
    let outcome = match kind {
        "role" => rbac::check_role_escalation(&policy, &request, object),
        _ => rbac::check_binding_escalation(&policy, &request, object),
    };
    let subject = Subject { group: GROUP, resource, kind: "" };
    outcome.map_err(|error| ApiError::forbidden(subject, name, &error.to_string()))
}
