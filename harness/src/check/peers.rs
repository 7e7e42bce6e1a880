//! Compares who called and who answered, as the servers' side saw them, with who is expected. Pure.

use verdict::text::thousands;

use super::observation::{TrafficObservation, UNKNOWN};
use crate::scenario::plan::{Identity, Peer};
use crate::traffic::probe::Group;

/// What came of it.
pub(super) enum Compared {
    /// Nobody could see all of it, as a clause.
    Unseen(String),
    /// Somebody was somebody else, as a clause.
    Unlike(String),
    /// Everybody was who is expected.
    Alike {
        /// How many answers or connections.
        count: u64,
        /// Which of both.
        unit: &'static str,
    },
}

/// Compares every answer, or every connection where servers are not told who calls. One that is wrong counts, however
/// many could not be seen.
pub(super) fn compare(expected: &Identity, seen: &TrafficObservation) -> Compared {
    let parties = seen.parties();
    let count: u64 = parties.iter().map(|group| group.count).sum();
    let by_connection = seen.witnesses.connections.is_some();
    let unit = if by_connection { "connections" } else { "answers" };
    let right = |group: &&&Group| is(&expected.client, &group.peer) && is(&expected.server, &group.server);
    if let Some(group) = parties.iter().find(|group| !right(group)) {
        return Compared::Unlike(format!(
            "{} {unit} of {}/{} saw client {} and server {}; expected {}",
            thousands(group.count),
            known(&group.cluster),
            known(&group.pod),
            somebody(&group.peer),
            somebody(&group.server),
            words(expected),
        ));
    }
    let answered = seen.samples.groups.iter().any(|group| group.status == 200);
    let opened = seen.samples.connections_opened;
    match () {
        () if !answered => Compared::Unseen("no request was answered".to_owned()),
        () if by_connection && count < opened.max(1) => Compared::Unseen(format!(
            "the proxies of the servers logged {} of {} connections",
            thousands(count),
            thousands(opened)
        )),
        () => Compared::Alike { count, unit },
    }
}

/// Who is expected.
pub(super) fn words(expected: &Identity) -> String {
    let parts = [("client", &expected.client), ("server", &expected.server)];
    let words = parts.into_iter().filter_map(|(word, peer)| Some(format!("{word} {}", peer.as_ref()?)));
    words.collect::<Vec<_>>().join(" and ")
}

pub(super) fn is(wanted: &Option<Peer>, found: &Option<String>) -> bool {
    match wanted {
        None => true,
        Some(Peer::Nobody) => found.is_none(),
        Some(Peer::Id(id)) => found.as_ref() == Some(id),
    }
}

fn somebody(identity: &Option<String>) -> &str {
    identity.as_deref().unwrap_or("nobody (plaintext)")
}

fn known(property: &Option<String>) -> &str {
    property.as_deref().unwrap_or(UNKNOWN)
}
