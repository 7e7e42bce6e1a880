//! MutatingWebhookConfiguration and ValidatingWebhookConfiguration: defaults and validation.

use serde_json::{Value, json};

use super::{Behaviour, WITH_GENERATION, items, items_mut};
use crate::object::{as_map, default_to};
use crate::validation::{Errors, NameRule, check_name};

pub(super) static WEBHOOK_CONFIGURATION: Behaviour =
    Behaviour { default, validate, separate_status: false, ..WITH_GENERATION };

fn default(object: &mut Value) {
    let mutating = object["kind"] == "MutatingWebhookConfiguration";
    for webhook in items_mut(object, "webhooks") {
        let map = as_map(webhook);
        default_to(map, "failurePolicy", "Fail");
        default_to(map, "matchPolicy", "Equivalent");
        default_to(map, "namespaceSelector", json!({}));
        default_to(map, "objectSelector", json!({}));
        default_to(map, "timeoutSeconds", 10);
        if mutating {
            default_to(map, "reinvocationPolicy", "Never");
        }
        for rule in items_mut(webhook, "rules") {
            default_to(as_map(rule), "scope", "*");
        }
        if webhook["clientConfig"]["service"].is_object() {
            default_to(as_map(&mut webhook["clientConfig"]["service"]), "port", 443);
        }
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    let mut seen = Vec::new();
    for (index, webhook) in items(&object["webhooks"]).iter().enumerate() {
        let at = format!("webhooks[{index}]");
        validate_name(webhook, &at, &mut seen, errors);
        validate_client(&webhook["clientConfig"], &at, errors);
        validate_policies(webhook, &at, errors);
    }
}

fn validate_name(webhook: &Value, at: &str, seen: &mut Vec<String>, errors: &mut Errors) {
    let name = webhook["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        errors.required(format!("{at}.name"), "");
    } else if let Some(problem) = check_name(NameRule::Subdomain, name) {
        errors.invalid(format!("{at}.name"), &webhook["name"], &problem);
    } else if name.split('.').count() < 3 {
        let problem = "should be a domain with at least three segments separated by dots";
        errors.invalid(format!("{at}.name"), &webhook["name"], problem);
    }
    if seen.iter().any(|other| other == name) {
        errors.duplicate(format!("{at}.name"), &webhook["name"]);
    }
    seen.push(name.to_owned());
}

fn validate_client(client: &Value, at: &str, errors: &mut Errors) {
    match (client["url"].as_str(), client["service"].is_object()) {
        (None, false) | (Some(_), true) => {
            errors.required(format!("{at}.clientConfig"), "exactly one of url or service is required");
        }
        (Some(url), false) if !url.starts_with("https://") => {
            let detail = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
            errors.invalid(format!("{at}.clientConfig.url"), &client["url"], detail);
        }
        (Some(_), false) => {}
        (None, true) => {
            for key in ["name", "namespace"] {
                if client["service"][key].as_str().unwrap_or_default().is_empty() {
                    errors.required(format!("{at}.clientConfig.service.{key}"), "");
                }
            }
        }
    }
}

fn validate_policies(webhook: &Value, at: &str, errors: &mut Errors) {
    if !items(&webhook["matchConditions"]).is_empty() {
        errors.forbidden(format!("{at}.matchConditions"), "this API server does not evaluate CEL");
    }
    let mut one_of = |key: &str, allowed: &[&str]| match webhook[key].as_str() {
        None => errors.required(format!("{at}.{key}"), ""),
        Some(value) if allowed.contains(&value) => {}
        Some(_) => errors.not_supported(format!("{at}.{key}"), &webhook[key], allowed),
    };
    one_of("sideEffects", &["None", "NoneOnDryRun"]);
    one_of("failurePolicy", &["Fail", "Ignore"]);
    one_of("matchPolicy", &["Equivalent", "Exact"]);
    let timeout = webhook["timeoutSeconds"].as_i64().unwrap_or(10);
    if !(1..=30).contains(&timeout) {
        let field = format!("{at}.timeoutSeconds");
        errors.invalid(field, &webhook["timeoutSeconds"], "the timeout value must be between 1 and 30 seconds");
    }
    let versions: Vec<&str> = items(&webhook["admissionReviewVersions"]).iter().filter_map(Value::as_str).collect();
    if versions.is_empty() {
        errors.required(format!("{at}.admissionReviewVersions"), "must specify one of v1, v1beta1");
    } else if !versions.contains(&"v1") {
        let detail = "must include at least one of v1, v1beta1";
        errors.invalid(format!("{at}.admissionReviewVersions"), &webhook["admissionReviewVersions"], detail);
    }
}
