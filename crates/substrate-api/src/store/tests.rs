//! The store keeps order, windows and snapshots.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ChangeKind, Expired, Key, Store, StoreError};

fn object(namespace: &str, name: &str, value: u32) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "data": value})
}

fn names(objects: &[Arc<super::Stored>]) -> Vec<String> {
    objects.iter().map(|object| crate::object::name(&object.value).to_owned()).collect()
}

#[test]
fn writes_demand_the_present_revision() {
    let store = Store::new();
    let key = Key::new("a", "x");
    let first = store.create("things", key.clone(), object("a", "x", 1)).unwrap();
    assert_eq!(first.value["metadata"]["resourceVersion"], first.revision.to_string());
    assert_eq!(store.create("things", key.clone(), object("a", "x", 1)).unwrap_err(), StoreError::AlreadyExists);
    let second = store.update("things", &key, first.revision, object("a", "x", 2)).unwrap();
    assert_eq!(store.update("things", &key, first.revision, object("a", "x", 3)).unwrap_err(), StoreError::Conflict);
    assert_eq!(store.remove("things", &key, first.revision).unwrap_err(), StoreError::Conflict);
    let gone = store.remove("things", &key, second.revision).unwrap();
    assert!(gone.revision > second.revision);
    assert_eq!(store.remove("things", &key, second.revision).unwrap_err(), StoreError::NotFound);
}

#[test]
fn a_list_can_be_seen_as_it_was() {
    let store = Store::new();
    for name in ["a", "b", "c"] {
        store.create("things", Key::new("n", name), object("n", name, 1)).unwrap();
    }
    store.create("things", Key::new("other", "z"), object("other", "z", 1)).unwrap();
    let (before, revision) = store.list("things", Some("n"));
    assert_eq!(names(&before), ["a", "b", "c"]);
    store.remove("things", &Key::new("n", "b"), before[1].revision).unwrap();
    store.create("things", Key::new("n", "d"), object("n", "d", 1)).unwrap();
    store.update("things", &Key::new("n", "a"), before[0].revision, object("n", "a", 2)).unwrap();
    let then = store.list_at("things", Some("n"), revision).unwrap();
    assert_eq!(names(&then), ["a", "b", "c"]);
    assert_eq!(then[0].value["data"], 1);
    assert_eq!(names(&store.list("things", Some("n")).0), ["a", "c", "d"]);
}

#[test]
fn old_revisions_expire_per_table() {
    let store = Arc::new(Store::with_window(2));
    let start = store.revision();
    for name in ["a", "b", "c"] {
        store.create("things", Key::new("", name), object("", name, 1)).unwrap();
    }
    let error = store.watch("things", start).err().unwrap();
    assert_eq!(error, Expired { wanted: start, oldest: start + 1 });
    assert!(store.list_at("things", None, start).is_err());
    assert!(store.watch("things", start + 1).is_ok());
    assert!(store.watch("others", start).is_ok(), "a quiet table keeps its history");
}

#[tokio::test]
async fn a_cursor_sees_every_change_once_and_wakes() {
    let store = Arc::new(Store::new());
    store.create("things", Key::new("", "a"), object("", "a", 1)).unwrap();
    let (objects, _, mut cursor) = store.list_and_watch("things", None);
    assert_eq!(names(&objects), ["a"]);
    assert!(cursor.poll().unwrap().changes.is_empty());
    let writer = Arc::clone(&store);
    let waiting = tokio::spawn(async move {
        cursor.changed().await;
        cursor.poll().unwrap().changes
    });
    writer.create("things", Key::new("", "b"), object("", "b", 1)).unwrap();
    let changes = waiting.await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].kind, ChangeKind::Added);
    assert_eq!(changes[0].key.name, "b");
}
