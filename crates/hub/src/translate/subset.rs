//! Subsets and their names.

use mesh_types::destination_rule;
use mesh_types::hub::names;

use crate::world::Subset;

/// Longest name of a subset, which stands in names of clusters and of servers.
const LONGEST: usize = 63;

/// `version-v3`: keys and values, sorted by key. Where a sign has to be replaced, or the name is long, it ends in a digest, so
/// that different subsets keep different names.
pub fn name(subset: &Subset) -> String {
    let exact = subset.iter().map(|(key, value)| format!("{key}-{value}")).collect::<Vec<_>>().join("-");
    let plain: String = exact.chars().map(|sign| if sign.is_ascii_alphanumeric() { sign } else { '-' }).collect();
    if plain == exact && plain.len() <= LONGEST {
        return plain;
    }
    let labels: String = subset.iter().map(|(key, value)| format!("{key}={value},")).collect();
    let digest = format!("{:08x}", names::digest(labels.as_bytes()) >> 32);
    let room = LONGEST - digest.len() - 1;
    format!("{}-{digest}", &plain[..plain.len().min(room)])
}

/// Subsets as a DestinationRule has them.
pub fn entries<'a>(subsets: impl IntoIterator<Item = &'a Subset>) -> Vec<destination_rule::Subset> {
    subsets
        .into_iter()
        .map(|labels| destination_rule::Subset { name: name(labels), labels: labels.clone(), traffic_policy: None })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subset(pairs: &[(&str, &str)]) -> Subset {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn plain_names_are_plain_and_others_do_not_collide() {
        assert_eq!(name(&subset(&[("version", "v3")])), "version-v3");
        assert_eq!(name(&subset(&[("version", "v3"), ("env", "prod")])), "env-prod-version-v3");
        let (underscore, dot) = (name(&subset(&[("a", "b_c")])), name(&subset(&[("a", "b.c")])));
        assert!(underscore.starts_with("a-b-c-") && dot.starts_with("a-b-c-") && underscore != dot);
        assert_eq!(name(&subset(&[("a", "x".repeat(63).as_str())])).len(), 63);
    }
}
