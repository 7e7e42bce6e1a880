//! Leads the kubelet's probes of the application to the agent, which performs them inside the pod: the kubelet has no
//! certificate of the mesh, so a STRICT workload would refuse it.

use serde_json::{Map, Value, json};

use super::InjectError;

/// Port of the agent.
const STATUS_PORT: u16 = 15020;
const PROBES: [(&str, &str); 3] =
    [("readinessProbe", "readyz"), ("livenessProbe", "livez"), ("startupProbe", "startupz")];
const ACTIONS: [&str; 3] = ["httpGet", "tcpSocket", "grpc"];

/// Rewrites the probes of all containers; returns the value of `ISTIO_KUBE_APP_PROBERS` where there are any.
pub(super) fn rewrite(containers: &mut [Value]) -> Result<Option<String>, InjectError> {
    let mut probers = Map::new();
    for container in containers {
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        let ports = container["ports"].as_array().cloned().unwrap_or_default();
        for (field, suffix) in PROBES {
            let Some(probe) = container.get_mut(field).and_then(Value::as_object_mut) else { continue };
            let path = format!("/app-health/{name}/{suffix}");
            let problem = |problem: String| InjectError::Probe { container: name.clone(), probe: field, problem };
            if let Some(prober) = take_over(probe, &path, &ports).map_err(problem)? {
                probers.insert(path, prober);
            }
        }
    }
    Ok((!probers.is_empty()).then(|| Value::Object(probers).to_string()))
}

/// Points a probe at `path` of the agent and returns what the agent has to do instead.
fn take_over(probe: &mut Map<String, Value>, path: &str, ports: &[Value]) -> Result<Option<Value>, String> {
    let Some(action) = ACTIONS.into_iter().find(|action| probe.contains_key(*action)) else { return Ok(None) };
    let mut original = probe[action].clone();
    let port = port(&original["port"], ports)?;
    if [STATUS_PORT, 15021].contains(&port) {
        return Ok(None);
    }
    original["port"] = port.into();
    probe.remove(action);
    probe.insert("httpGet".to_owned(), json!({"path": path, "port": STATUS_PORT}));
    let mut prober = json!({action: original});
    if let Some(timeout) = probe.get("timeoutSeconds") {
        prober["timeoutSeconds"] = timeout.clone();
    }
    Ok(Some(prober))
}

fn port(given: &Value, ports: &[Value]) -> Result<u16, String> {
    let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    if let Some(port) = number(given) {
        return Ok(port);
    }
    let name = given.as_str().ok_or_else(|| format!("{given} is not a port"))?;
    if let Ok(port) = name.parse::<u16>() {
        return Ok(port);
    }
    let named = ports.iter().find(|port| port["name"] == name).and_then(|port| number(&port["containerPort"]));
    named.ok_or_else(|| format!("the container has no port called {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_but_exec_is_taken_over() {
        let mut containers = [json!({"name": "app", "ports": [{"name": "web", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "web", "scheme": "HTTPS"}, "timeoutSeconds": 3, "periodSeconds": 2},
            "livenessProbe": {"tcpSocket": {"port": 9000}},
            "startupProbe": {"exec": {"command": ["true"]}}})];
        let probers = rewrite(&mut containers).unwrap().unwrap();
        let probers: Value = serde_json::from_str(&probers).unwrap();
        assert_eq!(
            probers,
            json!({"/app-health/app/readyz": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTPS"}, "timeoutSeconds": 3},
                "/app-health/app/livez": {"tcpSocket": {"port": 9000}}})
        );
        assert_eq!(
            containers[0]["readinessProbe"],
            json!({"timeoutSeconds": 3, "periodSeconds": 2, "httpGet": {"path": "/app-health/app/readyz", "port": 15020}})
        );
        assert_eq!(containers[0]["startupProbe"], json!({"exec": {"command": ["true"]}}));
    }

    #[test]
    fn a_port_nobody_knows_is_an_error() {
        let mut containers = [json!({"name": "app", "livenessProbe": {"httpGet": {"port": "nope"}}})];
        let error = rewrite(&mut containers).unwrap_err().to_string();
        assert_eq!(error, "container app: livenessProbe: the container has no port called \"nope\"");
    }
}
