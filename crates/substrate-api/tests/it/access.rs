//! Who may do what: certificates, tokens and their bounds, RBAC, reviews, impersonation, limits to granting.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use kube::Client;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use crate::world::{World, api, pod, raw, refusal, try_create};

/// A client over TLS that sends a bearer token.
async fn with_token(world: &World, token: &str) -> Client {
    let mut config = kube::Config::new(world.url.parse().unwrap());
    let authority = world.server.ca_certificate_pem();
    config.root_cert = Some(vec![pem(&authority)]);
    config.auth_info.token = Some(token.to_owned().into());
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn pem(text: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(text.as_bytes()).unwrap().to_vec()
}

async fn token(world: &World, spec: Value) -> Result<String, kube::Error> {
    let accounts: kube::Api<k8s_openapi::api::core::v1::ServiceAccount> =
        kube::Api::namespaced(world.client.clone(), "default");
    let spec: TokenRequestSpec = serde_json::from_value(spec).unwrap();
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    Ok(accounts.create_token_request("default", &PostParams::default(), &request).await?.status.unwrap().token.unwrap())
}

async fn grant_reading(world: &World, subject: Value) {
    let rbac = "rbac.authorization.k8s.io/v1";
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]);
    world.create(rbac, "Role", "default", json!({"metadata": {"name": "reader"}, "rules": rules})).await;
    let binding =
        json!({"metadata": {"name": "reader"}, "roleRef": {"kind": "Role", "name": "reader"}, "subjects": [subject]});
    world.create(rbac, "RoleBinding", "default", binding).await;
}

#[tokio::test]
async fn a_certificate_names_its_user_and_rbac_decides() {
    let world = World::start().await;
    grant_reading(&world, json!({"kind": "User", "name": "ann"})).await;
    let kubeconfig = world.server.kubeconfig(&world.url, "ann", &[]).unwrap();
    let ann = world.client_of(&kubeconfig).await;
    api(&ann, "v1", "Pod", "default").list(&ListParams::default()).await.unwrap();
    let (code, reason, message) = refusal(try_create(&ann, "v1", "Pod", "default", pod("p")).await);
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        message,
        "pods is forbidden: User \"ann\" cannot create resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let elsewhere = api(&ann, "v1", "Pod", "kube-system").list(&ListParams::default()).await;
    assert_eq!(refusal(elsewhere).0, 403);
}

#[tokio::test]
async fn nobody_is_anonymous_and_bad_tokens_are_unauthorized() {
    let world = World::start().await;
    let nobody = {
        let mut config = kube::Config::new(world.url.parse().unwrap());
        config.root_cert = Some(vec![pem(&world.server.ca_certificate_pem())]);
        config.default_retry = false;
        Client::try_from(config).unwrap()
    };
    let (code, _, message) = refusal(api(&nobody, "v1", "Pod", "default").list(&ListParams::default()).await);
    assert_eq!(code, 403);
    assert!(message.contains("User \"system:anonymous\" cannot list"), "{message}");
    assert_eq!(raw(&nobody, "GET", "/healthz", "", Value::Null).await.0, 200);
    let liar = with_token(&world, "not.a.token").await;
    assert_eq!(refusal(api(&liar, "v1", "Pod", "default").list(&ListParams::default()).await).0, 401);
}

#[tokio::test]
async fn an_account_token_works_until_its_pod_is_gone() {
    let world = World::start().await;
    grant_reading(&world, json!({"kind": "ServiceAccount", "name": "default", "namespace": "default"})).await;
    let created = world.create("v1", "Pod", "default", pod("p")).await;
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": created["metadata"]["uid"]});
    let token = token(&world, json!({"audiences": [], "boundObjectRef": bound})).await.unwrap();
    let client = with_token(&world, &token).await;
    let pods = api(&client, "v1", "Pod", "default");
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 1);
    world.api("v1", "Pod", "default").delete("p", &Default::default()).await.unwrap();
    assert_eq!(refusal(pods.list(&ListParams::default()).await).0, 401);
}

#[tokio::test]
async fn audiences_are_kept_apart() {
    let world = World::start().await;
    let token = token(&world, json!({"audiences": ["istio-ca"], "expirationSeconds": 3600})).await.unwrap();
    let client = with_token(&world, &token).await;
    assert_eq!(
        refusal(api(&client, "v1", "Pod", "default").list(&ListParams::default()).await).0,
        401,
        "meant for others"
    );
    let review = |audience: &str| json!({"spec": {"token": token, "audiences": [audience]}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, good) = raw(&world.client, "POST", path, "application/json", review("istio-ca")).await;
    assert_eq!(good["status"]["authenticated"], true);
    assert_eq!(good["status"]["user"]["username"], "system:serviceaccount:default:default");
    assert_eq!(good["status"]["audiences"], json!(["istio-ca"]));
    let (_, bad) = raw(&world.client, "POST", path, "application/json", review("other")).await;
    assert_eq!(bad["status"]["authenticated"], false);
    assert!(bad["status"]["error"].as_str().unwrap().contains("istio-ca"), "{bad}");
}

#[tokio::test]
async fn a_token_that_has_expired_is_refused_for_that_alone() {
    let world = World::start().await;
    let token = world.server.expired_token("default", "default", "istio-ca").unwrap();
    let review = json!({"spec": {"token": token, "audiences": ["istio-ca"]}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, refused) = raw(&world.client, "POST", path, "application/json", review).await;
    assert_eq!(refused["status"]["authenticated"], false);
    assert!(refused["status"]["error"].as_str().unwrap().ends_with("the token has expired]"), "{refused}");
    assert_eq!(world.server.expired_token("default", "nobody", "istio-ca"), None);
}

#[tokio::test]
async fn token_requests_are_checked() {
    let world = World::start().await;
    let (code, _, message) = refusal(token(&world, json!({"audiences": [], "expirationSeconds": 10})).await);
    assert_eq!(code, 422);
    assert!(message.contains("may not specify a duration less than 10 minutes"), "{message}");
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "nope"});
    assert_eq!(refusal(token(&world, json!({"audiences": [], "boundObjectRef": bound})).await).0, 404);
}

#[tokio::test]
async fn secrets_can_hold_tokens() {
    let world = World::start().await;
    grant_reading(&world, json!({"kind": "ServiceAccount", "name": "default", "namespace": "default"})).await;
    let secret = json!({"metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token"});
    let created = world.create("v1", "Secret", "default", secret).await;
    let text = created["data"]["token"].as_str().unwrap();
    let token =
        String::from_utf8(base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap()).unwrap();
    let client = with_token(&world, &token).await;
    api(&client, "v1", "Pod", "default").list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn reviews_tell_what_one_may_do() {
    let world = World::start().await;
    grant_reading(&world, json!({"kind": "User", "name": "ann"})).await;
    let ann = world.server.client("ann", &[]);
    let ask = async |verb: &str| {
        let spec = json!({"resourceAttributes": {"verb": verb, "resource": "pods", "namespace": "default"}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        raw(&ann, "POST", path, "application/json", json!({"spec": spec})).await.1["status"]["allowed"].clone()
    };
    assert_eq!((ask("list").await, ask("delete").await), (json!(true), json!(false)));
    let (_, me) =
        raw(&ann, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "application/json", json!({})).await;
    assert_eq!(me["status"]["userInfo"]["username"], "ann");
}

#[tokio::test]
async fn impersonation_needs_permission() {
    let world = World::start().await;
    let ask = async |client: &Client, user: &str| {
        let request = http::Request::get("/api/v1/namespaces/default/pods")
            .header("impersonate-user", user)
            .body(Vec::new().into())
            .unwrap();
        client.send(request).await.unwrap().status().as_u16()
    };
    grant_reading(&world, json!({"kind": "User", "name": "ann"})).await;
    assert_eq!(ask(&world.client, "ann").await, 200);
    assert_eq!(ask(&world.client, "bob").await, 403);
    assert_eq!(ask(&world.server.client("ann", &[]), "bob").await, 403);
}

#[tokio::test]
async fn nobody_grants_more_than_they_hold() {
    let world = World::start().await;
    let rbac = "rbac.authorization.k8s.io/v1";
    let rules =
        json!([{"apiGroups": [rbac.split('/').next()], "resources": ["roles", "rolebindings"], "verbs": ["create"]}]);
    world.create(rbac, "ClusterRole", "", json!({"metadata": {"name": "granter"}, "rules": rules})).await;
    let binding = json!({"metadata": {"name": "granter"}, "roleRef": {"kind": "ClusterRole", "name": "granter"},
        "subjects": [{"kind": "User", "name": "eve"}]});
    world.create(rbac, "ClusterRoleBinding", "", binding).await;
    let eve = world.server.client("eve", &[]);
    let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    let (code, _, message) =
        refusal(try_create(&eve, rbac, "Role", "default", json!({"metadata": {"name": "r"}, "rules": rules})).await);
    assert_eq!(code, 403);
    assert!(message.contains("is attempting to grant RBAC permissions not currently held"), "{message}");
}
