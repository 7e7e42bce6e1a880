//! What is kept and what is done, by layers that are made up, and what real topologies are made of.

use serde_json::json;

use super::content::parts;
use super::progress::Progress;
use super::record::Record;
use super::*;
use crate::environment::authorities::Authorities;
use crate::environment::existing::MeshSource;
use crate::environment::take_down::Left;
use crate::environment::{Error, WhenInterrupted};
use crate::topology::Topology;

const ALL: [Layer; 5] = [Layer::Cluster, Layer::Authority, Layer::Mesh, Layer::Gateways, Layer::Applications];

fn object(kind: &str, name: &str) -> Value {
    let template = json!({ "template": { "metadata": {} } });
    json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name, "namespace": "a" }, "spec": template })
}

/// A cluster with every layer, each of one Deployment and a setting.
fn made_of(setting: impl Fn(Layer) -> &'static str) -> BTreeMap<Key, Part> {
    let part = |layer: Layer| Part {
        objects: vec![object("Deployment", layer.word())],
        settings: vec![setting(layer).to_owned()],
    };
    ALL.into_iter().map(|layer| ((layer, "one".to_owned()), part(layer))).collect()
}

fn same(_: Layer) -> &'static str {
    "the same"
}

fn all_done(planned: &BTreeMap<Key, Planned>) -> BTreeMap<Key, Recorded> {
    planned.iter().map(|(key, one)| (key.clone(), Recorded::done(&key.1, one))).collect()
}

/// The layers that are done, and why.
fn done(
    planned: &BTreeMap<Key, Planned>,
    recorded: &BTreeMap<Key, Recorded>,
    absent: &BTreeSet<Entry>,
) -> Vec<(Layer, String)> {
    let decisions = decide(planned, recorded, absent);
    let done = decisions.into_iter().filter_map(|((layer, _), decision)| match decision {
        Decision::Keep => None,
        Decision::Do(why) => Some((layer, why.to_string())),
    });
    done.collect()
}

fn layers(done: &[(Layer, String)]) -> Vec<Layer> {
    done.iter().map(|(layer, _)| *layer).collect()
}

#[test]
fn what_is_recorded_and_there_is_kept() {
    let planned = plan(made_of(same), true);
    assert_eq!(done(&planned, &all_done(&planned), &BTreeSet::new()), []);
    let nothing = BTreeMap::new();
    assert_eq!(layers(&done(&planned, &nothing, &BTreeSet::new())), ALL);
}

#[test]
fn what_changed_is_done_with_all_that_stands_on_it() {
    let recorded = all_done(&plan(made_of(same), true));
    let changed = |which: Layer| {
        let planned = plan(made_of(|layer| if layer == which { "another" } else { "the same" }), true);
        done(&planned, &recorded, &BTreeSet::new())
    };
    assert_eq!(changed(Layer::Applications), [(Layer::Applications, "it has changed".to_owned())]);
    let of_mesh = changed(Layer::Mesh);
    assert_eq!(layers(&of_mesh), [Layer::Mesh, Layer::Gateways, Layer::Applications]);
    assert_eq!(of_mesh[2].1, "it stands on the mesh, which changed");
    assert_eq!(layers(&changed(Layer::Cluster)), ALL);
}

#[test]
fn what_was_interrupted_is_done_although_its_content_is_the_one_of_before() {
    let planned = plan(made_of(same), true);
    let mut recorded = all_done(&planned);
    let key = (Layer::Gateways, "one".to_owned());
    let begun = Recorded::begun(recorded.remove(&key), "one", &planned[&key]);
    recorded.insert(key, begun);
    let done = done(&planned, &recorded, &BTreeSet::new());
    assert_eq!(done, [(Layer::Gateways, "it was not finished".to_owned())]);
}

/// Killed after the mesh was changed and before the applications: nothing but the hash of what they stand on tells.
#[test]
fn what_stands_on_something_new_is_done_in_a_later_run() {
    let before = plan(made_of(same), true);
    let planned = plan(made_of(|layer| if layer == Layer::Mesh { "another" } else { "the same" }), true);
    let mut recorded = all_done(&before);
    for layer in [Layer::Mesh, Layer::Gateways] {
        let key = (layer, "one".to_owned());
        recorded.insert(key.clone(), Recorded::done("one", &planned[&key]));
    }
    let done = done(&planned, &recorded, &BTreeSet::new());
    assert_eq!(done, [(Layer::Applications, "it stands on the mesh, which changed".to_owned())]);
}

#[test]
fn what_somebody_removed_is_made_again() {
    let planned = plan(made_of(same), true);
    let absent = BTreeSet::from([Entry::of("one", &object("Deployment", "gateways"))]);
    let done = done(&planned, &all_done(&planned), &absent);
    assert_eq!(done, [(Layer::Gateways, "Deployment a/gateways is gone".to_owned())]);
}

#[test]
fn one_cluster_is_none_of_another_ones_business() {
    let both = |second: &'static str| {
        let mut parts = made_of(same);
        let another = made_of(|layer| if layer == Layer::Mesh { second } else { "the same" });
        parts.extend(another.into_iter().map(|((layer, _), part)| ((layer, "two".to_owned()), part)));
        plan(parts, true)
    };
    let decisions = decide(&both("another"), &all_done(&both("the same")), &BTreeSet::new());
    let of_one = decisions.iter().filter(|((_, cluster), _)| cluster == "one");
    assert!(of_one.clone().count() == 5 && of_one.into_iter().all(|(_, decision)| *decision == Decision::Keep));
    assert_ne!(decisions[&(Layer::Mesh, "two".to_owned())], Decision::Keep);
}

#[test]
fn pods_are_started_anew_where_what_they_stand_on_changed_and_only_there() {
    let annotation = |parts: BTreeMap<Key, Part>, layer: Layer| {
        let planned = plan(parts, true);
        let template = &planned[&(layer, "one".to_owned())].objects[0]["spec"]["template"];
        template["metadata"]["annotations"][STANDS_ON].as_str().map(str::to_owned)
    };
    let changed = |which: Layer| made_of(move |layer| if layer == which { "another" } else { "the same" });
    let of_applications = |parts| annotation(parts, Layer::Applications).expect("they stand on a mesh");
    assert_eq!(of_applications(made_of(same)), of_applications(changed(Layer::Applications)));
    assert_eq!(of_applications(made_of(same)), of_applications(changed(Layer::Gateways)));
    assert_ne!(of_applications(made_of(same)), of_applications(changed(Layer::Authority)));
    assert_eq!(annotation(made_of(same), Layer::Cluster), None);
    let with_file = |content: &str| {
        let mut parts = made_of(same);
        let file = json!({ "kind": "ConfigMap", "metadata": { "name": "file" }, "data": { "a": content } });
        parts.entry((Layer::Applications, "one".to_owned())).or_default().objects.push(file);
        parts
    };
    assert_ne!(of_applications(with_file("old")), of_applications(with_file("new")), "they read it as they start");
    let unstamped = plan(made_of(same), false);
    assert_eq!(unstamped[&(Layer::Mesh, "one".to_owned())].objects, [object("Deployment", "mesh")]);
}

#[test]
fn what_is_no_longer_wanted_is_known_and_what_cannot_go_alone_is_refused() {
    let recorded = all_done(&plan(made_of(same), true));
    let mut parts = made_of(same);
    parts.remove(&(Layer::Gateways, "one".to_owned()));
    let planned = plan(parts.clone(), true);
    assert_eq!(obsolete(&planned, &recorded), BTreeSet::from([Entry::of("one", &object("Deployment", "gateways"))]));
    assert_eq!(stuck(&planned, &recorded), None);
    parts.remove(&(Layer::Mesh, "one".to_owned()));
    assert_eq!(stuck(&plan(parts, true), &recorded), Some(&(Layer::Mesh, "one".to_owned())));
}

#[tokio::test]
async fn a_killed_run_leaves_a_record_that_the_next_one_goes_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = camino::Utf8Path::from_path(folder.path()).expect("UTF-8");
    let begin = || {
        let record = Record::open(path).expect("opened");
        let planned = plan(made_of(same), true);
        let decisions = decide(&planned, &record.layers(), &BTreeSet::new());
        Progress::recorded(planned, record, decisions, false)
    };
    let first = begin();
    let told = first.perform(Layer::Cluster, "one", async { Ok("ready".to_owned()) }).await.expect("done");
    assert_eq!(told, "ready", "where all is new the reason is of no interest");
    // Dropped in its middle, as a process is that is killed.
    let mut second = Box::pin(first.perform(Layer::Authority, "one", std::future::pending()));
    assert!(futures::poll!(&mut second).is_pending());

    let failed = Error::from(Left(vec!["it does not come up".to_owned()]));
    assert!(!WhenInterrupted::Keep.leaves(&failed, &first), "what failed from the beginning goes");
    assert!(WhenInterrupted::Keep.leaves(&Error::Interrupted, &first));
    assert!(!WhenInterrupted::Remove.leaves(&Error::Interrupted, &first));

    let next = begin();
    assert!(WhenInterrupted::Keep.leaves(&failed, &next), "what an earlier run did is not lost to a mistake");
    let told = next.perform(Layer::Cluster, "one", async { panic!("it is kept") }).await.expect("kept");
    assert_eq!(told, "kept");
    let told = next.perform(Layer::Authority, "one", async { Ok("ready".to_owned()) }).await.expect("done");
    assert_eq!(told, "done, as it was not finished: ready");
    assert_eq!(
        next.text("one"),
        "  keeps cluster\n  does certificate authority: it was not finished\n  does mesh: it was not done before\n  \
         does gateways: it was not done before\n  does applications: it was not done before\n"
    );
}

/// Killed while what is no longer wanted is being removed, and then it is wanted again.
#[test]
fn what_is_being_removed_makes_its_layer_unfinished() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = camino::Utf8Path::from_path(folder.path()).expect("UTF-8");
    let key = (Layer::Applications, "one".to_owned());
    let mut both = made_of(same);
    both.get_mut(&key).expect("it is there").objects.push(object("Service", "more"));
    let (both, less) = (plan(both, true), plan(made_of(same), true));
    let record = Record::open(path).expect("opened");
    both.iter().for_each(|(key, planned)| record.finish(key, planned).expect("recorded"));
    let decisions = decide(&less, &record.layers(), &BTreeSet::new());
    let removing = Progress::recorded(less, record, decisions, false);
    removing.obsolete_goes().expect("remembered");
    let recorded = Record::open(path).expect("opened").layers();
    assert_eq!(recorded[&key].objects.len(), 2, "`up` still knows what to remove");
    assert_eq!(done(&both, &recorded, &BTreeSet::new()), [(Layer::Applications, "it was not finished".to_owned())]);
}

#[test]
fn a_cluster_that_went_hides_no_mesh_that_cannot_go() {
    let recorded = all_done(&plan(made_of(same), true));
    let mut planned = plan(made_of(same), true);
    planned.retain(|(layer, _), _| *layer == Layer::Authority);
    let (layer, cluster) = stuck(&planned, &recorded).expect("the mesh cannot go");
    assert_eq!((*layer, cluster.as_str()), (Layer::Mesh, "one"));
    let refusal = not_taken_away(&(Layer::Registration, "one".to_owned()));
    assert!(refusal.cure.starts_with("say `--management hub`"), "{refusal:?}");
}

#[test]
fn what_an_earlier_run_made_is_gone_on_with_although_nothing_is_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = camino::Utf8Path::from_path(folder.path()).expect("UTF-8");
    let begun = |made_before| {
        Progress::recorded(BTreeMap::new(), Record::open(path).expect("opened"), BTreeMap::new(), made_before)
    };
    assert!(begun(true).goes_on() && !begun(false).goes_on());
}

fn topology(name: &str) -> Topology {
    let path = format!("{}/../scenarios/topologies/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a topology");
    crate::topology::validate::read("t.yaml", &text).expect("it is right")
}

/// What an installation consists of, as layers, clusters and numbers of objects.
fn counted(topology: &Topology, source: MeshSource) -> String {
    let authorities = Authorities::generate(topology).expect("made");
    let parts = parts(topology, source, &authorities).expect("the manifests are right");
    let line = |((layer, cluster), part): (&Key, &Part)| {
        format!("{cluster} {}: {} objects, {} settings\n", layer.word(), part.objects.len(), part.settings.len())
    };
    parts.iter().map(line).collect()
}

#[test]
fn each_topology_is_made_of_its_layers() {
    insta::assert_snapshot!("two-clusters", counted(&topology("two-clusters"), MeshSource::Embedded));
    insta::assert_snapshot!("two-clusters-present", counted(&topology("two-clusters"), MeshSource::Present));
    insta::assert_snapshot!("two-clusters-istio", counted(&topology("two-clusters"), MeshSource::Istio));
    insta::assert_snapshot!("primary-remote", counted(&topology("primary-remote"), MeshSource::Embedded));
    insta::assert_snapshot!("management", counted(&topology("management-three-clusters"), MeshSource::Embedded));
}

#[test]
fn a_remote_is_done_with_its_primary() {
    let mut topology = topology("primary-remote");
    let authorities = Authorities::generate(&topology).expect("made");
    let hashed = |topology: &Topology| {
        let parts = parts(topology, MeshSource::Embedded, &authorities).expect("right");
        plan(parts, true)
    };
    let before = all_done(&hashed(&topology));
    topology.mesh.id = "another".to_owned();
    let done = done(&hashed(&topology), &before, &BTreeSet::new());
    let remote = topology.meshed().find(|cluster| cluster.control_plane.is_some()).expect("it has one");
    let decisions = decide(&hashed(&topology), &before, &BTreeSet::new());
    assert_eq!(decisions[&(Layer::Mesh, remote.name.clone())], Decision::Do(Why::Changed), "{done:?}");
}
