//! Steps and faults about virtual machines: their power, and the wait until the mesh counts on them again.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::context::{DRAINED_WITHIN, Environment, Error};
use super::rollout::seconds;
use super::runner::{Done, Runner};
use crate::check::convergence::{self, Endpoints};
use crate::check::draining;
use crate::topology::Vm;
use crate::vm::join;

impl Runner<'_> {
    /// Starts a machine and waits until it is counted on, or stops it in order. One that is so already is left as it is.
    pub(super) async fn power(&self, vm: &Vm, on: bool, timeout: Duration) -> Result<Done, Error> {
        let machine = self.environment.machine(&vm.name)?;
        let running = machine.status().await?.running;
        match (on, running) {
            (true, false) => Ok(Done::passed(started(self.environment, vm, timeout, || ()).await?)),
            (false, true) => {
                machine.stop().await?;
                Ok(Done::passed(format!("{} was stopped", vm.name)))
            }
            (on, _) => Ok(Done::passed(format!("{} was {} before", vm.name, if on { "on" } else { "off" }))),
        }
    }

    /// Reboots a machine, or cuts its power and gives it back, and waits until it is counted on.
    pub(super) async fn start_again(&self, vm: &Vm, by_force: bool, timeout: Duration) -> Result<Done, Error> {
        let machine = self.environment.machine(&vm.name)?;
        let word = if by_force {
            machine.kill().await?;
            "its power was cut"
        } else {
            machine.stop().await?;
            "it was shut down"
        };
        let began = started(self.environment, vm, timeout, || ()).await?;
        Ok(Done::passed(format!("{word}; {began}")))
    }

    /// Waits until no proxy, on a cluster or on a machine that runs, has connections over what was in force before.
    pub(super) async fn drained(&self) -> Result<(), Error> {
        self.environment.drained().await?;
        for vm in self.machines {
            let machine = self.environment.machine(&vm.name)?;
            if machine.status().await?.running {
                let ended = draining::ended_on(&machine, DRAINED_WITHIN).await;
                ended.map_err(convergence::Error::from)?;
            }
        }
        Ok(())
    }

    /// Takes a machine away: by its power, or in order.
    pub(super) async fn take_away(&self, vm: &Vm, by_force: bool) -> Result<(), Error> {
        let machine = self.environment.machine(&vm.name)?;
        if by_force {
            machine.kill().await?;
        } else {
            machine.stop().await?;
        }
        Ok(())
    }
}

/// Starts a machine that is off, says so by `on`, and waits until it is counted on.
pub(super) async fn started(
    environment: &Environment,
    vm: &Vm,
    timeout: Duration,
    on: impl FnOnce(),
) -> Result<String, Error> {
    let (cluster, machine) = (environment.cluster(&vm.cluster)?, environment.machine(&vm.name)?);
    let before = join::connected_at(vm, cluster).await?;
    let since = Instant::now();
    machine.start().await?;
    on();
    join::in_rotation(vm, cluster, &machine, before.as_deref(), timeout).await?;
    Ok(format!("{} is counted on {} after its start", vm.name, seconds(since.elapsed())))
}

/// What proxies must hold of a machine: nothing of one that is off, as soon as its grace period is over.
pub(super) async fn endpoint(environment: &Environment, vm: &Vm) -> Result<Endpoints, Error> {
    let running = environment.machine(&vm.name)?.status().await?.running;
    let counted_on = running && join::is_counted_on(vm, environment.cluster(&vm.cluster)?).await?;
    Ok(Endpoints {
        cluster: vm.cluster.clone(),
        namespace: vm.namespace.clone(),
        // What its name begins with, as those of a Deployment's pods do.
        workload: format!("{}-{}", vm.workload_group, vm.address),
        pods: counted_on.then(|| vm.entry()).into_iter().collect::<BTreeSet<_>>(),
    })
}

/// How long a machine that was left off may take to be counted on.
const HEALING: Duration = Duration::from_secs(60);

/// Starts a machine that a run left off which was killed; false where it is on.
///
/// # Errors
/// Where it cannot be asked, or is not counted on again.
pub(crate) async fn start_left(environment: &Environment, vm: &Vm) -> Result<bool, Error> {
    if environment.machine(&vm.name)?.status().await?.running {
        return Ok(false);
    }
    started(environment, vm, HEALING, || ()).await.map(|_| true)
}
