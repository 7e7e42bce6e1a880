//! A UDP client that keeps its port while the endpoints of its Service change.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use serde_json::{Value, json};
use substrate_node::fabric::Fabric;
use substrate_node::services::{PortEntry, Protocol, ServiceEntry, ServiceTable};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::networks::address;
use crate::scenarios::{Facts, cluster, two_clusters};

/// The node asks a Service for its name, again and again from the same port.
pub(crate) async fn endpoints() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let (one, two) = (cluster(&fabric, "cluster1")?, cluster(&fabric, "cluster2")?);
    let mut served = Vec::new();
    for port in [5001, 5002] {
        answer(two.bind_udp(address(two.node_address(), port)).await?, port.to_string());
        served.push(SocketAddrV4::new(two.node_address(), port));
    }
    let service = Ipv4Addr::new(10, 96, 0, 53);
    let table = |endpoints: &[SocketAddrV4]| {
        let port = PortEntry { protocol: Protocol::Udp, port: 53, node_port: None, endpoints: endpoints.to_vec() };
        let entry = ServiceEntry {
            namespace: "shop".to_owned(),
            name: "names".to_owned(),
            addresses: vec![service],
            client_affinity: false,
            ports: vec![port],
        };
        ServiceTable { services: vec![entry] }
    };
    let client = one.bind_udp(address(Ipv4Addr::UNSPECIFIED, 40000)).await?;
    one.apply_services(&table(&served[..1])).await?;
    let first = ask(&client, service).await?;
    // The conversation goes on with whom it began as long as that one is there.
    one.apply_services(&table(&served)).await?;
    let both = ask(&client, service).await?;
    one.apply_services(&table(&served[1..])).await?;
    let second = ask(&client, service).await?;
    Ok(json!({"first": first, "both": both, "second": second}))
}

fn answer(socket: UdpSocket, name: String) {
    tokio::spawn(async move {
        let mut buffer = [0; 16];
        while let Ok((_, client)) = socket.recv_from(&mut buffer).await {
            socket.send_to(name.as_bytes(), client).await.ok();
        }
    });
}

async fn ask(client: &UdpSocket, service: Ipv4Addr) -> Result<Value, Box<dyn Error>> {
    client.send_to(b"who", address(service, 53)).await?;
    let mut buffer = [0; 16];
    let Ok(answer) = timeout(Duration::from_secs(1), client.recv_from(&mut buffer)).await else {
        return Ok(json!("nobody"));
    };
    Ok(json!(String::from_utf8_lossy(&buffer[..answer?.0])))
}
