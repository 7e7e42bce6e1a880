//! What the containers of an environment tell when something has failed: nodes of kind clusters, and the router between their networks.

use bollard::container::LogOutput;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::LogsOptionsBuilder;
use futures::TryStreamExt as _;

use super::engine::{Engine, Error};
use crate::report::redact::REDACTED;

/// Lines of a log that are kept.
const LINES: &str = "2000";
/// What the programs say that make a container a node.
const JOURNAL: &[&str] = &["journalctl", "-u", "kubelet", "-u", "containerd", "--no-pager", "-n", LINES];
const RULES: &[&str] = &["nft", "list", "ruleset"];
const ROUTES: &[&str] = &["ip", "-4", "route"];
const ADDRESSES: &[&str] = &["ip", "-4", "address"];

/// The containers of an environment, to be asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Nodes {
    engine: Engine,
    /// Names of clusters, and what kind calls them.
    clusters: Vec<(String, String)>,
    router: Option<String>,
}

/// Something to ask a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What it is, for people.
    pub what: &'static str,
    /// The file for the answer.
    pub file: &'static str,
    /// The container.
    pub container: String,
    ask: Ask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Log,
    Command(&'static [&'static str]),
    Inspect,
}

impl Nodes {
    /// Of clusters, by name and by kind's name, and of a router, where there is one.
    #[must_use]
    pub fn new(engine: Engine, clusters: Vec<(String, String)>, router: Option<String>) -> Self {
        Self { engine, clusters, router }
    }

    /// Names of the clusters.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        self.clusters.iter().map(|(name, _)| name.as_str())
    }

    /// What to ask the nodes of a cluster that are there.
    ///
    /// # Errors
    /// Where Docker cannot be asked which there are.
    pub async fn of_cluster(&self, name: &str) -> Result<Vec<Question>, Error> {
        let mut questions = Vec::new();
        for (_, kind_name) in self.clusters.iter().filter(|(cluster, _)| cluster == name) {
            questions.extend(self.engine.nodes(kind_name).await?.iter().flat_map(|node| of_node(node)));
        }
        Ok(questions)
    }

    /// What to ask the router.
    #[must_use]
    pub fn of_router(&self) -> Vec<Question> {
        self.router.iter().flat_map(|router| of_router(router)).collect()
    }

    /// The answer.
    ///
    /// # Errors
    /// Where the container is not there, does not run, or has not the program that would tell.
    pub async fn answer(&self, question: &Question) -> Result<String, Error> {
        match question.ask {
            Ask::Log => self.engine.log(&question.container).await,
            Ask::Command(command) => self.engine.exec(&question.container, command).await,
            Ask::Inspect => {
                let found = self.engine.inspect(&question.container).await?;
                Ok(found.map_or_else(|| "there is no such container".to_owned(), description))
            }
        }
    }
}

fn of_node(container: &str) -> Vec<Question> {
    questions(
        container,
        &[
            ("log", "container.log", Ask::Log),
            ("journal of kubelet and containerd", "journal.log", Ask::Command(JOURNAL)),
            ("description", "inspect.json", Ask::Inspect),
        ],
    )
}

fn of_router(container: &str) -> Vec<Question> {
    questions(
        container,
        &[
            ("changes of the rules", "changes.log", Ask::Log),
            ("rules", "rules.txt", Ask::Command(RULES)),
            ("routes", "routes.txt", Ask::Command(ROUTES)),
            ("addresses", "addresses.txt", Ask::Command(ADDRESSES)),
            ("description", "inspect.json", Ask::Inspect),
        ],
    )
}

fn questions(container: &str, wanted: &[(&'static str, &'static str, Ask)]) -> Vec<Question> {
    let question = |(what, file, ask): &(&'static str, &'static str, Ask)| Question {
        what,
        file,
        container: container.to_owned(),
        ask: *ask,
    };
    wanted.iter().map(question).collect()
}

/// What Docker knows of a container. Of the variables of its environment only the names: kind hands proxies to nodes, with passwords.
fn description(mut found: ContainerInspectResponse) -> String {
    for variable in found.config.iter_mut().filter_map(|config| config.env.as_mut()).flatten() {
        let name = variable.split('=').next().unwrap_or_default();
        *variable = format!("{name}={REDACTED}");
    }
    serde_json::to_string(&found).expect("invariant: plain data serialises")
}

impl Engine {
    /// The end of what a container has written, with the time of each line.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn log(&self, container: &str) -> Result<String, Error> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true).tail(LINES).build();
        let lines = self.docker().await?.logs(container, Some(options));
        let lines: Vec<LogOutput> = lines
            .try_collect()
            .await
            .map_err(docker_support::Error::refused(format!("read the log of container {container}")))?;
        Ok(lines.iter().map(ToString::to_string).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_and_routers_are_asked_for_what_shows_why_they_fail() {
        let asked = |questions: Vec<Question>| {
            let shown = |question: &Question| match question.ask {
                Ask::Command(words) => format!("{}: {}", question.file, words.join(" ")),
                _ => question.file.to_owned(),
            };
            questions.iter().map(shown).collect::<Vec<_>>()
        };
        let journal = "journal.log: journalctl -u kubelet -u containerd --no-pager -n 2000";
        assert_eq!(asked(of_node("a-control-plane")), ["container.log", journal, "inspect.json"]);
        let commands = ["rules.txt: nft list ruleset", "routes.txt: ip -4 route", "addresses.txt: ip -4 address"];
        assert_eq!(
            asked(of_router("r")),
            [&["changes.log"][..], &commands, &["inspect.json"]].concat(),
            "the log of a router is the list of all changes of its rules"
        );
    }

    #[test]
    fn of_variables_only_the_names_are_told() {
        let variables = ["HTTPS_PROXY=http://me:hunter2@proxy", "container=docker", "ODD"];
        let found = json!({ "Id": "1", "Config": { "Image": "node", "Env": variables } });
        let told = description(serde_json::from_value(found).expect("as Docker tells it"));
        assert!(!told.contains("hunter2"), "{told}");
        let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        let expected = ["HTTPS_PROXY=[redacted]", "container=[redacted]", "ODD=[redacted]"];
        assert_eq!((&told["Config"]["Image"], &told["Config"]["Env"]), (&json!("node"), &json!(expected)));
    }
}
