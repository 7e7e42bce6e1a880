//! The likely layer of real failures: each scenario in `layers/` broke a mesh in one way, and `layers/events.jsonl` is what
//! was recorded of it by `meshproof run`, cut to what failed.

use std::collections::BTreeMap;

use camino::Utf8Path;
use meshproof::report::layer::{Layer, failures};
use meshproof::report::{Record, journal};

#[test]
fn the_layer_of_each_failure_is_found() {
    let folder = Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/layers"));
    let (events, unreadable) = journal::read(folder).expect("the recorded runs are there");
    assert_eq!(unreadable, 0, "the recorded runs are of this version");
    let mut record = Record::default();
    events.iter().for_each(|event| record.add(event));
    let guessed: BTreeMap<String, (Option<Layer>, String)> = failures(&record)
        .into_iter()
        .filter_map(|failure| Some((failure.step?.0, (failure.layer, failure.because.unwrap_or_default()))))
        .collect();
    let expected = [
        ("denied-by-policy", Layer::Route, "RBAC: access denied"),
        ("gateway-serves-other-hosts", Layer::Gateway, "the client asks for the name of the service"),
        ("link-cut", Layer::Network, "packets from network1 to network2 are dropped"),
        ("no-client-certificate", Layer::Certificate, "the client's certificate is missing"),
        ("nobody-there", Layer::Endpoints, "reviews-v3 has no pod that is ready"),
        ("outsider-to-strict", Layer::Certificate, "what the client sends is plain text"),
        ("plaintext-through-a-gateway", Layer::Certificate, "what the client sends is plain text"),
        ("plaintext-to-strict", Layer::Certificate, "what the client sends is plain text"),
        ("wrong-server-identity", Layer::Certificate, "has none of the names that it expects"),
        ("wrong-server-identity-beyond-a-gateway", Layer::Certificate, "has none of the names that it expects"),
        ("wrong-server-name", Layer::Certificate, "the client asks for server name somebody.else"),
    ];
    assert_eq!(guessed.keys().map(String::as_str).collect::<Vec<_>>(), expected.map(|(name, ..)| name));
    for (name, layer, because) in expected {
        let (found, why) = &guessed[name];
        assert_eq!(*found, Some(layer), "{name}: {why}");
        assert!(why.contains(because), "{name}: {why}");
    }
}
