//! The controllers of the embedded Kubernetes: what turns the objects of its API into other objects.
//!
//! Scheduler, Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, EndpointSlice and Endpoints, LoadBalancer
//! addresses, the defaults and the deletion of namespaces, garbage collection. They see and change the cluster
//! through a [`kube::Client`] only, so they would also run beside another API server.
//!
//! Every decision is a pure function from what is known to a plan of writes (`controllers`); `world` keeps
//! what is known from watches, `routes` says whom a change concerns, `worker` and `executor` carry plans out.
//! Nothing is polled: work starts when a watch delivers a change, or at a time that a plan asked for.
//!
//! Running pods is not done here but by the node agent.

mod cache;
mod controllers;
mod executor;
#[cfg(test)]
mod fixtures;
mod gc;
mod objects;
mod plan;
mod routes;
mod worker;
mod world;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use substrate_events::EventRecorder;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use controllers::Controller;
use executor::Executor;
use worker::Worker;
use world::{Cached, World};

/// What the controllers are told about their cluster.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// First and last address that Services of type LoadBalancer get.
    pub load_balancer_pool: (Ipv4Addr, Ipv4Addr),
    /// Certificate of the API server's authority, published in every namespace as ConfigMap `kube-root-ca.crt`.
    pub root_ca_pem: String,
}

/// Why the controllers could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pool of LoadBalancer addresses ends before it begins.
    #[error("the LoadBalancer pool {0}-{1} is empty: its last address is lower than its first")]
    EmptyPool(Ipv4Addr, Ipv4Addr),
}

/// Runs all controllers until `cancel` fires.
///
/// Errors of single requests are no reason to stop: they are logged and tried again.
///
/// # Errors
/// A configuration that cannot work.
pub async fn run(client: Client, config: ControllerConfig, cancel: CancellationToken) -> Result<(), Error> {
    let (first, last) = config.load_balancer_pool;
    if first > last {
        return Err(Error::EmptyPool(first, last));
    }
    let (queues, receivers): (HashMap<_, _>, Vec<_>) = Controller::ALL
        .into_iter()
        .map(|controller| {
            let (sender, receiver) = mpsc::unbounded_channel();
            ((controller, sender), (controller, receiver))
        })
        .unzip();
    let world = Arc::new(World::new(config, queues));
    let feeds = feeds(&client, &world);
    let kinds = feeds.len();
    let feeding = tokio::spawn(cancel.clone().run_until_cancelled_owned(join_all(feeds)));
    let collecting = tokio::spawn(cancel.clone().run_until_cancelled_owned(gc::run(client.clone())));
    // Nobody decides on half a picture: an empty list of pods would look like a reason to create some.
    if cancel.run_until_cancelled(world.filled(kinds)).await.is_some() {
        let workers = receivers.into_iter().map(|(controller, receiver)| {
            let recorder = EventRecorder::start(client.clone(), controller.component(), None, cancel.clone());
            let worker = Worker::new(controller, world.clone(), Executor::new(client.clone(), recorder));
            tokio::spawn(cancel.clone().run_until_cancelled_owned(worker.run(receiver)))
        });
        join_all(workers.collect::<Vec<_>>()).await;
    }
    let _ended = futures::future::join(feeding, collecting).await;
    Ok(())
}

fn feeds(client: &Client, world: &Arc<World>) -> Vec<BoxFuture<'static, ()>> {
    let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    vec![
        feed::<k8s_openapi::api::core::v1::Namespace>(client, world, watcher::Config::default()),
        feed::<k8s_openapi::api::core::v1::Node>(client, world, watcher::Config::default()),
        feed::<k8s_openapi::api::core::v1::Pod>(client, world, watcher::Config::default()),
        feed::<k8s_openapi::api::core::v1::Service>(client, world, watcher::Config::default()),
        feed::<k8s_openapi::api::core::v1::Endpoints>(client, world, watcher::Config::default()),
        feed::<k8s_openapi::api::discovery::v1::EndpointSlice>(client, world, watcher::Config::default()),
        feed::<k8s_openapi::api::apps::v1::ReplicaSet>(client, world, watcher::Config::default()),
        feed::<k8s_openapi::api::apps::v1::Deployment>(client, world, watcher::Config::default()),
        feed::<k8s_openapi::api::apps::v1::StatefulSet>(client, world, watcher::Config::default()),
        feed::<k8s_openapi::api::apps::v1::DaemonSet>(client, world, watcher::Config::default()),
        feed::<k8s_openapi::api::batch::v1::Job>(client, world, watcher::Config::default()),
        feed::<ServiceAccount>(client, world, named("default")),
        feed::<ConfigMap>(client, world, named(controllers::namespace_defaults::ROOT_CA)),
    ]
}

fn feed<K>(client: &Client, world: &Arc<World>, config: watcher::Config) -> BoxFuture<'static, ()>
where
    K: Cached + DeserializeOwned,
{
    let events = watcher(Api::<K>::all(client.clone()), config).default_backoff().boxed();
    let world = world.clone();
    async move { world.feed(events).await }.boxed()
}
