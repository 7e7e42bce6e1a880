//! The supervisor program from outside: real worlds, real kubectl, and what is left of them.
#![expect(clippy::unwrap_used, reason = "a helper of a test that panics fails the test")]

mod access;
mod containers;
mod control;
mod death;
mod definitions;
mod kubectl;
mod machines;
mod objects;
mod played;
mod pods;
mod redact;
mod refusals;
mod rollouts;
mod world;
