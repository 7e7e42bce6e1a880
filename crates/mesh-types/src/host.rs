//! Host names: fully qualified names of Services, short names resolved in a namespace, wildcards.

/// `<name>.<namespace>.svc.<domain>`.
pub fn service_host(name: &str, namespace: &str, domain: &str) -> String {
    format!("{name}.{namespace}.svc.{domain}")
}

/// Completes a short name (`reviews`) as Istio does: in the namespace of the object that uses it.
/// Names with a dot and wildcards are taken as they are.
pub fn resolve_short_name(host: &str, namespace: &str, domain: &str) -> String {
    if host.contains('.') || host.contains('*') { host.to_owned() } else { service_host(host, namespace, domain) }
}

/// Whether `pattern` (a name, `*` or `*.suffix`) covers `host`.
pub fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix) || suffix.is_empty(),
        None => pattern == host,
    }
}

/// The more specific of two host patterns where one covers the other: what both of them allow.
pub fn intersection<'a>(left: &'a str, right: &'a str) -> Option<&'a str> {
    if left == right || matches(left, right) {
        Some(right)
    } else if matches(right, left) {
        Some(left)
    } else {
        None
    }
}

/// Orders host patterns most specific first: names before wildcards, longer wildcards before shorter ones.
pub fn specificity(host: &str) -> (bool, std::cmp::Reverse<usize>) {
    (host.starts_with('*'), std::cmp::Reverse(host.len()))
}

/// The names by which a client in `client_namespace` may call a Service.
pub fn service_domains(name: &str, namespace: &str, domain: &str, client_namespace: &str) -> Vec<String> {
    let full = service_host(name, namespace, domain);
    let mut domains = vec![full.clone(), format!("{full}.")];
    if namespace == client_namespace {
        domains.push(name.to_owned());
    }
    domains.push(format!("{name}.{namespace}.svc"));
    domains.push(format!("{name}.{namespace}"));
    domains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_longer_names_only() {
        assert!(matches("*.local", "reviews.bookinfo.svc.cluster.local"));
        assert!(matches("*", "anything"));
        assert!(!matches("*.local", ".local"));
        assert!(!matches("reviews", "reviews.bookinfo"));
    }

    #[test]
    fn short_names_belong_to_the_namespace_of_the_object() {
        assert_eq!(resolve_short_name("reviews", "bookinfo", "cluster.local"), "reviews.bookinfo.svc.cluster.local");
        assert_eq!(resolve_short_name("example.org", "bookinfo", "cluster.local"), "example.org");
    }

    #[test]
    fn only_neighbours_use_the_bare_name() {
        assert!(service_domains("reviews", "bookinfo", "cluster.local", "bookinfo").contains(&"reviews".to_owned()));
        assert!(!service_domains("reviews", "bookinfo", "cluster.local", "other").contains(&"reviews".to_owned()));
    }

    #[test]
    fn the_intersection_is_the_narrower_pattern() {
        assert_eq!(intersection("*", "a.b"), Some("a.b"));
        assert_eq!(intersection("x.a.b", "*.b"), Some("x.a.b"));
        assert_eq!(intersection("a", "b"), None);
    }
}
