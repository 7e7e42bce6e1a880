//! Documents that have every field of the schemas, each where its absence shows.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Services for one destination rule each; all of them lead to the pods of reviews.
const SERVICES: [&str; 14] = [
    "far",
    "far-port",
    "shares",
    "shares-port",
    "even",
    "even-port",
    "tls",
    "tls-port",
    "mutual",
    "mutual-port",
    "upgrade",
    "upgrade-port",
    "client",
    "client-port",
];

/// A third region with one more pod of reviews.
const THIRD_REGION: &str = "
cluster: cluster3
---
{kind: Namespace, metadata: {name: istio-system}}
---
{kind: Node, metadata: {name: node3, labels: {topology.kubernetes.io/region: region3}}}
---
kind: Pod
metadata: {name: reviews-v4, namespace: bookinfo, labels: {app: reviews, version: v4, security.istio.io/tlsMode: istio}}
spec: {nodeName: node3, containers: [{name: reviews}]}
status: {podIP: 10.244.3.12}
";

/// A certificate for a gateway; nobody looks into it here.
const CERTIFICATE: &str = "
---
cluster: cluster1
---
{kind: Secret, metadata: {name: web, namespace: istio-system}, data: {tls.crt: YQ==, tls.key: Yg==, ca.crt: Yw==}}
";

/// What is there beside bookinfo: the third region, a certificate, and the services in every cluster.
pub(super) fn workloads() -> String {
    let mut text = format!("{THIRD_REGION}{CERTIFICATE}");
    for cluster in ["cluster3", "cluster2", "cluster1"] {
        let _ = write!(text, "---\ncluster: {cluster}\n");
        for (index, name) in SERVICES.iter().enumerate() {
            let _ = write!(
                text,
                "---\nkind: Service\nmetadata: {{name: {name}, namespace: bookinfo}}\nspec: {{clusterIP: 10.98.0.{index}, selector: {{app: reviews}}, ports: [{{name: http, port: 9080}}]}}\n"
            );
        }
    }
    text
}

pub(super) fn all() -> Vec<Value> {
    let mut all =
        vec![ingress(), east_west(), bound_to_the_gateway(), routes(), hidden_routes(), hidden_rule(), peers()];
    all.extend(rules());
    all.extend(authorizations());
    all.extend(entries());
    all.extend([secure(), passed()]);
    all
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"kind": kind, "metadata": {"name": name, "namespace": "bookinfo"}, "spec": spec})
}

fn ingress() -> Value {
    let server = json!({"name": "web", "port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*.example.org"], "tls": {"httpsRedirect": true}});
    object("Gateway", "ingress", json!({"selector": {"istio": "ingressgateway"}, "servers": [server]}))
}

fn east_west() -> Value {
    let server = json!({"port": {"number": 15443, "name": "tls", "protocol": "TLS"}, "hosts": ["*.local"], "tls": {"mode": "AUTO_PASSTHROUGH"}});
    object("Gateway", "east-west", json!({"selector": {"istio": "eastwestgateway"}, "servers": [server]}))
}

fn secure() -> Value {
    let tls = json!({"mode": "MUTUAL", "credentialName": "web", "subjectAltNames": ["client.example.org"],
        "minProtocolVersion": "TLSV1_1", "maxProtocolVersion": "TLSV1_2", "cipherSuites": ["AES128-SHA"]});
    let servers = json!([
        {"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["secure.example.org"], "tls": tls},
        {"port": {"number": 8443, "name": "tls", "protocol": "TLS"}, "hosts": ["*.example.org"], "tls": {"mode": "PASSTHROUGH"}},
    ]);
    object("Gateway", "secure", json!({"selector": {"istio": "ingressgateway"}, "servers": servers}))
}

fn passed() -> Value {
    let place = json!({"host": "productpage", "subset": "v1", "port": {"number": 9080}});
    let condition = json!({"sniHosts": ["tls.example.org"], "port": 8443, "gateways": ["secure"]});
    let route = json!([{"destination": place, "weight": 1}, {"destination": {"host": "reviews"}, "weight": 3}]);
    object(
        "VirtualService",
        "passed",
        json!({"hosts": ["tls.example.org", "tls.example.orgx"], "gateways": ["secure"], "tls": [{"match": [condition], "route": route}]}),
    )
}

fn bound_to_the_gateway() -> Value {
    let http = json!([{"route": [{"destination": {"host": "productpage", "port": {"number": 9080}}}]}]);
    object("VirtualService", "web", json!({"hosts": ["www.example.org"], "gateways": ["ingress"], "http": http}))
}

fn hidden_routes() -> Value {
    let http = json!([{"route": [{"destination": {"host": "reviews"}}]}]);
    object("VirtualService", "hidden", json!({"hosts": ["productpage"], "exportTo": ["elsewhere"], "http": http}))
}

fn hidden_rule() -> Value {
    let policy = json!({"connectionPool": {"tcp": {"maxConnections": 3}}});
    object(
        "DestinationRule",
        "hidden",
        json!({"host": "ratings-db", "exportTo": ["elsewhere"], "trafficPolicy": policy}),
    )
}

fn peers() -> Value {
    let spec = json!({"selector": {"matchLabels": {"app": "productpage"}}, "mtls": {"mode": "STRICT"}, "portLevelMtls": {"9080": {"mode": "DISABLE"}}});
    object("PeerAuthentication", "peers", spec)
}

/// The conditions of a match, one alone in each.
fn conditions() -> Vec<Value> {
    let texts = || [json!({"exact": "a"}), json!({"prefix": "a"}), json!({"regex": "a"})];
    let mut conditions = Vec::new();
    for field in ["uri", "scheme", "method", "authority"] {
        conditions.extend(texts().map(|text| json!({field: text, "name": field})));
    }
    for field in ["headers", "withoutHeaders", "queryParams"] {
        conditions.extend(texts().map(|text| json!({field: {"x-name": text}})));
    }
    conditions.push(json!({"uri": {"prefix": "/a"}, "ignoreUriCase": true}));
    // These hold never, and would show if the control plane did not look at them.
    conditions.push(json!({"uri": {"exact": "/port"}, "port": 1234}));
    conditions.push(json!({"uri": {"exact": "/labels"}, "sourceLabels": {"app": "nobody"}}));
    conditions.push(json!({"uri": {"exact": "/namespace"}, "sourceNamespace": "nowhere"}));
    conditions.push(json!({"uri": {"exact": "/gateway"}, "gateways": ["ingress"]}));
    conditions
}

fn changes() -> Value {
    let operations = json!({"set": {"x-set": "a"}, "add": {"x-add": "b"}, "remove": ["x-gone"]});
    json!({"request": operations, "response": operations})
}

fn routes() -> Value {
    let to = json!([{"destination": {"host": "reviews"}}]);
    let place = json!({"host": "productpage", "subset": "v1", "port": {"number": 9080}});
    let half = json!({"value": 50.0});
    let cors = json!({"allowOrigins": [{"exact": "a"}, {"prefix": "a"}, {"regex": "a"}], "allowMethods": ["GET"], "allowHeaders": ["x"],
        "exposeHeaders": ["y"], "maxAge": "1m", "allowCredentials": true, "unmatchedPreflights": "IGNORE"});
    let retries = json!({"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx", "retryRemoteLocalities": true,
        "retryIgnorePreviousHosts": false, "backoff": "30ms"});
    let faults =
        json!({"delay": {"fixedDelay": "1s", "percentage": half}, "abort": {"httpStatus": 503, "percentage": half}});
    let at = |path: &str| json!([{"uri": {"prefix": path}}]);
    let http = json!([
        {"name": "conditions", "match": conditions(), "route": to},
        {"match": at("/1"), "rewrite": {"uri": "/new", "authority": "other"}, "timeout": "2s", "retries": retries, "headers": changes(),
            "route": [{"destination": place, "weight": 1, "headers": changes()}, {"destination": {"host": "reviews"}, "weight": 3}]},
        {"match": at("/2"), "rewrite": {"uriRegexRewrite": {"match": "a", "rewrite": "b"}}, "fault": faults, "corsPolicy": cors, "route": to},
        {"match": at("/3"), "mirror": place, "mirrorPercentage": half, "mirrors": [{"destination": place, "percentage": half}], "route": to},
        {"match": at("/4"), "redirect": {"uri": "/new", "authority": "other", "port": 81, "scheme": "https", "redirectCode": 307}},
        {"match": at("/5"), "directResponse": {"status": 418, "body": {"string": "teapot"}}},
        {"match": at("/6"), "fault": {"abort": {"grpcStatus": "UNAVAILABLE", "percentage": half}}, "route": to},
        {"match": at("/7"), "redirect": {"uri": "/new", "derivePort": "FROM_REQUEST_PORT"}},
        {"match": at("/8"), "directResponse": {"status": 418, "body": {"bytes": "dGVhcG90"}}},
        {"route": to},
    ]);
    object("VirtualService", "routes", json!({"hosts": ["reviews"], "http": http}))
}

/// Entries with endpoints of their own, and with chosen ones.
fn entries() -> Vec<Value> {
    let endpoints = json!([
        {"address": "10.9.0.1", "ports": {"http": 15443}, "weight": 3, "locality": "region9/zone9"},
        {"address": "10.9.0.2", "network": "network2", "labels": {"security.istio.io/tlsMode": "istio"}},
        {"address": "10.9.0.3", "serviceAccount": "a"},
    ]);
    let port = json!({"number": 9080, "name": "http", "protocol": "HTTP", "targetPort": 9090});
    let plain = json!({"number": 9080, "name": "http", "protocol": "HTTP"});
    let vm = json!({"address": "10.9.1.1", "ports": {"http": 8080}, "labels": {"app": "vm"}, "locality": "region9", "weight": 2, "serviceAccount": "vm"});
    let far = json!({"address": "10.9.1.2", "network": "network2", "labels": {"app": "vm"}, "serviceAccount": "vm"});
    let group = json!({
        "metadata": {"labels": {"app": "vm"}, "annotations": {"a": "b"}},
        "template": {"address": "", "ports": {"http": 80}, "labels": {"app": "vm"}, "network": "n", "locality": "r", "weight": 1, "serviceAccount": "vm"},
    });
    vec![
        object(
            "ServiceEntry",
            "listed",
            json!({"hosts": ["listed.global"], "addresses": ["240.0.0.9"], "ports": [port], "location": "MESH_INTERNAL",
            "resolution": "STATIC", "endpoints": endpoints, "exportTo": ["bookinfo"], "subjectAltNames": ["spiffe://other/ns/a/sa/b"]}),
        ),
        object(
            "ServiceEntry",
            "chosen",
            json!({"hosts": ["chosen.global"], "ports": [plain], "location": "MESH_INTERNAL",
            "resolution": "STATIC", "workloadSelector": {"labels": {"app": "vm"}}}),
        ),
        object("WorkloadEntry", "vm", vm),
        object("WorkloadEntry", "far", far),
        object("WorkloadGroup", "vms", group),
    ]
}

fn authorizations() -> Vec<Value> {
    let source = json!({"principals": ["a"], "notPrincipals": ["b"], "namespaces": ["c"], "notNamespaces": ["d"], "ipBlocks": ["10.0.0.1"],
        "notIpBlocks": ["10.0.0.2"], "remoteIpBlocks": ["10.0.0.0/8"], "notRemoteIpBlocks": ["10.0.0.3"]});
    let operation = json!({"hosts": ["a"], "notHosts": ["b"], "ports": ["80"], "notPorts": ["81"], "methods": ["GET"], "notMethods": ["PUT"],
        "paths": ["/a"], "notPaths": ["/b"]});
    let when = json!([{"key": "source.ip", "values": ["10.0.0.1"], "notValues": ["10.0.0.2"]}]);
    let from = |source: Value| json!({"from": [{"source": source}]});
    let rules = json!([
        {"from": [{"source": source}], "to": [{"operation": operation}], "when": when},
        from(json!({"serviceAccounts": ["a"], "notServiceAccounts": ["b/c"]})),
        from(json!({"principals": ["a"], "requestPrincipals": ["b"]})),
        from(json!({"principals": ["a"], "notRequestPrincipals": ["b"]})),
    ]);
    let selector = json!({"matchLabels": {"app": "productpage"}});
    vec![
        object("AuthorizationPolicy", "allow", json!({"selector": selector, "rules": rules})),
        object(
            "AuthorizationPolicy",
            "deny",
            json!({"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/no"]}}]}]}),
        ),
        object(
            "AuthorizationPolicy",
            "ask",
            json!({"action": "CUSTOM", "provider": {"name": "opa"}, "rules": [{"to": [{"operation": {"paths": ["/ask"]}}]}]}),
        ),
    ]
}

/// A destination rule with a policy at each of the four places where one can stand; a policy of a port hides the others.
fn rules() -> Vec<Value> {
    let outlier = json!({"consecutive5xxErrors": 3, "consecutiveGatewayErrors": 2, "consecutiveLocalOriginFailures": 4,
        "splitExternalLocalOriginErrors": true, "interval": "1s", "baseEjectionTime": "2s", "maxEjectionPercent": 100, "minHealthPercent": 5});
    let pool = json!({
        "tcp": {"maxConnections": 1, "connectTimeout": "1s", "idleTimeout": "1h", "maxConnectionDuration": "2h",
            "tcpKeepalive": {"probes": 3, "time": "1s", "interval": "2s"}},
        "http": {"http1MaxPendingRequests": 1, "http2MaxRequests": 2, "maxRequestsPerConnection": 3, "maxRetries": 4, "idleTimeout": "1m"},
    });
    let far = json!({"failover": [{"from": "region1", "to": "region3"}], "failoverPriority": ["version=v1"]});
    let shares = json!({"distribute": [
        {"from": "region9/*", "to": {"region1/*": 100}},
        {"from": "region1/*", "to": {"region1/*": 30, "region2/*": 70}},
    ]});
    let policies = [
        (
            "far",
            json!({"loadBalancer": {"simple": "ROUND_ROBIN", "localityLbSetting": far}, "connectionPool": pool, "outlierDetection": outlier}),
        ),
        ("shares", json!({"loadBalancer": {"localityLbSetting": shares}})),
        (
            "even",
            json!({"loadBalancer": {"localityLbSetting": {"enabled": false}}, "outlierDetection": {"maxEjectionPercent": 100}}),
        ),
        ("upgrade", json!({"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE", "maxConcurrentStreams": 9}}})),
        ("client", json!({"connectionPool": {"http": {"useClientProtocol": true}}})),
        (
            "mutual",
            json!({"tls": {"mode": "MUTUAL", "clientCertificate": "/etc/own.pem", "privateKey": "/etc/own.key",
                "caCertificates": "/etc/ca.pem", "sni": "a.example.org", "subjectAltNames": ["b.example.org"]}}),
        ),
        ("tls", json!({"tls": {"mode": "SIMPLE", "sni": "a.example.org", "subjectAltNames": ["b.example.org"]}})),
    ];
    let rule = |(name, policy): &(&str, Value)| {
        let mut of_port = policy.clone();
        of_port["port"] = json!({"number": 9080});
        let port = json!({"portLevelSettings": [of_port]});
        // Unlike the policy that it replaces, so that it shows whether the port is the right one.
        let mut of_subset = port.clone();
        of_subset["portLevelSettings"][0]["connectionPool"]["tcp"]["connectTimeout"] = "5s".into();
        let subsets = json!([
            {"name": "all", "trafficPolicy": policy},
            {"name": "port", "trafficPolicy": of_subset},
            {"name": "some", "labels": {"version": "v1"}},
        ]);
        [
            object("DestinationRule", name, json!({"host": name, "trafficPolicy": policy, "subsets": subsets})),
            object(
                "DestinationRule",
                &format!("{name}-port"),
                json!({"host": format!("{name}-port"), "trafficPolicy": port}),
            ),
        ]
    };
    policies.iter().flat_map(rule).collect()
}
