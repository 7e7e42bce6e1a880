//! Which layers of an environment are done, on disk: a file beside the ledger of what was made. It is replaced as a whole, so that
//! whoever is killed leaves the one or the other; what it says less than the truth costs time, and what it says is the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::{Key, Layer, Planned, Recorded};
use crate::cluster::ledger::Entry;
use crate::provider::files::{self, Error};

const FILE: &str = "layers.json";

/// What was done, with the file that says so.
#[derive(Debug)]
pub(crate) struct Record {
    path: Utf8PathBuf,
    layers: Mutex<BTreeMap<Key, Recorded>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    layer: Layer,
    cluster: String,
    #[serde(flatten)]
    recorded: Recorded,
}

impl Record {
    /// That of the environment in a folder; where there is none it begins empty.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
    pub(crate) fn open(directory: &Utf8Path) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let lines: Vec<Line> = files::read_state(&path)?.unwrap_or_default();
        let layers = lines.into_iter().map(|line| ((line.layer, line.cluster), line.recorded)).collect();
        Ok(Self { path, layers: Mutex::new(layers) })
    }

    /// Everything that was recorded.
    #[must_use]
    pub(crate) fn layers(&self) -> BTreeMap<Key, Recorded> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on the layer is neither what it was nor what it is to be. With a cluster all goes that was on it.
    ///
    /// # Errors
    /// [`Error`]; then it must not be begun.
    pub(crate) fn begin(&self, key: &Key, planned: &Planned) -> Result<(), Error> {
        self.change(|layers| {
            layers.retain(|(layer, cluster), _| !key.0.carries(*layer) || !(key.1.is_empty() || *cluster == key.1));
            let begun = Recorded::begun(layers.remove(key), &key.1, planned);
            layers.insert(key.clone(), begun);
        })
    }

    /// It is what it is to be.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) fn finish(&self, key: &Key, planned: &Planned) -> Result<(), Error> {
        self.change(|layers| {
            layers.insert(key.clone(), Recorded::done(&key.1, planned));
        })
    }

    /// From here on the layers that have one of these objects are not done: the objects are about to be removed.
    ///
    /// # Errors
    /// [`Error`]; then they must not be removed.
    pub(crate) fn is_changed(&self, removed: &BTreeSet<Entry>) -> Result<(), Error> {
        self.change(|layers| {
            for one in layers.values_mut().filter(|one| !one.objects.is_disjoint(removed)) {
                (one.content, one.below) = (None, None);
            }
        })
    }

    /// What was made and is wanted no more is gone.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) fn forget_all_but(&self, planned: &BTreeMap<Key, Planned>) -> Result<(), Error> {
        let gone = super::obsolete(planned, &self.layers());
        self.change(|layers| {
            layers.retain(|key, _| planned.contains_key(key));
            layers.values_mut().for_each(|one| one.objects.retain(|entry| !gone.contains(entry)));
        })
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Key, Recorded>)) -> Result<(), Error> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut layers);
        let line = |(key, recorded): (&Key, &Recorded)| Line {
            layer: key.0,
            cluster: key.1.clone(),
            recorded: recorded.clone(),
        };
        files::write_state(&self.path, &layers.iter().map(line).collect::<Vec<_>>())
    }
}

/// Removes it, once nothing is left of the environment.
///
/// # Errors
/// [`Error`].
pub(crate) fn forget(directory: &Utf8Path) -> Result<(), Error> {
    files::remove(&directory.join(FILE))
}
