//! The proxy as a whole.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::google::protobuf::{Any, BoolValue};
use envoy_types::util::pack_any;
use nix::sys::signal::{Signal, kill};
use requirements::{Capability, require};

use crate::control_plane::{self, ControlPlane, State};
use crate::pod::{Pod, Running};
use crate::support::{SOON, STEP, connect, crypto, get, leaf};

/// A listener with mutual TLS from the secret service that answers `hello`.
fn mutual_tls_listener(port: u16) -> (String, Any) {
    let chain = listener::FilterChain {
        filters: vec![hello_filter()],
        transport_socket: Some(core::TransportSocket {
            name: "envoy.transport_sockets.tls".to_owned(),
            config_type: Some(core::transport_socket::ConfigType::TypedConfig(pack_any(downstream_tls()))),
        }),
        ..listener::FilterChain::default()
    };
    let listener = listener::Listener {
        name: "workload".to_owned(),
        address: Some(core::Address {
            address: Some(core::address::Address::SocketAddress(core::SocketAddress {
                address: "127.0.0.1".to_owned(),
                port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
                ..core::SocketAddress::default()
            })),
        }),
        filter_chains: vec![chain],
        ..listener::Listener::default()
    };
    ("workload".to_owned(), pack_any(listener))
}

fn hello_filter() -> listener::Filter {
    let hello = route::DirectResponseAction {
        status: 200,
        body: Some(core::DataSource {
            specifier: Some(core::data_source::Specifier::InlineString("hello".to_owned())),
            ..core::DataSource::default()
        }),
        ..route::DirectResponseAction::default()
    };
    let routes = route::RouteConfiguration {
        virtual_hosts: vec![route::VirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![route::Route {
                r#match: Some(route::RouteMatch {
                    path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".to_owned())),
                    ..route::RouteMatch::default()
                }),
                action: Some(route::route::Action::DirectResponse(hello)),
                ..route::Route::default()
            }],
            ..route::VirtualHost::default()
        }],
        ..route::RouteConfiguration::default()
    };
    let manager = hcm::HttpConnectionManager {
        stat_prefix: "workload".to_owned(),
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(routes)),
        http_filters: vec![hcm::HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(pack_any(Router::default()))),
            ..hcm::HttpFilter::default()
        }],
        ..hcm::HttpConnectionManager::default()
    };
    listener::Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(pack_any(manager))),
    }
}

fn secret(name: &str) -> tls::SdsSecretConfig {
    let service = core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::Grpc.into(),
        transport_api_version: core::ApiVersion::V3.into(),
        grpc_services: vec![core::GrpcService {
            target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(core::grpc_service::EnvoyGrpc {
                cluster_name: "sds-grpc".to_owned(),
                ..core::grpc_service::EnvoyGrpc::default()
            })),
            ..core::GrpcService::default()
        }],
        ..core::ApiConfigSource::default()
    };
    tls::SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(core::ConfigSource {
            resource_api_version: core::ApiVersion::V3.into(),
            config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::ApiConfigSource(service)),
            ..core::ConfigSource::default()
        }),
    }
}

fn downstream_tls() -> tls::DownstreamTlsContext {
    tls::DownstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![secret("default")],
            validation_context_type: Some(
                tls::common_tls_context::ValidationContextType::ValidationContextSdsSecretConfig(secret("ROOTCA")),
            ),
            ..tls::CommonTlsContext::default()
        }),
        require_client_certificate: Some(BoolValue { value: true }),
        ..tls::DownstreamTlsContext::default()
    }
}

/// A client's key, and its certificate from the test's root.
fn client(state: &State) -> (agent::certificate::SigningRequest, Vec<String>) {
    let id = "spiffe://cluster.local/ns/bookinfo/sa/client";
    let request = agent::certificate::signing_request(id).unwrap();
    let chain = state.sign(&request.csr_pem, id, Duration::from_secs(3600));
    (request, chain)
}

/// A gateway whose proxy has all that it is to have: a listener with mutual TLS.
async fn ready(extra: &[(&str, &str)]) -> (Pod, Arc<State>, ControlPlane, Running) {
    let pod = Pod::new("router", extra);
    let state = State::new(vec![mutual_tls_listener(pod.ports.listener)]);
    pod.mount(&state);
    let control_plane = control_plane::start(pod.ports.control_plane, &state);
    let running = pod.start(&requirements::envoy().unwrap());
    pod.ready().await;
    (pod, state, control_plane, running)
}

#[tokio::test]
async fn envoy_accepts_the_bootstraps() {
    require!(Capability::Envoy);
    let envoy = requirements::envoy().unwrap();
    for role in [agent::settings::Role::Sidecar, agent::settings::Role::Router] {
        let directory = tempfile::tempdir().unwrap();
        let environment =
            [("POD_NAME", "a-0"), ("POD_NAMESPACE", "ns"), ("INSTANCE_IP", "10.0.0.1"), ("ISTIO_METAJSON_X", "[1]")];
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut settings = agent::settings::Settings::from_environment(role, None, &environment).unwrap();
        settings.paths.config = directory.path().to_owned();
        agent::envoy::write_bootstrap(&settings).unwrap();
        let arguments = agent::bootstrap::arguments(&settings);
        let output = Command::new(&envoy).args(["--mode", "validate"]).args(arguments).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{role:?}: {log}");
        assert!(!log.contains("deprecated"), "{role:?}: {log}");
    }
}

#[tokio::test]
async fn a_proxy_gets_configuration_and_certificates_and_rotates_them_without_a_break() {
    require!(Capability::Envoy);
    crypto();
    let (pod, state, _control_plane, running) = ready(&[("SECRET_TTL", "4s")]).await;
    {
        let seen = state.seen.lock().unwrap();
        assert_eq!(seen.node_id, "router~127.0.0.1~reviews-v1-0.bookinfo~bookinfo.svc.cluster.local");
        assert!(seen.cluster_ids.iter().all(|id| id == "cluster1"), "{:?}", seen.cluster_ids);
        assert!(seen.nacks.is_empty(), "{:?}", seen.nacks);
    }
    let (request, chain) = client(&state);
    let mut open = connect(pod.ports.listener, &request, &chain).await.unwrap();
    let first = leaf(&open);
    let (_, parsed) = x509_parser::parse_x509_certificate(&first).unwrap();
    let names = format!("{:?}", parsed.subject_alternative_name().unwrap().unwrap().value);
    assert!(names.contains("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews"), "{names}");
    let rotated = eventually::poll("another certificate", SOON, STEP, async || {
        get(&mut open).await.map_err(|error| format!("the open connection broke: {error}"))?;
        let new = connect(pod.ports.listener, &request, &chain).await.map_err(|error| error.to_string())?;
        if leaf(&new) == first { Err("still the first".to_owned()) } else { Ok(()) }
    });
    rotated.await.unwrap();
    assert!(get(&mut open).await.unwrap().starts_with("HTTP/1.1 200"), "the open connection outlives the rotation");
    assert_eq!(state.seen.lock().unwrap().streams, 1, "the stream to the control plane was not disturbed");
    let (status, metrics) = pod.page(pod.ports.status, "/stats/prometheus").await.unwrap();
    assert_eq!(status, 200);
    assert!(metrics.contains("istio_agent_xds_streams_total 1"), "the agent's figures");
    assert!(metrics.contains("envoy_server_live{} 1"), "Envoy's figures");
    assert_eq!(pod.page(pod.ports.prometheus, "/stats/prometheus").await.unwrap().0, 200);
    let own = running.own_memory();
    assert!(own < 4 * 1024, "the agent is meant to be small, and takes {own} KiB of its own");
}

/// Envoy heeds the dates of a peer's certificate, whoever signed it.
#[tokio::test]
async fn a_peer_whose_certificate_has_expired_or_is_not_valid_yet_is_refused() {
    require!(Capability::Envoy);
    crypto();
    let (pod, state, _control_plane, _running) = ready(&[]).await;
    let id = "spiffe://cluster.local/ns/bookinfo/sa/client";
    let request = agent::certificate::signing_request(id).unwrap();
    let answered = async |from: i64, until: i64| {
        let chain = state.sign_within(&request.csr_pem, id, from, until);
        // With TLS 1.3 the server's refusal comes after the client's handshake.
        get(&mut connect(pod.ports.listener, &request, &chain).await?).await
    };
    assert!(answered(-3600, 3600).await.unwrap().starts_with("HTTP/1.1 200"));
    for (what, from, until) in [("expired", -3600, -60), ("not valid yet", 3600, 7200)] {
        let refused = answered(from, until).await.unwrap_err().to_string();
        assert!(refused.contains("received fatal alert"), "{what}: {refused}");
    }
}

#[tokio::test]
async fn a_changed_root_is_taken_up() {
    require!(Capability::Envoy);
    crypto();
    let (pod, state, _control_plane, _running) = ready(&[]).await;
    let other = State::new(Vec::new());
    let (request, chain) = client(&other);
    let attempt = async || {
        let mut stream = connect(pod.ports.listener, &request, &chain).await.map_err(|error| error.to_string())?;
        get(&mut stream).await.map_err(|error| error.to_string())
    };
    assert!(attempt().await.is_err(), "a stranger's certificate is refused");
    pod.write("var/run/secrets/istio/next", &format!("{}{}", state.root.pem(), other.root.pem()));
    let mounted = pod.directory.path().join("var/run/secrets/istio");
    std::fs::rename(mounted.join("next"), mounted.join("root-cert.pem")).unwrap();
    eventually::poll("the new root to be trusted", SOON, STEP, attempt).await.unwrap();
}

#[tokio::test]
async fn a_proxy_outlives_its_control_plane_and_finds_it_again() {
    require!(Capability::Envoy);
    crypto();
    let (pod, state, control_plane, _running) = ready(&[]).await;
    drop(control_plane);
    let disconnected = eventually::poll("the agent to notice", SOON, STEP, async || {
        let page = pod.page(pod.ports.status, "/metrics").await?.1;
        if page.contains("istio_agent_xds_failures_total 0") { Err("no failure yet") } else { Ok(()) }
            .map_err(str::to_owned)
    });
    disconnected.await.unwrap();
    assert_eq!(pod.page(pod.ports.health, "/healthz/ready").await.unwrap().0, 200, "still ready");
    let (request, chain) = client(&state);
    get(&mut connect(pod.ports.listener, &request, &chain).await.unwrap()).await.unwrap();
    let _again = control_plane::start(pod.ports.control_plane, &state);
    let found = eventually::poll("the second stream", SOON, STEP, async || {
        let seen = state.seen.lock().unwrap();
        if seen.streams == 2 && !seen.initial_versions.is_empty() {
            Ok(())
        } else {
            Err(format!("{} streams", seen.streams))
        }
    });
    found.await.unwrap();
    assert_eq!(state.seen.lock().unwrap().initial_versions["workload"], "1", "Envoy says what it already has");
}

#[tokio::test]
async fn without_a_valid_token_the_proxy_does_not_become_ready_and_says_why() {
    require!(Capability::Envoy);
    crypto();
    let pod = Pod::new("router", &[]);
    let state = State::new(Vec::new());
    pod.mount(&state);
    pod.write("var/run/secrets/tokens/istio-token", "a-bad-token");
    let _control_plane = control_plane::start(pod.ports.control_plane, &state);
    let _running = pod.start(&requirements::envoy().unwrap());
    let refused = eventually::poll("refusals", SOON, STEP, async || {
        let calls = state.seen.lock().unwrap().refused_calls;
        if calls >= 2 { Ok(()) } else { Err(format!("{calls} refused calls")) }
    });
    refused.await.unwrap();
    let (status, reason) = pod.page(pod.ports.status, "/healthz/ready").await.unwrap();
    assert_eq!((status, reason.as_str()), (503, "no workload certificate yet"));
    pod.write("var/run/secrets/tokens/istio-token", control_plane::TOKEN);
    pod.ready().await;
}

#[tokio::test]
async fn termination_drains_and_ends_well() {
    require!(Capability::Envoy);
    crypto();
    let (_pod, _state, _control_plane, mut running) = ready(&[]).await;
    let envoy = running.envoy();
    let start = std::time::Instant::now();
    running.signal(Signal::SIGTERM);
    assert_eq!(running.exit_code().await, Some(0));
    assert!(
        start.elapsed() < Duration::from_millis(1800),
        "an idle proxy ends before the longest drain: {:?}",
        start.elapsed()
    );
    assert!(kill(envoy, None).is_err(), "Envoy is gone");
}

#[tokio::test]
async fn the_agent_ends_as_its_envoy_does() {
    require!(Capability::Envoy);
    crypto();
    let pod = Pod::new("router", &[]);
    let state = State::new(Vec::new());
    pod.mount(&state);
    let _control_plane = control_plane::start(pod.ports.control_plane, &state);
    let envoy = requirements::envoy().unwrap();
    let mut running = pod.start(&envoy);
    pod.ready().await;
    kill(running.envoy(), Signal::SIGKILL).unwrap();
    assert_eq!(running.exit_code().await, Some(137));
    let mut running = pod.start(&envoy);
    pod.ready().await;
    let envoy = running.envoy();
    running.signal(Signal::SIGKILL);
    assert_eq!(running.exit_code().await, None);
    let gone = eventually::poll("Envoy to follow its agent", SOON, STEP, async || {
        if std::path::Path::new(&format!("/proc/{envoy}/exe")).exists() { Err("it runs") } else { Ok(()) }
    });
    gone.await.unwrap();
}
