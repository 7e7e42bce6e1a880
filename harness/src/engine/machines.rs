//! Steps and faults about virtual machines: their power, and the wait until the mesh counts on them again.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::context::{DRAINED_WITHIN, Environment, Error};
use super::rollout::seconds;
use super::runner::{Done, Runner};
use crate::check::convergence::{self, Endpoints};
use crate::check::draining;
use crate::cluster::Cluster;
use crate::scenario::keys::TokenKind;
use crate::scenario::plan::Onboard;
use crate::topology::Vm;
use crate::topology::vm::PROXY;
use crate::vm::{join, served};

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

    /// Lets a machine join anew, and waits until it is counted on, or until the control plane has refused its token.
    pub(super) async fn onboard(&self, onboard: &Onboard) -> Result<Done, Error> {
        let Onboard { vm, token, certificate, timeout } = onboard;
        let (cluster, machine) = (self.environment.cluster(&vm.cluster)?, self.environment.machine(&vm.name)?);
        if machine.status().await?.running {
            machine.stop().await?;
        }
        join::give(vm, cluster, &machine, *token, *certificate).await?;
        if *token == TokenKind::Good {
            return Ok(Done::passed(started(self.environment, vm, *timeout, || ()).await?));
        }
        let before = join::connected_at(vm, cluster).await?;
        machine.start().await?;
        Ok(Done::passed(join::refused(vm, cluster, &machine, before.as_deref(), *timeout).await?))
    }

    /// Waits until no proxy, on a cluster or on a machine that runs, has connections over what was in force before.
    pub(super) async fn drained(&self) -> Result<(), Error> {
        self.environment.drained().await?;
        for vm in self.machines {
            let machine = self.environment.machine(&vm.name)?;
            // One without its proxy has no connections either.
            if machine.status().await?.programs.iter().any(|program| program.name == PROXY && program.ready) {
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

/// When the machine's present connection with the control plane began.
pub(super) async fn connected_at(environment: &Environment, vm: &Vm) -> Result<Option<String>, Error> {
    Ok(join::connected_at(vm, environment.cluster(&vm.cluster)?).await?)
}

/// Starts a program of a machine that was killed, says so by `on`, and waits until the machine is counted on. The agent has
/// another connection with the control plane then than the one that began at `before`.
pub(super) async fn program_started(
    environment: &Environment,
    vm: &Vm,
    program: &str,
    before: Option<&str>,
    timeout: Duration,
    on: impl FnOnce(),
) -> Result<String, Error> {
    let (cluster, machine) = (environment.cluster(&vm.cluster)?, environment.machine(&vm.name)?);
    let since = Instant::now();
    machine.start_program(program).await?;
    on();
    let before = before.filter(|_| program == PROXY);
    join::in_rotation(vm, cluster, &machine, before, timeout).await?;
    Ok(format!("{} is counted on {} after the start of {program}", vm.name, seconds(since.elapsed())))
}

/// What the proxies of a control plane must hold of a machine: nothing of one that is off, as soon as its grace period is over, nor
/// of one that no service leads to.
pub(super) async fn endpoint(environment: &Environment, vm: &Vm, reader: &Cluster) -> Result<Endpoints, Error> {
    let cluster = environment.cluster(&vm.cluster)?;
    let running = environment.machine(&vm.name)?.status().await?.running;
    let entry = if running { join::counted_on(vm, cluster).await? } else { None };
    let held = match &entry {
        Some(entry) => served::is_served(entry, &vm.namespace, cluster, reader).await?,
        None => false,
    };
    Ok(Endpoints {
        cluster: vm.cluster.clone(),
        namespace: vm.namespace.clone(),
        // What its name begins with, as those of a Deployment's pods do.
        workload: format!("{}-{}", vm.workload_group, vm.address),
        pods: held.then(|| vm.entry()).into_iter().collect::<BTreeSet<_>>(),
    })
}

/// How long a machine that was left off may take to be counted on.
const HEALING: Duration = Duration::from_secs(60);

/// Starts a machine, and programs of it, that a run left off which was killed; false where all of it is on.
///
/// # Errors
/// Where it cannot be asked, or is not counted on again.
pub(crate) async fn start_left(environment: &Environment, vm: &Vm) -> Result<bool, Error> {
    let status = environment.machine(&vm.name)?.status().await?;
    if !status.running {
        return started(environment, vm, HEALING, || ()).await.map(|_| true);
    }
    let mut any = false;
    for program in status.programs.iter().filter(|program| program.kept_off) {
        let before = connected_at(environment, vm).await?;
        program_started(environment, vm, &program.name, before.as_deref(), HEALING, || ()).await?;
        any = true;
    }
    Ok(any)
}
