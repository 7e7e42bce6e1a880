//! Who of several managers leads: the holder of a Lease. Others wait; whoever loses it ends.

use std::time::Duration;

use futures::{StreamExt as _, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::runtime::watcher;
use kube::{Api, Client};
use kube_support::error::describe;
use kube_support::pause;
use kube_support::watch::{Change, follow};
use tokio::time::Instant;

/// How leading is settled.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who asks.
    pub identity: String,
    /// How long a holder that is silent is believed to live.
    pub duration: Duration,
    /// After how long without a renewal the holder gives up; shorter than `duration`, so that there are never two.
    pub deadline: Duration,
    /// How often it is renewed.
    pub renewal: Duration,
}

impl Settings {
    /// With the times that controllers of Kubernetes have.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            renewal: Duration::from_secs(2),
        }
    }
}

/// What a look at the Lease comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    /// Nobody holds it, or its holder has not renewed it for too long.
    Free,
    /// It is held; nothing can be done for this long.
    Held(Duration),
}

/// Looks at the Lease. `unchanged` is for how long, by the own clock, it has not been renewed.
fn look(spec: Option<&LeaseSpec>, identity: &str, unchanged: Duration, duration: Duration) -> Look {
    let Some(spec) = spec else { return Look::Free };
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() || holder == identity {
        return Look::Free;
    }
    let own = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    match own.unwrap_or(duration).checked_sub(unchanged).filter(|left| !left.is_zero()) {
        Some(left) => Look::Held(left),
        None => Look::Free,
    }
}

/// A Lease that is held.
pub struct Held {
    settings: Settings,
    api: Api<Lease>,
    lease: Lease,
    renewed: Instant,
}

/// Waits until the Lease can be taken, and takes it.
pub async fn acquire(client: Client, settings: Settings) -> Held {
    let api: Api<Lease> = Api::namespaced(client, &settings.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", settings.name));
    let changes = follow(api.clone(), config, Some);
    pin_mut!(changes);
    let mut seen: Option<Lease> = None;
    let mut since = Instant::now();
    let mut listed = false;
    loop {
        let spec = seen.as_ref().and_then(|lease| lease.spec.as_ref());
        let now = look(spec, &settings.identity, since.elapsed(), settings.duration);
        let wait = match now {
            Look::Free if listed => {
                let asked = Instant::now();
                match take(&api, &settings, seen.as_ref()).await {
                    Ok(lease) => {
                        tracing::info!(identity = settings.identity, "this manager leads");
                        return Held { settings, api, lease, renewed: asked };
                    }
                    Err(error) => tracing::info!(error = %describe(&error), "the lease is not taken yet"),
                }
                settings.renewal
            }
            Look::Free => settings.renewal,
            Look::Held(left) => left,
        };
        let changed = tokio::select! {
            Some(change) = changes.next() => change,
            () = pause::for_a(wait) => continue,
        };
        let lease = match changed {
            Change::All(all) => {
                listed = true;
                all.into_values().next()
            }
            Change::Set(_, lease) => lease,
            Change::Gone(_) => None,
            Change::Failed(error) => {
                tracing::warn!(error = %describe(&error), "the lease cannot be watched at the moment");
                continue;
            }
        };
        if renewal(lease.as_ref()) != renewal(seen.as_ref()) {
            since = Instant::now();
        }
        seen = lease;
    }
}

/// What changes when a lease is renewed.
fn renewal(lease: Option<&Lease>) -> Option<(Option<String>, Option<MicroTime>)> {
    let spec = lease?.spec.as_ref()?;
    Some((spec.holder_identity.clone(), spec.renew_time.clone()))
}

async fn take(api: &Api<Lease>, settings: &Settings, seen: Option<&Lease>) -> Result<Lease, kube::Error> {
    let now = MicroTime(Timestamp::now());
    let before = seen.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let same = before.holder_identity.as_deref() == Some(settings.identity.as_str());
    let spec = LeaseSpec {
        holder_identity: Some(settings.identity.clone()),
        lease_duration_seconds: Some(i32::try_from(settings.duration.as_secs().max(1)).unwrap_or(i32::MAX)),
        acquire_time: Some(now.clone()),
        renew_time: Some(now),
        lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(!same)),
        ..LeaseSpec::default()
    };
    match seen {
        // Its version is in it, so that of two only one succeeds.
        Some(lease) => {
            let lease = Lease { spec: Some(spec), ..lease.clone() };
            api.replace(&settings.name, &PostParams::default(), &lease).await
        }
        None => {
            let metadata = ObjectMeta { name: Some(settings.name.clone()), ..ObjectMeta::default() };
            api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await
        }
    }
}

impl Held {
    /// Renews the Lease for as long as it is polled; returns when it is lost, with the reason.
    pub async fn keep(&mut self) -> String {
        let mut asked = self.renewed;
        loop {
            let left = self.settings.deadline.saturating_sub(self.renewed.elapsed());
            // After an answer that took long the next question is due.
            pause::for_a(self.settings.renewal.saturating_sub(asked.elapsed()).min(left)).await;
            let left = self.settings.deadline.saturating_sub(self.renewed.elapsed());
            if left.is_zero() {
                return format!("it was not renewed for {:?}", self.settings.deadline);
            }
            // Others count from when the server has it, which is later than this.
            asked = Instant::now();
            match tokio::time::timeout(left, self.renew()).await {
                Ok(Ok(())) => self.renewed = asked,
                Ok(Err(Some(reason))) => return reason,
                Ok(Err(None)) | Err(_) => {}
            }
        }
    }

    /// `Err` with a reason where another holds it, without one where it may succeed later.
    async fn renew(&mut self) -> Result<(), Option<String>> {
        if let Some(spec) = &mut self.lease.spec {
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        match self.api.replace(&self.settings.name, &PostParams::default(), &self.lease).await {
            Ok(lease) => {
                self.lease = lease;
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => self.look_again().await,
            Err(error) => {
                tracing::warn!(error = %describe(&error), "the lease is not renewed");
                Err(None)
            }
        }
    }

    async fn look_again(&mut self) -> Result<(), Option<String>> {
        let lease = self.api.get_opt(&self.settings.name).await.map_err(|_| None)?;
        let Some(lease) = lease else { return Err(Some("it was deleted".to_owned())) };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        if holder != self.settings.identity {
            return Err(Some(format!("{holder:?} holds it")));
        }
        self.lease = lease;
        Err(None)
    }

    /// Gives the Lease away, so that another need not wait for its end.
    pub async fn release(mut self) {
        if let Some(spec) = &mut self.lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let params = PostParams::default();
        let released = self.api.replace(&self.settings.name, &params, &self.lease);
        if !matches!(tokio::time::timeout(Duration::from_secs(2), released).await, Ok(Ok(_))) {
            tracing::warn!("the lease is not released; others have to wait for its end");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(by: &str) -> LeaseSpec {
        LeaseSpec { holder_identity: Some(by.to_owned()), lease_duration_seconds: Some(15), ..LeaseSpec::default() }
    }

    #[test]
    fn a_lease_is_free_once_its_holder_was_silent_for_its_length() {
        let after = |seconds| look(Some(&held("a")), "b", Duration::from_secs(seconds), Duration::from_secs(99));
        assert_eq!(after(5), Look::Held(Duration::from_secs(10)));
        assert_eq!(after(15), Look::Free);
    }

    #[test]
    fn a_lease_of_nobody_or_of_oneself_is_free() {
        let look = |spec: Option<&LeaseSpec>| look(spec, "b", Duration::ZERO, Duration::from_secs(15));
        assert_eq!(look(None), Look::Free);
        assert_eq!(look(Some(&held(""))), Look::Free);
        assert_eq!(look(Some(&held("b"))), Look::Free, "of the same pod, before it was started again");
    }
}
