//! What a pod's annotations say about its proxy.

use serde_json::{Map, Value, json};

use super::InjectError;

const TEMPLATES: &str = "inject.istio.io/templates";
const PROXY_CONFIG: &str = "proxy.istio.io/config";
const REWRITE_PROBES: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
const LOG_LEVEL: &str = "sidecar.istio.io/logLevel";
const PROXY_IMAGE: &str = "sidecar.istio.io/proxyImage";
const MERGE_METRICS: &str = "prometheus.istio.io/merge-metrics";
/// Annotations of these families that are not in [`HONOURED`] have no effect.
const FAMILIES: [&str; 4] = ["sidecar.istio.io/", "traffic.sidecar.istio.io/", "proxy.istio.io/", "inject.istio.io/"];
const HONOURED: [&str; 14] = [
    TEMPLATES,
    PROXY_CONFIG,
    REWRITE_PROBES,
    LOG_LEVEL,
    PROXY_IMAGE,
    "sidecar.istio.io/inject",
    "sidecar.istio.io/status",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
    "traffic.sidecar.istio.io/excludeOutboundIPRanges",
    "traffic.sidecar.istio.io/includeOutboundPorts",
    "traffic.sidecar.istio.io/excludeOutboundPorts",
    MERGE_METRICS,
];

/// Which template a pod asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Template {
    Sidecar,
    Gateway,
}

/// Flags of `istio-iptables` that annotations set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Capture {
    pub(super) include_inbound_ports: String,
    pub(super) exclude_inbound_ports: String,
    pub(super) include_outbound_ranges: String,
    pub(super) exclude_outbound_ranges: String,
    pub(super) include_outbound_ports: String,
    pub(super) exclude_outbound_ports: String,
}

/// Annotations, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Annotations {
    pub(super) template: Template,
    pub(super) capture: Capture,
    pub(super) rewrite_probes: bool,
    pub(super) hold: bool,
    pub(super) proxy_config: Value,
    pub(super) log_level: Option<String>,
    pub(super) proxy_image: Option<String>,
    /// The application's own metrics, where the agent is to merge them.
    pub(super) prometheus: Option<Value>,
    pub(super) merge_metrics: bool,
    names: Vec<String>,
}

impl Annotations {
    pub(super) fn read(pod: &Value, defaults: &Map<String, Value>) -> Result<Self, InjectError> {
        let empty = Map::new();
        let all = pod.pointer("/metadata/annotations").and_then(Value::as_object).unwrap_or(&empty);
        let text = |key: &str| all.get(key).and_then(Value::as_str);
        let proxy_config = proxy_config(text(PROXY_CONFIG), defaults)?;
        let merge_metrics = boolean(MERGE_METRICS, text(MERGE_METRICS), true)?;
        Ok(Self {
            template: template(text(TEMPLATES))?,
            capture: capture(&text)?,
            rewrite_probes: boolean(REWRITE_PROBES, text(REWRITE_PROBES), true)?,
            hold: proxy_config.get("holdApplicationUntilProxyStarts") == Some(&Value::Bool(true)),
            proxy_config,
            log_level: text(LOG_LEVEL).map(ToOwned::to_owned),
            proxy_image: text(PROXY_IMAGE).map(ToOwned::to_owned),
            prometheus: merge_metrics.then(|| prometheus(&text)).flatten(),
            merge_metrics,
            names: all.keys().cloned().collect(),
        })
    }

    pub(super) fn sidecar(&self) -> bool {
        self.template == Template::Sidecar
    }

    /// One sentence for each annotation of Istio that has no effect here.
    pub(super) fn unsupported(&self) -> Vec<String> {
        let known = |name: &&String| FAMILIES.iter().any(|family| name.starts_with(family));
        let ignored = self.names.iter().filter(known).filter(|name| !HONOURED.contains(&name.as_str()));
        ignored.map(|name| format!("annotation {name} has no effect on this control plane")).collect()
    }
}

fn invalid(name: &str, problem: impl Into<String>) -> InjectError {
    InjectError::Annotation { name: name.to_owned(), problem: problem.into() }
}

fn template(text: Option<&str>) -> Result<Template, InjectError> {
    match text {
        None | Some("sidecar") => Ok(Template::Sidecar),
        Some("gateway") => Ok(Template::Gateway),
        Some(other) => Err(invalid(TEMPLATES, format!("{other:?} is not a template; there are sidecar and gateway"))),
    }
}

fn boolean(name: &str, text: Option<&str>, default: bool) -> Result<bool, InjectError> {
    match text {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(invalid(name, format!("{other:?} is neither true nor false"))),
    }
}

fn proxy_config(text: Option<&str>, defaults: &Map<String, Value>) -> Result<Value, InjectError> {
    let own = match text.map(serde_saphyr::from_str).transpose() {
        Ok(Some(Value::Object(own))) => own,
        Ok(None | Some(Value::Null)) => Map::new(),
        Ok(Some(_)) => return Err(invalid(PROXY_CONFIG, "is not a ProxyConfig object")),
        Err(error) => return Err(invalid(PROXY_CONFIG, error.to_string())),
    };
    let mut config = defaults.clone();
    config.extend(own);
    Ok(Value::Object(config))
}

fn capture<'a>(text: &impl Fn(&str) -> Option<&'a str>) -> Result<Capture, InjectError> {
    let list = |name: &str, default: &str, valid: fn(&str) -> bool| {
        let name = format!("traffic.sidecar.istio.io/{name}");
        let value = text(&name).unwrap_or(default);
        let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
        let everything = value.trim() == "*";
        match items.clone().find(|item| !everything && !valid(item)) {
            Some(bad) => Err(invalid(&name, format!("{bad:?} is not allowed"))),
            None => Ok(items.collect::<Vec<_>>().join(",")),
        }
    };
    Ok(Capture {
        include_inbound_ports: list("includeInboundPorts", "*", is_port)?,
        exclude_inbound_ports: list("excludeInboundPorts", "", is_port)?,
        include_outbound_ranges: list("includeOutboundIPRanges", "*", is_range)?,
        exclude_outbound_ranges: list("excludeOutboundIPRanges", "", is_range)?,
        include_outbound_ports: list("includeOutboundPorts", "", is_port)?,
        exclude_outbound_ports: list("excludeOutboundPorts", "", is_port)?,
    })
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_range(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
    address.parse::<std::net::Ipv4Addr>().is_ok() && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= 32)
}

fn prometheus<'a>(text: &impl Fn(&str) -> Option<&'a str>) -> Option<Value> {
    let scrape = text("prometheus.io/scrape")?;
    let or_empty = |name: &str| text(name).unwrap_or_default();
    Some(json!({"scrape": scrape, "path": or_empty("prometheus.io/path"), "port": or_empty("prometheus.io/port")}))
}
