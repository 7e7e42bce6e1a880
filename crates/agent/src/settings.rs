//! What the agent is told: its role, who the pod is, where the control plane is, which ports and files to use.
//! Pure: reads a map of environment variables, not the process environment and no files.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::capture;
use crate::health::Probe;

/// Mark that the proxy and the agent put on their own upstream sockets, so that capture leaves these alone.
pub const PROXY_MARK: u32 = 1337;

/// What the proxy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Beside an application, whose traffic it captures.
    Sidecar,
    /// A gateway.
    Router,
}

impl Role {
    /// First part of the node id.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Router => "router",
        }
    }
}

/// Environment that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// A variable that has no default is absent or empty.
    #[error("environment variable {0} is not set; an injected pod has it")]
    Missing(&'static str),
    /// A variable has a value of the wrong form.
    #[error("environment variable {name}: {problem}")]
    Invalid {
        /// The variable.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The part of Istio's `ProxyConfig` that the agent obeys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// `host:port` of the xDS service.
    pub discovery_address: Option<String>,
    /// Path or name of Envoy.
    pub binary_path: Option<String>,
    /// Directory for the bootstrap and the xDS socket.
    pub config_path: Option<PathBuf>,
    /// How long existing connections may last after a termination signal.
    #[serde(deserialize_with = "optional_duration")]
    pub termination_drain_duration: Option<Duration>,
    /// Envoy's `--drain-time-s`.
    #[serde(deserialize_with = "optional_duration")]
    pub drain_duration: Option<Duration>,
    /// Worker threads of Envoy.
    pub concurrency: Option<u32>,
    /// Port of Envoy's admin interface.
    pub proxy_admin_port: Option<u16>,
    /// Port of the agent's status server.
    pub status_port: Option<u16>,
    /// Environment variables by other means; real ones win.
    pub proxy_metadata: BTreeMap<String, String>,
    /// What is asked of an application that no kubelet looks at.
    pub readiness_probe: Option<Probe>,
    /// Node metadata `MESH_ID` where no variable says it.
    pub mesh_id: Option<String>,
    /// The object as it came, for node metadata.
    #[serde(skip)]
    pub raw: Value,
}

/// Everything the agent needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the proxy is for.
    pub role: Role,
    /// `metadata.name` of the pod.
    pub pod_name: String,
    /// `metadata.namespace` of the pod.
    pub pod_namespace: String,
    /// Addresses of the pod, the main one first.
    pub instance_ips: Vec<IpAddr>,
    /// Service account of the pod.
    pub service_account: String,
    /// SPIFFE trust domain.
    pub trust_domain: String,
    /// `<namespace>.svc.cluster.local`.
    pub dns_domain: String,
    /// `host:port` of the xDS service.
    pub discovery_address: String,
    /// `host:port` of the certificate service.
    pub ca_address: String,
    /// Requested lifetime of the workload certificate.
    pub certificate_lifetime: Duration,
    /// Share of the lifetime after which a certificate is renewed.
    pub renewal_ratio: f64,
    /// Shortest time between the start of draining and the end of Envoy.
    pub minimum_drain: Duration,
    /// Longest such time.
    pub termination_drain: Duration,
    /// Envoy's `--drain-time-s`.
    pub drain_duration: Duration,
    /// Envoy's worker threads.
    pub concurrency: u32,
    /// Envoy's log level.
    pub log_level: String,
    /// Path or name of Envoy.
    pub envoy: String,
    /// Whether sockets must be marked; false where nothing is captured.
    pub mark_sockets: bool,
    /// Whether the application's DNS queries are answered here (`ISTIO_META_DNS_CAPTURE`).
    pub captures_dns: bool,
    /// Ports.
    pub ports: Ports,
    /// Files and sockets.
    pub paths: Paths,
    /// `ISTIO_META_*`, without the prefix.
    pub metadata: BTreeMap<String, String>,
    /// `ISTIO_METAJSON_*`, without the prefix.
    pub metadata_json: BTreeMap<String, Value>,
    /// `ISTIO_PROMETHEUS_ANNOTATIONS`: where the application serves metrics.
    pub prometheus: Option<PrometheusScrape>,
    /// `ISTIO_KUBE_APP_PROBERS` as it came.
    pub app_probers: Option<String>,
    /// The proxy configuration given by the mesh or an annotation.
    pub proxy_config: ProxyConfig,
}

/// Ports on which the agent and Envoy listen besides traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Envoy's admin interface, on loopback.
    pub admin: u16,
    /// The agent.
    pub status: u16,
    /// Envoy's health listener.
    pub health: u16,
    /// Envoy's metrics listener.
    pub prometheus: u16,
    /// DNS for the application.
    pub dns: u16,
    /// DNS for Envoy, which the resolvers alone answer.
    pub dns_upstream: u16,
}

/// Files and sockets, relative to the working directory as in Istio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Directory of the bootstrap and the xDS socket.
    pub config: PathBuf,
    /// Socket of the secret service.
    pub sds: PathBuf,
    /// Service account token for the control plane.
    pub token: PathBuf,
    /// Roots by which the control plane is verified.
    pub root_certificate: PathBuf,
    /// Labels of the pod, in the form of the downward API.
    pub labels: PathBuf,
    /// Annotations of the pod, likewise.
    pub annotations: PathBuf,
    /// Directory of the certificate by which the workload proves who it is once it has one, in place of its token
    /// (`PROV_CERT`).
    pub provisioned: Option<PathBuf>,
    /// Directory that certificates are written to (`OUTPUT_CERTS`).
    pub output: Option<PathBuf>,
}

impl Paths {
    /// Socket on which the agent offers xDS to Envoy.
    #[must_use]
    pub fn xds(&self) -> PathBuf {
        self.config.join("XDS")
    }

    /// The same below another root; what is absolute stays.
    #[must_use]
    pub fn below(&self, root: &Path) -> Self {
        Self {
            config: root.join(&self.config),
            sds: root.join(&self.sds),
            token: root.join(&self.token),
            root_certificate: root.join(&self.root_certificate),
            labels: root.join(&self.labels),
            annotations: root.join(&self.annotations),
            provisioned: self.provisioned.as_ref().map(|path| root.join(path)),
            output: self.output.as_ref().map(|path| root.join(path)),
        }
    }

    /// The bootstrap.
    #[must_use]
    pub fn bootstrap(&self) -> PathBuf {
        self.config.join("envoy-rev.json")
    }
}

/// Where the application serves Prometheus metrics.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PrometheusScrape {
    /// `"true"` to scrape.
    #[serde(default)]
    pub scrape: String,
    /// Path, `/metrics` where empty.
    #[serde(default)]
    pub path: String,
    /// Port as a decimal string, `80` where empty.
    #[serde(default)]
    pub port: String,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`SettingsError`] that names the variable.
    pub fn from_environment(
        role: Role,
        domain: Option<String>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, SettingsError> {
        let proxy_config = proxy_config(environment)?;
        let mut merged = proxy_config.proxy_metadata.clone();
        merged.extend(environment.iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| (k.clone(), v.clone())));
        let variables = Variables(&merged);
        let pod_namespace = variables.required("POD_NAMESPACE")?;
        let discovery_address =
            proxy_config.discovery_address.clone().unwrap_or_else(|| "istiod.istio-system.svc:15012".to_owned());
        let (metadata, metadata_json) = metadata(&merged)?;
        let intercepts = metadata.get("INTERCEPTION_MODE").map_or("REDIRECT", String::as_str) != "NONE";
        Ok(Self {
            role,
            pod_name: variables.required("POD_NAME")?,
            instance_ips: instance_ips(&variables)?,
            service_account: variables.or("SERVICE_ACCOUNT", "default"),
            trust_domain: variables.or("TRUST_DOMAIN", "cluster.local"),
            dns_domain: domain.unwrap_or_else(|| format!("{pod_namespace}.svc.cluster.local")),
            ca_address: variables.or("CA_ADDR", &discovery_address),
            discovery_address,
            certificate_lifetime: variables.duration("SECRET_TTL", Duration::from_secs(24 * 3600))?,
            renewal_ratio: variables.ratio("SECRET_GRACE_PERIOD_RATIO", 0.5)?,
            minimum_drain: variables.duration("MINIMUM_DRAIN_DURATION", Duration::from_millis(500))?,
            termination_drain: proxy_config.termination_drain_duration.unwrap_or(Duration::from_secs(5)),
            drain_duration: proxy_config.drain_duration.unwrap_or(Duration::from_secs(45)),
            concurrency: proxy_config.concurrency.filter(|count| *count > 0).unwrap_or(1),
            log_level: variables.or("PROXY_LOG_LEVEL", "warning"),
            envoy: proxy_config.binary_path.clone().unwrap_or_else(|| "envoy".to_owned()),
            captures_dns: role == Role::Sidecar && metadata.get("DNS_CAPTURE").is_some_and(|value| value == "true"),
            mark_sockets: role == Role::Sidecar && intercepts,
            ports: ports(&variables, &proxy_config)?,
            paths: paths(&variables, &proxy_config),
            prometheus: variables.json("ISTIO_PROMETHEUS_ANNOTATIONS")?,
            app_probers: variables.get("ISTIO_KUBE_APP_PROBERS").map(ToOwned::to_owned),
            metadata,
            metadata_json,
            pod_namespace,
            proxy_config,
        })
    }

    /// The pod's main address.
    #[must_use]
    pub fn instance_ip(&self) -> IpAddr {
        self.instance_ips.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Cluster id that the control plane is told with every token.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.metadata.get("CLUSTER_ID").map_or("Kubernetes", String::as_str)
    }
}

fn proxy_config(environment: &BTreeMap<String, String>) -> Result<ProxyConfig, SettingsError> {
    let Some(text) = environment.get("PROXY_CONFIG").filter(|text| !text.trim().is_empty()) else {
        return Ok(ProxyConfig { raw: Value::Object(serde_json::Map::new()), ..ProxyConfig::default() });
    };
    let invalid = |error: serde_json::Error| SettingsError::Invalid {
        name: "PROXY_CONFIG".to_owned(),
        problem: error.to_string(),
    };
    let raw: Value = serde_json::from_str(text).map_err(invalid)?;
    let mut config: ProxyConfig = serde_json::from_value(raw.clone()).map_err(invalid)?;
    config.raw = raw;
    Ok(config)
}

type Metadata = (BTreeMap<String, String>, BTreeMap<String, Value>);

fn metadata(variables: &BTreeMap<String, String>) -> Result<Metadata, SettingsError> {
    let mut plain = BTreeMap::new();
    let mut json = BTreeMap::new();
    for (name, value) in variables {
        if let Some(key) = name.strip_prefix("ISTIO_METAJSON_") {
            let parsed = serde_json::from_str(value)
                .map_err(|error| SettingsError::Invalid { name: name.clone(), problem: error.to_string() })?;
            json.insert(key.to_owned(), parsed);
        } else if let Some(key) = name.strip_prefix("ISTIO_META_") {
            plain.insert(key.to_owned(), value.clone());
        }
    }
    Ok((plain, json))
}

fn instance_ips(variables: &Variables<'_>) -> Result<Vec<IpAddr>, SettingsError> {
    let (name, text) = match variables.get("INSTANCE_IPS") {
        Some(text) => ("INSTANCE_IPS", text.to_owned()),
        None => ("INSTANCE_IP", variables.required("INSTANCE_IP")?),
    };
    text.split(',')
        .map(|ip| {
            ip.trim().parse().map_err(|_error| SettingsError::Invalid {
                name: name.to_owned(),
                problem: format!("{ip:?} is not an IP address"),
            })
        })
        .collect()
}

fn ports(variables: &Variables<'_>, config: &ProxyConfig) -> Result<Ports, SettingsError> {
    Ok(Ports {
        admin: config.proxy_admin_port.unwrap_or(15000),
        status: config.status_port.unwrap_or(15020),
        health: variables.port("ENVOY_STATUS_PORT", 15021)?,
        prometheus: variables.port("ENVOY_PROMETHEUS_PORT", 15090)?,
        dns: variables.port("DNS_PROXY_PORT", capture::DNS_PORT)?,
        dns_upstream: variables.port("DNS_UPSTREAM_PORT", 15055)?,
    })
}

fn paths(variables: &Variables<'_>, config: &ProxyConfig) -> Paths {
    Paths {
        config: config.config_path.clone().unwrap_or_else(|| PathBuf::from("./etc/istio/proxy")),
        sds: PathBuf::from("./var/run/secrets/workload-spiffe-uds/socket"),
        token: PathBuf::from("./var/run/secrets/tokens/istio-token"),
        root_certificate: PathBuf::from(variables.or("XDS_ROOT_CA", "./var/run/secrets/istio/root-cert.pem")),
        labels: PathBuf::from("./etc/istio/pod/labels"),
        annotations: PathBuf::from("./etc/istio/pod/annotations"),
        provisioned: variables.get("PROV_CERT").map(PathBuf::from),
        output: variables.get("OUTPUT_CERTS").map(PathBuf::from),
    }
}

struct Variables<'a>(&'a BTreeMap<String, String>);

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<String, SettingsError> {
        self.get(name).map(ToOwned::to_owned).ok_or(SettingsError::Missing(name))
    }

    fn or(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_owned()
    }

    fn parsed<T>(
        &self,
        name: &str,
        default: T,
        form: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, SettingsError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        parse(text)
            .ok_or_else(|| SettingsError::Invalid { name: name.to_owned(), problem: format!("{text:?} is not {form}") })
    }

    fn duration(&self, name: &str, default: Duration) -> Result<Duration, SettingsError> {
        self.parsed(name, default, "a duration such as 30s, 500ms, 24h or 1h30m", parse_duration)
    }

    fn port(&self, name: &str, default: u16) -> Result<u16, SettingsError> {
        self.parsed(name, default, "a port", |text| text.parse().ok())
    }

    fn ratio(&self, name: &str, default: f64) -> Result<f64, SettingsError> {
        self.parsed(name, default, "a number between 0 and 1", |text| {
            text.parse().ok().filter(|ratio: &f64| (0.0..=1.0).contains(ratio))
        })
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SettingsError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        serde_json::from_str(text)
            .map(Some)
            .map_err(|error| SettingsError::Invalid { name: name.to_owned(), problem: error.to_string() })
    }
}

fn optional_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    parse_duration(&text)
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a duration such as 30s, 500ms or 1h30m")))
}

/// Parses a duration as Go writes it: `30s`, `500ms`, `1h30m`, `1.5s`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = 0.0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..number_end].parse().ok()?;
        let tail = &rest[number_end..];
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        total += number
            * match &tail[..unit_end] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &tail[unit_end..];
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(extra: &[(&str, &str)]) -> BTreeMap<String, String> {
        [("POD_NAME", "reviews-v1-0"), ("POD_NAMESPACE", "bookinfo"), ("INSTANCE_IP", "10.244.0.5")]
            .iter()
            .chain(extra)
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn defaults_are_those_of_istio() {
        let settings = Settings::from_environment(Role::Sidecar, None, &environment(&[])).unwrap();
        assert_eq!(settings.discovery_address, "istiod.istio-system.svc:15012");
        assert_eq!(settings.ca_address, settings.discovery_address);
        assert_eq!(settings.dns_domain, "bookinfo.svc.cluster.local");
        let ports =
            Ports { admin: 15000, status: 15020, health: 15021, prometheus: 15090, dns: 15053, dns_upstream: 15055 };
        assert_eq!((settings.ports, settings.captures_dns), (ports, false));
        assert!(settings.mark_sockets);
    }

    #[test]
    fn a_missing_variable_is_named() {
        let mut variables = environment(&[]);
        variables.remove("POD_NAME");
        let error = Settings::from_environment(Role::Sidecar, None, &variables).unwrap_err();
        assert_eq!(error, SettingsError::Missing("POD_NAME"));
    }

    #[test]
    fn broken_values_name_their_variable() {
        for (name, value) in [
            ("PROXY_CONFIG", "{"),
            ("PROXY_CONFIG", r#"{"drainDuration":"soon"}"#),
            ("ISTIO_METAJSON_LABELS", "x"),
            ("SECRET_TTL", "1d"),
            ("INSTANCE_IP", "ten"),
            ("ENVOY_STATUS_PORT", "70000"),
        ] {
            let error = Settings::from_environment(Role::Sidecar, None, &environment(&[(name, value)])).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn a_sidecar_captures_dns_where_its_metadata_says_so() {
        let config = [("PROXY_CONFIG", r#"{"proxyMetadata":{"ISTIO_META_DNS_CAPTURE":"true"}}"#)];
        let captures = |role: Role| Settings::from_environment(role, None, &environment(&config)).unwrap().captures_dns;
        assert_eq!((captures(Role::Sidecar), captures(Role::Router)), (true, false));
    }

    #[test]
    fn proxy_metadata_gives_way_to_real_variables() {
        let variables = environment(&[
            (
                "PROXY_CONFIG",
                r#"{"proxyMetadata":{"ISTIO_META_NETWORK":"a","ISTIO_META_X":"y"},"terminationDrainDuration":"1.5s"}"#,
            ),
            ("ISTIO_META_NETWORK", "network1"),
        ]);
        let settings = Settings::from_environment(Role::Sidecar, None, &variables).unwrap();
        assert_eq!(settings.metadata["NETWORK"], "network1");
        assert_eq!(settings.metadata["X"], "y");
        assert_eq!(settings.termination_drain, Duration::from_millis(1500));
    }

    #[test]
    fn nothing_is_marked_where_nothing_is_captured() {
        let none = environment(&[("ISTIO_META_INTERCEPTION_MODE", "NONE")]);
        assert!(!Settings::from_environment(Role::Sidecar, None, &none).unwrap().mark_sockets);
        assert!(!Settings::from_environment(Role::Router, None, &environment(&[])).unwrap().mark_sockets);
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        for bad in ["", "5", "s", "5x", "-1s", "1s2"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
