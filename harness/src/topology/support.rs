//! What this version cannot bring up yet, in the words that every command uses.

use super::{Provider, Topology};

/// Something that a topology asks for and this version does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The field of the topology that asks for it.
    pub field: &'static str,
    /// What is lacking.
    pub message: String,
    /// What to write instead.
    pub cure: &'static str,
}

/// What stands in the way of bringing a topology up, if anything.
#[must_use]
pub fn lack(topology: &Topology) -> Option<Lack> {
    let word = match topology.provider {
        Provider::Embedded => return None,
        Provider::Kind => "kind",
        Provider::Existing => "existing",
    };
    let message = format!("provider `{word}` is not part of this version");
    let cure = "use `--provider embedded`; kind clusters can be made by hand from kind-configs/";
    Some(Lack { field: "provider", message, cure })
}
