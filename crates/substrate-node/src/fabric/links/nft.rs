//! `nft` in a namespace of the fabric: loads rules, lists rules.

use serde_json::Value;

use super::LinkError;
use crate::fabric::namespace::Namespace;
use crate::services::{install_rules, list_rules};

/// Loads rules in one transaction.
pub(super) async fn load(namespace: &Namespace, rules: String) -> Result<(), LinkError> {
    let child = namespace.run(|_| install_rules()).await.map_err(|error| LinkError::Rules(error.to_string()))?;
    child.finish(rules).await.map_err(LinkError::Rules)
}

/// What `nft -j list` says.
pub(super) async fn list(namespace: &Namespace, what: &[&str]) -> Result<Value, LinkError> {
    let arguments: Vec<String> = what.iter().map(|&word| word.to_owned()).collect();
    let child =
        namespace.run(move |_| list_rules(&arguments)).await.map_err(|error| LinkError::Rules(error.to_string()))?;
    let text = child.output().await.map_err(LinkError::Rules)?;
    serde_json::from_slice(&text).map_err(|error| LinkError::Rules(format!("nft: {error}")))
}
