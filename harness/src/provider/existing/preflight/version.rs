//! Whether the API server is new enough.

use k8s_openapi::apimachinery::pkg::version::Info;

use crate::cluster::{Cluster, Error};
use crate::provider::existing::contexts::Refusal;

/// The oldest minor version that the supported releases of the mesh run on.
const OLDEST: u32 = 29;

/// Version of an API server.
pub(super) struct Version {
    /// As `1.34.1`.
    pub(super) text: String,
    minor: Option<u32>,
}

/// Asks for the version.
pub(super) async fn of(cluster: &Cluster) -> Result<Version, Error> {
    let asked = cluster.client().apiserver_version().await;
    asked.map(|info| Version::from(&info)).map_err(|source| cluster.api_error("ask for the version".to_owned(), source))
}

impl From<&Info> for Version {
    fn from(info: &Info) -> Self {
        // Managed clusters add signs of their own, as in `34+`.
        let digits: String = info.minor.chars().take_while(char::is_ascii_digit).collect();
        let minor = (info.major == "1").then(|| digits.parse().ok()).flatten();
        Self { text: info.git_version.trim_start_matches('v').to_owned(), minor }
    }
}

impl Version {
    /// What is to be said of a version that is too old.
    pub(super) fn too_old(&self, cluster: &str) -> Option<Refusal> {
        let too_old = self.minor.is_none_or(|minor| minor < OLDEST);
        too_old.then(|| {
            Refusal::new(
                format!("{cluster} runs Kubernetes {}; the mesh needs 1.{OLDEST} or newer", self.text),
                "name another cluster by --context, or upgrade this one",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: &str, minor: &str, text: &str) -> Version {
        Version::from(&Info {
            major: major.to_owned(),
            minor: minor.to_owned(),
            git_version: text.to_owned(),
            ..Info::default()
        })
    }

    #[test]
    fn versions_of_managed_clusters_are_understood() {
        assert!(version("1", "34+", "v1.34.1-eks-1234").too_old("a").is_none());
        let problem = version("1", "24", "v1.24.0").too_old("a").expect("too old");
        assert_eq!(problem.message, "a runs Kubernetes 1.24.0; the mesh needs 1.29 or newer");
        assert!(version("", "", "?").too_old("a").is_some());
    }
}
