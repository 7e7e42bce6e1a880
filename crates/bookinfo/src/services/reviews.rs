//! `reviews`: what readers say. v1 calls nobody; v2 and v3 ask `ratings` for stars and show them black or red.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use clap::ValueEnum;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::catalogue::{REVIEWS, object};
use super::{App, finish};
use crate::context::{RequestContext, SharedContext};
use crate::respond::{answer, refuse};
use crate::upstream::Answer;

/// What a review says in place of stars when `ratings` gave none.
const NO_RATINGS: &str = "Ratings service is currently unavailable";

/// The versions of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReviewsVersion {
    /// Without stars.
    V1,
    /// With black stars.
    V2,
    /// With red stars.
    V3,
}

impl ReviewsVersion {
    fn star_colour(self) -> Option<&'static str> {
        match self {
            Self::V1 => None,
            Self::V2 => Some("black"),
            Self::V3 => Some("red"),
        }
    }
}

/// Serves `/reviews/<id>` and `/health`.
pub fn router(app: App, version: ReviewsVersion) -> Router {
    let handler = move |State(app), Path(id), SharedContext(context): SharedContext| async move {
        reviews(&app, version, id, &context).await
    };
    finish(app, Router::new().route("/health", get(health)).route("/reviews/{id}", get(handler)))
}

async fn health() -> Response {
    Json(json!({ "status": "Reviews is healthy" })).into_response()
}

async fn reviews(app: &App, version: ReviewsVersion, id: String, context: &RequestContext) -> Response {
    let Ok(id) = id.parse::<u64>() else {
        return refuse(app, context, StatusCode::BAD_REQUEST, "please provide numeric product ID");
    };
    let endpoint = match version {
        ReviewsVersion::V1 => None,
        ReviewsVersion::V2 => Some(&app.endpoints.ratings),
        ReviewsVersion::V3 => Some(&app.endpoints.ratings_for_red),
    };
    let ratings = match endpoint {
        Some(endpoint) => Some(app.call(endpoint, id, context.forward.clone()).await),
        None => None,
    };
    let fields = object(json!({
        "id": id.to_string(),
        "podname": app.served_by.pod,
        "clustername": app.served_by.cluster,
        "reviews": reviews_with_stars(version, ratings.as_ref()),
    }));
    let hops: Vec<_> = ratings.into_iter().map(|ratings| ratings.hop).collect();
    answer(app, context, StatusCode::OK, &fields, &hops)
}

fn reviews_with_stars(version: ReviewsVersion, ratings: Option<&Answer>) -> Vec<Value> {
    let stars = ratings.and_then(|ratings| ratings.fields.as_ref()).and_then(|fields| fields.get("ratings"));
    let review = |(reviewer, text): &(&str, &str)| {
        let mut review = Map::from_iter([("reviewer".to_owned(), json!(reviewer)), ("text".to_owned(), json!(text))]);
        if let Some(colour) = version.star_colour() {
            let rating = match stars.and_then(|stars| stars.get(*reviewer)).and_then(Value::as_u64) {
                Some(count) => json!({ "stars": count, "color": colour }),
                None => json!({ "error": NO_RATINGS }),
            };
            review.insert("rating".to_owned(), rating);
        }
        Value::Object(review)
    };
    REVIEWS.iter().map(review).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hop::Hop;

    fn ratings(fields: Option<Value>) -> Answer {
        Answer { hop: Hop::default(), fields: fields.map(object) }
    }

    #[test]
    fn the_version_decides_about_stars_and_their_colour() {
        let given = ratings(Some(json!({ "ratings": { "Reviewer1": 5, "Reviewer2": 4 } })));
        assert_eq!(reviews_with_stars(ReviewsVersion::V1, None)[0].get("rating"), None);
        let black = reviews_with_stars(ReviewsVersion::V2, Some(&given));
        assert_eq!(black[1]["rating"], json!({ "stars": 4, "color": "black" }));
        let red = reviews_with_stars(ReviewsVersion::V3, Some(&given));
        assert_eq!(red[0]["rating"], json!({ "stars": 5, "color": "red" }));
    }

    #[test]
    fn reviews_without_ratings_say_so() {
        for answer in [ratings(None), ratings(Some(json!({ "ratings": {} })))] {
            let reviews = reviews_with_stars(ReviewsVersion::V3, Some(&answer));
            assert_eq!(reviews[0]["rating"], json!({ "error": NO_RATINGS }));
        }
    }
}
