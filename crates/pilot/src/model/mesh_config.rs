//! The part of Istio's MeshConfig that is read: providers of access logs over gRPC, and services that stay in their cluster.

use serde::Deserialize;

/// `MeshConfig`. A field that is not read is an error, so that nobody waits for an effect of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MeshConfig {
    /// Services that proxies can be told to send something to.
    pub extension_providers: Vec<ExtensionProvider>,
    /// Which of them proxies use.
    pub default_providers: DefaultProviders,
    /// Settings of services.
    pub service_settings: Vec<ServiceSettings>,
}

/// One provider; one of its two forms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExtensionProvider {
    /// Its name.
    pub name: String,
    /// Takes logs of requests.
    pub envoy_http_als: Option<AccessLogService>,
    /// Takes logs of TCP connections.
    pub envoy_tcp_als: Option<AccessLogService>,
}

/// A service that takes access logs over gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AccessLogService {
    /// Host of the Service, whole or as `<namespace>/<host>`.
    pub service: String,
    /// Port of the Service.
    pub port: u16,
    /// Name that the logs are sent under.
    pub log_name: String,
}

impl AccessLogService {
    /// The host without a namespace before it.
    pub fn host(&self) -> &str {
        self.service.split_once('/').map_or(self.service.as_str(), |(_, host)| host)
    }
}

/// The providers that every proxy uses, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DefaultProviders {
    /// For access logs.
    pub access_logging: Vec<String>,
}

/// Settings of some services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// The settings.
    pub settings: ServiceSetting,
    /// Hosts of the services.
    pub hosts: Vec<String>,
}

/// What is set for a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ServiceSetting {
    /// Endpoints of other clusters stay invisible.
    pub cluster_local: bool,
}

impl MeshConfig {
    /// Whether a service is told to stay in its cluster.
    pub fn is_cluster_local(&self, host: &str) -> bool {
        let named = |settings: &ServiceSettings| settings.hosts.iter().any(|known| known == host);
        self.service_settings.iter().any(|settings| settings.settings.cluster_local && named(settings))
    }

    /// The providers of access logs that are in use.
    pub fn access_log_providers(&self) -> impl Iterator<Item = &ExtensionProvider> {
        let used = |provider: &&ExtensionProvider| self.default_providers.access_logging.contains(&provider.name);
        self.extension_providers.iter().filter(used)
    }
}

/// Reads the form in which it is given to the process.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<MeshConfig, String> {
    let config: MeshConfig = serde_saphyr::from_str(text).map_err(|error| format!("no MeshConfig: {error}"))?;
    let unknown = |name: &&String| !config.extension_providers.iter().any(|provider| provider.name == **name);
    match config.default_providers.access_logging.iter().find(unknown) {
        Some(name) => Err(format!("defaultProviders.accessLogging names `{name}`, which extensionProviders has not")),
        None => Ok(config),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_used_where_it_is_named() {
        let text = "extensionProviders: [{name: a, envoyHttpAls: {service: ns/host, port: 1}}, {name: b, envoyTcpAls: {service: host, port: 1}}]\ndefaultProviders: {accessLogging: [a]}\nserviceSettings: [{settings: {clusterLocal: true}, hosts: [host]}]\n";
        let config = parse(text).unwrap();
        let used: Vec<_> = config.access_log_providers().collect();
        assert_eq!(used[0].envoy_http_als.as_ref().unwrap().host(), "host");
        assert_eq!(used.len(), 1);
        assert!(config.is_cluster_local("host") && !config.is_cluster_local("other"));
    }

    #[test]
    fn what_has_no_effect_is_refused() {
        assert!(parse("trustDomain: x").unwrap_err().contains("trustDomain"));
        assert!(parse("defaultProviders: {accessLogging: [a]}").unwrap_err().contains("`a`"));
        assert_eq!(parse("{}").unwrap(), MeshConfig::default());
    }
}
