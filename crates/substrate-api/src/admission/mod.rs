//! Admission: what may still change or refuse a write after authorization. Builtin rules first, then webhooks.

mod call;
mod lifecycle;
mod matching;
mod review;
mod service_account;
mod webhook;

use serde_json::Value;

use crate::authentication::User;
use crate::authorization;
use crate::registry::Resource;
use crate::server::ApiServer;
use crate::status::ApiError;

pub(crate) use webhook::WebhookCache;

/// A write that asks for admission.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    pub(crate) server: &'a ApiServer,
    pub(crate) user: &'a User,
    pub(crate) resource: &'a Resource,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    /// Empty while a name is still to be generated.
    pub(crate) name: &'a str,
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub(crate) kind: &'static str,
    pub(crate) dry_run: bool,
}

/// The admission of one write.
pub(crate) struct Admission<'a> {
    operation: Operation<'a>,
    warnings: &'a mut Vec<String>,
}

impl<'a> Admission<'a> {
    pub(crate) fn new(operation: Operation<'a>, warnings: &'a mut Vec<String>) -> Admission<'a> {
        Admission { operation, warnings }
    }

    /// Lets the builtin plugins and mutating webhooks change `object`.
    pub(crate) async fn mutate(&mut self, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        let operation = &self.operation;
        lifecycle::check(operation, object)?;
        service_account::admit(operation, object)?;
        if self.is_exempt() {
            return Ok(());
        }
        let changed = webhook::mutate(operation, object, old, self.warnings).await?;
        if changed {
            // Containers that a webhook added get the account's token as well.
            service_account::admit(operation, object)?;
        }
        Ok(())
    }

    /// Asks the builtin rules and validating webhooks; `object` is absent for a deletion.
    pub(crate) async fn validate(&mut self, object: Option<&Value>, old: Option<&Value>) -> Result<(), ApiError> {
        let operation = &self.operation;
        if let Some(object) = object {
            let unchanged = old.is_some_and(|old| {
                old["rules"] == object["rules"]
                    && old["roleRef"] == object["roleRef"]
                    && old["subjects"] == object["subjects"]
            });
            if !unchanged {
                authorization::check_escalation(operation.server, operation.user, &operation.resource.table, object)?;
            }
        }
        if self.is_exempt() {
            return Ok(());
        }
        webhook::validate(operation, object, old, self.warnings).await
    }

    /// Webhooks cannot stand in the way of repairing webhooks.
    fn is_exempt(&self) -> bool {
        self.operation.resource.group == "admissionregistration.k8s.io"
    }
}
