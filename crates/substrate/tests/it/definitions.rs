//! Kinds that users bring along.

use requirements::{Capability, require};

use crate::kubectl::Kubectl;
use crate::world::World;

const DEFINITION: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Colour, type: string, jsonPath: .spec.colour, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        description: A widget.
        required: [spec]
        properties:
          spec:
            type: object
            description: What is wanted.
            required: [size]
            properties:
              size: {type: integer, minimum: 1, description: How big it is.}
              colour: {type: string, enum: [red, green], default: red}
          status: {type: object, properties: {size: {type: integer}}}
";
const WIDGET: &str = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3}\n";

#[test]
fn a_defined_kind_is_used_like_any_other() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let world = World::start();
    let mut kubectl = Kubectl::new(&world, 0);
    kubectl.show_with("apply -f -", DEFINITION);
    kubectl.show("wait --for=condition=Established crd/widgets.example.com --timeout=10s");
    kubectl.show_with("apply -f -", WIDGET);
    kubectl.show_with("apply -f -", WIDGET);
    for wrong in ["size: 0", "size: big", "colour: red", "size: 5, colour: blue", "size: 5, color: red"] {
        kubectl.show_with("apply -f -", &WIDGET.replace("size: 3", wrong));
    }
    kubectl.show_with("apply --server-side -f -", &WIDGET.replace("size: 3", "size: 4"));
    kubectl.show_with("apply --server-side --force-conflicts -f -", &WIDGET.replace("size: 3", "size: 4"));
    kubectl.show("get wd");
    kubectl.show("get widgets w -o wide");
    kubectl.show("get wd w -o yaml");
    kubectl.show("scale wd w --replicas=6");
    kubectl.show_arguments(&["patch", "wd", "w", "--type=merge", "-p", r#"{"spec":{"colour":"green"}}"#], "");
    kubectl.show_arguments(&["patch", "wd", "w", "-p", r#"{"spec":{"size":7}}"#], "");
    kubectl.show("explain widget.spec");
    kubectl.show("describe wd w");
    kubectl.show("get crd");
    kubectl.show("delete crd widgets.example.com");
    kubectl.show("get wd");
    insta::assert_snapshot!(kubectl.transcript());
}
