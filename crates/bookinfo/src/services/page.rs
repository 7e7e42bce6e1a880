//! The HTML of productpage. Pure: data in, markup out.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::catalogue::Product;
use crate::hop::{Hop, Peer};
use crate::identity::ServedBy;
use crate::upstream::Answer;

/// The style sheet of all pages.
pub(super) const STYLE: &str = include_str!("bookinfo.css");

/// What the page shows.
pub(super) struct Page<'a> {
    pub(super) product: &'a Product,
    pub(super) served_by: &'a ServedBy,
    pub(super) peer: &'a Peer,
    pub(super) user: Option<&'a str>,
    pub(super) details: &'a Answer,
    pub(super) reviews: &'a Answer,
}

/// The start page: where to go.
pub(super) fn index(served_by: &ServedBy) -> Markup {
    let body = html! {
        main {
            h1 { "Bookinfo" }
            p { "A book shop of four services, to see how a mesh carries requests between them." }
            p { a href="/productpage" { "To the book" } }
            p { a href="/api/v1/products" { "The products as JSON" } }
            p.hint { "Served by " (or_dash(served_by.pod.as_deref())) }
        }
    };
    document("Bookinfo", &body)
}

/// The page of the book.
pub(super) fn productpage(page: &Page<'_>) -> Markup {
    let body = html! {
        (login(page.user))
        main {
            h1 { (page.product.title) }
            // The description is a constant of this program, not input.
            p { (PreEscaped(page.product.description_html)) }
            div.columns {
                section { (details(page.details)) }
                section { (reviews(page.reviews)) }
            }
            (hops(page))
        }
    };
    document(page.product.title, &body)
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="stylesheet" href="/static/bookinfo.css";
            }
            body { (body) }
        }
    }
}

fn login(user: Option<&str>) -> Markup {
    html! {
        header {
            a href="/" { "Bookinfo" }
            @if let Some(user) = user {
                form action="/logout" method="post" {
                    span.user { (user) }
                    button { "Sign out" }
                }
            } @else {
                form action="/login" method="post" {
                    input name="username" placeholder="User name" aria-label="User name" required;
                    input name="passwd" type="password" placeholder="Password (any)" aria-label="Password";
                    button { "Sign in" }
                }
            }
        }
    }
}

fn details(answer: &Answer) -> Markup {
    const ROWS: [(&str, &str); 7] = [
        ("Type", "type"),
        ("Pages", "pages"),
        ("Publisher", "publisher"),
        ("Author", "author"),
        ("Language", "language"),
        ("ISBN-10", "ISBN-10"),
        ("ISBN-13", "ISBN-13"),
    ];
    html! {
        @if let Some(fields) = &answer.fields {
            h2 { "Book details" }
            dl {
                @for (label, field) in ROWS {
                    dt { (label) }
                    dd { (plain(fields.get(field))) }
                }
            }
        } @else {
            (apology("product details", &answer.hop))
        }
    }
}

fn reviews(answer: &Answer) -> Markup {
    let list = answer.fields.as_ref().and_then(|fields| fields.get("reviews")).and_then(Value::as_array);
    html! {
        @if let Some(list) = list {
            h2 { "Book reviews" }
            @for review in list {
                blockquote {
                    p { (plain(review.get("text"))) }
                    footer { (plain(review.get("reviewer"))) }
                    @if let Some(rating) = review.get("rating") { (stars(rating)) }
                }
            }
            @if let Some(server) = &answer.hop.served_by {
                p.hint {
                    "Reviews served by " span.pod { (or_dash(server.pod.as_deref())) }
                    " in " span.cluster { (or_dash(server.cluster.as_deref())) }
                }
            }
        } @else {
            (apology("product reviews", &answer.hop))
        }
    }
}

fn stars(rating: &Value) -> Markup {
    const FULL: u64 = 5;
    let given = rating.get("stars").and_then(Value::as_u64);
    // Only the two known colours become a class: the value came over the network.
    let colour = if rating.get("color").and_then(Value::as_str) == Some("red") { "red" } else { "black" };
    html! {
        @if let Some(given) = given {
            p class={ "stars " (colour) } title={ (given) " of " (FULL) " stars" } {
                @for position in 0..FULL {
                    @if position < given { "★" } @else { "☆" }
                }
            }
        } @else {
            p.missing { (plain(rating.get("error"))) }
        }
    }
}

fn apology(what: &str, hop: &Hop) -> Markup {
    html! {
        h2 { "Error fetching " (what) "!" }
        p.missing {
            "Sorry, " (what) " are currently unavailable for this book."
        }
        p.hint {
            "Status " (hop.status.map_or_else(|| "none".to_owned(), |status| status.to_string()))
            @if let Some(error) = &hop.error { ": " (error) }
        }
    }
}

/// Every hop of the request behind this page, with who served it and which identities that server saw.
fn hops(page: &Page<'_>) -> Markup {
    let below = page.details.hop.flatten().into_iter().chain(page.reviews.hop.flatten());
    html! {
        section.hops {
            h2 { "How this page was made" }
            table {
                thead {
                    tr {
                        @for title in ["Service", "Version", "Pod", "Cluster", "Network", "Caller's identity", "Status"] {
                            th { (title) }
                        }
                    }
                }
                tbody {
                    (row("productpage", Some(page.served_by), Some(page.peer), Some(200)))
                    @for hop in below {
                        (row(&hop.service, hop.served_by.as_ref(), hop.peer.as_ref(), hop.status))
                    }
                }
            }
        }
    }
}

fn row(service: &str, server: Option<&ServedBy>, peer: Option<&Peer>, status: Option<u16>) -> Markup {
    let field = |value: fn(&ServedBy) -> &Option<String>| or_dash(server.and_then(|server| value(server).as_deref()));
    html! {
        tr {
            td { (service) }
            td { (field(|server| &server.version)) }
            td { (field(|server| &server.pod)) }
            td { (field(|server| &server.cluster)) }
            td { (field(|server| &server.network)) }
            td { (or_dash(peer.and_then(|peer| peer.uri.as_deref()))) }
            td { (status.map_or_else(|| "none".to_owned(), |status| status.to_string())) }
        }
    }
}

fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("–")
}

/// A JSON value as a reader expects it: text without its quotes.
fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::catalogue::{PRODUCTS, details as book, object};
    use super::*;

    fn server(service: &str, version: &str, cluster: &str) -> ServedBy {
        ServedBy {
            service: Some(service.to_owned()),
            version: Some(version.to_owned()),
            pod: Some(format!("{service}-{version}-abc")),
            cluster: Some(cluster.to_owned()),
            network: None,
            ..ServedBy::default()
        }
    }

    fn hop(service: &str, version: &str, cluster: &str) -> Hop {
        Hop {
            service: service.to_owned(),
            status: Some(200),
            served_by: Some(server(service, version, cluster)),
            peer: Some(Peer { uri: Some("spiffe://cluster.local/ns/a/sa/b".to_owned()), ..Peer::default() }),
            ..Hop::default()
        }
    }

    fn render(details: &Answer, reviews: &Answer, user: Option<&str>) -> String {
        let page = Page {
            product: &PRODUCTS[0],
            served_by: &server("productpage", "v1", "cluster1"),
            peer: &Peer::default(),
            user,
            details,
            reviews,
        };
        productpage(&page).into_string().replace("><", ">\n<")
    }

    #[test]
    fn page_with_red_stars() {
        let details = Answer { hop: hop("details", "v1", "cluster1"), fields: Some(book(0)) };
        let reviews = json!({ "reviews": [
            { "reviewer": "Reviewer1", "text": "Good <fun>.", "rating": { "stars": 5, "color": "red" } },
            { "reviewer": "Reviewer2", "text": "Fair.", "rating": { "stars": 3, "color": "red" } },
        ]});
        let mut reviews = Answer { hop: hop("reviews", "v3", "cluster2"), fields: Some(object(reviews)) };
        reviews.hop.upstreams.push(hop("ratings", "v1", "cluster2"));
        insta::assert_snapshot!(render(&details, &reviews, Some("jason")));
    }

    #[test]
    fn page_with_everything_missing() {
        let gone = |service: &str| Answer {
            hop: Hop {
                service: service.to_owned(),
                status: Some(503),
                error: Some("no healthy upstream".to_owned()),
                ..Hop::default()
            },
            fields: None,
        };
        insta::assert_snapshot!(render(&gone("details"), &gone("reviews"), None));
    }

    #[test]
    fn a_colour_from_the_network_becomes_no_markup() {
        let markup = stars(&json!({ "stars": 1, "color": "red\" onload=\"x" })).into_string();
        assert!(markup.starts_with("<p class=\"stars black\""), "{markup}");
    }
}
