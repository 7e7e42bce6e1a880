//! Integration tests of the control plane: translations from fixtures, their acceptance by Envoy, the delta protocol.

mod ads;
mod crds;
mod envoy;
mod fixture;
mod print;
mod translate;
mod weights;
