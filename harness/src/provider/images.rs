//! Image names that stand for our own programs on the embedded provider, Istio's bookinfo images among them.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use substrate_config::ImageRule;

use super::programs::Programs;

/// Registries that Istio publishes its bookinfo images under.
const BOOKINFO_REGISTRIES: [&str; 3] = ["registry.istio.io/release", "docker.io/istio", "istio"];

/// The table of images, most specific first.
#[must_use]
pub fn table(programs: &Programs) -> Vec<ImageRule> {
    let pilot = [("pilot-discovery", programs.pilot.as_path())];
    let proxy = [("pilot-agent", programs.agent.as_path()), ("envoy", programs.envoy.as_path())];
    let bookinfo = [("bookinfo", programs.bookinfo.as_path())];
    let manager = [("hub-manager", programs.hub_manager.as_path())];
    let hub_agent = [("hub-agent", programs.hub_agent.as_path())];
    let mut rules = vec![
        rule("meshproof/pilot:*", &pilot, &["pilot-discovery"]),
        rule("meshproof/proxy:*", &proxy, &["pilot-agent"]),
        rule("meshproof/hub-manager:*", &manager, &["hub-manager"]),
        rule("meshproof/hub-agent:*", &hub_agent, &["hub-agent"]),
        rule("meshproof/probe:*", &bookinfo, &["bookinfo", "probe"]),
        rule("meshproof/echo:*", &bookinfo, &["bookinfo", "echo"]),
    ];
    for service in ["productpage", "details", "ratings"] {
        let command = ["bookinfo", service];
        rules.push(rule(&format!("meshproof/bookinfo-{service}:*"), &bookinfo, &command));
        rules.extend(
            BOOKINFO_REGISTRIES
                .iter()
                .map(|registry| rule(&format!("{registry}/examples-bookinfo-{service}-v1:*"), &bookinfo, &command)),
        );
    }
    for version in ["v1", "v2", "v3"] {
        let command = ["bookinfo", "reviews", "--version", version];
        rules.push(rule(&format!("meshproof/bookinfo-reviews:{version}"), &bookinfo, &command));
        rules.extend(
            BOOKINFO_REGISTRIES.iter().map(|registry| {
                rule(&format!("{registry}/examples-bookinfo-reviews-{version}:*"), &bookinfo, &command)
            }),
        );
    }
    rules
}

fn rule(image: &str, files: &[(&str, &Utf8Path)], entrypoint: &[&str]) -> ImageRule {
    ImageRule {
        image: image.to_owned(),
        files: files
            .iter()
            .map(|(name, path)| (Utf8PathBuf::from("/usr/local/bin").join(name), (*path).to_owned()))
            .collect(),
        entrypoint: entrypoint.iter().map(|word| (*word).to_owned()).collect(),
        environment: BTreeMap::new(),
    }
}
