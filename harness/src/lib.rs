//! The library that scenarios are written with.

pub mod artifacts;
pub mod bundle;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod diagnostic;
pub mod engine;
pub mod environment;
pub mod image;
pub mod install;
pub mod links;
pub mod management;
pub mod migrate;
pub mod provider;
pub mod report;
pub mod run;
pub mod scenario;
pub mod shard;
pub mod topology;
pub mod traffic;
pub mod trust;
pub mod vm;
