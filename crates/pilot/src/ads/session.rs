//! The delta protocol with one proxy, as a pure state machine: requests and snapshots go in, responses come out.
//!
//! Changes are made before they are broken: clusters and their endpoints are acknowledged before listeners and routes
//! that may refer to them are sent, and clusters are removed last. A refusal ends the wait like an acknowledgement does;
//! what was refused is not sent again before it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::Type;
use super::resources::{Resources, unknown};
use super::status::{Acknowledged, TypeStatus};

/// The state of the protocol with one proxy.
#[derive(Debug, Default)]
pub struct Session {
    types: [TypeState; 6],
    desired: Resources,
    fingerprints: [String; 6],
    number: u64,
    nonces: u64,
    /// Clusters that were sent before the proxy asked for their endpoints: it waits for these, also where it says that
    /// it has them, as a proxy does that comes back while clusters have changed.
    warming: BTreeSet<String>,
}

/// The state of one type.
#[derive(Debug, Default)]
struct TypeState {
    subscribed: bool,
    /// Names that the proxy asked for; unused for types of which it holds everything.
    names: BTreeSet<String>,
    /// Versions that the proxy has or was sent.
    held: BTreeMap<String, String>,
    /// Names to answer even if the proxy should have them.
    asked: BTreeSet<String>,
    /// Whether a response is due even if it is empty.
    due: bool,
    in_flight: Option<InFlight>,
    refusal: Option<Refusal>,
    /// Refusals so far; unlike `refusal` they do not heal.
    rejections: u64,
    acknowledged: Acknowledged,
    sent: u64,
    acked: u64,
}

/// A response that the proxy has not answered yet.
#[derive(Debug)]
struct InFlight {
    nonce: String,
    names: BTreeSet<String>,
    /// Versions that it sets.
    versions: BTreeMap<String, String>,
    removed: BTreeSet<String>,
    fingerprint: String,
}

/// A response that the proxy refused.
#[derive(Debug)]
struct Refusal {
    message: String,
    names: BTreeSet<String>,
    /// Of the type when the refused response was sent.
    fingerprint: String,
}

/// What a proxy has to be sent of a type.
#[derive(Debug, Default)]
struct Pending {
    set: BTreeSet<String>,
    removed: BTreeSet<String>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }
}

impl Session {
    /// Sets what the proxy is to hold as of a snapshot.
    pub fn set(&mut self, number: u64, desired: Resources) {
        self.fingerprints = Type::ALL.map(|kind| desired.fingerprint(kind));
        self.desired = desired;
        self.number = number;
        for kind in Type::ALL {
            let state = &mut self.types[kind.index()];
            // A change is a reason to try again what was refused together with it.
            if let Some(refusal) =
                state.refusal.as_mut().filter(|refusal| refusal.fingerprint != self.fingerprints[kind.index()])
            {
                state.asked.extend(std::mem::take(&mut refusal.names));
            }
        }
    }

    /// Says that a snapshot means the same for this proxy as the one before it.
    pub fn set_unchanged(&mut self, number: u64) {
        self.number = number;
    }

    /// Takes a request of the proxy. Returns a response at once for types that are not served.
    pub fn request(&mut self, request: DeltaDiscoveryRequest) -> Option<DeltaDiscoveryResponse> {
        let Some(kind) = Type::from_url(&request.type_url) else { return self.not_served(request) };
        self.answered(kind, &request);
        let first = !self.types[kind.index()].subscribed;
        let desired = self.desired.table(kind);
        let state = &mut self.types[kind.index()];
        if first {
            state.subscribed = true;
            state.due = true;
            state.held = request.initial_resource_versions.into_iter().collect();
            state.acknowledged.versions = Arc::new(state.held.clone());
        }
        if !kind.is_wildcard() {
            for name in request.resource_names_subscribe {
                // A name that is asked for on a stream is answered, known or not; only a proxy that says with its
                // first request which version it still has is believed.
                let known = first
                    && !(kind == Type::Eds && self.warming.remove(&name))
                    && state
                        .held
                        .get(&name)
                        .is_some_and(|held| desired.get(&name).is_some_and(|one| one.version == *held));
                if !known {
                    state.asked.insert(name.clone());
                }
                state.names.insert(name);
            }
            for name in request.resource_names_unsubscribe {
                state.names.remove(&name);
                state.held.remove(&name);
                state.asked.remove(&name);
                Arc::make_mut(&mut state.acknowledged.versions).remove(&name);
            }
        }
        None
    }

    fn not_served(&mut self, request: DeltaDiscoveryRequest) -> Option<DeltaDiscoveryResponse> {
        let acknowledges = !request.response_nonce.is_empty() && request.resource_names_subscribe.is_empty();
        (!acknowledges).then(|| DeltaDiscoveryResponse {
            type_url: request.type_url,
            // Saying that they do not exist lets the proxy go on without them.
            removed_resources: request.resource_names_subscribe,
            nonce: self.nonce(),
            ..Default::default()
        })
    }

    fn nonce(&mut self) -> String {
        self.nonces += 1;
        self.nonces.to_string()
    }

    /// Notes an acknowledgement or a refusal; an outdated nonce is neither.
    fn answered(&mut self, kind: Type, request: &DeltaDiscoveryRequest) {
        let state = &mut self.types[kind.index()];
        let matches = state.in_flight.as_ref().is_some_and(|flight| flight.nonce == request.response_nonce);
        let Some(flight) = state.in_flight.take_if(|_| matches) else { return };
        match &request.error_detail {
            Some(error) => {
                state.rejections += 1;
                state.refusal = Some(Refusal {
                    message: error.message.clone(),
                    names: flight.names,
                    fingerprint: flight.fingerprint,
                });
                if flight_is_outdated(state, &self.fingerprints[kind.index()])
                    && let Some(refusal) = &mut state.refusal
                {
                    state.asked.extend(std::mem::take(&mut refusal.names));
                }
            }
            None => {
                state.acknowledged.accept(flight.nonce, flight.versions, &flight.removed);
                // Only a response made after the refused one has changed can have healed it.
                if state.refusal.as_ref().is_some_and(|refusal| refusal.fingerprint != flight.fingerprint) {
                    state.refusal = None;
                }
            }
        }
    }

    fn pending(&self, kind: Type) -> Pending {
        let state = &self.types[kind.index()];
        let desired = self.desired.table(kind);
        let mut pending = Pending::default();
        let differs = |name: &String| {
            state.asked.contains(name)
                || desired.get(name).is_some_and(|one| state.held.get(name) != Some(&one.version))
        };
        if kind.is_wildcard() {
            pending.set = desired.keys().filter(|name| differs(name)).cloned().collect();
            pending.removed = state.held.keys().filter(|name| !desired.contains_key(*name)).cloned().collect();
        } else {
            pending.set = state.names.iter().filter(|name| differs(name)).cloned().collect();
        }
        pending
    }

    /// Whether nothing of a type is to be set or awaits an answer.
    fn idle(&self, kind: Type) -> bool {
        let state = &self.types[kind.index()];
        !state.subscribed || (state.in_flight.is_none() && !state.due && self.pending(kind).set.is_empty())
    }

    /// The responses that can be sent now.
    pub fn responses(&mut self) -> Vec<DeltaDiscoveryResponse> {
        let mut responses = Vec::new();
        for kind in [Type::Cds, Type::Eds] {
            let set = self.pending(kind).set;
            responses.extend(self.respond(kind, Pending { set, removed: BTreeSet::new() }));
        }
        if self.idle(Type::Cds) && self.idle(Type::Eds) {
            let pending = self.pending(Type::Lds);
            responses.extend(self.respond(Type::Lds, pending));
            let pending = self.pending(Type::Rds);
            responses.extend(self.respond(Type::Rds, pending));
            // Routes of the old state may refer to clusters until listeners and routes are known to be replaced.
            let settled = self.types[Type::Lds.index()].subscribed && self.idle(Type::Lds) && self.idle(Type::Rds);
            let removed = self.pending(Type::Cds).removed;
            if settled && !removed.is_empty() {
                responses.extend(self.respond(Type::Cds, Pending { set: BTreeSet::new(), removed }));
            }
        }
        let pending = self.pending(Type::Sds);
        responses.extend(self.respond(Type::Sds, pending));
        // A name is said once proxies can do something with its address; the first names are said at once.
        let waits = [Type::Cds, Type::Eds, Type::Lds, Type::Rds].into_iter().any(|kind| !self.idle(kind));
        if !waits || self.types[Type::Nds.index()].due {
            let pending = self.pending(Type::Nds);
            responses.extend(self.respond(Type::Nds, pending));
        }
        self.account();
        responses
    }

    fn respond(&mut self, kind: Type, pending: Pending) -> Option<DeltaDiscoveryResponse> {
        let index = kind.index();
        let state = &self.types[index];
        if !state.subscribed || state.in_flight.is_some() || (pending.is_empty() && !state.due) {
            return None;
        }
        let nonce = self.nonce();
        let mut resources = Vec::new();
        let mut versions = BTreeMap::new();
        let mut missing = Vec::new();
        let desired = self.desired.table(kind);
        let state = &mut self.types[index];
        for name in &pending.set {
            let held = state.held.get(name);
            state.asked.remove(name);
            let Some(resource) = desired.get(name).cloned().or_else(|| unknown(kind, name)) else {
                // Saying so lets the proxy go on without it.
                missing.push(name.clone());
                continue;
            };
            if held != Some(&resource.version) {
                state.held.insert(name.clone(), resource.version.clone());
            }
            versions.insert(name.clone(), resource.version.clone());
            resources.push(discovery::Resource {
                name: name.clone(),
                version: resource.version.clone(),
                resource: Some(resource.any.clone()),
                ..Default::default()
            });
        }
        for name in &pending.removed {
            state.held.remove(name);
            state.asked.remove(name);
        }
        state.due = false;
        state.in_flight = Some(InFlight {
            nonce: nonce.clone(),
            names: pending.set.clone(),
            versions,
            removed: pending.removed.clone(),
            fingerprint: self.fingerprints[index].clone(),
        });
        if kind == Type::Cds {
            // A changed cluster warms up anew and waits for endpoints, which may not have changed.
            let endpoints = &mut self.types[Type::Eds.index()];
            let (subscribed, awaited): (Vec<_>, Vec<_>) =
                pending.set.into_iter().partition(|name| endpoints.names.contains(name));
            endpoints.asked.extend(subscribed);
            if !endpoints.subscribed {
                self.warming.extend(awaited);
            }
        }
        Some(DeltaDiscoveryResponse {
            system_version_info: self.number.to_string(),
            type_url: kind.url().to_owned(),
            removed_resources: pending.removed.into_iter().chain(missing).collect(),
            resources,
            nonce,
            ..Default::default()
        })
    }

    /// Brings the numbers of sent and acknowledged snapshots up to date.
    fn account(&mut self) {
        for kind in Type::ALL {
            let index = kind.index();
            let pending = self.pending(kind).is_empty();
            let desired = self.desired.table(kind);
            let state = &mut self.types[index];
            let outdated =
                state.refusal.as_ref().is_some_and(|refusal| refusal.fingerprint != self.fingerprints[index]);
            if outdated && pending && state.in_flight.is_none() {
                state.refusal = None;
            }
            let complete = desired.iter().all(|(name, one)| state.held.get(name) == Some(&one.version));
            if pending && complete && !state.due {
                state.sent = self.number;
                if state.in_flight.is_none() && state.refusal.is_none() {
                    state.acked = self.number;
                }
            }
        }
    }

    /// The account of a type.
    pub fn status(&self, kind: Type) -> TypeStatus {
        let state = &self.types[kind.index()];
        TypeStatus {
            sent: state.sent,
            acked: state.acked,
            error: state.refusal.as_ref().map(|refusal| refusal.message.clone()),
            rejections: state.rejections,
        }
    }

    /// What the proxy has accepted of a type.
    pub fn acknowledged(&self, kind: Type) -> Acknowledged {
        self.types[kind.index()].acknowledged.clone()
    }
}

/// Whether the type changed while the refused response was under way.
fn flight_is_outdated(state: &TypeState, fingerprint: &str) -> bool {
    state.refusal.as_ref().is_some_and(|refusal| refusal.fingerprint != fingerprint)
}
