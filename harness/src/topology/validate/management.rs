//! The section `management`: who runs the management plane, and who is registered with it.

use super::Check;
use crate::diagnostic::suggest;
use crate::diagnostic::tree::Path;
use crate::topology::file::TopologyFile;
use crate::topology::{Discovery, Management, VirtualMesh, VirtualTrust};

impl Check<'_> {
    pub(super) fn management(&mut self, file: &TopologyFile) -> Option<Management> {
        let root = Path::root();
        let Some(management) = &file.management else {
            if file.discovery == Discovery::Hub {
                self.error(&root.key("discovery"), "`discovery: hub` needs to know which cluster the hub runs on")
                    .help("add `management: {cluster: NAME}`");
            }
            return None;
        };
        let path = root.key("management");
        let clusters: Vec<&str> = file.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        if !clusters.contains(&management.cluster.as_str()) {
            let message = format!("unknown cluster `{}`", management.cluster);
            self.error(&path.key("cluster"), message).help(suggest::help(&management.cluster, clusters));
        }
        let wanted = &management.virtual_mesh;
        if !wanted.create && wanted.trust == VirtualTrust::Shared {
            self.error(&path.key("virtualMesh").key("trust"), "without a virtual mesh nobody makes a shared trust")
                .help("leave out `create: false`, or say `trust: topology`");
        }
        let joined =
            VirtualMesh { federation: wanted.federation, trust: wanted.trust, default_deny: wanted.default_deny };
        Some(Management { cluster: management.cluster.clone(), virtual_mesh: wanted.create.then_some(joined) })
    }
}
