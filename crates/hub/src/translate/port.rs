//! Which protocol a port speaks, by Istio's rules: the Service's `appProtocol`, else the port's name up to the first `-`.

use mesh_types::hub::destination::ServicePort;

const KNOWN: [(&str, &str); 14] = [
    ("grpc", "GRPC"),
    ("grpc-web", "GRPC-WEB"),
    ("http", "HTTP"),
    ("http2", "HTTP2"),
    ("https", "HTTPS"),
    ("kubernetes.io/h2c", "HTTP2"),
    ("kubernetes.io/ws", "HTTP"),
    ("kubernetes.io/wss", "HTTPS"),
    ("mongo", "MONGO"),
    ("mysql", "TCP"),
    ("redis", "TCP"),
    ("tcp", "TCP"),
    ("tls", "TLS"),
    ("udp", "UDP"),
];

/// The protocol, in Istio's spelling; empty where nobody says it, and the proxies find it out per connection.
pub fn protocol(port: &ServicePort) -> &'static str {
    let known = |text: &str| KNOWN.iter().find(|(name, _)| *name == text).map(|(_, protocol)| *protocol);
    let named = port.name.to_ascii_lowercase();
    if !port.app_protocol.is_empty() {
        return known(&port.app_protocol.to_ascii_lowercase()).unwrap_or_default();
    }
    if named == "grpc-web" || named.starts_with("grpc-web-") {
        return "GRPC-WEB";
    }
    known(named.split('-').next().unwrap_or_default()).unwrap_or_default()
}

/// Whether requests on it can be routed: it is HTTP, or may turn out to be.
pub fn carries_requests(port: &ServicePort) -> bool {
    matches!(protocol(port), "" | "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB")
}

/// The name by which the endpoints of a ServiceEntry know a port: that of the Service's port, or its number.
pub fn name(port: &ServicePort) -> String {
    if port.name.is_empty() { format!("port-{}", port.port) } else { port.name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_istios() {
        for (name, app_protocol, expected) in [
            ("http", "", "HTTP"),
            ("http-admin", "", "HTTP"),
            ("grpc-web-x", "", "GRPC-WEB"),
            ("grpc", "", "GRPC"),
            ("tcp", "http", "HTTP"),
            ("x", "kubernetes.io/h2c", "HTTP2"),
            ("web", "", ""),
            ("", "", ""),
            ("http", "strange", ""),
        ] {
            let port = ServicePort { name: name.into(), app_protocol: app_protocol.into(), ..ServicePort::default() };
            assert_eq!(protocol(&port), expected, "{name} {app_protocol}");
        }
    }
}
