//! The one book of the shop, and what is said of it. Plain data, the same as in Istio's bookinfo.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// A product as the list of products shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    /// Number of the product, the `<id>` of paths.
    pub id: u64,
    /// Title of the book.
    pub title: &'static str,
    /// What the book is about, as HTML.
    pub description_html: &'static str,
}

/// The products of the shop.
pub const PRODUCTS: [Product; 1] = [Product {
    id: 0,
    title: "The Comedy of Errors",
    description_html: "<b>William Shakespeare</b>'s shortest play, and an early one: two pairs of twins, parted at sea, \
                       meet in one town, where everybody takes each for the other.",
}];

/// Reviewer and text of each review, in the order of the page.
pub const REVIEWS: [(&str, &str); 2] = [
    ("Reviewer1", "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!"),
    (
        "Reviewer2",
        "Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by Shakespeare.",
    ),
];

/// What `details` knows of a book.
pub fn details(id: u64) -> Map<String, Value> {
    object(json!({
        "id": id,
        "author": "William Shakespeare",
        "year": 1595,
        "type": "paperback",
        "pages": 200,
        "publisher": "PublisherA",
        "language": "English",
        "ISBN-10": "1234567890",
        "ISBN-13": "123-1234567890",
    }))
}

/// The stars that each reviewer gave.
pub fn ratings(id: u64) -> Map<String, Value> {
    object(json!({ "id": id, "ratings": { "Reviewer1": 5, "Reviewer2": 4 } }))
}

/// The map inside a JSON object; empty for any other value.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
