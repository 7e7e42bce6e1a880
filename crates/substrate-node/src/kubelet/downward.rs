//! What a pod may learn about itself: `fieldRef` and `resourceFieldRef`, for variables and for volumes. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};

/// What the node knows besides the pod's own object.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) node_name: String,
    pub(super) host_ip: Ipv4Addr,
    pub(super) pod_ip: Option<Ipv4Addr>,
    /// Processors of the machine, for limits that are not set.
    pub(super) cpus: u64,
    /// Bytes of memory of the machine, for limits that are not set.
    pub(super) memory: u64,
}

/// The value of a field of the pod.
///
/// # Errors
/// The field is not one that the downward API offers.
pub(super) fn field(pod: &Pod, selector: &ObjectFieldSelector, facts: &Facts) -> Result<String, String> {
    let meta = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let path = selector.field_path.as_str();
    if let Some((map, key)) = subscript(path) {
        let entries = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(unsupported(path)),
        };
        return Ok(entries.as_ref().and_then(|entries| entries.get(key).cloned()).unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => text(&meta.name),
        "metadata.namespace" => text(&meta.namespace),
        "metadata.uid" => text(&meta.uid),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => pod.spec.as_ref().map(|spec| text(&spec.service_account_name)).unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.to_string(),
        "status.podIP" | "status.podIPs" => facts.pod_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        _ => return Err(unsupported(path)),
    })
}

fn unsupported(path: &str) -> String {
    format!("unsupported fieldPath \"{path}\" in a fieldRef")
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    Some((map, key.trim_matches(|quote| quote == '\'' || quote == '"')))
}

/// Labels as a file shows them: one `key="value"` a line, with Go's quoting.
fn lines(entries: Option<&BTreeMap<String, String>>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={value:?}");
    entries.into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

/// The value of a request or limit of a container, in units of the divisor, rounded up.
///
/// # Errors
/// No such container or resource, or a quantity that is none.
pub(super) fn resource(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, String> {
    let container = match (&selector.container_name, own) {
        (Some(name), _) => {
            let spec = pod.spec.as_ref();
            let mut all =
                spec.into_iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
            all.find(|container| container.name == *name).ok_or_else(|| format!("container \"{name}\" not found"))?
        }
        (None, Some(own)) => own,
        (None, None) => return Err("a resourceFieldRef in a volume needs a containerName".to_owned()),
    };
    let resources = container.resources.clone().unwrap_or_default();
    let (kind, name) = selector.resource.split_once('.').unwrap_or(("", ""));
    let amounts = match kind {
        "limits" => resources.limits,
        "requests" => resources.requests,
        _ => return Err(format!("unsupported resource \"{}\" in a resourceFieldRef", selector.resource)),
    };
    let set = amounts.and_then(|amounts| amounts.get(name).map(|amount| amount.0.clone()));
    let value = match (set, kind, name) {
        (Some(text), ..) => milli(&text)?,
        (None, "limits", "cpu") => i128::from(facts.cpus) * 1000,
        (None, "limits", "memory") => i128::from(facts.memory) * 1000,
        (None, ..) => 0,
    };
    let divisor = match selector.divisor.as_ref().map(|divisor| divisor.0.as_str()) {
        None | Some("" | "0") => 1000,
        Some(text) => milli(text)?,
    };
    Ok(((value + divisor - 1) / divisor.max(1)).to_string())
}

/// A quantity in thousandths.
fn milli(text: &str) -> Result<i128, String> {
    let malformed = || format!("\"{text}\" is not a quantity");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let unit: i128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1000 * 1000,
        "M" => 1000 * 1000_i128.pow(2),
        "G" => 1000 * 1000_i128.pow(3),
        "T" => 1000 * 1000_i128.pow(4),
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return Err(malformed()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = &fraction[..fraction.len().min(9)];
    let parse = |digits: &str| if digits.is_empty() { Ok(0) } else { digits.parse::<i128>().map_err(|_| malformed()) };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let scaled = (parse(whole)? * scale + parse(fraction)?).checked_mul(unit).ok_or_else(malformed)?;
    if number.is_empty() { Err(malformed()) } else { Ok((scaled + scale - 1) / scale) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "quote": "a\"b"}},
            "spec": {"serviceAccountName": "sa", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "0.25"}}}]},
        }))
        .unwrap()
    }

    fn facts() -> Facts {
        Facts {
            node_name: "n".into(),
            host_ip: Ipv4Addr::new(172, 30, 1, 1),
            pod_ip: Some(Ipv4Addr::new(10, 244, 0, 2)),
            cpus: 2,
            memory: 1 << 30,
        }
    }

    #[test]
    fn fields() {
        let value =
            |path: &str| field(&pod(), &ObjectFieldSelector { field_path: path.into(), api_version: None }, &facts());
        assert_eq!(value("metadata.name").unwrap(), "web");
        assert_eq!(value("metadata.labels['app']").unwrap(), "web");
        assert_eq!(value("metadata.annotations['none']").unwrap(), "");
        assert_eq!(value("metadata.labels").unwrap(), "app=\"web\"\nquote=\"a\\\"b\"");
        assert_eq!(value("status.podIP").unwrap(), "10.244.0.2");
        assert_eq!(value("spec.serviceAccountName").unwrap(), "sa");
        assert!(value("spec.containers").unwrap_err().contains("spec.containers"));
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let value = |resource_name: &str, divisor: Value| {
            let selector = json!({"resource": resource_name, "divisor": divisor});
            resource(
                &pod(),
                pod().spec.unwrap().containers.first(),
                &serde_json::from_value(selector).unwrap(),
                &facts(),
            )
        };
        assert_eq!(value("limits.cpu", json!("1")).unwrap(), "2");
        assert_eq!(value("limits.cpu", json!("1m")).unwrap(), "1500");
        assert_eq!(value("requests.cpu", json!("1m")).unwrap(), "250");
        assert_eq!(value("limits.memory", json!("1Mi")).unwrap(), "64");
        assert_eq!(value("limits.memory", json!(null)).unwrap(), "67108864");
        assert_eq!(value("requests.memory", json!("1")).unwrap(), "0");
        assert!(value("memory", json!("1")).is_err());
    }
}
