//! Kubernetes clients of kubeconfig files, as the harness uses them for every provider.

use std::time::Duration;

use camino::Utf8Path;

use super::patience::Patience;
use crate::cluster::{Access, Cluster};

/// How long an API server may take to answer: longer than one is paused by a fault.
const ANSWER: Duration = Duration::from_secs(60);

/// A kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path}: {message}")]
pub struct Error {
    /// The file.
    pub path: camino::Utf8PathBuf,
    /// The cause.
    pub message: String,
}

/// A client for the current context of a kubeconfig.
///
/// # Errors
/// [`Error`].
pub async fn of_file(path: &Utf8Path) -> Result<kube::Client, Error> {
    of_file_within(path, ANSWER).await
}

/// A handle of a cluster on a network.
///
/// # Errors
/// [`Error`].
pub(super) async fn cluster(name: &str, network: &str, access: Access) -> Result<Cluster, Error> {
    let client = of_file(&access.kubeconfig).await?;
    Ok(Cluster::new(name, network, access, client))
}

async fn of_file_within(path: &Utf8Path, answer: Duration) -> Result<kube::Client, Error> {
    let broken = |message: String| Error { path: path.to_owned(), message };
    let kubeconfig = kube::config::Kubeconfig::read_from(path).map_err(|error| broken(error.to_string()))?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
        .await
        .map_err(|error| broken(error.to_string()))?;
    // A retry inside the client would hide what a verdict is about.
    config.default_retry = false;
    // Not the client's own limits: those end streams that are silent.
    let builder = kube::client::ClientBuilder::try_from(config).map_err(|error| broken(error.to_string()))?;
    Ok(builder.with_layer(&Patience(answer)).build())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What becomes of a question to an API server that says so much and then nothing more.
    async fn asked(words: &'static [u8]) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = format!("http://{}", listener.local_addr().expect("an address"));
        let directory = tempfile::tempdir().expect("a folder");
        let kubeconfig = Utf8Path::from_path(directory.path()).expect("UTF-8").join("kubeconfig");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
             clusters: [{{name: a, cluster: {{server: '{server}'}}}}], users: [{{name: a, user: {{token: a}}}}]}}"
        );
        std::fs::write(&kubeconfig, text).expect("written");
        let client = of_file_within(&kubeconfig, Duration::from_millis(200)).await.expect("a client");
        let speak = async {
            let (mut stream, _) = listener.accept().await.expect("it is asked");
            assert!(stream.read(&mut [0; 4096]).await.expect("a question") > 0);
            stream.write_all(words).await.expect("it listens");
            stream
        };
        let ask = tokio::time::timeout(Duration::from_secs(30), client.apiserver_version());
        let (answer, _stream) = tokio::join!(ask, speak);
        crate::cluster::chain(&answer.expect("nobody waits without end").expect_err("nobody answers"))
    }

    #[tokio::test]
    async fn an_api_server_that_never_answers_is_not_waited_for_without_end() {
        let error = asked(b"").await;
        assert!(error.contains("did not begin to answer within 0.2 s"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_that_stops_half_way_is_not_waited_for_without_end() {
        let error = asked(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\ncontent-type: application/json\r\n\r\n{").await;
        assert!(error.contains("began to answer, and had not ended after 0.2 s"), "{error}");
    }
}
