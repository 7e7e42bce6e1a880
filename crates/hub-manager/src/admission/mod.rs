//! The admission webhook: refuses what cannot be accepted as it stands alone, and warns of what only the state tells.

pub mod certificate;
pub mod review;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Client;
use kube_support::{bundle, https};
use mesh_types::hub::names::WEBHOOK;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::event::{Events, ask};
use review::Request;

/// The core, while this manager leads.
pub type Leading = watch::Receiver<Option<Events>>;

/// Serves the webhook until cancelled, and keeps the cluster's configuration trusting it. `in_step` becomes true once whoever
/// writes a policy is judged.
pub async fn run(
    client: Client,
    namespace: String,
    listener: TcpListener,
    leading: Leading,
    in_step: watch::Sender<bool>,
    cancel: CancellationToken,
) {
    let Some(first) = cancel.run_until_cancelled(certificate::first(&client, &namespace)).await else { return };
    let (served, current) = watch::channel(first.clone());
    let (tls, config) = watch::channel(first.config);
    let mut changes = served.subscribe();
    let follow = async {
        while changes.changed().await.is_ok() {
            tls.send_replace(changes.borrow_and_update().config.clone());
        }
    };
    let root = |served: &certificate::Served| served.root.clone();
    let keep = bundle::keep::<ValidatingWebhookConfiguration, _>(
        client.clone(),
        WEBHOOK,
        current,
        root,
        // Policies wait for a manager that is gone; what is wrong with them stands in their status once it is back.
        Some("Ignore"),
        in_step,
    );
    let routes = router(namespace.clone(), leading);
    let renew = certificate::renew(client, namespace, served);
    let serve = https::serve(listener, config, routes, cancel.clone());
    tokio::join!(serve, cancel.run_until_cancelled(async { tokio::join!(follow, keep, renew) }));
}

/// The webhook's routes, for a hub in a namespace.
pub fn router(namespace: String, leading: Leading) -> Router {
    Router::new().route("/validate", post(validate)).with_state((namespace, leading))
}

async fn validate(State((namespace, leading)): State<(String, Leading)>, body: Bytes) -> Response {
    let answer = match serde_json::from_slice::<Value>(&body) {
        Ok(review) => judge(&review, &namespace, leading).await,
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(answer) => ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response(),
        Err(problem) => {
            tracing::warn!(problem, "a webhook call is not understood");
            (StatusCode::BAD_REQUEST, problem).into_response()
        }
    }
}

async fn judge(review: &Value, namespace: &str, leading: Leading) -> Result<Value, String> {
    let request = Request::read(review)?;
    if let Some(refusal) = request.refusal(namespace) {
        return Ok(request.answer(Some(refusal), &[]));
    }
    let events = leading.borrow().clone();
    let warnings = match (request.input(), events) {
        (Some(input), Some(events)) => {
            let copy = ask(&events, review::copy).await.flatten();
            match copy {
                Some(state) => {
                    let tried = tokio::task::spawn_blocking(move || review::warnings(state, input)).await;
                    tried.unwrap_or_default()
                }
                None => Vec::new(),
            }
        }
        _ => Vec::new(),
    };
    Ok(request.answer(None, &warnings))
}
