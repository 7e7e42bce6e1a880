//! Images are names that stand for local programs: the table from one to the other. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What containers with a certain image run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageRule {
    /// Name with tag, such as `meshproof/pilot:dev`; `*` stands for any text.
    pub image: String,
    /// Files of the image: absolute path inside the container, to absolute path on this machine.
    #[serde(default)]
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Program and first arguments of containers that give no `command`.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Environment of the image; a container's own variables win.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// Rules in order; the first that matches an image holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageTable {
    rules: Vec<ImageRule>,
}

/// No rule matches an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no rule maps image \"{image}\" to programs of this machine, and nothing is pulled from registries here; \
     add to `images`: {{\"image\": \"{image}\", \"files\": {{\"/usr/local/bin/NAME\": \"/path/to/program\"}}, \
     \"entrypoint\": [\"NAME\"]}} ({known})"
)]
pub struct UnknownImage {
    image: String,
    known: String,
}

impl ImageTable {
    /// A table of these rules, in this order.
    pub fn new(rules: Vec<ImageRule>) -> Self {
        Self { rules }
    }

    /// The rule for an image.
    ///
    /// # Errors
    /// [`UnknownImage`], which says how to add one.
    pub fn resolve(&self, image: &str) -> Result<&ImageRule, UnknownImage> {
        let names = spellings(image);
        let matches = |rule: &&ImageRule| {
            spellings(&rule.image).iter().any(|pattern| names.iter().any(|name| is_match(pattern, name)))
        };
        self.rules.iter().find(matches).ok_or_else(|| {
            let known: Vec<_> = self.rules.iter().map(|rule| rule.image.as_str()).collect();
            let known = if known.is_empty() {
                "there are no rules yet".to_owned()
            } else {
                format!("known: {}", known.join(", "))
            };
            UnknownImage { image: image.to_owned(), known }
        })
    }
}

/// The ways in which the same image can be written, with a tag.
fn spellings(image: &str) -> Vec<String> {
    let after_slash = image.rsplit('/').next().unwrap_or(image);
    let tagged = if after_slash.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") };
    let short = tagged.strip_prefix("docker.io/").map(|rest| rest.strip_prefix("library/").unwrap_or(rest).to_owned());
    std::iter::once(tagged).chain(short).collect()
}

/// Whether `text` is what `pattern` describes, `*` standing for any text.
fn is_match(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(images: &[&str]) -> ImageTable {
        ImageTable::new(
            images.iter().map(|image| ImageRule { image: (*image).into(), ..ImageRule::default() }).collect(),
        )
    }

    #[test]
    fn the_first_matching_rule_holds() {
        let table = table(&["istio/reviews-v1:*", "istio/*:1.2", "busybox", "*:any"]);
        let rule = |image: &str| table.resolve(image).map(|rule| rule.image.as_str()).unwrap_or("none");
        assert_eq!(rule("istio/reviews-v1:1.20"), "istio/reviews-v1:*");
        assert_eq!(rule("istio/ratings:1.2"), "istio/*:1.2");
        assert_eq!(rule("istio/ratings:1.3"), "none");
        assert_eq!(rule("docker.io/library/busybox"), "busybox");
        assert_eq!(rule("busybox:latest"), "busybox");
        assert_eq!(rule("busybox:1.36"), "none");
        assert_eq!(rule("localhost:5000/x:any"), "*:any");
    }

    #[test]
    fn an_unknown_image_comes_with_the_rule_to_add() {
        let message = table(&["a:1"]).resolve("b:2").unwrap_err().to_string();
        assert!(message.contains("\"image\": \"b:2\"") && message.contains("known: a:1"), "{message}");
    }
}
