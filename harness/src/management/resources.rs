//! The plane's resources in the management cluster, typed.

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use mesh_types::hub::{Kind, Object, Resource, names};
use serde_json::{Value, json};

use super::Error;
use crate::cluster::Cluster;

/// The API of a kind, over all namespaces.
pub fn api(cluster: &Cluster, kind: Kind) -> Api<DynamicObject> {
    Api::all_with(cluster.client(), &resource(kind))
}

/// The API of a kind in a namespace.
pub fn api_in(cluster: &Cluster, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client(), namespace, &resource(kind))
}

/// A kind as the client wants it.
pub(super) fn resource(kind: Kind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), Kind::VERSION, kind.name());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

/// What marks everything that the plane of a management cluster wrote, and nothing that another plane did.
///
/// # Errors
/// [`Error::Refused`] where no plane is installed; else [`Error::Cluster`].
pub async fn identity(management: &Cluster) -> Result<String, Error> {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": names::NAMESPACE } });
    let found = management.get(&namespace).await?.ok_or_else(|| not_installed(management))?;
    let found = serde_json::to_value(found).unwrap_or_default();
    names::identity(&found).map(str::to_owned).ok_or_else(|| not_installed(management))
}

/// All resources of a kind, by namespace and name.
///
/// # Errors
/// [`Error::Refused`] where the cluster has no such kind, so that no management plane can be there; else [`Error::Cluster`].
pub async fn list(cluster: &Cluster, kind: Kind) -> Result<Vec<Value>, Error> {
    match api(cluster, kind).list(&ListParams::default()).await {
        Ok(listed) => {
            let values = listed.items.into_iter().map(|item| serde_json::to_value(item).unwrap_or(Value::Null));
            let mut values: Vec<Value> = values.collect();
            values.sort_by_key(|value| (text(value, "/metadata/namespace"), text(value, "/metadata/name")));
            Ok(values)
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Err(not_installed(cluster)),
        Err(source) => Err(cluster.api_error(format!("list {}", kind.plural()), source).into()),
    }
}

/// All resources of a kind with their types. What another version of the plane wrote and this one cannot read is named.
///
/// # Errors
/// As [`list`], and for a resource that cannot be read.
pub async fn typed<R: Resource>(cluster: &Cluster) -> Result<Vec<Object<R>>, Error> {
    let values = list(cluster, R::KIND).await?;
    values.into_iter().map(|value| read(value)).collect()
}

/// A resource with its types.
///
/// # Errors
/// [`Error::Refused`] where it has another form.
pub fn read<R: Resource>(value: Value) -> Result<Object<R>, Error> {
    let (namespace, name) = (text(&value, "/metadata/namespace"), text(&value, "/metadata/name"));
    Object::from_value(value).map_err(|error| {
        Error::refused(
            format!("{} {namespace}/{name} cannot be read: {error}", R::KIND.name()),
            "the management plane is of another version than this program; use the program that came with it",
        )
    })
}

/// The one resource of a kind that `name` or `namespace/name` names.
///
/// # Errors
/// [`Error::Refused`] where there is none, or several; else as [`list`].
pub async fn find(cluster: &Cluster, kind: Kind, wanted: &str) -> Result<Value, Error> {
    let all = list(cluster, kind).await?;
    choose(kind, &all, wanted).cloned()
}

fn choose<'value>(kind: Kind, all: &'value [Value], wanted: &str) -> Result<&'value Value, Error> {
    let whole = |value: &Value| format!("{}/{}", text(value, "/metadata/namespace"), text(value, "/metadata/name"));
    let is_meant = |value: &&Value| text(value, "/metadata/name") == wanted || whole(value) == wanted;
    let found: Vec<&Value> = all.iter().filter(is_meant).collect();
    match found.as_slice() {
        [only] => Ok(only),
        [] => {
            let known: Vec<String> = all.iter().map(whole).collect();
            let help = match known.as_slice() {
                [] => format!("there is no {} at all", kind.name()),
                known => crate::diagnostic::suggest::help(wanted, known.iter().map(String::as_str)),
            };
            Err(Error::refused(format!("there is no {} `{wanted}`", kind.name()), help))
        }
        several => {
            let names: Vec<String> = several.iter().map(|value| whole(value)).collect();
            let message = format!("`{wanted}` may be any of {}", names.join(", "));
            Err(Error::refused(message, "write it as namespace/name"))
        }
    }
}

/// The text at a JSON pointer, empty where there is none.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Names the KubernetesCluster of a registration.
#[must_use]
pub fn registered(name: &str) -> Value {
    json!({
        "apiVersion": Kind::KubernetesCluster.api_version(), "kind": Kind::KubernetesCluster.name(),
        "metadata": { "name": name, "namespace": names::NAMESPACE },
    })
}

/// The manager is not there.
pub(super) fn not_installed(cluster: &Cluster) -> Error {
    Error::refused(
        format!("{} has no management plane: the kind KubernetesCluster is unknown there", cluster.name()),
        "name the management cluster, or install the plane there by `meshproof mesh install`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies() -> Vec<Value> {
        [("bookinfo", "reviews"), ("shop", "reviews"), ("shop", "cart")]
            .map(|(namespace, name)| json!({ "metadata": { "namespace": namespace, "name": name } }))
            .to_vec()
    }

    #[test]
    fn a_name_is_enough_where_it_is_the_only_one() {
        let all = policies();
        let kind = Kind::TrafficPolicy;
        let found = choose(kind, &all, "cart").expect("one");
        assert_eq!(found["metadata"]["namespace"], "shop");
        assert!(choose(kind, &all, "shop/reviews").is_ok());
        let several = choose(kind, &all, "reviews").expect_err("two");
        assert_eq!(several.to_string(), "`reviews` may be any of bookinfo/reviews, shop/reviews");
        let none = choose(kind, &all, "shop/crat").expect_err("none");
        assert_eq!(none.to_string(), "there is no TrafficPolicy `shop/crat`");
        assert!(none.cure().expect("a cure").contains("shop/cart"));
        let cure = choose(kind, &[], "x").expect_err("none").cure();
        assert_eq!(cure.expect("a cure"), "there is no TrafficPolicy at all");
    }
}
