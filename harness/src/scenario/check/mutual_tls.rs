//! What mutual TLS is asked for, and the protocol and hop that it is asked of.

use super::context::Context;
use crate::diagnostic::suggest;
use crate::diagnostic::tree::Path;
use crate::scenario::file::{MtlsFile, TrafficFile};
use crate::scenario::plan::{Capturing, Check, Expectation, MutualTls};
use crate::topology::{Intermediate, RootOfTrust, Vm};
use crate::traffic::probe::Protocol;

impl Context<'_> {
    /// What a URL asks for.
    pub(super) fn protocol(&mut self, path: &Path, url: &str) -> Option<Protocol> {
        let protocol = Protocol::of_url(url);
        let (scheme, place) = url.split_once("://").unwrap_or_default();
        if protocol.is_some() && !place.is_empty() {
            return protocol;
        }
        let known: Vec<&str> = Protocol::schemes().collect();
        let help = if scheme.is_empty() || protocol.is_some() {
            "write it as the pod resolves it, such as `http://reviews:9080/reviews/0` or `tcp://echo:9000`".to_owned()
        } else {
            suggest::help(scheme, known.iter().copied())
        };
        self.error(path, format!("`{url}` is no absolute URL of a protocol that can be sent")).help(help);
        None
    }

    pub(super) fn hop(&mut self, path: &Path, file: &TrafficFile) {
        let Some(hop) = &file.hop else { return };
        let apps = &self.topology.apps;
        let services: Vec<&str> = apps.iter().flat_map(|app| app.app.services()).collect();
        if !services.contains(&hop.as_str()) {
            let message = format!("topology {} has no service `{hop}`", self.topology.name);
            self.error(&path.key("hop"), message).help(suggest::help(hop, services));
        }
    }

    pub(super) fn mtls(&mut self, path: &Path, file: &MtlsFile) -> MutualTls {
        for (key, identity) in [("client", &file.client), ("server", &file.server)] {
            self.identity(&path.key(key), identity);
        }
        if let Some(issuer) = &file.issuer {
            self.issuer(&path.key("issuer"), issuer);
        }
        let through = file.through.iter().enumerate();
        let through: Vec<_> =
            through.map(|(index, gateway)| self.gateway(&path.key("through").index(index), gateway)).collect();
        let capture = match file.capture {
            Some(false) => Capturing::No,
            None if through.is_empty() => Capturing::No,
            None => Capturing::Wanted,
            Some(true) => Capturing::Required,
        };
        if capture == Capturing::Required && through.is_empty() {
            self.error(&path.key("capture"), "nothing is said of a link that could be captured")
                .help("name the gateways that the traffic comes through: `through: [{cluster: …, gateway: eastwest}]`");
        }
        let has = |vm: &&Vm| vm.identity == file.client || vm.identity == file.server;
        let vms = self.topology.vms.iter().filter(has).cloned().collect();
        MutualTls {
            client: file.client.clone(),
            server: file.server.clone(),
            issuer: file.issuer.clone(),
            through,
            capture,
            vms,
        }
    }

    /// The authorities of clusters can be told apart only where they are different ones.
    fn issuer(&mut self, path: &Path, cluster: &str) {
        let trust = &self.topology.trust;
        let alike = trust.root == RootOfTrust::Shared && trust.intermediate == Intermediate::None;
        if self.cluster(path, cluster) && alike {
            self.error(path, "one authority issues the certificates of all clusters, so it tells none of them")
                .help("set `trust.intermediate: per-cluster` in the topology");
        }
    }
}

/// A client that encrypts leaves nothing on the link that could be found.
pub(super) fn captures(protocol: Protocol, expectations: &mut [Expectation]) {
    for expectation in expectations {
        if let Check::MutualTls(mtls) = &mut expectation.check
            && mtls.capture == Capturing::Wanted
            && protocol.is_encrypted()
        {
            mtls.capture = Capturing::No;
        }
    }
}
