//! `productpage`: asks `details` and `reviews` and shows the book, as a page and as JSON.

use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::catalogue::{PRODUCTS, object};
use super::page::{self, Page};
use super::{App, finish, session};
use crate::context::{RequestContext, SharedContext};
use crate::respond::{answer, refuse};
use crate::upstream::Answer;

/// Serves the page, its login, its JSON interface and `/health`.
pub fn router(app: App) -> Router {
    let routes = Router::new()
        .route("/", get(index))
        .route("/index.html", get(index))
        .route("/health", get(async || "Product page is healthy"))
        .route("/login", post(session::login))
        .route("/logout", get(session::logout).post(session::logout))
        .route("/productpage", get(productpage))
        .route("/static/bookinfo.css", get(stylesheet))
        .route("/api/v1/products", get(async || Json(PRODUCTS)))
        .route("/api/v1/products/{id}", get(product))
        .route("/api/v1/products/{id}/reviews", get(reviews))
        .route("/api/v1/products/{id}/ratings", get(ratings));
    finish(app, routes)
}

async fn index(State(app): State<App>) -> Html<String> {
    Html(page::index(&app.served_by).into_string())
}

async fn stylesheet() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")], page::STYLE)
        .into_response()
}

/// The page is 200 even when a service behind it fails, as Istio's is: it shows what it has, and says what is missing.
async fn productpage(State(app): State<App>, SharedContext(context): SharedContext, headers: HeaderMap) -> Response {
    let forward = context.forward_as_user();
    // One after the other, as Istio's page does: a trace then shows the calls in the order of the page.
    let details = app.call(&app.endpoints.details, 0, forward.clone()).await;
    let reviews = app.call(&app.endpoints.reviews, 0, forward).await;
    if wants_json(&headers) {
        return page_as_json(&app, &context, details, reviews);
    }
    let page = Page {
        product: &PRODUCTS[0],
        served_by: &app.served_by,
        peer: &context.peer,
        user: context.user.as_deref().or(context.seen.end_user.as_deref()),
        details: &details,
        reviews: &reviews,
    };
    Html(page::productpage(&page).into_string()).into_response()
}

fn page_as_json(app: &App, context: &RequestContext, details: Answer, reviews: Answer) -> Response {
    let fields = object(json!({
        "product": PRODUCTS[0],
        "details": details.fields,
        "reviews": reviews.fields,
    }));
    answer(app, context, StatusCode::OK, &fields, &[details.hop, reviews.hop])
}

/// A client that names JSON and not HTML gets JSON.
fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.contains("application/json") && !accepted.contains("text/html")
}

async fn product(State(app): State<App>, Path(id): Path<String>, SharedContext(context): SharedContext) -> Response {
    let Ok(id) = id.parse() else { return no_number(&app, &context) };
    let answer = app.call(&app.endpoints.details, id, context.forward_as_user()).await;
    pass_on(&app, &context, answer, "product details")
}

async fn reviews(State(app): State<App>, Path(id): Path<String>, SharedContext(context): SharedContext) -> Response {
    let Ok(id) = id.parse() else { return no_number(&app, &context) };
    let answer = app.call(&app.endpoints.reviews, id, context.forward_as_user()).await;
    pass_on(&app, &context, answer, "product reviews")
}

async fn ratings(State(app): State<App>, Path(id): Path<String>, SharedContext(context): SharedContext) -> Response {
    let Ok(id) = id.parse() else { return no_number(&app, &context) };
    let answer = app.call(&app.endpoints.ratings, id, context.forward_as_user()).await;
    pass_on(&app, &context, answer, "product ratings")
}

fn no_number(app: &App, context: &RequestContext) -> Response {
    refuse(app, context, StatusCode::BAD_REQUEST, "please provide numeric product id")
}

/// Another service's fields under this server's name, or an apology with the status that it gave.
fn pass_on(app: &App, context: &RequestContext, upstream: Answer, what: &str) -> Response {
    let status = upstream.failure_status();
    match upstream.fields {
        Some(fields) => answer(app, context, StatusCode::OK, &fields, &[upstream.hop]),
        None => answer(app, context, status, &apology(what), &[upstream.hop]),
    }
}

fn apology(what: &str) -> Map<String, Value> {
    let text = format!("Sorry, {what} are currently unavailable for this book.");
    Map::from_iter([("error".to_owned(), json!(text))])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_browser_gets_the_page_and_a_program_that_asks_gets_json() {
        for (accept, json) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("text/html, application/json", false),
            ("*/*", false),
            ("application/json", true),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_json(&headers), json, "{accept}");
        }
        assert!(!wants_json(&HeaderMap::new()));
    }
}
