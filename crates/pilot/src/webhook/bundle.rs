//! Keeps the webhook configurations of the cluster in step with this istiod: `caBundle` is the mesh's root, and the
//! validating webhook fails closed once istiod answers it. Whoever alters them finds them corrected.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::Client;
use kube_support::bundle::keep;
use kube_support::flag::is_set;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ca::{Authority, SigningKeys};

/// Name of the configuration for injection.
pub const MUTATING: &str = "istio-sidecar-injector";
/// Name of the configuration for validation.
pub const VALIDATING: &str = "istio-validator-istio-system";

/// As [`keep_bundles_and_tell`], for callers that need not know when the first correction is done.
pub async fn keep_bundles(client: Client, authority: Arc<Authority>, cancel: CancellationToken) {
    keep_bundles_and_tell(client, authority, watch::Sender::new(false), cancel).await;
}

/// Corrects both configurations whenever they or the root change, until cancelled. To be started once the webhooks are
/// served, since from then on they fail closed. `in_step` becomes true once both were found or put right, or found
/// absent: from then on a pod can be created without meeting a webhook that nobody trusts.
pub async fn keep_bundles_and_tell(
    client: Client,
    authority: Arc<Authority>,
    in_step: watch::Sender<bool>,
    cancel: CancellationToken,
) {
    let (first, second) = (watch::Sender::new(false), watch::Sender::new(false));
    let (mut one, mut two) = (first.subscribe(), second.subscribe());
    let root = |keys: &Arc<SigningKeys>| keys.root_pem.clone();
    let keys = || authority.subscribe();
    let injection = keep::<MutatingWebhookConfiguration, _>(client.clone(), MUTATING, keys(), root, None, first);
    let validation = keep::<ValidatingWebhookConfiguration, _>(client, VALIDATING, keys(), root, Some("Fail"), second);
    let tell = async {
        if is_set(&mut one).await && is_set(&mut two).await {
            in_step.send_replace(true);
        }
    };
    cancel.run_until_cancelled(async { tokio::join!(injection, validation, tell) }).await;
}
