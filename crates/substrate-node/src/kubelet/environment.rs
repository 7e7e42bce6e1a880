//! The environment and the command line of a container. Pure: what has to be fetched is handed in.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Pod, Secret, Service};

use super::downward::{self, Facts};
use super::images::ImageRule;

/// The objects that containers of a pod refer to, as far as they exist.
#[derive(Clone, Debug, Default)]
pub(super) struct Referenced {
    pub(super) config_maps: BTreeMap<String, ConfigMap>,
    pub(super) secrets: BTreeMap<String, Secret>,
}

/// Names of ConfigMaps and Secrets that a container's environment refers to.
pub(super) fn references(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for source in container.env_from.iter().flatten() {
        config_maps.extend(source.config_map_ref.as_ref().map(|reference| reference.name.clone()));
        secrets.extend(source.secret_ref.as_ref().map(|reference| reference.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        config_maps.extend(source.config_map_key_ref.as_ref().map(|reference| reference.name.clone()));
        secrets.extend(source.secret_key_ref.as_ref().map(|reference| reference.name.clone()));
    }
    (config_maps, secrets)
}

/// The variables that tell a container about Services: the API server, and those of its namespace if wanted.
pub(super) fn service_variables<'a>(
    namespace: &str,
    with_links: bool,
    services: impl IntoIterator<Item = &'a Service>,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for service in services {
        let meta = &service.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        let is_api_server = meta.namespace.as_deref() == Some("default") && name == "kubernetes";
        if is_api_server || (with_links && meta.namespace.as_deref() == Some(namespace)) {
            variables.extend(variables_of(name, service));
        }
    }
    variables
}

fn variables_of(name: &str, service: &Service) -> Vec<(String, String)> {
    let spec = service.spec.clone().unwrap_or_default();
    let Some(ip) = spec.cluster_ip.filter(|ip| !ip.is_empty() && ip != "None") else { return Vec::new() };
    let upper = |text: &str| text.to_uppercase().replace(['-', '.'], "_");
    let prefix = upper(name);
    let ports = spec.ports.unwrap_or_default();
    let mut variables = vec![(format!("{prefix}_SERVICE_HOST"), ip.clone())];
    if let Some(first) = ports.first() {
        let protocol = first.protocol.as_deref().unwrap_or("TCP").to_lowercase();
        variables.push((format!("{prefix}_SERVICE_PORT"), first.port.to_string()));
        variables.push((format!("{prefix}_PORT"), format!("{protocol}://{ip}:{}", first.port)));
    }
    for port in &ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.push((format!("{prefix}_SERVICE_PORT_{}", upper(name)), port.port.to_string()));
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let stem = format!("{prefix}_PORT_{}_{}", port.port, protocol);
        variables.push((stem.clone(), format!("{}://{ip}:{}", protocol.to_lowercase(), port.port)));
        variables.push((format!("{stem}_PROTO"), protocol.to_lowercase()));
        variables.push((format!("{stem}_PORT"), port.port.to_string()));
        variables.push((format!("{stem}_ADDR"), ip.clone()));
    }
    variables
}

/// The complete environment: image, Services, `envFrom`, `env`; the later wins.
///
/// # Errors
/// A reference that leads nowhere, with what to do about it.
pub(super) fn environment(
    pod: &Pod,
    container: &Container,
    rule: &ImageRule,
    services: BTreeMap<String, String>,
    referenced: &Referenced,
    facts: &Facts,
) -> Result<Vec<(String, String)>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let sources = Sources { pod, container, namespace, referenced, facts };
    let mut variables = Variables(rule.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
    services.into_iter().for_each(|(name, value)| variables.set(name, value));
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref
            && let Some(map) = sources.config_map(&reference.name, reference.optional)?
        {
            map.data.iter().flatten().for_each(|(key, value)| variables.set(format!("{prefix}{key}"), value.clone()));
        }
        if let Some(reference) = &source.secret_ref
            && let Some(secret) = sources.secret(&reference.name, reference.optional)?
        {
            for (key, value) in secret.data.iter().flatten() {
                variables.set(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = sources.value(variable, &variables)? {
            variables.set(variable.name.clone(), value);
        }
    }
    Ok(variables.0)
}

struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: String, value: String) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }
}

struct Sources<'a> {
    pod: &'a Pod,
    container: &'a Container,
    namespace: &'a str,
    referenced: &'a Referenced,
    facts: &'a Facts,
}

impl Sources<'_> {
    fn config_map(&self, name: &str, optional: Option<bool>) -> Result<Option<&ConfigMap>, String> {
        let found = self.referenced.config_maps.get(name);
        if found.is_none() && optional != Some(true) {
            Err(missing("configmap", name, self.namespace))
        } else {
            Ok(found)
        }
    }

    fn secret(&self, name: &str, optional: Option<bool>) -> Result<Option<&Secret>, String> {
        let found = self.referenced.secrets.get(name);
        if found.is_none() && optional != Some(true) { Err(missing("secret", name, self.namespace)) } else { Ok(found) }
    }

    /// The value of one variable; `None` if it comes from something optional that does not exist.
    fn value(&self, variable: &EnvVar, known: &Variables) -> Result<Option<String>, String> {
        let Some(source) = &variable.value_from else {
            return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), &known.0)));
        };
        if let Some(selector) = &source.field_ref {
            return downward::field(self.pod, selector, self.facts).map(Some);
        }
        if let Some(selector) = &source.resource_field_ref {
            return downward::resource(self.pod, Some(self.container), selector, self.facts).map(Some);
        }
        if let Some(selector) = &source.config_map_key_ref {
            let map = self.config_map(&selector.name, selector.optional)?;
            let value = map.and_then(|map| map.data.as_ref()?.get(&selector.key).cloned());
            return self.require(value, "ConfigMap", &selector.name, &selector.key, selector.optional);
        }
        if let Some(selector) = &source.secret_key_ref {
            let secret = self.secret(&selector.name, selector.optional)?;
            let value = secret.and_then(|secret| secret.data.as_ref()?.get(&selector.key));
            let value = value.map(|value| String::from_utf8_lossy(&value.0).into_owned());
            return self.require(value, "Secret", &selector.name, &selector.key, selector.optional);
        }
        Err(format!("variable {} has a valueFrom that this node does not support", variable.name))
    }

    fn require(
        &self,
        value: Option<String>,
        kind: &str,
        name: &str,
        key: &str,
        optional: Option<bool>,
    ) -> Result<Option<String>, String> {
        if value.is_none() && optional != Some(true) {
            return Err(format!(
                "couldn't find key {key} in {kind} {}/{name}; add the key, or mark the reference optional",
                self.namespace
            ));
        }
        Ok(value)
    }
}

/// What to say about an object that a pod needs and that does not exist.
pub(super) fn missing(kind: &str, name: &str, namespace: &str) -> String {
    format!("{kind} \"{name}\" not found; create it in namespace \"{namespace}\", or mark the reference optional")
}

/// Replaces `$(NAME)` by the variable of that name; `$$` is a dollar sign; an unknown name stays as it is.
pub(super) fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        output.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            output.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match name.and_then(|(name, after)| Some((variables.iter().find(|(known, _)| known == name)?, after))) {
            Some(((_, value), after)) => {
                output.push_str(value);
                rest = after;
            }
            None => output.push('$'),
        }
    }
    output.push_str(rest);
    output
}

/// Program and arguments: `command` replaces the image's entrypoint, `args` follow.
pub(super) fn command(container: &Container, rule: &ImageRule, variables: &[(String, String)]) -> Vec<String> {
    let given = container.command.as_ref().filter(|command| !command.is_empty());
    let program = given.unwrap_or(&rule.entrypoint);
    program.iter().chain(container.args.iter().flatten()).map(|word| expand(word, variables)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::net::Ipv4Addr;

    fn environment_of(container: Value) -> Result<Vec<(String, String)>, String> {
        let container: Container = serde_json::from_value(container).unwrap();
        let pod = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"containers": []}});
        let map = json!({"metadata": {"name": "settings"}, "data": {"color": "red", "size": "3"}});
        let secret = json!({"metadata": {"name": "keys"}, "data": {"token": "czNjcmV0"}});
        let referenced = Referenced {
            config_maps: BTreeMap::from([("settings".into(), serde_json::from_value(map).unwrap())]),
            secrets: BTreeMap::from([("keys".into(), serde_json::from_value(secret).unwrap())]),
        };
        let facts = Facts { node_name: "n".into(), host_ip: Ipv4Addr::LOCALHOST, pod_ip: None, cpus: 1, memory: 1 };
        let rule =
            ImageRule { environment: BTreeMap::from([("COLOR".into(), "image".into())]), ..ImageRule::default() };
        let services = BTreeMap::from([("KUBERNETES_SERVICE_HOST".into(), "10.96.0.1".into())]);
        environment(&serde_json::from_value(pod).unwrap(), &container, &rule, services, &referenced, &facts)
    }

    #[test]
    fn every_source_in_its_order() {
        let container = json!({
            "name": "c",
            "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "P_"}, {"configMapRef": {"name": "none", "optional": true}}],
            "env": [
                {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "none", "optional": true}}},
                {"name": "ALL", "value": "$(COLOR)-$(NAME)-$(UNKNOWN)-$$(COLOR)-$(KUBERNETES_SERVICE_HOST)"},
            ],
        });
        insta::assert_yaml_snapshot!(environment_of(container).unwrap());
    }

    #[test]
    fn a_reference_that_leads_nowhere_says_what_to_do() {
        let message = |source: Value| {
            environment_of(json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]})).unwrap_err()
        };
        insta::assert_yaml_snapshot!([
            message(json!({"configMapKeyRef": {"name": "none", "key": "a"}})),
            message(json!({"secretKeyRef": {"name": "keys", "key": "none"}})),
            message(json!({"fieldRef": {"fieldPath": "spec.nothing"}})),
        ]);
    }

    #[test]
    fn services_become_variables() {
        let service = |namespace: &str, name: &str, ip: &str| -> Service {
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterIP": ip, "ports": [{"name": "http-web", "port": 80}]},
            }))
            .unwrap()
        };
        let services = [
            service("default", "kubernetes", "10.96.0.1"),
            service("shop", "my-db", "10.96.0.9"),
            service("shop", "headless", "None"),
            service("other", "web", "10.96.0.8"),
        ];
        insta::assert_yaml_snapshot!(service_variables("shop", true, &services));
        assert!(!service_variables("shop", false, &services).contains_key("MY_DB_SERVICE_HOST"));
    }

    #[test]
    fn command_and_arguments_override_and_follow() {
        let rule = ImageRule { entrypoint: vec!["app".into(), "serve".into()], ..ImageRule::default() };
        let of =
            |container: Value| command(&serde_json::from_value(container).unwrap(), &rule, &[("A".into(), "1".into())]);
        assert_eq!(of(json!({"name": "c", "args": ["$(A)"]})), ["app", "serve", "1"]);
        assert_eq!(of(json!({"name": "c", "command": ["sh"], "args": ["-c"]})), ["sh", "-c"]);
    }
}
