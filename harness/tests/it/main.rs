//! The command `meshproof` from outside: exit codes, output, messages, reports.

mod beside;
mod browser;
mod bundle;
mod cli;
mod docker;
mod existing;
mod failing;
mod fake_engine;
mod images;
mod kept;
mod kind;
mod kind_nodes;
mod kind_repair;
mod layers;
mod machines_on_docker;
mod management;
mod on_docker;
mod own_image;
mod recorded;
mod shards;
mod workflows;
