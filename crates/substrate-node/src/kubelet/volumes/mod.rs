//! The volumes of one pod: made before its containers start, kept current while they run.
//!
//! `payload` decides what files contain, `atomic` writes them; this file fetches what they need and remembers what
//! was written. Everything lives in one directory per pod, which goes with the pod.

mod atomic;
mod payload;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::Api;
use kube::api::PostParams;

use super::context::{ConfigRef, NodeContext};
use super::pod::observed::Failure;
use payload::{Part, Payload, Source};

/// A token is renewed when four fifths of its life are over, or after a day, as in Kubernetes.
const TOKEN_LIFE: (i64, i64) = (4, 5);
const LONGEST_TOKEN_USE: SignedDuration = SignedDuration::from_hours(24);
const DEFAULT_TOKEN_SECONDS: i64 = 3600;

/// See the module.
pub(super) struct Volumes {
    directory: PathBuf,
    volumes: BTreeMap<String, VolumeState>,
}

struct VolumeState {
    source: Source,
    written: Option<Payload>,
    tokens: BTreeMap<String, Token>,
}

struct Token {
    text: String,
    renew_at: Timestamp,
}

impl Volumes {
    /// Looks at the volumes of a pod; writes nothing yet. `directory` will hold them.
    ///
    /// # Errors
    /// A volume that this node cannot have.
    pub(super) fn new(pod: &Pod, directory: PathBuf) -> Result<Self, Failure> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let state = |source| VolumeState { source, written: None, tokens: BTreeMap::new() };
        let classified = volumes.map(|volume| Ok((volume.name.clone(), state(payload::classify(volume)?))));
        let volumes = classified.collect::<Result<_, String>>().map_err(|text| Failure::new("FailedMount", text))?;
        Ok(Self { directory, volumes })
    }

    /// Where a volume is, and whether containers may only read it.
    pub(super) fn mount(&self, name: &str) -> Option<(PathBuf, bool)> {
        let volume = self.volumes.get(name)?;
        Some((self.directory.join(name), matches!(volume.source, Source::Files(_))))
    }

    /// The ConfigMaps and Secrets whose changes concern these volumes.
    pub(super) fn references(&self, namespace: &str) -> BTreeSet<ConfigRef> {
        let mut references = BTreeSet::new();
        for part in self.volumes.values().flat_map(|volume| volume.parts()) {
            match part {
                Part::ConfigMap { name, .. } => references.insert(ConfigRef::config_map(namespace, name)),
                Part::Secret { name, .. } => references.insert(ConfigRef::secret(namespace, name)),
                Part::DownwardApi { .. } | Part::Token { .. } => false,
            };
        }
        references
    }

    /// Writes what is missing or has changed. Answers after which time a token is due for renewal.
    ///
    /// # Errors
    /// The first reason for which a volume is not complete; the others are complete nevertheless.
    pub(super) async fn write(&mut self, context: &NodeContext, pod: &Pod) -> Result<Option<Duration>, Failure> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let referenced = context.fetch(&self.references(namespace)).await.map_err(mount_failure)?;
        let facts = context.facts(None);
        let directory = self.directory.clone();
        let mut problem = None;
        for (name, volume) in &mut self.volumes {
            let path = directory.join(name);
            if let Err(text) = volume.write(context, pod, &path, &referenced, &facts).await {
                problem.get_or_insert_with(|| Failure::new("FailedMount", format!("volume \"{name}\": {text}")));
            }
        }
        let renewals = self.volumes.values().flat_map(|volume| volume.tokens.values()).map(|token| token.renew_at);
        let next =
            renewals.min().map(|at| Timestamp::now().duration_until(at).max(SignedDuration::ZERO).unsigned_abs());
        problem.map_or(Ok(next), Err)
    }
}

impl VolumeState {
    fn parts(&self) -> &[Part] {
        match &self.source {
            Source::Files(parts) => parts,
            Source::Empty => &[],
        }
    }

    async fn write(
        &mut self,
        context: &NodeContext,
        pod: &Pod,
        path: &Path,
        referenced: &super::environment::Referenced,
        facts: &super::downward::Facts,
    ) -> Result<(), String> {
        if matches!(self.source, Source::Empty) {
            return std::fs::create_dir_all(path).and_then(|()| open_to_all(path)).map_err(|error| error.to_string());
        }
        for part in self.parts().to_vec() {
            if let Part::Token { projection, .. } = part {
                self.renew_token(context, pod, &projection).await?;
            }
        }
        let tokens = self.tokens.iter().map(|(path, token)| (path.clone(), token.text.clone())).collect();
        let payload = payload::payload(pod, self.parts(), referenced, &tokens, facts)?;
        if self.written.as_ref() != Some(&payload) {
            atomic::write(path, &payload).map_err(|error| error.to_string())?;
            self.written = Some(payload);
        }
        Ok(())
    }

    async fn renew_token(
        &mut self,
        context: &NodeContext,
        pod: &Pod,
        projection: &ServiceAccountTokenProjection,
    ) -> Result<(), String> {
        if self.tokens.get(&projection.path).is_some_and(|token| token.renew_at > Timestamp::now()) {
            return Ok(());
        }
        let token = request_token(context, pod, projection)
            .await
            .map_err(|error| format!("no service account token: {error}"))?;
        self.tokens.insert(projection.path.clone(), token);
        Ok(())
    }
}

/// An emptyDir is writable by everybody, as in Kubernetes.
fn open_to_all(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))
}

async fn request_token(
    context: &NodeContext,
    pod: &Pod,
    projection: &ServiceAccountTokenProjection,
) -> Result<Token, kube::Error> {
    let meta = &pod.metadata;
    let account =
        pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_else(|| "default".into());
    let seconds = projection.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(projection.audience.iter().cloned().collect()),
            expiration_seconds: Some(seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
            }),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let accounts: Api<ServiceAccount> = Api::namespaced(context.client.clone(), namespace);
    let answer = accounts.create_token_request(&account, &PostParams::default(), &request).await?;
    let status = answer.status.unwrap_or_default();
    let now = Timestamp::now();
    let life = status.expiration_timestamp.map_or(SignedDuration::from_secs(seconds), |end| now.duration_until(end.0));
    let (part, of) = TOKEN_LIFE;
    let used = SignedDuration::from_secs(life.as_secs() * part / of).min(LONGEST_TOKEN_USE);
    Ok(Token { text: status.token.unwrap_or_default(), renew_at: now.checked_add(used).unwrap_or(now) })
}

fn mount_failure(error: kube::Error) -> Failure {
    Failure::new("FailedMount", format!("the objects that the volumes refer to could not be read: {error}"))
}
