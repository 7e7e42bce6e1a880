//! What a client can ask for in this world, found out by trying.

use substrate_config::control::ControlCapability;
use substrate_node::fabric::Links;

/// One for each request that starts something.
pub(super) async fn all(links: &Links) -> Vec<ControlCapability> {
    let (wire, tap) = (links.why_no_wire().await, links.why_no_tap().await);
    let capability = |name: &str, missing: Option<String>| ControlCapability { name: name.to_owned(), missing };
    vec![
        capability("cut", None),
        capability("delay", wire.clone()),
        capability("loss", wire),
        capability("pause-api-server", None),
        capability("tap", tap),
    ]
}
