//! What nodes and the router between their networks tell, each in a folder of its own. Why something cannot be had is written into its
//! file: whoever looks for the log of a kubelet has to find that there was none.

use camino::Utf8Path;
use futures::future::join_all;

use super::{Saver, file_name};
use crate::cluster::chain;
use crate::provider::kind::nodes::{Nodes, Question};

/// The folder of the router: no cluster has that name, for names of clusters have no dot.
const ROUTER: &str = "between.networks";

/// Saves what the nodes of all clusters tell, and the router.
pub(super) async fn save(saver: &Saver<'_>, nodes: &Nodes) {
    let clusters = nodes.clusters().map(|cluster| saver.bounded(cluster, of_cluster(saver, nodes, cluster)));
    let router = saver.bounded("router", all(saver, nodes, Utf8Path::new(ROUTER), "router", nodes.of_router()));
    tokio::join!(join_all(clusters), router);
}

async fn of_cluster(saver: &Saver<'_>, nodes: &Nodes, cluster: &str) {
    match nodes.of_cluster(cluster).await {
        Ok(questions) => all(saver, nodes, &Utf8Path::new(&file_name(cluster)).join("nodes"), cluster, questions).await,
        Err(error) => saver.lacks(&format!("{cluster}: its nodes"), &chain(&error)),
    }
}

async fn all(saver: &Saver<'_>, nodes: &Nodes, folder: &Utf8Path, owner: &str, questions: Vec<Question>) {
    for question in questions {
        let path = folder.join(file_name(&question.container)).join(question.file);
        let what = format!("{owner}: {} of {}", question.what, question.container);
        let content = match nodes.answer(&question).await {
            Ok(content) => content,
            Err(error) => {
                let why = chain(&error);
                saver.lacks(&what, &why);
                format!("not to be had: {why}\n")
            }
        };
        saver.keep(&path, what, Ok(content)).await;
    }
}
