//! exec and port-forward over real TLS and WebSocket, with kube's client.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::pods::place;
use crate::world::{World, pod};

async fn with_pod() -> (World, Api<Pod>) {
    let world = World::start().await;
    world.create("v1", "Pod", "default", pod("p")).await;
    place(&world, "p").await;
    let pods = Api::namespaced(world.remote().await, "default");
    (world, pods)
}

#[tokio::test]
async fn exec_carries_input_output_and_the_exit_code() {
    let (_world, pods) = with_pod().await;
    let mut echo = pods.exec("p", ["echo", "hello", "you"], &AttachParams::default()).await.unwrap();
    let mut output = String::new();
    echo.stdout().unwrap().read_to_string(&mut output).await.unwrap();
    assert_eq!(output, "hello you\n");
    assert_eq!(echo.take_status().unwrap().await.unwrap().status.as_deref(), Some("Success"));

    let params = AttachParams::default().stdin(true).stderr(false);
    let mut cat = pods.exec("p", ["cat"], &params).await.unwrap();
    let mut stdin = cat.stdin().unwrap();
    stdin.write_all(b"abc").await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    let mut output = [0; 3];
    cat.stdout().unwrap().read_exact(&mut output).await.unwrap();
    assert_eq!(&output, b"abc");

    let mut exit = pods.exec("p", ["exit", "7"], &AttachParams::default()).await.unwrap();
    let mut errors = String::new();
    exit.stderr().unwrap().read_to_string(&mut errors).await.unwrap();
    assert_eq!(errors, "leaving\n");
    let status = exit.take_status().unwrap().await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    assert_eq!(status.details.unwrap().causes.unwrap()[0].message.as_deref(), Some("7"));
}

#[tokio::test]
async fn port_forward_carries_bytes_both_ways() {
    let (_world, pods) = with_pod().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(&request).await.unwrap();
        stream.write_all(b"pong").await.unwrap();
    });
    let mut forwarder = pods.portforward("p", &[port]).await.unwrap();
    let mut stream = forwarder.take_stream(port).unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"pingpong");
}
