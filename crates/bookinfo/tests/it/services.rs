//! What the services answer, alone and together.

use bookinfo::services;
use bookinfo::services::reviews::ReviewsVersion;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Shop, World, closed_port, get, json, send, serve};

const XFCC: &str = "By=spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage;Hash=00;Subject=\"\";\
                    URI=spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway";

#[tokio::test]
async fn one_answer_of_productpage_shows_every_hop() {
    let shop = Shop::open(ReviewsVersion::V3, "v3").await;
    let headers = [("accept", "application/json"), ("x-forwarded-client-cert", XFCC), ("x-request-id", "r-1")];
    let response = get(shop.page.address, "/productpage", &headers).await;
    let page = json(&response);
    assert_eq!(page["peer"]["uri"], "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway");
    assert_eq!(page["peer"]["by"], "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage");
    assert_eq!(page["upstreams"][0]["servedBy"]["service"], "details");
    let reviews = &page["upstreams"][1];
    assert_eq!(reviews["servedBy"]["version"], "v3");
    assert_eq!(reviews["servedBy"]["cluster"], "cluster2");
    assert_eq!(reviews["peer"], json!({ "uri": null, "by": null }), "the caller's proxy word must not be passed on");
    assert_eq!(reviews["upstreams"][0]["servedBy"]["pod"], "ratings-v1-pod");
    assert_eq!(reviews["upstreams"][0]["seen"]["requestId"], "r-1");
    assert_eq!(page["reviews"]["reviews"][0]["rating"], json!({ "stars": 5, "color": "red" }));
    assert_eq!(page["reviews"].get("servedBy"), None, "a service's own fields and its hop are kept apart");
}

#[tokio::test]
async fn every_answer_has_the_identity_headers() {
    let shop = Shop::open(ReviewsVersion::V1, "v1").await;
    for path in ["/productpage", "/health", "/api/v1/products", "/no/such/path"] {
        let response = get(shop.page.address, path, &[("x-forwarded-client-cert", XFCC)]).await;
        let served_by = response.headers()["x-served-by"].to_str().unwrap();
        assert!(served_by.starts_with("service=productpage;version=v1;pod=productpage-v1-pod"), "{path}: {served_by}");
        assert!(served_by.contains(";cluster=cluster1"), "{path}: {served_by}");
        let peer = response.headers()["x-peer-identity"].to_str().unwrap();
        assert!(peer.starts_with("uri=spiffe://cluster.local/ns/istio-system"), "{path}: {peer}");
    }
    let response = get(shop.page.address, "/health", &[]).await;
    assert_eq!(response.headers()["x-peer-identity"], "none");
}

#[tokio::test]
async fn the_versions_of_reviews_differ_by_their_stars() {
    for (version, name, stars) in [
        (ReviewsVersion::V1, "v1", None),
        (ReviewsVersion::V2, "v2", Some("stars black")),
        (ReviewsVersion::V3, "v3", Some("stars red")),
    ] {
        let shop = Shop::open(version, name).await;
        let response = get(shop.page.address, "/productpage", &[("accept", "text/html")]).await;
        let page = String::from_utf8(response.body().to_vec()).unwrap();
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        match stars {
            Some(stars) => assert!(page.contains(stars), "{name}: {page}"),
            None => assert!(!page.contains("class=\"stars"), "{name}: {page}"),
        }
    }
}

#[tokio::test]
async fn a_user_who_logged_in_is_named_to_every_service() {
    let shop = Shop::open(ReviewsVersion::V2, "v2").await;
    let form = Request::post(format!("http://{}/login", shop.page.address))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::from("username=jason&passwd=secret"))
        .unwrap();
    let response = send(form).await;
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(response.headers()["location"], "/productpage");
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(cookie, "user=jason");

    let headers = [("accept", "application/json"), ("cookie", cookie)];
    let page = json(&get(shop.page.address, "/productpage", &headers).await);
    for hop in [&page["upstreams"][0], &page["upstreams"][1], &page["upstreams"][1]["upstreams"][0]] {
        assert_eq!(hop["seen"]["endUser"], "jason", "{hop}");
    }

    let response = get(shop.page.address, "/logout", &[("cookie", cookie)]).await;
    assert!(response.headers()["set-cookie"].to_str().unwrap().starts_with("user=; Path=/; Max-Age=0"));
}

#[tokio::test]
async fn a_bad_user_name_is_refused() {
    let shop = Shop::open(ReviewsVersion::V1, "v1").await;
    let form = Request::post(format!("http://{}/login", shop.page.address))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::from("username=a%3Bb"))
        .unwrap();
    let response = send(form).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(!response.headers().contains_key("set-cookie"));
}

#[tokio::test]
async fn trace_headers_reach_the_next_service_and_the_proxys_word_does_not() {
    let echo = serve(services::echo::router(World::default().app("echo", "v1", "cluster1"))).await;
    let world = World::default().with("RATINGS", echo.address);
    let page = serve(services::productpage::router(world.app("productpage", "v1", "cluster1"))).await;
    let headers = [
        ("traceparent", "00-1-2-01"),
        ("tracestate", "a=b"),
        ("b3", "1-2-1"),
        ("user-agent", "tester"),
        ("x-forwarded-client-cert", XFCC),
        ("x-other", "no"),
    ];
    let answer = json(&get(page.address, "/api/v1/products/0/ratings", &headers).await);
    let seen = &answer["headers"];
    assert_eq!(answer["path"], "/ratings/0");
    for (name, value) in &headers[..4] {
        assert_eq!(seen[*name], json!([value]), "{name}");
    }
    assert_eq!(seen["host"], json!([echo.address.to_string()]));
    assert_eq!((seen.get("x-forwarded-client-cert"), seen.get("x-other")), (None, None));
}

#[tokio::test]
async fn a_missing_service_degrades_the_page_and_shows_in_json() {
    let world = World::default().with("RATINGS", closed_port().await);
    let reviews = serve(services::reviews::router(world.app("reviews", "v2", "cluster1"), ReviewsVersion::V2)).await;
    let world = world.with("REVIEWS", reviews.address).with("DETAILS", closed_port().await);
    let page = serve(services::productpage::router(world.app("productpage", "v1", "cluster1"))).await;

    let response = get(page.address, "/productpage", &[]).await;
    let html = String::from_utf8(response.body().to_vec()).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(html.contains("Sorry, product details are currently unavailable for this book."), "{html}");
    assert!(html.contains("Ratings service is currently unavailable"), "{html}");

    let answer = json(&get(page.address, "/productpage", &[("accept", "application/json")]).await);
    assert_eq!(answer["details"], Value::Null);
    assert_eq!(answer["upstreams"][0]["status"], Value::Null);
    let ratings = &answer["upstreams"][1]["upstreams"][0];
    assert_eq!((&ratings["service"], &ratings["status"]), (&json!("ratings"), &Value::Null));
    assert!(ratings["error"].as_str().unwrap().contains("refused"), "{ratings}");

    let response = get(page.address, "/api/v1/products/0", &[]).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(json(&response)["error"], "Sorry, product details are currently unavailable for this book.");
}

#[tokio::test]
async fn the_status_of_a_failing_service_is_passed_on() {
    let echo = serve(services::echo::router(World::default().app("echo", "v1", "cluster1"))).await;
    let unhealthy = axum::Router::new().fallback(|| async { (StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream") });
    let details = serve(unhealthy).await;
    let world = World::default().with("DETAILS", details.address).with("RATINGS", echo.address);
    let page = serve(services::productpage::router(world.app("productpage", "v1", "cluster1"))).await;
    let response = get(page.address, "/api/v1/products/0", &[]).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error = json(&response)["upstreams"][0]["error"].clone();
    assert!(error.as_str().unwrap().contains("no healthy upstream"), "{error}");
}

#[tokio::test]
async fn ids_that_are_no_numbers_are_refused() {
    let shop = Shop::open(ReviewsVersion::V1, "v1").await;
    for path in ["/api/v1/products/x", "/api/v1/products/-1/reviews", "/api/v1/products/1.5/ratings"] {
        let response = get(shop.page.address, path, &[]).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        assert!(json(&response)["servedBy"].is_object(), "{path}");
    }
}

#[tokio::test]
async fn echo_answers_with_the_wished_status() {
    let echo = serve(services::echo::router(World::default().app("echo", "v2", "cluster1"))).await;
    let response = get(echo.address, "/a/b?status=503", &[("x-mine", "1")]).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let answer = json(&response);
    assert_eq!((&answer["path"], &answer["headers"]["x-mine"]), (&json!("/a/b"), &json!(["1"])));
    assert_eq!(get(echo.address, "/?status=101", &[]).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn counters_tell_what_was_answered() {
    let shop = Shop::open(ReviewsVersion::V1, "v1").await;
    get(shop.page.address, "/productpage", &[]).await;
    get(shop.page.address, "/nowhere", &[]).await;
    let metrics = get(shop.page.address, "/metrics", &[]).await;
    let text = String::from_utf8(metrics.body().to_vec()).unwrap();
    assert!(text.contains("bookinfo_requests_total{service=\"productpage\",code=\"404\"} 1"), "{text}");
    assert!(text.contains("upstream=\"reviews\",code=\"200\"} 1"), "{text}");
}
