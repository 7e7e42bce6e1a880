//! Translations that several proxies share, made once for each snapshot; and those of a proxy's own that hold over several.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

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

/// What belongs to the application of one proxy, with all that it was made of.
#[derive(Debug)]
pub struct Own {
    state: Arc<State>,
    proxy: Proxy,
    translated: Translated,
}

type Slot = Arc<OnceLock<Translated>>;

/// Of one state.
#[derive(Debug, Default)]
struct Latest {
    state: Arc<State>,
    /// The part of it that says something of applications; the same as before where that says the same.
    of_applications: Arc<State>,
    views: HashMap<View, Slot>,
}

/// Translations of the latest state.
#[derive(Debug, Default)]
pub struct Cache {
    latest: Mutex<Latest>,
}

impl Cache {
    /// What a proxy is to hold as of a snapshot. `own` is the caller's to keep for the next snapshot, and for this proxy.
    pub fn translate(&self, mesh: &Mesh, proxy: &Proxy, own: &mut Option<Own>) -> Translated {
        let proxy = proxy.refreshed(&mesh.state);
        let view = View::of(&proxy, &mesh.state);
        let (slot, state) = self.inputs(&mesh.state, &view);
        // Proxies that come for the same view meanwhile wait here, and not for other views.
        let shared = slot.get_or_init(|| Translated::encode(translate::shared(&mesh.settings, &mesh.state, &view)));
        let known = own.take().filter(|own| Arc::ptr_eq(&own.state, &state) && own.proxy == proxy);
        let own = own.insert(known.unwrap_or_else(|| {
            let translated = Translated::encode(translate::own(&mesh.settings, &state, &proxy));
            Own { state, proxy, translated }
        }));
        let problems = own.translated.problems.iter().chain(&shared.problems).cloned().collect();
        Translated { resources: own.translated.resources.clone().with(&shared.resources), problems }
    }

    fn inputs(&self, state: &Arc<State>, view: &View) -> (Slot, Arc<State>) {
        let mut latest = self.of(state);
        (Arc::clone(latest.views.entry(view.clone()).or_default()), Arc::clone(&latest.of_applications))
    }

    fn of(&self, state: &Arc<State>) -> MutexGuard<'_, Latest> {
        // It is replaced as a whole.
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&latest.state, state) {
            let of_applications = Arc::new(translate::of_applications(state));
            let same = *of_applications == *latest.of_applications;
            let of_applications = if same { Arc::clone(&latest.of_applications) } else { of_applications };
            *latest = Latest { state: Arc::clone(state), of_applications, views: HashMap::new() };
        }
        latest
    }
}

#[cfg(test)]
mod tests {
    use mesh_types::Object;
    use mesh_types::object::{Metadata, Status};

    use super::*;
    use crate::model::Configs;

    fn object<S: serde::de::DeserializeOwned>() -> Arc<Object<S>> {
        let spec = serde_json::from_value(serde_json::json!({})).expect("everything has a default");
        Arc::new(Object { metadata: Metadata::default(), spec, status: Status::default() })
    }

    #[test]
    fn what_says_nothing_of_applications_leaves_them_as_they_are() {
        let cache = Cache::default();
        let first = Arc::new(State::default());
        let before = Arc::clone(&cache.of(&first).of_applications);
        let routes = Configs { virtual_services: vec![object()], ..Configs::default() };
        let changed = Arc::new(State { configs: Arc::new(routes), ..State::default() });
        assert!(Arc::ptr_eq(&before, &cache.of(&changed).of_applications));
        let strict = Configs { peer_authentications: vec![object()], ..Configs::default() };
        let changed = Arc::new(State { configs: Arc::new(strict), ..State::default() });
        assert!(!Arc::ptr_eq(&before, &cache.of(&changed).of_applications));
    }
}
