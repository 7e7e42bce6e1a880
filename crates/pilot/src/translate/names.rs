//! NDS: the addresses by which an application reaches services, for the DNS beside it.

use std::collections::BTreeMap;

use super::{Context, outbound};
use crate::ads::name_table::{NameInfo, NameTable};

/// The names of all services that the proxy sees and that have addresses; nothing where DNS is not captured.
pub(super) fn table(context: &Context<'_>) -> Option<NameTable> {
    if !context.proxy.captures_dns {
        return None;
    }
    let mut table = BTreeMap::new();
    for service in context.services() {
        let ips = outbound::addresses(context, service);
        if ips.is_empty() {
            // The resolvers know it, or nobody does.
            continue;
        }
        let info = if service.entry.is_some() {
            NameInfo { ips, registry: "External".to_owned(), ..NameInfo::default() }
        } else {
            NameInfo {
                ips,
                registry: "Kubernetes".to_owned(),
                shortname: service.name.clone(),
                namespace: service.namespace.clone(),
            }
        };
        table.insert(service.host.clone(), info);
    }
    Some(NameTable { table })
}
