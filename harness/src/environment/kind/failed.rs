//! What is saved of a bring-up that failed, before what it made is removed.

use std::time::Duration;

use camino::Utf8Path;

use crate::artifacts::{self, Subject};
use crate::provider::kind::Kind;
use crate::report::stream::EventSender;

/// How long API servers may take to say that they are there.
const ANSWER: Duration = Duration::from_secs(10);

/// Saves what clusters, nodes and router tell.
pub(super) async fn save_state(kind: &Kind, out: &Utf8Path, events: &EventSender) {
    let clusters = tokio::time::timeout(ANSWER, kind.answering_clusters()).await.unwrap_or_default();
    let (links, nodes) = (kind.links(), kind.nodes());
    let subject = Subject {
        clusters: clusters.iter().collect(),
        links: links.as_ref(),
        nodes: Some(&nodes),
        ..Subject::default()
    };
    artifacts::take(&subject, "bring-up", out, events).await;
}
