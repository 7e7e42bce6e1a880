//! Clusters that come from elsewhere than the others of their topology.

use super::Check;
use crate::diagnostic::tree::Path;
use crate::topology::Provider;
use crate::topology::file::TopologyFile;

impl Check<'_> {
    pub(super) fn providers(&mut self, file: &TopologyFile) {
        let mut known: Vec<(&str, Provider, Path)> = Vec::new();
        for (index, cluster) in file.clusters.iter().enumerate() {
            let path = Path::root().key("clusters").index(index);
            let provider = cluster.provider.unwrap_or(file.provider);
            if provider != file.provider && [provider, file.provider].contains(&Provider::Embedded) {
                self.error(&path.key("provider"), "embedded clusters and others do not reach each other")
                    .help("say `provider: kind` or `provider: existing` for all, or one of them here and the other for the topology");
                // One mistake, one message.
                continue;
            }
            match known.iter().find(|(network, other, _)| *network == cluster.network && *other != provider) {
                Some((_, _, earlier)) => {
                    let message = format!("network `{}` has clusters of two providers", cluster.network);
                    let related = self.document.span(&earlier.key("network"));
                    self.error(&path.key("network"), message).related(related, "the other is on it here").help(
                        "a network of kind clusters is a bridge of this machine; put the others on one of their own",
                    );
                }
                None => known.push((&cluster.network, provider, path)),
            }
        }
    }
}
