//! What expectations read besides the answers themselves: counters of proxies, and the clock.

use super::Thing;
use super::steps::{Look, MESH_NAMESPACE, workload};
use crate::scenario::plan::{Check, Expectation, Gateway};
use crate::topology::{GatewayKind, Workload};

impl Look {
    pub(super) fn checks(&mut self, expectations: &[Expectation]) {
        expectations.iter().for_each(|expectation| self.check(expectation));
    }

    /// Counters do not say whom they counted, so whoever looks at them must be the only one who makes them grow.
    fn check(&mut self, expectation: &Expectation) {
        match &expectation.check {
            Check::Answered(_) | Check::Split(_) | Check::Identity(_) | Check::Connection(_) | Check::Reached(_) => {}
            Check::Headers(_) | Check::Holds(_) => {}
            Check::Cel(text) if !text.contains("latency") => {}
            // It looks at everything that passes between the networks.
            Check::MutualTls(mtls) => {
                self.all_gateways();
                mtls.through.iter().for_each(|gateway| self.counted(gateway));
            }
            Check::Failures(failures) => self.counted(&failures.at),
            Check::Denied(denied) if denied.at.namespace != MESH_NAMESPACE => {
                self.footprint.writes.insert(workload(&denied.at));
            }
            // A timing beside other load says nothing; of what is not listed above nothing is known here.
            _ => self.footprint.be_alone(format!("`{}` needs the machine to itself", expectation.name)),
        }
    }

    fn all_gateways(&mut self) {
        let of_workload = |one: &Workload| Thing::Gateway { cluster: one.cluster.clone(), kind: GatewayKind::Eastwest };
        let all: Vec<Thing> = self.workloads.iter().map(of_workload).collect();
        self.footprint.writes.extend(all);
    }

    fn counted(&mut self, gateway: &Gateway) {
        self.footprint.writes.insert(Thing::Gateway { cluster: gateway.cluster.clone(), kind: gateway.kind });
    }
}
