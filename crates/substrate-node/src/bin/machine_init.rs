//! `meshproof-machine-init`: the first process of a machine that is a container, and what it starts. Not started by people.

fn main() {
    substrate_node::machine::inside::main()
}
