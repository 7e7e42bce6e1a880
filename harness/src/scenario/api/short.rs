//! Short ways to write the values that most scenarios are made of.

use serde_json::Value;

use super::{
    ConnectionOutcome, Denied, Errors, Expect, Failover, Failures, Identity, Mtls, Object, Restart, Sources, Split,
    Traffic, Workload,
};
use crate::scenario::file::AnsweredFile;
use crate::scenario::plan::ObjectRef;

impl Workload {
    /// A workload of a cluster, by the name of its Deployment.
    #[must_use]
    pub fn new(cluster: impl Into<String>, workload: impl Into<String>) -> Self {
        Self { cluster: cluster.into(), workload: workload.into(), namespace: None, vm: None }
    }

    /// A virtual machine.
    #[must_use]
    pub fn machine(name: impl Into<String>) -> Self {
        Self { vm: Some(name.into()), ..Self::default() }
    }

    /// The one in this namespace; needed only where several have such a workload.
    #[must_use]
    pub fn in_namespace(self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..self }
    }
}

impl From<Workload> for Restart {
    fn from(Workload { cluster, workload, namespace, vm }: Workload) -> Self {
        Self { cluster, workload, namespace, vm, timeout: None }
    }
}

impl Object {
    /// The name of an object that is written out. What it lacks is empty here, and reported of the object itself.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let ObjectRef { api_version, kind, namespace, name } = ObjectRef::of(object);
        Self { api_version, kind, namespace, name }
    }
}

impl Split {
    /// A split by weights in percent, each share within so many points of its weight.
    #[must_use]
    pub fn new<Category: Into<String>>(
        by: impl Into<String>,
        weights: impl IntoIterator<Item = (Category, f64)>,
        margin: f64,
    ) -> Self {
        let weights = weights.into_iter().map(|(category, weight)| (category.into(), weight)).collect();
        Self { by: by.into(), weights, margin, ..Self::default() }
    }
}

impl Expect {
    /// Every request is answered with status 200.
    #[must_use]
    pub fn answered() -> Self {
        Self { answered: Some(AnsweredFile::All), ..Self::default() }
    }

    /// The same of the requests of one source only, where several send.
    #[must_use]
    pub fn of(self, source: Workload) -> Self {
        Self { from: Some(source), ..self }
    }

    /// An expression in CEL is true of what was observed.
    #[must_use]
    pub fn cel(expression: impl Into<String>) -> Self {
        Self { cel: Some(expression.into()), ..Self::default() }
    }

    /// The connection attempt ends in one of these ways.
    #[must_use]
    pub fn connection(outcomes: impl IntoIterator<Item = ConnectionOutcome>) -> Self {
        Self { connection: Some(outcomes.into_iter().collect()), ..Self::default() }
    }

    /// Whether the pod itself is reached.
    #[must_use]
    pub fn reached(reached: bool) -> Self {
        Self { reached: Some(reached), ..Self::default() }
    }

    /// Answers come in time: the largest time by quantile, such as `("p99", "200ms")`.
    #[must_use]
    pub fn latency<Text: Into<String>>(bounds: impl IntoIterator<Item = (Text, Text)>) -> Self {
        let bounds = bounds.into_iter().map(|(quantile, time)| (quantile.into(), time.into()));
        Self { latency: Some(bounds.collect()), ..Self::default() }
    }
}

/// Expectations that are one value of the YAML form.
macro_rules! expectations {
    ($($key:ident: $file:ty;)*) => {
        $(impl From<$file> for Expect {
            fn from($key: $file) -> Self {
                Self { $key: Some($key), ..Self::default() }
            }
        })*
    };
}

expectations! {
    split: Split;
    mtls: Mtls;
    failures: Failures;
    errors: Errors;
    identity: Identity;
    denied: Denied;
    failover: Failover;
}

impl Traffic {
    /// As many requests as the expectations need to be decided, from a pod of that workload, or of each of an array.
    #[must_use]
    pub fn new(from: impl Into<Sources>, url: impl Into<String>) -> Self {
        Self {
            from: from.into(),
            workers: None,
            url: url.into(),
            hop: None,
            method: None,
            body: None,
            headers: std::collections::BTreeMap::new(),
            requests: None,
            early_stop: false,
            connections: crate::scenario::file::eight(),
            new_connection_per_request: false,
            rate: None,
            background: false,
            timeout: None,
        }
    }
}
