//! Steps that create, update, patch and apply share: reading the input, shaping it by schema, admission, validation.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use super::Context;
use crate::admission::{Admission, Operation};
use crate::http::body;
use crate::http::render::to_storage;
use crate::kinds::{validate_metadata, validate_metadata_update};
use crate::object::{self, as_map, metadata_mut};
use crate::patch;
use crate::schema::{CauseType, Structural, builtin, strict_message};
use crate::status::ApiError;
use crate::validation::Errors;

/// What is gathered on the way of one write.
pub(crate) struct Draft<'a> {
    pub(crate) ctx: &'a Context,
    pub(crate) warnings: Vec<String>,
    pub(crate) dry_run: bool,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(ctx: &'a Context) -> Draft<'a> {
        let deprecation = ctx.resource.custom.as_ref().and_then(|custom| custom.deprecation.clone());
        Draft { ctx, warnings: deprecation.into_iter().collect(), dry_run: ctx.request.dry_run() }
    }

    /// Reads an object from a body and checks that it is what the path says.
    pub(crate) fn decode(&mut self, bytes: &Bytes) -> Result<Value, ApiError> {
        let object = body::decode_object(&self.ctx.request.headers, bytes)?;
        self.accept(object)
    }

    /// Checks kind, version, name and namespace against the path, and fields against the schema.
    pub(crate) fn accept(&mut self, mut object: Value) -> Result<Value, ApiError> {
        self.check_type(&mut object)?;
        if !matches!(object["metadata"], Value::Object(_) | Value::Null) {
            return Err(self.undecodable("metadata must be an object"));
        }
        self.check_place(&mut object)?;
        self.check_fields(&object)?;
        Ok(object)
    }

    fn check_type(&self, object: &mut Value) -> Result<(), ApiError> {
        let resource = &self.ctx.resource;
        let expected = resource.api_version();
        let map = as_map(object);
        for (key, expected) in [("apiVersion", expected.as_str()), ("kind", resource.kind.as_str())] {
            match map.get(key).and_then(Value::as_str) {
                None | Some("") => {
                    map.insert(key.to_owned(), Value::from(expected));
                }
                Some(given) if given == expected => {}
                Some(given) if key == "apiVersion" => {
                    return Err(ApiError::bad_request(format!(
                        "the API version in the data ({given}) does not match the expected API version ({expected})"
                    )));
                }
                Some(given) => {
                    return Err(ApiError::bad_request(format!(
                        "the kind in the data ({given}) does not match the expected kind ({expected})"
                    )));
                }
            }
        }
        Ok(())
    }

    fn check_place(&self, object: &mut Value) -> Result<(), ApiError> {
        let (namespace, name) = (&self.ctx.namespace, &self.ctx.name);
        let metadata = metadata_mut(object);
        let given = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (given_namespace, given_name) = (given("namespace"), given("name"));
        if !given_namespace.is_empty() && given_namespace != *namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if !name.is_empty() && !given_name.is_empty() && given_name != *name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given_name}) does not match the name on the URL ({name})"
            )));
        }
        if !namespace.is_empty() {
            metadata.insert("namespace".to_owned(), Value::from(namespace.clone()));
        }
        if !name.is_empty() {
            metadata.insert("name".to_owned(), Value::from(name.clone()));
        }
        Ok(())
    }

    /// The structural schema of the resource, where one is known.
    pub(crate) fn schema(&self) -> Option<&Structural> {
        let resource = &self.ctx.resource;
        match &resource.custom {
            Some(custom) => custom.schema.as_ref(),
            None => builtin(&resource.group, &resource.version, &resource.kind),
        }
    }

    fn undecodable(&self, problem: &str) -> ApiError {
        let resource = &self.ctx.resource;
        let kind = &resource.kind;
        ApiError::bad_request(format!(
            "{kind} in version \"{}\" cannot be handled as a {kind}: {problem}",
            resource.version
        ))
    }

    /// Refuses or reports unknown fields, as `fieldValidation` says, and refuses values of the wrong type.
    fn check_fields(&mut self, object: &Value) -> Result<(), ApiError> {
        let Some(schema) = self.schema() else { return Ok(()) };
        let mode = self.ctx.request.query.get("fieldValidation").unwrap_or("Warn").to_owned();
        let unknown = if mode == "Ignore" { Vec::new() } else { schema.unknown_fields(object) };
        if !unknown.is_empty() && mode == "Strict" {
            let resource = &self.ctx.resource;
            return Err(ApiError::bad_request(strict_message(&resource.kind, &resource.api_version(), &unknown)));
        }
        // The errors of a custom resource's schema are reported with all others after admission.
        if self.ctx.resource.custom.is_none() {
            let wrong_type =
                schema.validate(object).into_iter().find(|error| error.cause == CauseType::FieldValueTypeInvalid);
            if let Some(error) = wrong_type {
                return Err(self.undecodable(&error.to_string()));
            }
        }
        self.warnings.extend(unknown);
        Ok(())
    }

    /// Prunes, fills in defaults of the schema, then those of the kind.
    pub(crate) fn shape(&self, object: &mut Value) {
        if let Some(schema) = self.schema() {
            schema.prune(object);
            if self.ctx.resource.custom.is_some() {
                schema.apply_defaults(object);
            }
        }
        (self.ctx.resource.behaviour.default)(object);
    }

    fn operation(&self, kind: &'static str) -> Operation<'_> {
        Operation {
            server: &self.ctx.server,
            user: &self.ctx.request.user,
            resource: &self.ctx.resource,
            subresource: &self.ctx.subresource,
            namespace: &self.ctx.namespace,
            name: &self.ctx.name,
            kind,
            dry_run: self.dry_run,
        }
    }

    /// Lets admission change the object.
    pub(crate) async fn mutate(
        &mut self,
        kind: &'static str,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        let mut warnings = Vec::new();
        let outcome = Admission::new(self.operation(kind), &mut warnings).mutate(object, old).await;
        self.warnings.extend(warnings);
        outcome?;
        self.shape(object);
        Ok(())
    }

    /// Validates, then asks validating admission. `old` is the stored object of an update.
    pub(crate) async fn validate(
        &mut self,
        kind: &'static str,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        self.check_rules(object, old)?;
        let mut warnings = Vec::new();
        let outcome = Admission::new(self.operation(kind), &mut warnings).validate(Some(object), old).await;
        self.warnings.extend(warnings);
        outcome
    }

    fn check_rules(&self, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let resource = &self.ctx.resource;
        let behaviour = resource.behaviour;
        let mut errors = Errors::default();
        validate_metadata(object, behaviour.name, resource.namespaced, &mut errors);
        if resource.custom.is_some()
            && let Some(schema) = self.schema()
        {
            errors.extend(schema.validate(object));
        }
        // A status write cannot repair a specification, so it is not asked to.
        if !self.ctx.is_status() {
            (behaviour.validate)(object, &mut errors);
        }
        if let Some(old) = old {
            validate_metadata_update(object, old, &mut errors);
            if !self.ctx.is_status() {
                (behaviour.validate_update)(object, old, &mut errors);
            }
        }
        if errors.0.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(resource.subject(), object::name(object), &errors.0))
    }

    /// Records who owns which field after an ordinary write.
    pub(crate) fn track(&self, old: Option<&Value>, object: &mut Value) {
        let subresource = Some(self.ctx.subresource.as_str()).filter(|part| !part.is_empty());
        let manager = self.ctx.request.field_manager();
        let before = old.map(|old| crate::http::render::served(&self.ctx.resource, old));
        let before = before.as_ref().map(Cow::as_ref);
        patch::track_update(before, object, &manager, subresource, &object::now_text(), self.schema());
    }

    /// The object as it is stored.
    pub(crate) fn to_storage(&self, object: Value) -> Value {
        to_storage(&self.ctx.resource, object)
    }
}
