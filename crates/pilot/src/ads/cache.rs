//! Translations that several proxies share, made once for each snapshot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::resources::Resources;
use crate::model::{Mesh, Problem, State};
use crate::translate::{self, Proxy, View};

/// Encoded resources with the problems that came up.
#[derive(Debug, Default)]
pub struct Translated {
    /// What a proxy is to hold.
    pub resources: Resources,
    /// What of the configuration has no effect.
    pub problems: Vec<Problem>,
}

impl Translated {
    fn encode(mut translation: translate::Translation) -> Self {
        let problems = std::mem::take(&mut translation.problems);
        Self { resources: Resources::encode(translation), problems }
    }
}

type Slot = Arc<OnceLock<Translated>>;

/// A state with its translations by view.
type Views = (Arc<State>, HashMap<View, Slot>);

/// Translations of the latest state.
#[derive(Debug, Default)]
pub struct Cache {
    latest: Mutex<Option<Views>>,
}

impl Cache {
    /// What a proxy is to hold as of a snapshot.
    pub fn translate(&self, mesh: &Mesh, proxy: &Proxy) -> Translated {
        let proxy = proxy.refreshed(&mesh.state);
        let view = View::of(&proxy, &mesh.state);
        let slot = self.slot(&mesh.state, &view);
        // Proxies that come for the same view meanwhile wait here, and not for other views.
        let shared = slot.get_or_init(|| Translated::encode(translate::shared(&mesh.settings, &mesh.state, &view)));
        let own = Translated::encode(translate::own(&mesh.settings, &mesh.state, &proxy));
        let problems = own.problems.into_iter().chain(shared.problems.iter().cloned()).collect();
        Translated { resources: own.resources.with(&shared.resources), problems }
    }

    fn slot(&self, state: &Arc<State>, view: &View) -> Slot {
        // A map of slots is whole after every statement.
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if !latest.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, state)) {
            *latest = Some((Arc::clone(state), HashMap::new()));
        }
        let (_, slots) = latest.get_or_insert_with(|| (Arc::clone(state), HashMap::new()));
        Arc::clone(slots.entry(view.clone()).or_default())
    }
}
