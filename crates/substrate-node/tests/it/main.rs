//! Integration tests of the node: worlds as the supervisor makes them, seen from outside.
//!
//! A test process has threads and cannot enter a user namespace, so that every test starts the example program
//! `world`, which runs one scenario and prints what it saw.

mod containers;
mod death;
mod kubelet;
mod links;
mod machine;
mod networks;
mod world;
