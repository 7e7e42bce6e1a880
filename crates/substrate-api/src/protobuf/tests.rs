//! Messages are put together by hand here, so that the reader is not checked against a writer of its own.

use serde_json::json;

use super::{ProtobufError, decode};

/// A field that carries its length.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(number < 16 && content.len() < 128, "one byte each is enough for tests");
    let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    out.extend_from_slice(content);
    out
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), bytes(1, &type_meta), bytes(2, raw), bytes(3, b""), bytes(4, b"")].concat()
}

#[test]
fn an_access_review_is_read() {
    let attributes = [bytes(1, b"ns"), bytes(2, b"list"), bytes(5, b"pods"), bytes(6, b"")].concat();
    let raw = [bytes(1, &bytes(1, b"")), bytes(2, &bytes(1, &attributes))].concat();
    let object = decode(&envelope("authorization.k8s.io/v1", "SelfSubjectAccessReview", &raw)).unwrap();
    assert_eq!(
        object,
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
            "spec": {"resourceAttributes": {"namespace": "ns", "verb": "list", "resource": "pods"}}})
    );
}

#[test]
fn maps_bytes_and_zeroes_follow_the_definition() {
    let data = [bytes(1, b"key"), bytes(2, b"value")].concat();
    let object = decode(&envelope("v1", "Secret", &[bytes(2, &data), varint(5, 0)].concat())).unwrap();
    assert_eq!(object["data"], json!({"key": "dmFsdWU="}));
    assert_eq!(object["immutable"], json!(false), "a pointer's zero is a value");
    let spec = [varint(1, 0), varint(5, 0)].concat();
    let object = decode(&envelope("apps/v1", "Deployment", &bytes(2, &spec))).unwrap();
    assert_eq!(object["spec"], json!({"replicas": 0}), "minReadySeconds has no way to be absent");
}

#[test]
fn inline_messages_and_times_take_their_json_form() {
    // SecretKeySelector: the reference's name stands directly in the selector.
    let selector = [bytes(1, &bytes(1, b"s")), bytes(2, b"k")].concat();
    let from = bytes(4, &selector);
    let variable = [bytes(1, b"V"), bytes(3, &from)].concat();
    let container = [bytes(1, b"c"), bytes(7, &variable)].concat();
    let raw = [bytes(1, &bytes(8, &varint(1, 60))), bytes(2, &bytes(2, &container))].concat();
    let object = decode(&envelope("v1", "Pod", &raw)).unwrap();
    assert_eq!(object["metadata"]["creationTimestamp"], "1970-01-01T00:01:00Z");
    let expected = json!({"name": "V", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
    assert_eq!(object["spec"]["containers"][0]["env"][0], expected);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    assert_eq!(decode(b"{}"), Err(ProtobufError::Magic));
    assert!(matches!(decode(&envelope("v1", "Nothing", b"")), Err(ProtobufError::Unknown { .. })));
    assert_eq!(decode(b"k8s\0\x0a\x7f"), Err(ProtobufError::Malformed));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(raw: Vec<u8>) {
        let body = [b"k8s\0".to_vec(), bytes(1, &[bytes(1, b"v1"), bytes(2, b"Pod")].concat()), {
            let mut field = vec![2 << 3 | 2];
            let mut length = raw.len();
            while length >= 128 {
                field.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            field.push(u8::try_from(length).unwrap());
            field.extend_from_slice(&raw);
            field
        }].concat();
        let _ = decode(&body);
    }
}
