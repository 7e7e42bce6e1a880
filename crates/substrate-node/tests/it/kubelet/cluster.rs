//! Starts clusters, and says pods to them.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster in a world of its own. It ends with this value.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) directory: tempfile::TempDir,
    process: Child,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        // Another test of this process may have been first.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().expect("a directory");
        let mut process = Command::new(program())
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the cluster starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the cluster announces itself");
        let announced: Value = serde_json::from_str(&line).expect("the announcement is JSON");
        let kubeconfig =
            Kubeconfig::read_from(announced["kubeconfig"].as_str().expect("a path")).expect("a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.expect("the kubeconfig is complete")).expect("a client");
        Self { client, directory, process }
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates an object of the namespace `default`.
    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
        K: serde::de::DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
    {
        let object = serde_json::from_value(object).expect("the object is of its kind");
        let api: Api<K> = Api::namespaced(self.client.clone(), "default");
        // The account of a namespace that is some milliseconds old may not be there yet.
        let created = eventually::poll("the object to be accepted", PATIENCE, Duration::from_millis(5), async || {
            api.create(&PostParams::default(), &object).await
        });
        created.await.expect("the object is accepted")
    }

    /// Waits until a pod is as it should be.
    pub(crate) async fn until(&self, name: &str, what: &str, condition: impl Condition<Pod>) -> Option<Pod> {
        let reached = tokio::time::timeout(PATIENCE, await_condition(self.pods(), name, condition)).await;
        if let Ok(pod) = reached {
            return pod.expect("the watch goes on");
        }
        let last = self.pods().get_opt(name).await.expect("the API server answers");
        panic!("{name} did not become {what}: {}", serde_json::to_string_pretty(&last).expect("a pod is JSON"));
    }

    /// Waits until a pod is Ready.
    pub(crate) async fn ready(&self, name: &str) -> Pod {
        self.until(name, "Ready", |pod: Option<&Pod>| pod.is_some_and(is_ready)).await.expect("it exists")
    }

    /// Waits until a pod is gone.
    pub(crate) async fn gone(&self, name: &str) {
        self.until(name, "gone", |pod: Option<&Pod>| pod.is_none()).await;
    }

    /// Runs a command of the shell in a container; its output.
    pub(crate) async fn shell(&self, pod: &str, container: &str, script: &str) -> String {
        let parameters = AttachParams::default().container(container).stderr(false);
        let mut process = self.pods().exec(pod, ["sh", "-c", script], &parameters).await.expect("the command starts");
        let mut output = String::new();
        let stdout = process.stdout();
        stdout.expect("standard output was asked for").read_to_string(&mut output).await.expect("it can be read");
        process.join().await.expect("the command ends");
        output
    }

    pub(crate) async fn log(&self, pod: &str, container: &str, previous: bool) -> String {
        let parameters = LogParams { container: Some(container.to_owned()), previous, ..LogParams::default() };
        self.pods().logs(pod, &parameters).await.expect("there is a log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Its standard input ends with it; the kill is for one that hangs.
        drop(self.process.stdin.take());
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A pod of the phase.
pub(crate) fn has_phase(phase: &'static str) -> impl Fn(Option<&Pod>) -> bool {
    move |pod| pod.is_some_and(|pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some(phase)))
}

/// The example program, which cargo builds together with the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let folder = test.ancestors().nth(2).expect("tests are in <target>/<profile>/deps");
    let program = folder.join("examples").join("cluster");
    assert!(program.exists(), "{} is not built: run the tests of the whole package", program.display());
    program
}
