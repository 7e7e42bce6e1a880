//! The files that tell a container about names: `/etc/resolv.conf`, `/etc/hosts`, and its host name. Pure.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;

/// The domain of all clusters' names.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// The longest host name that Linux takes.
const LONGEST_HOST_NAME: usize = 63;

/// The pod's host name: its own, or the pod's name.
pub(super) fn host_name(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let name = spec.and_then(|spec| spec.hostname.clone()).or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    let cut = &name[..name.len().min(LONGEST_HOST_NAME)];
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// The pod's name in the cluster's domain, if it has a subdomain.
fn full_name(pod: &Pod) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_deref().filter(|subdomain| !subdomain.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref()?;
    Some(format!("{}.{subdomain}.{namespace}.svc.{CLUSTER_DOMAIN}", host_name(pod)))
}

/// Content of `/etc/hosts`.
pub(super) fn hosts(pod: &Pod, ip: Ipv4Addr) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    );
    let full_name = full_name(pod).map(|name| format!("{name}\t")).unwrap_or_default();
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "{ip}\t{full_name}{}", host_name(pod));
    let aliases = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    for alias in aliases {
        let names = alias.hostnames.clone().unwrap_or_default().join("\t");
        let _infallible = writeln!(text, "{}\t{names}", alias.ip);
    }
    text
}

/// Content of `/etc/resolv.conf`, by the pod's `dnsPolicy` and `dnsConfig`. `host` is the machine's own file.
pub(super) fn resolv_conf(pod: &Pod, cluster_dns: Ipv4Addr, host: &str) -> String {
    let spec = pod.spec.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut file = match spec.dns_policy.as_deref() {
        Some("None") => ResolvConf::default(),
        Some("Default") => ResolvConf::parse(host),
        _ => ResolvConf {
            nameservers: vec![cluster_dns.to_string()],
            searches: vec![
                format!("{namespace}.svc.{CLUSTER_DOMAIN}"),
                format!("svc.{CLUSTER_DOMAIN}"),
                CLUSTER_DOMAIN.to_owned(),
            ],
            options: vec![("ndots".to_owned(), Some("5".to_owned()))],
        },
    };
    if let Some(config) = spec.dns_config {
        append_new(&mut file.nameservers, config.nameservers.unwrap_or_default());
        append_new(&mut file.searches, config.searches.unwrap_or_default());
        for option in config.options.unwrap_or_default() {
            let Some(name) = option.name else { continue };
            file.options.retain(|(known, _)| *known != name);
            file.options.push((name, option.value));
        }
    }
    file.render()
}

fn append_new(list: &mut Vec<String>, more: Vec<String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

#[derive(Default)]
struct ResolvConf {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<(String, Option<String>)>,
}

impl ResolvConf {
    fn parse(text: &str) -> Self {
        let mut file = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => file.nameservers.extend(words.map(str::to_owned)),
                Some("search") => file.searches = words.map(str::to_owned).collect(),
                Some("options") => file.options.extend(words.map(|word| match word.split_once(':') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (word.to_owned(), None),
                })),
                _ => {}
            }
        }
        file
    }

    fn render(&self) -> String {
        let mut lines = Vec::new();
        if !self.searches.is_empty() {
            lines.push(format!("search {}", self.searches.join(" ")));
        }
        lines.extend(self.nameservers.iter().map(|server| format!("nameserver {server}")));
        if !self.options.is_empty() {
            let words = self.options.iter().map(|(name, value)| match value {
                Some(value) => format!("{name}:{value}"),
                None => name.clone(),
            });
            lines.push(format!("options {}", words.collect::<Vec<_>>().join(" ")));
        }
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        let mut pod = json!({"metadata": {"name": "web-1", "namespace": "shop"}, "spec": {"containers": []}});
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn resolv_conf_follows_policy_and_config() {
        let dns = Ipv4Addr::new(10, 96, 0, 10);
        let host = "# comment\nnameserver 192.0.2.1\nsearch example.com\noptions edns0 ndots:2\n";
        let file = |spec: Value| resolv_conf(&pod(spec), dns, host);
        let config = json!({"nameservers": ["192.0.2.9"], "searches": ["x.test"], "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}]});
        insta::assert_yaml_snapshot!([
            file(json!({})),
            file(json!({"dnsPolicy": "ClusterFirst", "dnsConfig": config})),
            file(json!({"dnsPolicy": "None", "dnsConfig": config})),
            file(json!({"dnsPolicy": "Default"})),
        ]);
    }

    #[test]
    fn hosts_name_the_pod_and_its_aliases() {
        let aliases = json!([{"ip": "192.0.2.5", "hostnames": ["a.test", "b.test"]}]);
        let pod = pod(json!({"hostname": "db-0", "subdomain": "db", "hostAliases": aliases}));
        insta::assert_snapshot!(hosts(&pod, Ipv4Addr::new(10, 244, 0, 3)));
    }
}
