//! The program itself: the probe's documents and exit codes, and how a service stops.

use std::time::{Duration, Instant};

use bookinfo::services;
use bookinfo::services::reviews::ReviewsVersion;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{Shop, Started, World, closed_port, probe, run, serve};

fn url(address: std::net::SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}

#[tokio::test]
async fn a_closed_loop_counts_every_request_and_groups_by_server() {
    let shop = Shop::open(ReviewsVersion::V3, "v3").await;
    let page = url(shop.page.address, "/api/v1/products/0/reviews");
    let report = probe(&["run", "--url", &page, "--requests", "200", "--connections", "4"]).await;
    assert_eq!(report["mode"], "closed-loop");
    assert_eq!((&report["requests"], &report["answered"], &report["planned"]), (&json!(200), &json!(200), &json!(200)));
    assert_eq!(report["byStatus"], json!({ "200": 200 }));
    assert_eq!(report["connectionsOpened"], 4);
    let groups = report["groups"].as_array().unwrap();
    assert_eq!((groups.len(), &groups[0]["service"], &groups[0]["count"]), (1, &json!("productpage"), &json!(200)));
    assert_eq!(groups[0]["peer"], Value::Null);
    assert!(report["errors"].as_object().unwrap().values().all(|count| count == 0), "{report}");
    let latency = &report["latencyMs"];
    assert!(latency["p50"].as_f64() <= latency["p99"].as_f64() && latency["p99"].as_f64() <= latency["max"].as_f64());
    assert_eq!(report["resolved"]["used"], shop.page.address.to_string());
}

#[tokio::test]
async fn a_hop_behind_the_answering_service_can_be_grouped_by() {
    let shop = Shop::open(ReviewsVersion::V2, "v2").await;
    let page = url(shop.page.address, "/productpage");
    let args = ["run", "--url", &page, "--requests", "5", "--header", "accept=application/json", "--hop", "reviews"];
    let report = probe(&args).await;
    let group = &report["groups"][0];
    assert_eq!((&group["version"], &group["cluster"], &group["count"]), (&json!("v2"), &json!("cluster2"), &json!(5)));
    assert_eq!(group["hopStatus"], 200);
}

#[tokio::test]
async fn an_open_loop_starts_what_its_rate_says() {
    let ratings = serve(services::ratings::router(World::default().app("ratings", "v1", "c"))).await;
    let address = url(ratings.address, "/ratings/0");
    let args = ["run", "--url", &address, "--rate", "100", "--duration", "500ms", "--connections", "2"];
    let report = probe(&args).await;
    assert_eq!((&report["planned"], &report["requests"], &report["answered"]), (&json!(50), &json!(50), &json!(50)));
    assert!(report["durationMs"].as_f64().unwrap() >= 490.0, "{report}");
    assert_eq!(report["mode"], "open-loop");
}

#[tokio::test]
async fn a_stalled_server_shows_in_the_latencies_of_an_open_loop() {
    let address = answer_with_delay(Duration::from_millis(300)).await;
    let address = url(address, "/");
    let report = probe(&["run", "--url", &address, "--rate", "50", "--requests", "6", "--connections", "1"]).await;
    // The sixth request was to start after 100 ms and had to wait for five answers of 300 ms each.
    assert_eq!(report["answered"], 6);
    assert!(report["latencyMs"]["max"].as_f64().unwrap() > 1_500.0, "{report}");
    assert!(report["maxStartDelayMs"].as_f64().unwrap() > 1_200.0, "{report}");
    // The first may be late too, where the machine has other work.
    assert!(report["lateSends"].as_u64().unwrap() >= 5, "{report}");
}

#[tokio::test]
async fn an_open_loop_that_may_open_connections_is_not_held_up_by_a_stalled_server() {
    let address = answer_with_delay(Duration::from_millis(300)).await;
    let address = url(address, "/");
    let args = ["run", "--url", &address, "--rate", "50", "--requests", "6", "--max-connections", "8"];
    let report = probe(&args).await;
    assert_eq!((&report["answered"], &report["connectionsOpened"]), (&json!(6), &json!(6)));
    assert!(report["latencyMs"]["max"].as_f64().unwrap() < 900.0, "{report}");
}

/// A server that answers each request after a while.
async fn answer_with_delay(delay: Duration) -> std::net::SocketAddr {
    let slow = axum::Router::new().fallback(move || async move {
        tokio::time::sleep(delay).await;
        "slow"
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, slow).await });
    address
}

#[tokio::test]
async fn an_answer_that_stops_half_way_is_told_from_none_at_all() {
    for (said, class) in [("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", "stalled"), ("HTTP/1.1 ", "timeout")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = url(listener.local_addr().unwrap(), "/");
        let answer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            stream.write_all(said.as_bytes()).await.unwrap();
            // Until the probe gives up.
            assert!(matches!(stream.read(&mut [0; 1024]).await, Ok(0) | Err(_)));
        });
        let report = probe(&["run", "--url", &address, "--requests", "1", "--timeout", "500ms"]).await;
        assert_eq!((&report["answered"], &report["errors"][class]), (&json!(0), &json!(1)), "{report}");
        answer.await.unwrap();
    }
}

#[tokio::test]
async fn http2_and_new_connections_work() {
    let echo = serve(services::echo::router(World::default().app("echo", "v1", "c"))).await;
    let address = url(echo.address, "/");
    let report = probe(&["run", "--url", &address, "--requests", "10", "--http2"]).await;
    assert_eq!((&report["byStatus"]["200"], &report["connectionsOpened"]), (&json!(10), &json!(1)));
    let report = probe(&["run", "--url", &address, "--requests", "10", "--new-connection-per-request"]).await;
    assert_eq!((&report["byStatus"]["200"], &report["connectionsOpened"]), (&json!(10), &json!(10)));
}

#[tokio::test]
async fn another_host_can_be_named_and_another_address_connected_to() {
    let echo = serve(services::echo::router(World::default().app("echo", "v1", "c"))).await;
    let to = echo.address.to_string();
    let report = probe(&["run", "--url", "http://no.such.host.invalid/x", "--connect-to", &to]).await;
    assert_eq!((&report["answered"], &report["resolved"]["addresses"]), (&json!(1), &json!([])));
}

/// A listener that does this with every connection.
async fn listener(behaviour: &'static [u8], keep_open: bool) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(behaviour).await;
            if keep_open {
                kept.push(stream);
            }
        }
    });
    address
}

#[tokio::test]
async fn failures_are_sorted_by_their_kind() {
    for (address, class) in [
        (closed_port().await, "connect-refused"),
        (listener(b"", false).await, "reset"),
        (listener(b"", true).await, "timeout"),
        (listener(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", false).await, "reset"),
        (listener(b"SSH-2.0-OpenSSH\r\n\r\n", true).await, "protocol"),
    ] {
        let address = url(address, "/");
        let report = probe(&["run", "--url", &address, "--requests", "2", "--timeout", "200ms"]).await;
        assert_eq!(report["errors"][class], 2, "{class}: {report}");
        assert_eq!((&report["requests"], &report["answered"]), (&json!(2), &json!(0)), "{class}");
        assert_eq!(report["errorSamples"][0]["class"], class);
        assert_eq!(report["latencyMs"], Value::Null);
    }
}

#[tokio::test]
async fn a_server_that_closes_at_once_or_speaks_first_is_told_apart() {
    let hasty = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closing = hasty.local_addr().unwrap();
    tokio::spawn(async move { while hasty.accept().await.is_ok() {} });
    let report = probe(&["run", "--url", &url(closing, "/"), "--requests", "3"]).await;
    assert_eq!(report["errors"]["reset"], 3, "{report}");

    let talker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let talking = talker.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = talker.accept().await {
            let _ = stream.write_all(b"220 mail.example\r\n").await;
            kept.push(stream);
        }
    });
    let report = probe(&["run", "--url", &url(talking, "/"), "--requests", "3"]).await;
    assert_eq!(report["errors"]["protocol"], 3, "{report}");
}

#[tokio::test]
async fn a_name_without_address_is_a_dns_failure_of_one_attempt() {
    let args = ["run", "--url", "http://name.invalid/", "--requests", "40", "--timeout", "10s"];
    let report = probe(&args).await;
    assert_eq!((&report["errors"]["dns"], &report["requests"], &report["planned"]), (&json!(1), &json!(1), &json!(40)));
}

#[tokio::test]
async fn error_answers_are_quoted() {
    let echo = serve(services::echo::router(World::default().app("echo", "v1", "c"))).await;
    let address = url(echo.address, "/?status=503");
    let report = probe(&["run", "--url", &address, "--requests", "3"]).await;
    assert_eq!((&report["byStatus"]["503"], &report["answered"]), (&json!(3), &json!(3)));
    assert_eq!(report["statusSamples"][0]["status"], 503);
}

#[tokio::test]
async fn wrong_usage_ends_with_2() {
    for args in [
        &["probe", "run"][..],
        &["probe", "run", "--url", "ftp://reviews/"],
        &["probe", "run", "--url", "http://reviews/", "--requests", "0"],
        &["probe", "run", "--url", "http://reviews/", "--rate", "-1"],
        &["probe", "connect", "--address", "reviews:9080"],
        &["reviews", "--version", "v4"],
        &["nonsense"],
    ] {
        let output = run(args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn connections_are_tried_and_told_apart() {
    let ratings = serve(services::ratings::router(World::default().app("ratings", "v1", "c"))).await;
    let open = ratings.address.to_string();
    let report = probe(&["connect", "--address", &open, "--plaintext-http", "--path", "/ratings/0"]).await;
    assert_eq!((&report["outcome"], &report["http"]["status"]), (&json!("connected"), &json!(200)));

    assert_eq!(report["http"]["servedBy"]["pod"], "ratings-v1-pod");
    assert_eq!(report["http"]["peer"], json!({ "uri": null, "by": null }));

    let refused = closed_port().await.to_string();
    let report = probe(&["connect", "--address", &refused]).await;
    assert_eq!((&report["outcome"], report.get("http")), (&json!("refused"), None));

    let silent = listener(b"", true).await.to_string();
    let args = ["connect", "--address", &silent, "--plaintext-http", "--timeout", "200ms"];
    assert_eq!(probe(&args).await["http"]["outcome"], "timeout");

    let closing = listener(b"", false).await.to_string();
    let report = probe(&["connect", "--address", &closing, "--plaintext-http"]).await;
    assert_eq!(report["http"]["outcome"], "closed");

    let report = probe(&["connect", "--address", &open, "--settle", "50ms"]).await;
    assert_eq!(report["outcome"], "connected");
    let hasty = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = hasty.local_addr().unwrap().to_string();
    tokio::spawn(async move { while hasty.accept().await.is_ok() {} });
    let report = probe(&["connect", "--address", &address, "--settle", "5s"]).await;
    assert_eq!(report["outcome"], "connected-then-closed");
}

#[tokio::test]
async fn a_run_that_is_stopped_prints_what_it_counted() {
    let (seen, mut third) = tokio::sync::mpsc::unbounded_channel();
    let counting = axum::Router::new().fallback(move || async move { seen.send(()).map_or("unheard", |()| "counted") });
    let server = serve(counting).await;
    let address = url(server.address, "/");
    let args = ["probe", "run", "--url", &address, "--rate", "50", "--duration", "60s"];
    let child = crate::support::bookinfo(&args).stdout(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..3 {
        third.recv().await.unwrap();
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success());
    assert_eq!((&report["interrupted"], &report["planned"]), (&json!(true), &json!(3000)));
    assert!((2..100).contains(&report["answered"].as_u64().unwrap()), "{report}");
}

#[tokio::test]
async fn a_service_ends_soon_after_sigterm_although_connections_are_open() {
    let mut started = Started::new("ratings");
    let idle = tokio::net::TcpStream::connect(started.address).await.unwrap();
    let mut half = tokio::net::TcpStream::connect(started.address).await.unwrap();
    half.write_all(b"GET /ratings/0 HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let begun = Instant::now();
    kill(Pid::from_raw(started.child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let status = started.child.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    drop((idle, half));
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["ratings", "--address", "127.0.0.1", "--port", &port]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{text}");
}
