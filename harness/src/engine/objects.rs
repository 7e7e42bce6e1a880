//! Steps that change objects, and those that wait for what was changed.

use kube::ResourceExt as _;
use kube::api::{Patch as KubePatch, PatchParams};
use mesh_types::hub::names;
use verdict::Outcome;

use super::context::Error;
use super::runner::{Done, Runner};
use super::{rollout::seconds, watch};
use crate::check::convergence::{self, Expectation as Convergence};
use crate::cluster::FIELD_MANAGER;
use crate::install::remote_secret;
use crate::scenario::plan::{Apply, Change, ClusterConvergence, Converge, Delete, Link, ObjectRef, Patch, Wait};

/// Whether an API server answered that it will not: anything else says nothing about the object.
fn is_refusal(error: &crate::cluster::Error) -> bool {
    let crate::cluster::Error::Api { source, .. } = error else { return false };
    matches!(source.as_ref(), kube::Error::Api(status) if (400..500).contains(&status.code))
}

impl Runner<'_> {
    pub(super) async fn apply(&self, apply: &Apply) -> Result<Done, Error> {
        if let Some(words) = &apply.refused {
            return self.refused(apply, words).await;
        }
        for name in &apply.clusters {
            let cluster = self.environment.cluster(name)?;
            for object in &apply.objects {
                let applied = cluster.apply(object).await?;
                let version = applied.resource_version().unwrap_or_default();
                self.applied.borrow_mut().insert(name, ObjectRef::of(object), version);
            }
        }
        let names: Vec<String> = apply.objects.iter().map(|object| ObjectRef::of(object).key()).collect();
        Ok(Done::passed(format!("applied {} on {}", names.join(", "), apply.clusters.join(", "))))
    }

    /// Each object must be refused, for the reason that is given. One that is taken is taken back.
    async fn refused(&self, apply: &Apply, words: &str) -> Result<Done, Error> {
        let mut evidence = Vec::new();
        let mut outcome = Outcome::Pass;
        for name in &apply.clusters {
            let cluster = self.environment.cluster(name)?;
            for object in &apply.objects {
                let key = ObjectRef::of(object).key();
                match cluster.apply(object).await {
                    Ok(_) => {
                        cluster.delete(object).await?;
                        outcome = Outcome::Fail;
                        evidence.push(format!("{name} took {key}"));
                    }
                    Err(error) if !is_refusal(&error) => return Err(error.into()),
                    Err(error) => {
                        let said = crate::cluster::chain(&error);
                        if !said.contains(words) {
                            outcome = Outcome::Fail;
                        }
                        evidence.push(said);
                    }
                }
            }
        }
        Ok(Done { outcome, evidence })
    }

    pub(super) async fn delete(&self, delete: &Delete) -> Result<Done, Error> {
        for name in &delete.clusters {
            let cluster = self.environment.cluster(name)?;
            for object in &delete.objects {
                cluster.delete(&object.manifest()).await?;
            }
        }
        let names: Vec<String> = delete.objects.iter().map(ObjectRef::key).collect();
        Ok(Done::passed(format!("deleted {} on {}", names.join(", "), delete.clusters.join(", "))))
    }

    pub(super) async fn patch(&self, patch: &Patch) -> Result<Done, Error> {
        for name in &patch.clusters {
            let cluster = self.environment.cluster(name)?;
            let (api, what) = cluster.api_of(&patch.object.manifest()).await?;
            let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let change = match &patch.change {
                Change::Merge(value) => KubePatch::Merge(value.clone()),
                Change::Json(operations) => KubePatch::Json(operations.clone()),
            };
            let patched = api
                .patch(&patch.object.name, &parameters, &change)
                .await
                .map_err(|source| cluster.api_error(format!("patch {what}"), source))?;
            let version = patched.resource_version().unwrap_or_default();
            self.applied.borrow_mut().insert(name, patch.object.clone(), version);
        }
        Ok(Done::passed(format!("patched {} on {}", patch.object.key(), patch.clusters.join(", "))))
    }

    /// Watches the object until it is as described. That it never is refutes the step: its author said it would be.
    pub(super) async fn wait(&self, wait: &Wait) -> Result<Done, Error> {
        let cluster = self.environment.cluster(&wait.cluster)?;
        let (api, what) = cluster.api_of(&wait.object.manifest()).await?;
        let watched = watch::until(api, &wait.object.name, wait.timeout, |object| {
            if wait.until.holds(object) { Ok(()) } else { Err(wait.until.seen(object)) }
        });
        match watched.await {
            Ok(waited) => Ok(Done::passed(format!("{what} came {} within {}", wait.until, seconds(waited)))),
            Err(watch::Error::TimedOut { waited, last }) => {
                let evidence = format!("waited {} for {what} {}; {last}", seconds(waited), wait.until);
                Ok(Done { outcome: Outcome::Fail, evidence: vec![evidence] })
            }
            Err(watch::Error::Watch(source)) => Err(cluster.api_error(format!("watch {what}"), source).into()),
        }
    }

    pub(super) async fn link(&self, link: &Link) -> Result<Done, Error> {
        for (reader, read) in &link.pairs {
            let reader = self.environment.cluster(reader)?;
            if link.linked {
                let secret = remote_secret::create(self.environment.cluster(read)?).await?;
                reader.apply(&secret).await?;
            } else {
                reader.delete(&remote_secret::name_of(read)).await?;
            }
        }
        let pairs: Vec<String> = link.pairs.iter().map(|(reader, read)| format!("{reader} reads {read}")).collect();
        let verb = if link.linked { "created" } else { "removed" };
        Ok(Done::passed(format!("remote secrets {verb}: {}", pairs.join(", "))))
    }

    pub(super) async fn converge(&self, converge: &Converge) -> Result<Done, Error> {
        let each = converge.clusters.iter().map(async |wanted| {
            if wanted.plane {
                let evidence = self.carried_out(wanted, converge.timeout, converge.last).await?.join("; ");
                if wanted.endpoints.is_empty() && wanted.present.is_empty() && wanted.absent.is_empty() {
                    return Ok(evidence);
                }
            }
            let cluster = self.environment.cluster(&wanted.cluster)?;
            let expectation = self.expectation(wanted).await?;
            let remotes = wanted.remotes.iter().map(|name| self.environment.cluster(name));
            let remotes = remotes.collect::<Result<Vec<_>, Error>>()?;
            let converged = if converge.last {
                let acknowledged = convergence::acknowledged(cluster, &remotes, &expectation, converge.timeout).await;
                // Not before: by then nobody may have begun to drain, and a wait would end at once.
                for name in wanted.remotes.iter().chain([&wanted.cluster]) {
                    self.environment.leave_draining(name);
                }
                acknowledged?
            } else {
                convergence::converge(cluster, &remotes, &expectation, converge.timeout).await?
            };
            Ok(format!(
                "{}: {} proxies acknowledged snapshot {}",
                wanted.cluster, converged.proxies, converged.snapshot
            ))
        });
        let evidence = futures::future::join_all(each).await.into_iter().collect::<Result<Vec<String>, Error>>()?;
        Ok(Done { outcome: Outcome::Pass, evidence })
    }

    async fn expectation(&self, wanted: &ClusterConvergence) -> Result<Convergence, Error> {
        let mut expectation = Convergence {
            watched: wanted.watched.clone(),
            not_watched: wanted.not_watched.clone(),
            endpoints: self.endpoints(&wanted.endpoints, self.environment.cluster(&wanted.cluster)?).await?,
            ..Convergence::default()
        };
        for object in &wanted.present {
            let version = match self.put_back(&wanted.cluster, object).await? {
                Some(version) => version,
                None => self.applied.borrow().version(&wanted.cluster, object).cloned().unwrap_or_default(),
            };
            expectation.resources.insert(object.key(), Some(version));
        }
        for object in &wanted.absent {
            let version = self.put_back(&wanted.cluster, object).await?;
            expectation.resources.insert(object.key(), version);
        }
        Ok(expectation)
    }

    /// The version of an object that belongs to the management plane: whatever a step did to it, the plane makes it again what
    /// it was. `None` where there is none, or where it is a step's own.
    async fn put_back(&self, cluster: &str, object: &ObjectRef) -> Result<Option<String>, Error> {
        let found = self.environment.cluster(cluster)?.get(&object.manifest()).await?;
        let of_plane = found.filter(|found| found.labels().contains_key(names::LABEL_OWNER));
        Ok(of_plane.and_then(|found| found.resource_version()))
    }
}
