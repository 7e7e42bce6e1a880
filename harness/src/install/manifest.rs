//! Manifests: YAML text with placeholders to Kubernetes objects. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

/// A manifest cannot be turned into objects.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `${NAME}` is used and not known.
    #[error("{file}:{line}: unknown placeholder ${{{name}}}; known are {known}")]
    Placeholder {
        /// The manifest.
        file: String,
        /// One-based.
        line: usize,
        /// The unknown name.
        name: String,
        /// The names that could have been meant.
        known: String,
    },
    /// The text is not YAML.
    #[error("{file}: {message}")]
    Yaml {
        /// The manifest.
        file: String,
        /// Place and cause.
        message: String,
    },
    /// A document is not a Kubernetes object.
    #[error("{file}: document {document}: {message}")]
    Object {
        /// The manifest.
        file: String,
        /// One-based.
        document: usize,
        /// What is missing.
        message: String,
    },
}

/// Values for `${…}` in manifests.
pub type Placeholders = BTreeMap<&'static str, String>;

/// Substitutes placeholders and parses every document of a manifest; documents that are empty are left out and the
/// items of a `List` stand for themselves.
///
/// # Errors
/// [`Error`], naming the file and the place.
pub fn render(file: &str, text: &str, placeholders: &Placeholders) -> Result<Vec<Value>, Error> {
    parse(file, &substitute(file, text, placeholders)?)
}

/// Parses every document of a manifest.
///
/// # Errors
/// [`Error::Yaml`] or [`Error::Object`].
pub fn parse(file: &str, text: &str) -> Result<Vec<Value>, Error> {
    // Kubernetes manifests write file modes as 0644.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| Error::Yaml { file: file.to_owned(), message: error.to_string() })?;
    let mut objects = Vec::with_capacity(documents.len());
    for (index, document) in documents.into_iter().enumerate() {
        if document.is_null() {
            continue;
        }
        if document["kind"] == "List" {
            objects.extend(document["items"].as_array().cloned().unwrap_or_default());
            continue;
        }
        if let Some(missing) = ["/apiVersion", "/kind", "/metadata/name"]
            .into_iter()
            .find(|pointer| document.pointer(pointer).and_then(Value::as_str).is_none())
        {
            let message = format!("a Kubernetes object needs {}", missing[1..].replace('/', "."));
            return Err(Error::Object { file: file.to_owned(), document: index + 1, message });
        }
        objects.push(document);
    }
    Ok(objects)
}

/// Substitutes placeholders in a text that is not a manifest of Kubernetes' own.
///
/// # Errors
/// [`Error::Placeholder`].
pub(crate) fn substitute(file: &str, text: &str, placeholders: &Placeholders) -> Result<String, Error> {
    let mut result = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, remainder)) = after.split_once('}') else { break };
            let value = placeholders.get(name).ok_or_else(|| Error::Placeholder {
                file: file.to_owned(),
                line: index + 1,
                name: name.to_owned(),
                known: placeholders.keys().copied().collect::<Vec<_>>().join(", "),
            })?;
            result.push_str(before);
            result.push_str(value);
            rest = remainder;
        }
        result.push_str(rest);
        result.push('\n');
    }
    Ok(result)
}

/// Puts every object that names no namespace into one; kinds without namespaces are told by the caller.
pub fn set_namespace(objects: &mut [Value], namespace: &str) {
    for object in objects {
        let metadata = &mut object["metadata"];
        if metadata.get("namespace").is_none() {
            metadata["namespace"] = namespace.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders() -> Placeholders {
        Placeholders::from([("CLUSTER_NAME", "cluster1".to_owned()), ("NETWORK", "network1".to_owned())])
    }

    #[test]
    fn placeholders_are_substituted_everywhere() {
        let text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ${CLUSTER_NAME}-on-${NETWORK}\n";
        let objects = render("x.yaml", text, &placeholders()).expect("valid");
        assert_eq!(objects[0]["metadata"]["name"], "cluster1-on-network1");
    }

    #[test]
    fn an_unknown_placeholder_is_located() {
        let error = render("x.yaml", "a: b\nc: ${NETWROK}\n", &placeholders()).expect_err("unknown");
        assert_eq!(error.to_string(), "x.yaml:2: unknown placeholder ${NETWROK}; known are CLUSTER_NAME, NETWORK");
    }

    #[test]
    fn documents_without_content_are_left_out_and_lists_unfold() {
        let text = "# only a comment\n---\nkind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}}\n";
        let objects = parse("x.yaml", text).expect("valid");
        assert_eq!(objects.len(), 1);
    }

    #[test]
    fn file_modes_are_octal() {
        let text = "apiVersion: v1\nkind: X\nmetadata: {name: a}\ndefaultMode: 0644\n";
        assert_eq!(parse("x.yaml", text).expect("valid")[0]["defaultMode"], 420);
    }

    #[test]
    fn a_document_that_is_no_object_is_named() {
        let error = parse("x.yaml", "apiVersion: v1\nkind: Pod\n").expect_err("no name");
        assert_eq!(error.to_string(), "x.yaml: document 1: a Kubernetes object needs metadata.name");
    }
}
