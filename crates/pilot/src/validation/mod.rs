//! Judges the mesh's resources as they are written to the API: refuses what Istio would refuse, and names what is
//! stored without effect. Pure; the rules on fields are those of `mesh_types`, those on whole resources are here.

use mesh_types::authorization_policy::Attribute;
use mesh_types::{FieldError, Kind, unsupported_fields};
use serde_json::Value;

/// Verdict on a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it is refused; empty where it is accepted.
    pub errors: Vec<FieldError>,
    /// What its writer should know.
    pub warnings: Vec<String>,
}

impl Verdict {
    /// The errors in one line, each with its field.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let errors: Vec<String> = self.errors.iter().map(ToString::to_string).collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }
}

/// Judges an object. Kinds that the mesh does not know are accepted: they are somebody else's.
#[must_use]
pub fn judge(object: &Value) -> Verdict {
    let mut verdict = Verdict { errors: mesh_types::validate(object).err().unwrap_or_default(), warnings: Vec::new() };
    verdict.warnings.extend(unsupported_fields(object).iter().map(mesh_types::UnsupportedField::warning));
    match object["kind"].as_str().and_then(Kind::from_name) {
        Some(Kind::VirtualService) => virtual_service(&object["spec"], &mut verdict),
        Some(Kind::DestinationRule) => destination_rule(&object["spec"], &mut verdict),
        Some(Kind::AuthorizationPolicy) => authorization_policy(&object["spec"], &mut verdict),
        _ => {}
    }
    verdict
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    value[field].as_array().into_iter().flatten().enumerate()
}

fn virtual_service(spec: &Value, verdict: &mut Verdict) {
    let empty = |field: &str| spec[field].as_array().is_none_or(Vec::is_empty);
    if ["http", "tcp", "tls"].into_iter().all(empty) {
        refuse(verdict, "spec.http".to_owned(), "a virtual service needs at least one route");
    }
    for (index, route) in items(spec, "http") {
        let path = format!("spec.http[{index}]");
        if ["redirect", "directResponse", "delegate"].iter().all(|action| route[*action].is_null())
            && route["route"].as_array().is_none_or(Vec::is_empty)
        {
            refuse(verdict, path.clone(), "one of route, redirect and directResponse is required");
        }
        weights(route, &path, verdict);
    }
    let sidecars = items(spec, "gateways").next().is_none() || items(spec, "gateways").any(|(_, name)| name == "mesh");
    if sidecars && items(spec, "tls").next().is_some() {
        verdict.warnings.push("spec.tls: served at gateways only, not by sidecars".to_owned());
    }
    unreachable(spec, verdict);
}

/// Istio takes weights in proportion, whatever their sum; a sum other than 100 is often a slip, so it is said.
fn weights(route: &Value, path: &str, verdict: &mut Verdict) {
    let weights: Vec<i64> = items(route, "route").filter_map(|(_, entry)| entry["weight"].as_i64()).collect();
    let total: i64 = weights.iter().sum();
    if weights.len() > 1 && total > 0 && total != 100 && verdict.errors.is_empty() {
        let message =
            format!("{path}.route: the weights add up to {total}, not 100; traffic is split in their proportion");
        verdict.warnings.push(message);
    }
}

fn unreachable(spec: &Value, verdict: &mut Verdict) {
    let mut catch_all = None;
    for (index, route) in items(spec, "http") {
        if let Some(earlier) = catch_all {
            let message =
                format!("spec.http[{index}]: never used, since spec.http[{earlier}] before it matches everything");
            verdict.warnings.push(message);
        } else if route["match"].as_array().is_none_or(Vec::is_empty) {
            catch_all = Some(index);
        }
    }
}

/// Says what is decided for its writer: how a server is verified, and how many hosts can be ejected. Envoy ejects nothing
/// where that share is less than one host, which surprises small services.
fn destination_rule(spec: &Value, verdict: &mut Verdict) {
    let policies = std::iter::once(("spec".to_owned(), spec))
        .chain(items(spec, "subsets").map(|(index, subset)| (format!("spec.subsets[{index}]"), subset)));
    for (path, holder) in policies {
        let policy = &holder["trafficPolicy"];
        let of_ports = items(policy, "portLevelSettings")
            .map(|(index, of_port)| (format!("{path}.trafficPolicy.portLevelSettings[{index}]"), of_port));
        for (path, policy) in std::iter::once((format!("{path}.trafficPolicy"), policy)).chain(of_ports) {
            verified_by_default(&path, &policy["tls"], verdict);
        }
        let outlier = &holder["trafficPolicy"]["outlierDetection"];
        if outlier.is_object() && outlier["maxEjectionPercent"].is_null() {
            verdict.warnings.push(format!(
                "{path}.trafficPolicy.outlierDetection.maxEjectionPercent: not given, so at most 10% of the hosts are ejected: none of fewer than 10"
            ));
        }
    }
}

fn verified_by_default(path: &str, tls: &Value, verdict: &mut Verdict) {
    let lacks = |field: &str| tls[field].as_str().is_none_or(str::is_empty);
    if matches!(tls["mode"].as_str(), Some("SIMPLE" | "MUTUAL")) && lacks("caCertificates") {
        let names = if tls["subjectAltNames"].as_array().is_none_or(Vec::is_empty) {
            ", and for its host name, as subjectAltNames is not given either"
        } else {
            ""
        };
        verdict.warnings.push(format!(
            "{path}.tls.caCertificates: not given, so the server is verified by the authorities of the proxy's system{names}"
        ));
    }
}

/// Conditions that cannot be looked at fail closed, which their writer has to know.
fn authorization_policy(spec: &Value, verdict: &mut Verdict) {
    let mut warn = |path: String, effect: &str| verdict.warnings.push(format!("{path}: not served; {effect}"));
    match spec["action"].as_str() {
        Some("CUSTOM") => warn("spec.action=CUSTOM".to_owned(), "requests that match are denied"),
        Some("AUDIT") => warn("spec.action=AUDIT".to_owned(), "the policy has no effect"),
        _ => {}
    }
    let closed = "because of it a rule that allows never matches, and a rule that denies applies without it";
    for (index, rule) in items(spec, "rules") {
        for (at, from) in items(rule, "from") {
            for field in ["requestPrincipals", "notRequestPrincipals"] {
                if !from["source"][field].is_null() {
                    warn(format!("spec.rules[{index}].from[{at}].source.{field}"), closed);
                }
            }
        }
        for (at, condition) in items(rule, "when") {
            let key = condition["key"].as_str().unwrap_or_default();
            if Attribute::of(key) == Some(Attribute::Unsupported) {
                warn(format!("spec.rules[{index}].when[{at}].key={key}"), closed);
            }
        }
    }
}

fn refuse(verdict: &mut Verdict, path: String, message: &str) {
    verdict.errors.push(FieldError { path, message: message.to_owned() });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn virtual_service(http: Value) -> Verdict {
        judge(&json!({"kind": "VirtualService", "spec": {"hosts": ["reviews"], "http": http}}))
    }

    fn to(host: &str, weight: i64) -> Value {
        json!({"destination": {"host": host}, "weight": weight})
    }

    #[test]
    fn the_refusal_names_every_field() {
        let refusal = virtual_service(json!([{"match": [{"uri": {"regex": "("}}]}])).refusal().unwrap();
        assert!(
            refusal.contains("spec.http[0].match[0].uri.regex") && refusal.contains("spec.http[0]: one of route"),
            "{refusal}"
        );
        assert!(virtual_service(json!([])).refusal().unwrap().starts_with("spec.http"));
    }

    #[test]
    fn odd_weights_are_accepted_with_a_warning() {
        let verdict = virtual_service(json!([{"route": [to("a", 1), to("b", 1)]}]));
        assert_eq!(verdict.refusal(), None);
        assert!(verdict.warnings[0].contains("add up to 2"), "{verdict:?}");
        assert_eq!(virtual_service(json!([{"route": [to("a", 75), to("b", 25)]}])), Verdict::default());
        assert!(virtual_service(json!([{"route": [to("a", 0), to("b", 0)]}])).refusal().is_some());
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let verdict = judge(&json!({"kind": "VirtualService", "spec": {"hosts": ["a"], "tcp": [{}], "http": [
            {"route": [{"destination": {"host": "a"}}]}, {"route": [{"destination": {"host": "b"}}]}]}}));
        assert_eq!(verdict.refusal(), None);
        assert!(verdict.warnings.iter().any(|warning| warning.starts_with("spec.tcp")), "{verdict:?}");
        assert!(verdict.warnings.iter().any(|warning| warning.starts_with("spec.http[1]: never used")), "{verdict:?}");
    }

    #[test]
    fn duplicate_subsets_and_unknown_modes_are_refused() {
        let rule = judge(
            &json!({"kind": "DestinationRule", "spec": {"host": "a", "subsets": [{"name": "v1"}, {"name": "v1"}]}}),
        );
        assert!(rule.refusal().unwrap().contains("spec.subsets[1].name"));
        let policy = judge(&json!({"kind": "PeerAuthentication", "spec": {"mtls": {"mode": "STRIKT"}}}));
        assert!(policy.refusal().unwrap().contains("spec.mtls.mode"));
    }

    #[test]
    fn conditions_that_fail_closed_are_said() {
        let verdict = judge(&json!({"kind": "AuthorizationPolicy", "spec": {"rules": [{
            "from": [{"source": {"requestPrincipals": ["*"], "principals": ["a"]}}],
            "when": [{"key": "source.ip", "values": ["10.0.0.1"]}, {"key": "request.auth.claims[iss]", "values": ["a"]}]}]}}));
        assert_eq!(verdict.refusal(), None);
        let paths: Vec<_> = verdict.warnings.iter().map(|warning| warning.split(": ").next().unwrap()).collect();
        assert_eq!(
            paths,
            ["spec.rules[0].from[0].source.requestPrincipals", "spec.rules[0].when[1].key=request.auth.claims[iss]"]
        );
        let verdict = judge(
            &json!({"kind": "AuthorizationPolicy", "spec": {"action": "CUSTOM", "provider": {"name": "opa"}, "rules": [{}]}}),
        );
        assert_eq!(
            verdict.warnings,
            [
                "spec.provider.name: stored but not honoured by this control plane",
                "spec.action=CUSTOM: not served; requests that match are denied"
            ]
        );
        assert_eq!(judge(&json!({"kind": "AuthorizationPolicy", "spec": {}})), Verdict::default());
    }

    #[test]
    fn other_kinds_are_not_judged() {
        assert_eq!(judge(&json!({"kind": "Deployment", "spec": {"hosts": 1}})), Verdict::default());
    }

    #[test]
    fn who_names_no_authorities_is_told_which_hold() {
        let warnings = |tls: Value| {
            let of_port = json!({"portLevelSettings": [{"port": {"number": 443}, "tls": tls}]});
            judge(&json!({"kind": "DestinationRule", "spec": {"host": "a.example.org", "trafficPolicy": of_port}}))
                .warnings
        };
        let path = "spec.trafficPolicy.portLevelSettings[0].tls.caCertificates: not given";
        let found = warnings(json!({"mode": "SIMPLE"}));
        assert!(found[0].starts_with(path) && found[0].contains("for its host name"), "{found:?}");
        let named = warnings(json!({"mode": "MUTUAL", "subjectAltNames": ["b.example.org"]}));
        assert!(named[0].starts_with(path) && !named[0].contains("host name"), "{named:?}");
        assert_eq!(warnings(json!({"mode": "SIMPLE", "caCertificates": "/etc/ca.pem"})), [""; 0]);
        assert_eq!(warnings(json!({"mode": "ISTIO_MUTUAL"})), [""; 0]);
    }
}
