//! Short forms for the messages of Envoy's API that every translator writes.

use std::collections::HashMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::r#type::v3 as kind;
use envoy_types::pb::google::protobuf;
use envoy_types::util::pack_any;
use prost::{Message, Name};

pub(super) fn duration(duration: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

pub(super) fn seconds(seconds: u64) -> protobuf::Duration {
    duration(Duration::from_secs(seconds))
}

pub(super) fn uint(value: u32) -> protobuf::UInt32Value {
    protobuf::UInt32Value { value }
}

/// A count from Istio's API, where it is an `int32`; a negative one counts as none.
pub(super) fn count(value: i32) -> protobuf::UInt32Value {
    uint(u32::try_from(value).unwrap_or_default())
}

pub(super) fn boolean(value: bool) -> protobuf::BoolValue {
    protobuf::BoolValue { value }
}

pub(super) fn address(host: &str, port: u16) -> core::Address {
    core::Address { address: Some(core::address::Address::SocketAddress(socket_address(host, port))) }
}

pub(super) fn socket_address(host: &str, port: u16) -> core::SocketAddress {
    core::SocketAddress {
        address: host.to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(u32::from(port))),
        ..Default::default()
    }
}

pub(super) fn filter<T: Name + Message>(name: &str, config: T) -> listener::Filter {
    listener::Filter {
        name: name.to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(pack_any(config))),
    }
}

pub(super) fn listener_filter<T: Name + Message>(name: &str, config: T) -> listener::ListenerFilter {
    listener::ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener::listener_filter::ConfigType::TypedConfig(pack_any(config))),
        ..Default::default()
    }
}

pub(super) fn http_filter<T: Name + Message>(name: &str, config: T) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(pack_any(config))),
        ..Default::default()
    }
}

pub(super) fn transport_socket<T: Name + Message>(name: &str, config: T) -> core::TransportSocket {
    core::TransportSocket {
        name: name.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(pack_any(config))),
    }
}

pub(super) fn raw_buffer() -> core::TransportSocket {
    transport_socket("envoy.transport_sockets.raw_buffer", RawBuffer {})
}

/// Configuration by the stream that asks for it, waited for without a limit.
pub(super) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        initial_fetch_timeout: Some(seconds(0)),
        resource_api_version: core::ApiVersion::V3 as i32,
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {})),
        ..Default::default()
    }
}

/// A struct with one text field.
pub(super) fn text_struct(key: &str, value: &str) -> protobuf::Struct {
    let value = protobuf::Value { kind: Some(protobuf::value::Kind::StringValue(value.to_owned())) };
    protobuf::Struct { fields: HashMap::from([(key.to_owned(), value)]) }
}

/// Metadata with one text field below one filter.
pub(super) fn metadata(filter: &str, key: &str, value: &str) -> core::Metadata {
    core::Metadata {
        filter_metadata: HashMap::from([(filter.to_owned(), text_struct(key, value))]),
        ..Default::default()
    }
}

/// A share of requests, with a resolution of a millionth.
pub(super) fn percent(value: f64) -> kind::FractionalPercent {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000000 first")]
    let numerator = (value * 10_000.0).round().clamp(0.0, 1_000_000.0) as u32;
    kind::FractionalPercent { numerator, denominator: kind::fractional_percent::DenominatorType::Million as i32 }
}

/// A share of requests that no runtime key changes.
pub(super) fn runtime_percent(value: f64) -> core::RuntimeFractionalPercent {
    core::RuntimeFractionalPercent { default_value: Some(percent(value)), ..Default::default() }
}

/// A map that is encoded in the order of its keys.
///
/// The API's maps are hash maps with a random order, and the version of a resource is the hash of its bytes. Every new
/// hash map draws a new order; with the two or three entries that occur here a sorted one comes up within a few draws.
pub(super) fn ordered<V: Clone>(entries: &[(&str, V)]) -> HashMap<String, V> {
    loop {
        let map: HashMap<String, V> = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        if map.keys().is_sorted() {
            return map;
        }
    }
}
