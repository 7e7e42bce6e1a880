//! Reads documents that do not fit their type, as far as they can be read.
//!
//! What deviates is taken out with the list element that it stands in, such as a step, so that the other elements are
//! checked in the same run. A document that does not fit even then is not read.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::document::Document;
use super::problem::Problems;
use super::structure::{self, Deviations};
use super::tree::{Path, Value};

/// A document that was read.
#[derive(Debug)]
pub struct Repaired<T> {
    /// Its content, without what is damaged.
    pub value: T,
    /// Deviations from the schema.
    pub problems: Problems,
    /// List elements of which nothing was read.
    pub damaged: Vec<Path>,
}

/// The content of a document as its type, without the list elements that do not fit.
///
/// # Errors
/// Every deviation from the schema of the type, where it cannot be read even so.
pub fn decode_repaired<T: DeserializeOwned + JsonSchema>(document: &Document) -> Result<Repaired<T>, Problems> {
    let schema = structure::schema_of::<T>();
    let deviations = structure::check(document, &schema);
    let problems = deviations.problems.clone().sorted();
    let Some((repaired, damaged)) = without(document, deviations, |document| structure::check(document, &schema))
    else {
        return Err(problems);
    };
    match serde_json::from_value(repaired.root.to_json()) {
        Ok(value) => Ok(Repaired { value, problems, damaged }),
        // Without deviations the schema, which is made from the type, said less than the type.
        Err(error) if problems.is_empty() => {
            let mut problems = problems;
            problems.add(document.problem(super::Severity::Error, &Path::root(), error.to_string()));
            Err(problems)
        }
        Err(_) => Err(problems),
    }
}

/// The document without what deviates, and which elements were taken out: the innermost first, then what they are in.
fn without(
    document: &Document,
    mut deviations: Deviations,
    check: impl Fn(&Document) -> Deviations,
) -> Option<(Document, Vec<Path>)> {
    let mut repaired = document.clone();
    let mut damaged: Vec<Path> = Vec::new();
    loop {
        deviations.unknown.iter().for_each(|path| repaired.root.remove(path));
        if !deviations.beyond_unknown() {
            return Some((repaired, damaged));
        }
        for place in &deviations.places {
            let item = place.list_items().into_iter().find(|item| !damaged.contains(item))?;
            let node = repaired.root.find_mut(&item)?;
            node.value = Value::Map(Vec::new());
            damaged.push(item);
        }
        deviations = check(&repaired);
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    struct Shop {
        #[serde(default)]
        shelves: Vec<Shelf>,
    }

    #[derive(Debug, Default, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Shelf {
        height: Option<u32>,
        books: Vec<Book>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    struct Book {
        title: String,
    }

    fn read(text: &str) -> Result<Repaired<Shop>, Problems> {
        decode_repaired(&Document::parse("a.yaml", text).expect("YAML"))
    }

    #[test]
    fn only_the_element_with_the_mistake_is_left_out() {
        let shop = read("shelves: [{height: tall}, {height: 3, books: [{title: a}]}]").expect("readable");
        assert_eq!(shop.problems.iter().count(), 1);
        assert_eq!(shop.damaged, [Path::root().key("shelves").index(0)]);
        assert_eq!(shop.value.shelves[1].books[0].title, "a");
        assert_eq!(shop.value.shelves[0].height, None);
    }

    #[test]
    fn an_element_that_cannot_be_empty_takes_along_what_it_is_in() {
        let shop = read("shelves: [{height: 1, books: [{titel: a}]}, {height: 2}]").expect("readable");
        assert_eq!(shop.value.shelves[0].height, None);
        assert_eq!(shop.value.shelves[1].height, Some(2));
        assert!(shop.damaged.contains(&Path::root().key("shelves").index(0)));
    }

    #[test]
    fn what_is_not_in_a_list_cannot_be_left_out() {
        assert!(read("shelves: 5").is_err());
    }
}
