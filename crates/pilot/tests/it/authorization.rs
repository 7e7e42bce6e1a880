//! Authorization policies in translations. What they do to traffic is for `authorization_live.rs`.

use envoy_types::pb::envoy::config::listener::v3::Listener;
use pilot::ads::resources::Resources;
use pilot::model::Settings;
use pilot::translate::Translation;

use crate::fixture::Fixture;
use crate::print;
use crate::translate::{BOOKINFO, GATEWAYS};

pub(crate) const AUTHORIZATION: &str = include_str!("fixtures/authorization.yaml");

fn inbound(translation: Translation) -> Listener {
    translation.listeners.into_iter().find(|listener| listener.name == "virtualInbound").unwrap()
}

fn printed(listener: Listener) -> String {
    print::translation(&Translation { listeners: vec![listener], ..Translation::default() })
}

fn policy(name: &str, namespace: &str, spec: &str) -> String {
    format!("kind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n")
}

fn translated(pod: &str, policies: &[&str]) -> String {
    let fixture = Fixture::read(&[&[BOOKINFO], policies].concat());
    printed(inbound(fixture.translate("sidecar", "cluster1", "bookinfo", pod)))
}

#[test]
fn policies_become_rules_of_both_filters() {
    let fixture = Fixture::read(&[BOOKINFO, AUTHORIZATION]);
    let mut listener = inbound(fixture.translate("sidecar", "cluster1", "bookinfo", "productpage-v1"));
    // One chain of HTTP and one of TCP; the others have the same rules.
    let port = |chain: &&envoy_types::pb::envoy::config::listener::v3::FilterChain| chain.name == "0.0.0.0_9080";
    let http = listener.filter_chains.iter().find(port).cloned().unwrap();
    let tcp = listener.filter_chains.iter().find(|chain| chain.name == "virtualInbound").cloned().unwrap();
    listener.filter_chains = vec![http, tcp];
    insta::assert_snapshot!(printed(listener).replace("; ", ";\n      "));
}

#[test]
fn every_way_in_is_guarded() {
    let text = translated("productpage-v1", &[&policy("nobody", "bookinfo", "{}")]);
    let chains: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with("chain ")).collect();
    for chain in &chains {
        let guarded = chain.contains("ALLOW {ns[bookinfo]-policy[nobody]-rule[0]: !any -> !any}");
        assert!(guarded != chain.contains("virtualInbound-blackhole"), "{chain}");
    }
    assert_eq!(chains.len(), 8, "{text}");
}

#[test]
fn a_policy_holds_where_it_selects() {
    let of = |namespace: &str, selector: &str| policy("p", namespace, &format!("{{{selector} rules: [{{}}]}}"));
    let holds = |text: &str| translated("productpage-v1", &[text]).contains("policy[p]");
    let own = "selector: {matchLabels: {app: productpage}},";
    let other = "selector: {matchLabels: {app: reviews}},";
    for (namespace, selector, expected) in [
        ("bookinfo", "", true),
        ("bookinfo", own, true),
        ("bookinfo", other, false),
        ("istio-system", "", true),
        ("istio-system", own, true),
        ("istio-system", other, false),
        ("elsewhere", "", false),
        ("elsewhere", own, false),
    ] {
        assert_eq!(holds(&of(namespace, selector)), expected, "{namespace} {selector}");
    }
}

#[test]
fn conditions_that_cannot_be_looked_at_fail_closed() {
    let tcp = |action: &str, rule: &str| {
        let spec = format!("{{action: {action}, rules: [{rule}]}}");
        let text = translated("ratings-db-1", &[&policy("p", "bookinfo", &spec)]);
        let chain = text.lines().find(|line| line.contains("chain 0.0.0.0_27017")).unwrap();
        chain[chain.find("-> ").unwrap() + 3..].split(" stat=").next().unwrap().to_owned()
    };
    let http = "{to: [{operation: {methods: [GET], ports: [\"27017\"]}}]}";
    assert_eq!(tcp("ALLOW", http), "ALLOW {}");
    assert_eq!(tcp("DENY", http), "DENY {ns[bookinfo]-policy[p]-rule[0]: any -> port=27017}");
    let header = "{when: [{key: \"request.headers[a]\", values: [b]}]}";
    assert_eq!(tcp("ALLOW", header), "ALLOW {}");
    assert_eq!(tcp("DENY", header), "DENY {ns[bookinfo]-policy[p]-rule[0]: any -> any}");
    let claim = "{when: [{key: \"request.auth.claims[a]\", values: [b]}]}";
    assert_eq!(tcp("ALLOW", claim), "ALLOW {}");
    assert_eq!(tcp("DENY", claim), "DENY {ns[bookinfo]-policy[p]-rule[0]: any -> any}");
    assert_eq!(tcp("ALLOW", "{}"), "ALLOW {ns[bookinfo]-policy[p]-rule[0]: any -> any}");
}

/// Envoy's rules are a map; their order must not make a new version of the listener.
#[test]
fn many_rules_give_equal_bytes() {
    let rules: Vec<String> = (1..40).map(|port| format!("{{to: [{{operation: {{ports: [\"{port}\"]}}}}]}}")).collect();
    let policy = policy("many", "bookinfo", &format!("{{rules: [{}]}}", rules.join(", ")));
    let fixture = Fixture::read(&[BOOKINFO, &policy]);
    let encode = || Resources::encode(fixture.translate("sidecar", "cluster1", "bookinfo", "productpage-v1"));
    let first = encode();
    for _ in 0..5 {
        assert_eq!(encode(), first);
    }
}

#[test]
fn a_gateway_is_guarded_where_it_reads_requests() {
    let fixture = Fixture::read(&[BOOKINFO, GATEWAYS, &policy("nobody", "istio-system", "{}")]);
    let guarded = |pod: &str, port: &str| {
        let translation = fixture.translate("router", "cluster1", "istio-system", pod);
        let listener = translation.listeners.into_iter().find(|listener| listener.name == port).unwrap();
        printed(listener).contains("policy[nobody]")
    };
    assert!(guarded("ingress-1", "0.0.0.0_8080"));
    assert!(!guarded("eastwest-1", "0.0.0.0_15443"), "TLS is passed through, so nobody is known there");
}

/// As in Istio: an alias is as good as the own trust domain, `cluster.local` stands for it, and other domains are left.
#[test]
fn principals_hold_in_every_trust_domain_of_the_mesh() {
    let fixture = Fixture::read(&[
        BOOKINFO,
        &policy(
            "domains",
            "bookinfo",
            "{rules: [{from: [{source: {principals: [west.example/ns/a/sa/b], notPrincipals: [south.example/ns/c/sa/d]}}]}]}",
        ),
    ]);
    let alias = |settings: &mut Settings| settings.trust_domain_aliases = vec!["west.example".to_owned()];
    let translated = fixture.translate_with(alias, "sidecar", "cluster1", "bookinfo", "productpage-v1");
    let all = print::translation(&translated);
    assert!(all.contains("spiffe://west.example/ns/bookinfo/sa/"), "servers of the other domain are accepted: {all}");
    let text = printed(inbound(translated));
    assert!(text.contains(r#"names=["spiffe://cluster.local/*", "spiffe://west.example/*"]"#), "{text}");
    let rule = text.lines().find(|line| line.contains("policy[domains]")).unwrap();
    for (id, there) in [
        ("spiffe://west.example/ns/a/sa/b", true),
        ("spiffe://cluster.local/ns/a/sa/b", true),
        ("spiffe://south.example/ns/c/sa/d", true),
        ("spiffe://cluster.local/ns/c/sa/d", false),
    ] {
        assert_eq!(rule.contains(id), there, "{id}: {rule}");
    }
}

/// As in Istio with `PILOT_SKIP_VALIDATE_TRUST_DOMAIN`: whom the roots vouch for may connect, and policies tell domains apart.
#[test]
fn clients_of_every_trust_domain_are_taken_where_asked() {
    let named = "{rules: [{from: [{source: {principals: [west.example/ns/a/sa/b]}}]}]}";
    let fixture = Fixture::read(&[BOOKINFO, &policy("west", "bookinfo", named)]);
    let any = |settings: &mut Settings| settings.any_trust_domain = true;
    let translated = fixture.translate_with(any, "sidecar", "cluster1", "bookinfo", "productpage-v1");
    let text = printed(inbound(translated));
    assert!(text.contains("spiffe://west.example/ns/a/sa/b") && !text.contains("spiffe://cluster.local/*"), "{text}");
    assert!(text.contains("terminates(require=true") && text.contains("names=[])"), "{text}");
}
