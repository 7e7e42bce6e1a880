//! Steps, each of which knows where it was written.

use std::panic::Location;

use serde::Serialize;
use serde_json::Value;

use super::places::Places;
use super::{
    Apply, Background, Config, Connect, Converge, Delete, Exec, Expect, Fault, Heal, Link, Object, Onboard, Patch,
    Refuted, Register, Restart, Scale, Traffic, Wait, add,
};
use crate::diagnostic::tree::Path;
use crate::scenario::file::{ControlFile, StepFile};

/// One step, and where its parts were written.
#[derive(Clone, Debug)]
pub struct Step {
    file: StepFile,
    places: Places,
}

/// A negative control: breaks the mesh on purpose and demands that an earlier measurement is refuted.
#[derive(Clone, Debug)]
pub struct Control {
    /// Changes of the mesh or of its configuration. Never of the measurement: that is repeated as it was.
    pub change: Vec<Step>,
    /// Name of an earlier step that measures, to be measured again.
    pub repeat: String,
    /// Which of its expectations must be refuted now: a key means each of that name.
    pub refutes: Vec<Refuted>,
    /// What must hold of the repetition instead.
    pub expect: Vec<Expect>,
    /// Undoes the change; done in any case.
    pub restore: Vec<Step>,
}

/// Steps that are one value of the YAML form.
macro_rules! steps {
    ($($(#[$documentation:meta])* $key:ident: $file:ty;)*) => {
        impl Step {
            $($(#[$documentation])*
            #[must_use]
            #[track_caller]
            pub fn $key($key: $file) -> Self {
                Self::new(StepFile { $key: Some($key), ..StepFile::default() })
            })*
        }
    };
}

steps! {
    /// Changes parts of an object.
    patch: Patch;
    /// Sets the number of pods of a workload and waits until it is so.
    scale: Scale;
    /// Replaces the pods of a workload and waits until that is done.
    restart: Restart;
    /// Kills the pods of a workload without notice and waits until others are ready in their place.
    kill: Restart;
    /// Lets a virtual machine join anew.
    onboard: Onboard;
    /// Runs a command in a pod.
    exec: Exec;
    /// Waits until an object is as described.
    wait: Wait;
    /// Creates remote secrets, so that the control planes of these clusters read each other.
    link: Link;
    /// Removes remote secrets.
    unlink: Link;
    /// Registers clusters with the management plane.
    register: Register;
    /// Takes clusters from the management plane.
    deregister: Register;
    /// Sends requests.
    traffic: Traffic;
    /// Opens one connection to the address of a pod.
    connect: Connect;
    /// Lets something fail.
    fault: Fault;
    /// Ends a fault and checks that it has healed.
    heal: Heal;
    /// Lets traffic in the background go on for some requests more.
    during: Background;
    /// Ends traffic in the background.
    stop: Background;
    /// Asks a proxy what it holds.
    config: Config;
}

impl Step {
    /// A step in the form that files have.
    #[must_use]
    #[track_caller]
    pub fn new(file: StepFile) -> Self {
        Self { file, places: Places::of(Location::caller()) }
    }

    /// A remark in the report.
    #[must_use]
    #[track_caller]
    pub fn note(text: impl Into<String>) -> Self {
        Self::new(StepFile { note: Some(text.into()), ..StepFile::default() })
    }

    /// Creates or changes objects, by server-side apply: JSON, or types of Kubernetes' or of the mesh.
    #[must_use]
    #[track_caller]
    pub fn apply(clusters: impl IntoIterator<Item: Into<String>>, objects: impl IntoIterator<Item: Serialize>) -> Self {
        let objects = objects.into_iter().map(|object| match serde_json::to_value(object) {
            Ok(Value::Object(fields)) => fields,
            // Anything else lacks what an object must have, which is said of it where it stands.
            _ => serde_json::Map::new(),
        });
        let apply = Apply { clusters: texts(clusters), objects: objects.collect(), ..Apply::default() };
        Self::new(StepFile { apply: Some(apply), ..StepFile::default() })
    }

    /// Creates or changes the objects of files.
    #[must_use]
    #[track_caller]
    pub fn apply_files(
        clusters: impl IntoIterator<Item: Into<String>>,
        files: impl IntoIterator<Item: Into<String>>,
    ) -> Self {
        let apply = Apply { clusters: texts(clusters), files: texts(files), ..Apply::default() };
        Self::new(StepFile { apply: Some(apply), ..StepFile::default() })
    }

    /// Deletes objects.
    #[must_use]
    #[track_caller]
    pub fn delete(clusters: impl IntoIterator<Item: Into<String>>, objects: impl IntoIterator<Item = Object>) -> Self {
        let delete = Delete { clusters: texts(clusters), objects: objects.into_iter().collect() };
        Self::new(StepFile { delete: Some(delete), ..StepFile::default() })
    }

    /// Waits until every proxy concerned acknowledged what was changed since the last such step.
    #[must_use]
    #[track_caller]
    pub fn converge() -> Self {
        Self::new(StepFile { converge: Some(Converge::default()), ..StepFile::default() })
    }

    /// Steps one after the other, under one name.
    #[must_use]
    #[track_caller]
    pub fn sequence(steps: impl IntoIterator<Item = Self>) -> Self {
        Self::new(StepFile::default()).with("sequence", steps, |file| &mut file.sequence)
    }

    /// Steps at once, under one name.
    #[must_use]
    #[track_caller]
    pub fn parallel(steps: impl IntoIterator<Item = Self>) -> Self {
        Self::new(StepFile::default()).with("parallel", steps, |file| &mut file.parallel)
    }

    /// Steps one after the other; [`Self::catch`] and [`Self::finally`] say what follows. The `try` of files.
    #[must_use]
    #[track_caller]
    pub fn attempt(steps: impl IntoIterator<Item = Self>) -> Self {
        Self::new(StepFile::default()).with("try", steps, |file| &mut file.attempt)
    }

    /// A negative control.
    #[must_use]
    #[track_caller]
    pub fn control(control: Control) -> Self {
        let mut step = Self::new(StepFile::default());
        let mut list = |key: &str, steps: Vec<Self>| {
            let mut files = Vec::new();
            for inner in steps {
                add(&mut step.places, &Path::root().key("control").key(key), &mut files, inner);
            }
            files
        };
        let (change, restore) = (list("change", control.change), list("restore", control.restore));
        let Control { repeat, refutes, expect, .. } = control;
        step.file.control = Some(ControlFile { change, repeat, refutes, expect, restore });
        step
    }

    /// Gives it a name, unique in the scenario; said for it otherwise.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.file.name = Some(name.into());
        self
    }

    /// Adds what must hold of what it measures.
    #[must_use]
    #[track_caller]
    pub fn expect(mut self, expected: impl Into<Expect>) -> Self {
        let list = self.file.expect.get_or_insert_default();
        self.places.put(&Path::root().key("expect").index(list.len()), Places::of(Location::caller()));
        list.push(expected.into());
        self
    }

    /// Adds what undoes it at the end of its group, whatever happened.
    #[must_use]
    pub fn cleanup(self, step: Self) -> Self {
        self.with("cleanup", [step], |file| &mut file.cleanup)
    }

    /// Beside [`Self::attempt`]: what is done when one of its steps did not pass.
    #[must_use]
    pub fn catch(self, steps: impl IntoIterator<Item = Self>) -> Self {
        self.with("catch", steps, |file| &mut file.catch)
    }

    /// Beside [`Self::attempt`]: what is done afterwards, whatever happened.
    #[must_use]
    pub fn finally(self, steps: impl IntoIterator<Item = Self>) -> Self {
        self.with("finally", steps, |file| &mut file.finally)
    }

    pub(super) fn into_parts(self) -> (StepFile, Places) {
        (self.file, self.places)
    }

    fn with(
        mut self,
        key: &str,
        steps: impl IntoIterator<Item = Self>,
        list: fn(&mut StepFile) -> &mut Option<Vec<StepFile>>,
    ) -> Self {
        let files = list(&mut self.file).get_or_insert_default();
        for step in steps {
            add(&mut self.places, &Path::root().key(key), files, step);
        }
        self
    }
}

fn texts(texts: impl IntoIterator<Item: Into<String>>) -> Vec<String> {
    texts.into_iter().map(Into::into).collect()
}
